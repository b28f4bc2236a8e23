package nodetest

import (
	"context"
	"slices"
	"time"

	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// embedded is a component of a router worker; it stays listed when it has
// ended.
type embedded struct {
	id      string
	config  wamp.Dict
	created time.Time
}

func (c *embedded) marshal() wamp.Dict {
	return wamp.Dict{"id": c.id, "config": c.config, "created": wire.Time(c.created), "started": wire.Time(c.created), "uptime": 1.5}
}

func (n *Node) componentProcedures(w *Worker) map[string]handler {
	return map[string]handler{
		"get_router_components": func(context.Context, *wamp.Invocation) client.InvokeResult {
			n.mu.Lock()
			defer n.mu.Unlock()
			list := wamp.List{}
			for _, c := range w.embedded {
				list = append(list, c.marshal())
			}
			return value(list)
		},
		"get_router_component": func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
			n.mu.Lock()
			defer n.mu.Unlock()
			if c := w.embeddedBy(arg[string](i, 0)); c != nil {
				return value(c.marshal())
			}
			return fault("crossbar.error.no_such_object", "No component %s", arg[string](i, 0))
		},
		"start_router_component": func(ctx context.Context, i *wamp.Invocation) client.InvokeResult {
			return n.startEmbedded(ctx, w, arg[string](i, 0), dictArg(i, 1))
		},
		"stop_router_component": func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
			return fault("crossbar.error.cannot_stop", "Failed to stop component %s: 'ExtRouterController' object has no attribute '_session_factory'", arg[string](i, 0))
		},
		"get_router_realm_by_name": func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
			n.mu.Lock()
			defer n.mu.Unlock()
			name := arg[string](i, 0)
			id, r := w.realmNamed(name)
			if r == nil {
				return fault("crossbar.error.no_such_object", "No realm with name %q", name)
			}
			return value(r.marshal(id))
		},
	}
}

func (w *Worker) embeddedBy(id string) *embedded {
	i := slices.IndexFunc(w.embedded, func(c *embedded) bool { return c.id == id })
	if i < 0 {
		return nil
	}
	return w.embedded[i]
}

// realmNamed finds a realm by name, one that runs before one that is down.
func (w *Worker) realmNamed(name string) (id string, r *realm) {
	for i, x := range w.realms {
		if x.config["name"] == name && (r == nil || r.down) {
			id, r = i, x
		}
	}
	return id, r
}

// startEmbedded knows some classes: mod.None cannot be imported, mod.Ctor
// fails before it joins, mod.Bad when it has joined, and mod.Never is never
// ready. All others are ready at once.
func (n *Node) startEmbedded(ctx context.Context, w *Worker, id string, config wamp.Dict) client.InvokeResult {
	n.mu.Lock()
	if w.embeddedBy(id) != nil {
		n.mu.Unlock()
		return fault("crossbar.error.already_running", "Could not start component: a component with ID '%s' is already running (or starting)", id)
	}
	switch config["classname"] {
	case "mod.None":
		n.mu.Unlock()
		return fault("crossbar.error.class_import_failed", "Failed to import class 'mod.None'\nTraceback (most recent call last):\n  File \"x.py\"\nbuiltins.AttributeError: no None\n")
	case "mod.Ctor":
		n.mu.Unlock()
		return broken("it does not want to")
	}
	if config["type"] == "function" { // of which there is none here
		n.mu.Unlock()
		n.Log(w.ID, "Failed to import package 'mod' (for 'mod.f')\nTraceback (most recent call last):\n  File \"x.py\"\nbuiltins.ImportError: no mod\n")
		return broken("pythonpath")
	}
	n.joinComponent(w, id, config)
	if config["classname"] == "mod.Leaves" {
		_, r := w.realmNamed("com.a")
		r.leave(int64(n.nextPID))
		n.mu.Unlock()
		return broken("Session left before being ready")
	}
	n.mu.Unlock()
	switch config["classname"] {
	case "mod.Never":
		<-ctx.Done()
		return client.InvocationCanceled
	case "mod.Bad":
		n.Log(w.ID, "Bad.onUserError(): \"While firing onJoin\"\nTraceback (most recent call last):\n  File \"x.py\"\nbuiltins.RuntimeError: it does not like it here\n")
	}
	n.Log(w.ID, "component ready: mod.X id=1")
	return value(wamp.Dict{"id": id})
}

func (n *Node) joinComponent(w *Worker, id string, config wamp.Dict) {
	name, _ := config["realm"].(string)
	role, ok := config["role"].(string)
	if !ok {
		role = "anonymous"
	}
	w.embedded = append(w.embedded, &embedded{id, config, time.Now()})
	if _, r := w.realmNamed(name); r != nil {
		n.nextPID++
		session := int64(n.nextPID)
		r.embedded[session] = role
		r.sessions = append(r.sessions, session)
	}
}

// BootComponent starts a component as the node's own configuration would.
func (n *Node) BootComponent(worker, id string, config wamp.Dict) {
	n.mu.Lock()
	n.joinComponent(n.workers[worker], id, config)
	n.mu.Unlock()
	n.Publish("worker."+worker+".on_component_ready", wamp.Dict{"id": id})
}

// Embedded is how many sessions of components are in a realm.
func (n *Node) Embedded(worker, realm string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.workers[worker].realms[realm].embedded)
}

// Crash ends the sessions of all components in a realm, which nobody is told.
func (n *Node) Crash(worker, realm string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.workers[worker].realms[realm]
	for session := range r.embedded {
		r.leave(session)
	}
}

func (r *realm) leave(session int64) {
	delete(r.embedded, session)
	r.sessions = slices.DeleteFunc(r.sessions, func(s any) bool { id, _ := wamp.AsInt64(s); return id == session })
}

// meta are the procedures of a realm's meta API that matter here.
func (n *Node) meta(r *realm) map[string]handler {
	locked := func(f func(i *wamp.Invocation) any) handler {
		return func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
			n.mu.Lock()
			defer n.mu.Unlock()
			return value(f(i))
		}
	}
	return map[string]handler{
		"list": locked(func(i *wamp.Invocation) any {
			var roles wamp.List
			if len(i.Arguments) > 0 {
				roles, _ = wamp.AsList(i.Arguments[0])
			}
			return slices.DeleteFunc(slices.Clone(r.sessions), func(s any) bool {
				id, _ := wamp.AsInt64(s)
				role, embedded := r.embedded[id]
				return role == "trusted" || embedded && len(roles) > 0 && !slices.Contains(roles, any(role))
			})
		}),
		"get": locked(func(i *wamp.Invocation) any {
			id, _ := wamp.AsInt64(i.Arguments[0])
			channel := "tcp"
			if _, embedded := r.embedded[id]; embedded {
				channel = "function"
			}
			return wamp.Dict{"session": id, "transport": wamp.Dict{"channel_type": channel}}
		}),
		"kill": locked(func(i *wamp.Invocation) any {
			id, _ := wamp.AsInt64(i.Arguments[0])
			r.leave(id)
			return nil
		}),
	}
}
