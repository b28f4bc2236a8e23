package nodetest

import (
	"maps"
	"slices"
	"time"

	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

func (n *Node) getRealms(w *Worker) client.InvokeResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := wamp.List{}
	for _, id := range slices.Sorted(maps.Keys(w.realms)) { // the dead among them
		ids = append(ids, id)
	}
	return value(ids)
}

func (n *Node) getRealm(w *Worker, i *wamp.Invocation) client.InvokeResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := arg[string](i, 0)
	r := w.realms[id]
	if r == nil {
		return fault("crossbar.error.no_such_object", "No realm with ID '%s'", id)
	}
	return value(r.marshal(id))
}

func (r *realm) marshal(id string) wamp.Dict {
	roles := wamp.List{}
	for _, rid := range slices.Sorted(maps.Keys(r.roles)) {
		roles = append(roles, wamp.Dict{"id": rid, "config": r.roles[rid]})
	}
	return wamp.Dict{"id": id, "config": r.config, "created": wire.Time(time.Now()), "has_router": true, "roles": roles}
}

func (n *Node) startRealm(w *Worker, i *wamp.Invocation) client.InvokeResult {
	id, config := arg[string](i, 0), dictArg(i, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if w.realms[id] != nil {
		return fault("crossbar.error.already_running", "Could not start realm: a realm with ID '%s' is already running (or starting)", id)
	}
	name, ok := config["name"].(string)
	if !ok {
		return broken("name")
	}
	r := &realm{config: config, roles: map[string]wamp.Dict{}}
	w.realms[id] = r
	if name == "halfway" { // fails after it is listed
		r.down = true
		return broken("cannot start router")
	}
	return value(r.marshal(id))
}

func (n *Node) stopRealm(w *Worker, i *wamp.Invocation) client.InvokeResult {
	id := arg[string](i, 0)
	n.mu.Lock()
	defer n.mu.Unlock()
	r := w.realms[id]
	if r == nil {
		return fault("crossbar.error.no_such_object", "No realm with ID '%s'", id)
	}
	name, _ := r.config["name"].(string)
	if r.down {
		return broken("no router started for realm %q", name)
	}
	r.down = true // and stays listed for ever
	return broken("%s", name)
}

func (n *Node) startRole(w *Worker, i *wamp.Invocation) client.InvokeResult {
	id, rid, config := arg[string](i, 0), arg[string](i, 1), dictArg(i, 2)
	n.mu.Lock()
	defer n.mu.Unlock()
	r := w.realms[id]
	switch {
	case r == nil:
		return fault("crossbar.error.no_such_object", "No realm with ID '%s'", id)
	case r.down:
		return broken("no router started for realm %q", r.config["name"])
	case r.roles[rid] != nil:
		return fault("crossbar.error.already_exists", "A role with ID '%s' already exists", rid)
	case config["name"] == "refused":
		return broken("neither static nor dynamic")
	}
	r.roles[rid] = config
	return value(wamp.Dict{"id": rid, "config": config})
}

// Running are the names of the realms of a worker that really run.
func (n *Node) Running(worker string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	w := n.workers[worker]
	if w == nil {
		return nil
	}
	for _, r := range w.realms {
		if !r.down {
			name, _ := r.config["name"].(string)
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// BootRealm starts a realm as the node's own configuration would.
func (n *Node) BootRealm(worker, id, name string) {
	n.mu.Lock()
	r := &realm{config: wamp.Dict{"name": name}, roles: map[string]wamp.Dict{}}
	n.workers[worker].realms[id] = r
	n.mu.Unlock()
	n.Publish("worker."+worker+".on_realm_started", id)
	n.Publish("worker."+worker+".on_realm_started", r.marshal(id))
}
