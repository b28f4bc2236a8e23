package ops

import (
	"context"
	"errors"
	"slices"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// endTime is how long a restart goes on when nobody waits for it any more.
const endTime = time.Minute

// toTheEnd is for what must not be left half done: a caller who loses patience,
// or his connection, would leave down what he only wanted to have restarted.
func toTheEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(context.WithoutCancel(ctx), endTime)
}

// restartObject stops an object and starts it again as it was.
func (o *Ops) restartObject(ctx context.Context, caller catalog.Caller, r Ref) (catalog.Dict, error) {
	d, err := o.getObject(ctx, r)
	if err != nil {
		return nil, err
	}
	config, _ := wamp.AsDict(d["config"])
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	if _, err = o.stopObject(ctx, caller, r, StopOptions{}); err != nil {
		return nil, err
	}
	d, err = o.begin(ctx, caller.AuthID, r, config)
	if err != nil {
		e := cfcerr.New(cfcerr.KindOf(err), "cannot restart %s %s: it is stopped, and does not start again: %w", r.Kind.Noun, r.ID, err)
		return nil, r.InDetail(e)
	}
	return d, nil
}

// stopByRestart stops an object, where the node cannot do it otherwise, by a
// restart of its worker without it.
func (o *Ops) stopByRestart(ctx context.Context, by string, mark uint64, r Ref) (catalog.Dict, error) {
	d, err := o.cfg.Node.Object(ctx, r)
	if err != nil {
		return nil, named(err, r.Worker)
	}
	finish := o.inv.stopping(mark, r, by)
	err = o.restartWorker(ctx, by, r.Worker, r)
	finish(err)
	if err != nil {
		return nil, err
	}
	d["stopped"], d["who"] = wire.Time(time.Now()), by
	return d, nil
}

// running is an object and the configuration to start it with again.
type running struct {
	Ref
	config map[string]any
	parts  []running
}

// restartWorker stops a worker and starts it and all that runs in it again, but
// for the object without. What does not start again is in the error; the rest
// runs.
func (o *Ops) restartWorker(ctx context.Context, by, id string, without Ref) error {
	spec, err := o.cfg.Node.Spec(ctx, id)
	if err != nil {
		return named(err, id)
	}
	var all []running
	for _, k := range KindsOf(spec.Type) {
		if k.Parent == nil {
			some, err := o.running(ctx, Ref{Kind: k, Worker: id}, without)
			if err != nil {
				return named(err, id)
			}
			all = append(all, some...)
		}
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	if _, err := o.endWorker(ctx, by, id, false); err != nil {
		return err
	}
	if _, err := o.beginWorker(ctx, by, spec); err != nil {
		return cfcerr.New(cfcerr.CannotStart, "cannot restart worker %s: it is stopped, and does not start again: %w", id, err).With("worker_id", id)
	}
	var failed []error
	for _, x := range all {
		failed = append(failed, o.again(ctx, by, x))
	}
	if err := errors.Join(failed...); err != nil {
		return cfcerr.New(cfcerr.CannotStart, "cannot restart all of worker %s: it runs, but not all that ran in it: %w", id, err).With("worker_id", id)
	}
	return nil
}

// running are the objects at r's place, with what belongs to them.
func (o *Ops) running(ctx context.Context, r, without Ref) ([]running, error) {
	all, err := o.cfg.Node.Objects(ctx, r.Kind, r.Worker, r.Parent)
	if err != nil {
		return nil, err
	}
	var list []running
	for _, x := range all {
		if x.ref(r.Worker) == without {
			continue
		}
		d, err := o.cfg.Node.Object(ctx, x.ref(r.Worker))
		if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		now := running{Ref: x.ref(r.Worker)}
		now.config, _ = wamp.AsDict(d["config"])
		for _, k := range children(r.Kind) {
			parts, err := o.running(ctx, Ref{Kind: k, Worker: r.Worker, Parent: x.ID}, without)
			if err != nil {
				return nil, err
			}
			now.parts = append(now.parts, parts...)
		}
		list = append(list, now)
	}
	return list, nil
}

// again starts an object and makes what belongs to it be as it was: its
// configuration may hold more by now, or less.
func (o *Ops) again(ctx context.Context, by string, x running) error {
	if _, err := o.begin(ctx, by, x.Ref, x.config); err != nil {
		return err
	}
	var failed []error
	for _, k := range children(x.Kind) {
		mark := o.inv.Mark()
		all, err := o.cfg.Node.Objects(ctx, k, x.Worker, x.ID)
		if err != nil {
			return err
		}
		for _, now := range all {
			if r := now.ref(x.Worker); !slices.ContainsFunc(x.parts, func(p running) bool { return p.Ref == r }) {
				_, err = o.end(ctx, by, mark, r, StopOptions{})
				failed = append(failed, err)
			}
		}
		for _, p := range x.parts {
			if p.Kind == k && !slices.ContainsFunc(all, func(now Object) bool { return now.ref(x.Worker) == p.Ref }) {
				failed = append(failed, o.again(ctx, by, p))
			}
		}
	}
	return errors.Join(failed...)
}
