package crossbar

import (
	"context"
	"maps"
	"slices"
	"strings"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// router is a router worker as one operation sees it.
type router struct {
	n    *Node
	id   string
	life life     // the process that the memory is of
	ids  []string // the realm ids that the node lists, the dead among them
}

func (n *Node) router(ctx context.Context, worker string) (*router, error) {
	w, err := n.Worker(ctx, worker)
	if err != nil {
		return nil, err
	}
	return n.routerOf(ctx, w)
}

func (n *Node) routerOf(ctx context.Context, w ops.Worker) (*router, error) {
	r := &router{n: n, id: w.ID, life: life{PID: w.PID, Created: w.Created}}
	v, err := r.call(ctx, "get_router_realms")
	if err != nil {
		return nil, err
	}
	r.ids, err = stringList("get_router_realms", v)
	return r, err
}

func (r *router) call(ctx context.Context, procedure string, args ...any) (any, error) {
	return r.n.call(ctx, quick, ops.WorkerProcedure(r.id, procedure), args...)
}

// get is a realm by the node's id for it, under the id that callers use.
func (r *router) get(ctx context.Context, nodeID string) (catalog.Dict, error) {
	v, err := r.call(ctx, "get_router_realm", nodeID)
	if err != nil {
		return nil, err
	}
	d, ok := wamp.AsDict(v)
	if !ok {
		return nil, cfcerr.New(cfcerr.NotSupported, "cannot use the node's answer to get_router_realm: it is no dict")
	}
	d = wamp.NormalizeDict(d)
	d["id"] = r.n.memory.public(r.id, r.life, nodeID)
	return catalog.Dict(d), nil
}

// living are the node's ids of the realms that run.
func (r *router) living() []string {
	return slices.DeleteFunc(slices.Clone(r.ids), func(id string) bool { return r.n.memory.hidden(r.id, r.life, id) })
}

// find is the node's id of a realm that runs.
func (r *router) find(public string) (string, error) {
	nodeID := r.n.memory.node(r.id, r.life, public)
	if nodeID == "" || !slices.Contains(r.living(), nodeID) {
		return "", cfcerr.New(cfcerr.NoSuchObject, "cannot find realm %s: worker %s has no such realm", public, r.id).With("worker_id", r.id).With("realm_id", public)
	}
	return nodeID, nil
}

func (r *router) refresh(ctx context.Context) error {
	v, err := r.call(ctx, "get_router_realms")
	if err == nil {
		r.ids, err = stringList("get_router_realms", v)
	}
	return err
}

func (r *router) realms(ctx context.Context) ([]ops.Realm, error) {
	var realms []ops.Realm
	for _, id := range r.living() {
		name, err := r.name(ctx, id)
		if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
			continue
		}
		if err != nil {
			return nil, err
		}
		realms = append(realms, ops.Realm{ID: r.n.memory.public(r.id, r.life, id), Name: name})
	}
	slices.SortFunc(realms, func(a, b ops.Realm) int { return strings.Compare(a.ID, b.ID) })
	return realms, nil
}

// name is a realm's name. It does not change while the realm runs: so it is
// asked for once, and not every two seconds.
func (r *router) name(ctx context.Context, nodeID string) (string, error) {
	key := realmKey{r.id, r.life, nodeID}
	r.n.mu.Lock()
	name, known := r.n.names[key]
	r.n.mu.Unlock()
	if known {
		return name, nil
	}
	d, err := r.get(ctx, nodeID)
	if err != nil {
		return "", err
	}
	name = nameOf(d)
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	r.n.names[key] = name
	return name, nil
}

func (r *router) forgetName(nodeID string) {
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	delete(r.n.names, realmKey{r.id, r.life, nodeID})
}

// realmKey names a realm on the node for good.
type realmKey struct {
	worker string
	life   life
	nodeID string
}

// keepNames drops what is of workers that are gone.
func (n *Node) keepNames(workers []ops.Worker) {
	lives := map[string]life{}
	for _, w := range workers {
		lives[w.ID] = life{PID: w.PID, Created: w.Created}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.names, func(k realmKey, _ string) bool { return lives[k.worker] != k.life })
}

func nameOf(realm catalog.Dict) string {
	config, _ := wamp.AsDict(realm["config"])
	name, _ := wamp.AsString(config["name"])
	return name
}
