package ops

import (
	"context"
	"fmt"
	"slices"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

func (o *Ops) bindRealms() {
	t := o.table
	catalog.Bind(t, catalog.RouterGetRealmByName, o.realmByName)
	catalog.Bind(t, catalog.RouterGetRealmStats, o.realmStats)
	catalog.Bind(t, catalog.RouterKillByAuthID, func(ctx context.Context, _ catalog.Caller, in catalog.KillByAuthIDIn) ([]int64, error) {
		var message any
		if in.Message != nil {
			message = *in.Message
		}
		v, err := o.aboutRealm(ctx, in.Place(), "kill_by_authid", in.AuthID, in.Reason, message)
		if err != nil {
			return nil, err
		}
		list, _ := wamp.AsList(v)
		ids := make([]int64, len(list))
		for i, x := range list {
			ids[i], _ = wamp.AsInt64(x)
		}
		return ids, nil
	})
	catalog.Bind(t, catalog.RealmGetLinks, func(ctx context.Context, _ catalog.Caller, in catalog.OnRealm) ([]string, error) {
		v, err := o.aboutRealm(ctx, in.Place(), "get_router_realm_links")
		if err != nil {
			return nil, err
		}
		list, _ := wamp.AsList(v)
		ids := make([]string, len(list))
		for i, x := range list {
			ids[i] = fmt.Sprint(x)
		}
		slices.Sort(ids)
		return ids, nil
	})
	catalog.Bind(t, catalog.RealmStartLink, func(ctx context.Context, _ catalog.Caller, in catalog.StartLinkIn) (catalog.Dict, error) {
		return nil, o.noLinks(ctx, in.Place(), "start")
	})
	catalog.Bind(t, catalog.RealmStopLink, func(ctx context.Context, _ catalog.Caller, in catalog.OnLink) (catalog.Dict, error) {
		return nil, o.noLinks(ctx, in.Place(), "stop")
	})
	catalog.Bind(t, catalog.RealmGetLink, func(ctx context.Context, _ catalog.Caller, in catalog.OnLink) (catalog.Dict, error) {
		v, err := o.aboutRealm(ctx, in.Place(), "get_router_realm_link", string(in.LinkID))
		d, _ := wamp.AsDict(v)
		if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
			e, _ := cfcerr.Public(err)
			err = e.With("link_id", string(in.LinkID))
		}
		return catalog.Dict(d), err
	})
}

// noLinks is the error of changing a realm's links.
func (o *Ops) noLinks(ctx context.Context, realm catalog.Place, what string) error {
	if _, err := o.getObject(ctx, RouterRealm.at(realm)); err != nil {
		return err
	}
	return cfcerr.New(cfcerr.NotSupported, "cannot %s the link: %s", what, catalog.NoLinks).With("reason", catalog.NoLinks)
}

// aboutRealm calls a procedure of the worker about one of its realms.
func (o *Ops) aboutRealm(ctx context.Context, p catalog.Place, procedure string, args ...any) (any, error) {
	r := RouterRealm.at(p)
	if err := o.needKind(ctx, r); err != nil {
		return nil, err
	}
	return o.cfg.Node.About(ctx, r, procedure, args...)
}

func (o *Ops) realmByName(ctx context.Context, _ catalog.Caller, in catalog.RealmByNameIn) (catalog.Dict, error) {
	r := Ref{Kind: RouterRealm, Worker: string(in.Worker)}
	all, err := o.objects(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		if x.Name == in.Name {
			return o.getObject(ctx, x.ref(r.Worker))
		}
	}
	return nil, cfcerr.New(cfcerr.NoSuchObject, "cannot find a realm named %q: worker %s has no such realm", in.Name, r.Worker).
		With("worker_id", r.Worker).With("name", in.Name)
}

func (o *Ops) realmStats(ctx context.Context, _ catalog.Caller, in catalog.RealmStatsIn) (catalog.Dict, error) {
	place := catalog.Place{Worker: string(in.Worker)}
	var ids []string
	if in.RealmID != nil {
		ids = []string{string(*in.RealmID)}
	} else {
		var err error
		if ids, err = o.listObjects(ctx, RouterRealm.at(place)); err != nil {
			return nil, err
		}
	}
	stats := catalog.Dict{}
	for _, id := range ids {
		place.ID = id
		v, err := o.aboutRealm(ctx, place, "get_router_realm_stats")
		if cfcerr.KindOf(err) == cfcerr.NoSuchObject && in.RealmID == nil {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		of, _ := wamp.AsDict(v)
		for _, x := range of { // the one, under the node's id
			stats[id] = x
		}
	}
	return stats, nil
}
