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
	r, failed := n.newRealm(w, id, config)
	if r == nil {
		return failed
	}
	if options, _ := wamp.AsDict(config["options"]); options["bridge_meta_api"] == true {
		n.bridgeMeta(w, id, r)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return value(r.marshal(id))
}

func (n *Node) newRealm(w *Worker, id string, config wamp.Dict) (*realm, client.InvokeResult) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w.realms[id] != nil {
		return nil, fault("crossbar.error.already_running", "Could not start realm: a realm with ID '%s' is already running (or starting)", id)
	}
	name, ok := config["name"].(string)
	if !ok {
		return nil, broken("name")
	}
	r := &realm{config: config, roles: map[string]wamp.Dict{}, rights: map[string]wamp.Dict{}, embedded: map[int64]string{}, sessions: wamp.List{uint64(11), uint64(12)}}
	w.realms[id] = r
	if name == "halfway" { // fails after it is listed
		r.down = true
		return nil, broken("cannot start router")
	}
	return r, client.InvokeResult{}
}

// bridgeMeta registers the part of a realm's meta API that matters here. Two
// sessions have joined it.
func (n *Node) bridgeMeta(w *Worker, id string, r *realm) {
	prefix := "worker." + w.ID + ".realm." + id + ".root.wamp.session."
	for name, f := range n.meta(r) {
		n.register(prefix+name, f)
		n.mu.Lock()
		w.extra = append(w.extra, prefix+name)
		n.mu.Unlock()
	}
}

func (n *Node) getRole(w *Worker, i *wamp.Invocation) client.InvokeResult {
	id, rid := arg[string](i, 0), arg[string](i, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	r := w.realms[id]
	if r == nil || r.roles[rid] == nil {
		return fault("crossbar.error.no_such_object", "No role with ID '%s' on realm '%s'", rid, id)
	}
	return value(wamp.Dict{"id": rid, "config": r.roles[rid]})
}

func (n *Node) stopRole(w *Worker, i *wamp.Invocation) client.InvokeResult {
	id, rid := arg[string](i, 0), arg[string](i, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := w.realms[id]; r == nil || r.roles[rid] == nil {
		return fault("crossbar.error.no_such_object", "No role with ID '%s' on realm '%s'", rid, id)
	}
	delete(w.realms[id].roles, rid)
	return value(wamp.Dict{"id": rid})
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
	r.cutOff = len(r.sessions)
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
	case r.named(config["name"]):
		return fault("crossbar.error.already_exists", "A role with name '%s' already exists", config["name"])
	}
	r.roles[rid] = config
	if config["name"] == "refused" { // and stays listed
		return broken("neither static nor dynamic")
	}
	name, _ := config["name"].(string)
	r.rights[name] = config
	return value(wamp.Dict{"id": rid, "config": config})
}

func (r *realm) named(name any) bool {
	for _, config := range r.roles {
		if config["name"] == name {
			return true
		}
	}
	return false
}

// Rights is the configuration by which the router decides for sessions that
// have a role. It outlives the role.
func (n *Node) Rights(worker, realm, role string) map[string]any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.workers[worker].realms[realm].rights[role]
}

// CutOff is how many sessions were left connected to a realm that is down.
func (n *Node) CutOff(worker string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	cut := 0
	for _, r := range n.workers[worker].realms {
		cut += r.cutOff
	}
	return cut
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
	r := &realm{config: wamp.Dict{"name": name}, roles: map[string]wamp.Dict{}, rights: map[string]wamp.Dict{}, embedded: map[int64]string{}}
	n.workers[worker].realms[id] = r
	n.mu.Unlock()
	n.Publish("worker."+worker+".on_realm_started", id)
	n.Publish("worker."+worker+".on_realm_started", r.marshal(id))
}
