package nodetest

import (
	"context"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// realmProcedures are those of a router worker about its realms that are no
// part of their lives.
func (n *Node) realmProcedures(w *Worker) map[string]handler {
	about := func(f func(id string, r *realm, i *wamp.Invocation) client.InvokeResult) handler {
		return func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
			n.mu.Lock()
			defer n.mu.Unlock()
			id := arg[string](i, 0)
			if w.realms[id] == nil {
				return fault("crossbar.error.no_such_object", "No realm with ID '%s'", id)
			}
			return f(id, w.realms[id], i)
		}
	}
	return map[string]handler{
		"get_router_realm_stats": about(func(id string, r *realm, _ *wamp.Invocation) client.InvokeResult {
			return value(wamp.Dict{id: wamp.Dict{"sessions": len(r.sessions), "roles": len(r.roles), "messages": wamp.Dict{}}})
		}),
		"kill_by_authid": about(func(_ string, r *realm, i *wamp.Invocation) client.InvokeResult {
			if arg[string](i, 1) != "joe" || arg[string](i, 2) == "" { // whose sessions are all
				return value(wamp.List{})
			}
			killed := r.sessions
			r.sessions = wamp.List{}
			return value(killed)
		}),
		"get_router_realm_links": about(func(string, *realm, *wamp.Invocation) client.InvokeResult {
			return value(wamp.List{"up", "down"})
		}),
		"get_router_realm_link": about(func(_ string, _ *realm, i *wamp.Invocation) client.InvokeResult {
			if id := arg[string](i, 1); id == "up" {
				return value(wamp.Dict{"id": id, "connected": true})
			}
			return fault("crossbar.error.no_such_object", "No link with ID '%s'", arg[string](i, 1))
		}),
	}
}
