package ops

import (
	"context"
	"fmt"
	"slices"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func (o *Ops) bindRouter() {
	t := o.table
	catalog.Bind(t, catalog.RouterGetRealms, func(ctx context.Context, _ catalog.Caller, in catalog.Workers) ([]string, error) {
		worker := string(in.Worker)
		if err := o.needRouter(ctx, worker); err != nil {
			return nil, err
		}
		realms, err := o.cfg.Node.Realms(ctx, worker)
		if err != nil {
			return nil, named(err, worker)
		}
		ids := make([]string, len(realms))
		for i, r := range realms {
			ids[i] = r.ID
		}
		slices.Sort(ids)
		return ids, nil
	})
	catalog.Bind(t, catalog.RouterGetRealm, func(ctx context.Context, _ catalog.Caller, in catalog.OnRealm) (catalog.Dict, error) {
		if err := o.needRouter(ctx, string(in.Worker)); err != nil {
			return nil, err
		}
		return o.cfg.Node.Realm(ctx, string(in.Worker), string(in.RealmID))
	})
	catalog.Bind(t, catalog.RouterStartRealm, o.startRealm)
	catalog.Bind(t, catalog.RouterStopRealm, o.stopRealm)
}

func (o *Ops) needRouter(ctx context.Context, worker string) error {
	return o.needWorker(ctx, worker, "get_router_realms", "router")
}

func (o *Ops) startRealm(ctx context.Context, caller catalog.Caller, in catalog.StartRealmIn) (catalog.Dict, error) {
	worker, id := string(in.Worker), madeUp("realm_")
	if in.RealmID != nil {
		id = string(*in.RealmID)
	}
	if err := checkRealm(in.Config); err != nil {
		return nil, err
	}
	if err := o.needRouter(ctx, worker); err != nil {
		return nil, err
	}
	name, _ := in.Config["name"].(string)
	if err := o.free(ctx, worker, id, name); err != nil {
		return nil, err
	}
	finish := o.inv.startingRealm(worker, id, name, caller.AuthID)
	d, err := o.cfg.Node.StartRealm(ctx, caller.AuthID, worker, id, in.Config)
	finish(err)
	return d, named(err, worker)
}

// free refuses an id or a name that is in use. The node would take the name a
// second time, and then route both through one.
func (o *Ops) free(ctx context.Context, worker, id, name string) error {
	realms, err := o.cfg.Node.Realms(ctx, worker)
	if err != nil {
		return named(err, worker)
	}
	for _, r := range realms {
		what := "id"
		if r.ID != id {
			if what = "name"; r.Name != name {
				continue
			}
		}
		return cfcerr.New(cfcerr.AlreadyRunning, "cannot start realm %s (%s): worker %s runs one with this %s", id, name, worker, what).
			With("worker_id", worker).With("realm_id", r.ID).With("name", r.Name)
	}
	return nil
}

// checkRealm refuses what the node would start half, or fail at without
// saying why.
func checkRealm(config map[string]any) error {
	if name, ok := config["name"].(string); !ok || name == "" {
		return cfcerr.Argument("realm_config.name", "the name of the WAMP realm")
	}
	if v, given := config["options"]; given {
		if _, ok := wamp.AsDict(v); !ok || v == nil {
			return cfcerr.Argument("realm_config.options", "a dict")
		}
	}
	v, given := config["roles"]
	if !given {
		return nil
	}
	roles, ok := wamp.AsList(v)
	if !ok || v == nil {
		return cfcerr.Argument("realm_config.roles", "a list of roles, each a dict")
	}
	names, ids := map[string]bool{}, map[string]bool{}
	for i, v := range roles {
		at := fmt.Sprintf("realm_config.roles[%d]", i)
		role, ok := wamp.AsDict(v)
		if !ok || v == nil {
			return cfcerr.Argument(at, "a dict with name, and permissions or authorizer")
		}
		name, _ := role["name"].(string)
		if name == "" || names[name] {
			return cfcerr.Argument(at+".name", "a name that no other role of the realm has")
		}
		names[name] = true
		if v, given := role["id"]; given {
			id, _ := v.(string)
			if !wire.ValidObjectID(id) || ids[id] {
				return cfcerr.Argument(at+".id", "an id that no other role of the realm has: "+wire.ObjectIDForm)
			}
			ids[id] = true
		}
		_, static := role["permissions"]
		if _, dynamic := role["authorizer"]; static == dynamic {
			return cfcerr.Argument(at, "permissions or authorizer, one of the two")
		}
	}
	return nil
}

func (o *Ops) stopRealm(ctx context.Context, caller catalog.Caller, in catalog.OnRealm) (catalog.Dict, error) {
	worker, id := string(in.Worker), string(in.RealmID)
	if err := o.needRouter(ctx, worker); err != nil {
		return nil, err
	}
	realms, err := o.cfg.Node.Realms(ctx, worker)
	if err != nil {
		return nil, named(err, worker)
	}
	if !slices.ContainsFunc(realms, func(r Realm) bool { return r.ID == id }) {
		return nil, cfcerr.New(cfcerr.NoSuchObject, "cannot stop realm %s: worker %s has no such realm", id, worker).With("worker_id", worker).With("realm_id", id)
	}
	finish := o.inv.stoppingRealm(worker, id, caller.AuthID)
	d, err := o.cfg.Node.StopRealm(ctx, caller.AuthID, worker, id)
	finish(err)
	return d, named(err, worker)
}
