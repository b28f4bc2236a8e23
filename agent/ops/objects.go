package ops

import (
	"context"
	"slices"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// starts are the arguments of a row that starts an object.
type starts interface {
	catalog.Placed
	Settings() map[string]any
}

// bindKind binds the four rows that every kind of object has.
func bindKind[L, G, X catalog.Placed, S starts](o *Ops, k *Kind, list catalog.Spec[L, []string], get catalog.Spec[G, catalog.Dict],
	start catalog.Spec[S, catalog.Dict], stop catalog.Spec[X, catalog.Dict]) {
	bindLook(o, k, list, get)
	bindStart(o, k, start)
	bindStop(o, k, stop)
}

func bindStart[S starts](o *Ops, k *Kind, start catalog.Spec[S, catalog.Dict]) {
	catalog.Bind(o.table, start, func(ctx context.Context, c catalog.Caller, in S) (catalog.Dict, error) {
		return o.startObject(ctx, c, k.at(in.Place()), in.Settings())
	})
}

func bindLook[L, G catalog.Placed](o *Ops, k *Kind, list catalog.Spec[L, []string], get catalog.Spec[G, catalog.Dict]) {
	catalog.Bind(o.table, list, func(ctx context.Context, _ catalog.Caller, in L) ([]string, error) {
		return o.listObjects(ctx, k.within(in.Place()))
	})
	catalog.Bind(o.table, get, func(ctx context.Context, _ catalog.Caller, in G) (catalog.Dict, error) {
		return o.getObject(ctx, k.at(in.Place()))
	})
	if list.Crossbar != "" {
		catalog.BindCrossbar(o.table, list, func(ctx context.Context, _ catalog.Caller, in L) ([]catalog.Dict, error) {
			return o.showObjects(ctx, k.within(in.Place()))
		})
	}
}

func bindStop[X catalog.Placed](o *Ops, k *Kind, stop catalog.Spec[X, catalog.Dict]) {
	catalog.Bind(o.table, stop, func(ctx context.Context, c catalog.Caller, in X) (catalog.Dict, error) {
		return o.stopObject(ctx, c, k.at(in.Place()), StopOptions{})
	})
}

// within is the place of a list: what the arguments name is what the objects
// belong to.
func (k *Kind) within(p catalog.Place) Ref {
	if k.Parent == nil {
		return Ref{Kind: k, Worker: p.Worker}
	}
	return Ref{Kind: k, Worker: p.Worker, Parent: p.ID}
}

// needKind answers nil when the worker is there, ready and of the kind's type.
func (o *Ops) needKind(ctx context.Context, r Ref) error {
	return o.needWorker(ctx, r.Worker, o.cfg.Node.Procedure(r.Kind), r.Kind.Worker)
}

// objects are those of r's kind at r's place, by id.
func (o *Ops) objects(ctx context.Context, r Ref) ([]Object, error) {
	if err := o.needKind(ctx, r); err != nil {
		return nil, err
	}
	all, err := o.cfg.Node.Objects(ctx, r.Kind, r.Worker, r.Parent)
	return all, named(err, r.Worker)
}

func (o *Ops) listObjects(ctx context.Context, r Ref) ([]string, error) {
	all, err := o.objects(ctx, r)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(all))
	for i, x := range all {
		ids[i] = x.ID
	}
	slices.Sort(ids)
	return ids, nil
}

// showObjects is the list as Crossbar.io gives it, each object whole.
func (o *Ops) showObjects(ctx context.Context, r Ref) ([]catalog.Dict, error) {
	ids, err := o.listObjects(ctx, r)
	if err != nil {
		return nil, err
	}
	list := make([]catalog.Dict, 0, len(ids))
	for _, id := range ids {
		r.ID = id
		d, err := o.cfg.Node.Object(ctx, r)
		if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, named(err, r.Worker)
		}
		list = append(list, d)
	}
	return list, nil
}

func (o *Ops) getObject(ctx context.Context, r Ref) (catalog.Dict, error) {
	if err := o.needKind(ctx, r); err != nil {
		return nil, err
	}
	d, err := o.cfg.Node.Object(ctx, r)
	return d, named(err, r.Worker)
}

func (o *Ops) startObject(ctx context.Context, caller catalog.Caller, r Ref, config map[string]any) (catalog.Dict, error) {
	if r.ID == "" {
		r.ID = madeUp(r.Kind.Prefix)
	}
	if err := o.mayStart(r, caller, config); err != nil {
		return nil, err
	}
	return o.begin(ctx, caller.AuthID, r, config)
}

// mayStart refuses what the node need not be asked about.
func (o *Ops) mayStart(r Ref, caller catalog.Caller, config map[string]any) error {
	if r.Kind.Check != nil {
		if err := r.Kind.Check(config); err != nil {
			return err
		}
	}
	return mayRunCode(r, caller, config)
}

