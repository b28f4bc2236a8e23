package nodetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// proxy is what a proxy worker has beside its transports.
type proxy struct {
	connections map[string]*connection
	routes      map[string]map[string]wamp.Dict // realm, id: roles
	had         map[string][]*connection        // realm and role; never forgotten
	next        int
}

type connection struct {
	id     string
	config wamp.Dict
}

func (c *connection) marshal() wamp.Dict {
	return wamp.Dict{"id": c.id, "config": c.config, "state": 3, "started": 1, "stopped": nil}
}

func (n *Node) proxyProcedures(w *Worker) map[string]handler {
	if w.proxy.connections == nil {
		w.proxy = proxy{connections: map[string]*connection{}, routes: map[string]map[string]wamp.Dict{}, had: map[string][]*connection{}}
	}
	t := map[string]handler{}
	for name, f := range n.transportProcedures(w) {
		t[strings.ReplaceAll(name, "_router_", "_proxy_")] = f
	}
	for name, f := range map[string]func(*Worker, *wamp.Invocation) client.InvokeResult{
		"get_proxy_transports": func(w *Worker, _ *wamp.Invocation) client.InvokeResult {
			return value(slices.Sorted(maps.Keys(w.transports)))
		},
		"stop_proxy_transport": func(*Worker, *wamp.Invocation) client.InvokeResult {
			return broken("'ProxyController' object has no attribute '_transports'")
		},
		"get_proxy_connections": func(w *Worker, _ *wamp.Invocation) client.InvokeResult {
			return value(slices.Sorted(maps.Keys(w.proxy.connections)))
		},
		"get_proxy_connection":   getConnection,
		"start_proxy_connection": startConnection,
		"stop_proxy_connection":  stopConnection,
		"get_proxy_routes": func(w *Worker, _ *wamp.Invocation) client.InvokeResult {
			return value(slices.Sorted(maps.Keys(w.proxy.routes)))
		},
		"list_proxy_realm_routes": listRoutes,
		"get_proxy_realm_route":   func(*Worker, *wamp.Invocation) client.InvokeResult { return broken("cannot be serialized") },
		"start_proxy_realm_route": startRoute,
		"stop_proxy_realm_route":  stopRoute,
	} {
		t[name] = func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
			n.mu.Lock()
			defer n.mu.Unlock()
			return f(w, i)
		}
	}
	return t
}

func none(what, id string) client.InvokeResult {
	return fault("crossbar.error.no_such_object", "no %s with ID %q currently running", what, id)
}

func getConnection(w *Worker, i *wamp.Invocation) client.InvokeResult {
	if c := w.proxy.connections[arg[string](i, 0)]; c != nil {
		return value(c.marshal())
	}
	return none("proxy connection", arg[string](i, 0))
}

// startConnection takes any configuration.
func startConnection(w *Worker, i *wamp.Invocation) client.InvokeResult {
	c := &connection{arg[string](i, 0), dictArg(i, 1)}
	if w.proxy.connections[c.id] != nil {
		return fault("crossbar.error.already_running", "proxy connection with ID %q already running", c.id)
	}
	w.proxy.connections[c.id] = c
	return value(c.marshal())
}

// stopConnection stops one that routes lead to, too; they go on leading there.
func stopConnection(w *Worker, i *wamp.Invocation) client.InvokeResult {
	c := w.proxy.connections[arg[string](i, 0)]
	if c == nil {
		return none("proxy connection", arg[string](i, 0))
	}
	delete(w.proxy.connections, c.id)
	return value(c.marshal())
}

func listRoutes(w *Worker, i *wamp.Invocation) client.InvokeResult {
	realm := arg[string](i, 0)
	routes, ok := w.proxy.routes[realm]
	if !ok {
		return none("route for realm", realm)
	}
	list := wamp.List{}
	for _, id := range slices.Sorted(maps.Keys(routes)) {
		list = append(list, showRoute(realm, id, routes[id]))
	}
	return value(list)
}

func showRoute(realm, id string, roles wamp.Dict) wamp.Dict {
	return wamp.Dict{"id": id, "realm": realm, "config": roles, "state": 3, "started": 1, "stopped": nil}
}

// startRoute gives the route its id.
func startRoute(w *Worker, i *wamp.Invocation) client.InvokeResult {
	realm, roles, p := arg[string](i, 0), dictArg(i, 1), &w.proxy
	for _, c := range roles {
		if p.connections[fmt.Sprint(c)] == nil {
			return none("connection", fmt.Sprint(c))
		}
	}
	for role, c := range roles {
		key := realm + " " + role
		if now := p.connections[fmt.Sprint(c)]; !slices.Contains(p.had[key], now) {
			p.had[key] = append(p.had[key], now)
		}
	}
	if p.routes[realm] == nil {
		p.routes[realm] = map[string]wamp.Dict{}
	}
	id := fmt.Sprintf("route%03d", p.next)
	p.next++
	p.routes[realm][id] = roles
	return value(showRoute(realm, id, roles))
}

func stopRoute(w *Worker, i *wamp.Invocation) client.InvokeResult {
	realm, id := arg[string](i, 0), arg[string](i, 1)
	roles, ok := w.proxy.routes[realm][id]
	if !ok {
		return none("route", id)
	}
	if delete(w.proxy.routes[realm], id); len(w.proxy.routes[realm]) == 0 {
		delete(w.proxy.routes, realm)
	}
	return value(showRoute(realm, id, roles))
}

// Reached are the urls of the routers that sessions of a role in a realm are
// passed on to, in turns.
func (n *Node) Reached(worker, realm, role string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &n.workers[worker].proxy
	served := false
	for _, roles := range p.routes[realm] {
		served = served || roles[role] != nil
	}
	if !served {
		return nil
	}
	var urls []string
	for _, c := range p.had[realm+" "+role] {
		transport, _ := wamp.AsDict(c.config["transport"])
		url, _ := wamp.AsString(transport["url"])
		urls = append(urls, url)
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// Routes are the ids that the node has given to routes that run.
func (n *Node) Routes(worker string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []string
	for _, routes := range n.workers[worker].proxy.routes {
		ids = slices.AppendSeq(ids, maps.Keys(routes))
	}
	slices.Sort(ids)
	return ids
}

// BootRoute starts a route as the node's own configuration would.
func (n *Node) BootRoute(worker, realm string, roles wamp.Dict) {
	n.mu.Lock()
	startRoute(n.workers[worker], &wamp.Invocation{Arguments: wamp.List{realm, roles}})
	n.mu.Unlock()
	n.Publish("worker."+worker+".on_proxy_route_started", wamp.Dict{})
}