// begin starts an object of which its caller is known to be allowed to.
func (o *Ops) begin(ctx context.Context, by string, r Ref, config map[string]any) (catalog.Dict, error) {
	name := r.Kind.name(config)
	if err := o.free(ctx, r, name); err != nil {
		return nil, err
	}
	if err := o.told(ctx, r, false); err != nil {
		return nil, named(err, r.Worker)
	}
	finish := o.inv.starting(r, name, by)
	d, err := survive(o, func() (catalog.Dict, error) { return o.cfg.Node.Start(ctx, by, r, config) })
	finish(r.Kind.born(d), err)
	if err != nil {
		return nil, named(err, r.Worker)
	}
	o.foundWithin(ctx, r, by)
	return d, nil
}

// mayRunCode refuses what is as much as a program of one's own on the host.
func mayRunCode(r Ref, caller catalog.Caller, config map[string]any) error {
	if r.Kind.Code == nil || caller.Role == wire.Owner {
		return nil
	}
	what := r.Kind.Code(config)
	if what == "" {
		return nil
	}
	return cfcerr.New(cfcerr.NotAuthorized, "cannot start %s %s: %s, so it takes the role owner; the caller's is %q", r.Kind.Noun, r.ID, what, caller.Role)
}

func (k *Kind) name(config map[string]any) string {
	if k.Name == nil {
		return ""
	}
	return k.Name(config)
}

// free refuses an id or a name that is in use. The node may take the name a
// second time, and then route both through one.
func (o *Ops) free(ctx context.Context, r Ref, name string) error {
	if err := o.cfg.Node.Settle(ctx); err != nil {
		return err
	}
	all, err := o.objects(ctx, r)
	if err != nil {
		return err
	}
	for _, x := range all {
		what := "id"
		if x.ID != r.ID {
			if what = "name"; name == "" || x.Name != name || r.Kind.Shared {
				continue
			}
		}
		e := cfcerr.New(cfcerr.AlreadyRunning, "cannot start %s %s: %s has one with this %s", r.Kind.Noun, r.ID, r.where(), what)
		return x.ref(r.Worker).InDetail(e).With("name", x.Name)
	}
	return nil
}

// foundWithin tells of what was started with an object. An answer that does
// not come is made up for by what is seen next.
func (o *Ops) foundWithin(ctx context.Context, r Ref, by string) {
	for _, k := range children(r.Kind) {
		mark := o.inv.Mark()
		if all, err := o.cfg.Node.Objects(ctx, k, r.Worker, r.ID); err == nil {
			o.inv.found(mark, r.Worker, all, by)
		}
	}
}

// told sees to it that what an object belongs to is told before it, and the
// object itself where it is there. What the node has started by itself a moment
// ago may not have been told of yet. Where the node does not say, nothing is to
// be done to the object.
func (o *Ops) told(ctx context.Context, r Ref, itself bool) error {
	if o.inv.knows(r, itself) {
		return nil
	}
	mark := o.inv.Mark()
	w, err := o.cfg.Node.Worker(ctx, r.Worker)
	if err != nil {
		return err
	}
	var kinds []Ref
	if k := r.Kind.Parent; k != nil {
		kinds = append(kinds, Ref{Kind: k})
	}
	if itself {
		kinds = append(kinds, Ref{Kind: r.Kind, Parent: r.Parent})
	}
	for _, k := range kinds {
		all, err := o.cfg.Node.Objects(ctx, k.Kind, r.Worker, k.Parent)
		if err != nil {
			return err
		}
		w.Objects = append(w.Objects, all...)
	}
	o.inv.met(mark, w)
	return nil
}

func (o *Ops) stopObject(ctx context.Context, caller catalog.Caller, r Ref, options StopOptions) (catalog.Dict, error) {
	if err := o.cfg.Node.Settle(ctx); err != nil {
		return nil, err
	}
	mark := o.inv.Mark()
	if err := o.needKind(ctx, r); err != nil {
		return nil, err
	}
	anew, err := o.cfg.Node.MayStop(ctx, r, options)
	if err != nil {
		return nil, named(err, r.Worker)
	}
	if err := o.told(ctx, r, true); err != nil {
		return nil, named(err, r.Worker)
	}
	if anew {
		return o.stopByRestart(ctx, caller.AuthID, mark, r)
	}
	return o.end(ctx, caller.AuthID, mark, r, options)
}

// end stops an object that the node can stop, and has told at mark to run.
func (o *Ops) end(ctx context.Context, by string, mark uint64, r Ref, options StopOptions) (catalog.Dict, error) {
	finish := o.inv.stopping(mark, r, by)
	d, err := survive(o, func() (catalog.Dict, error) { return o.cfg.Node.Stop(ctx, by, r, options) })
	finish(err)
	return d, named(err, r.Worker)
}
