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
	"go.uber.org/zap"
)

const (
	endTime  = time.Minute // how long a restart goes on when nobody waits for it any more
	endAgain = time.Second // from one try to end a worker to the next
)

// toTheEnd keeps a restart and gives the context to carry it out in, which must
// not leave it half done: a caller who loses patience, or his connection, would
// leave down what he only wanted to have restarted.
func (o *Ops) toTheEnd(ctx context.Context, x restart) (context.Context, context.CancelFunc, error) {
	if ctx.Err() != nil { // nothing of it has begun
		ctx, cancel := context.WithCancel(ctx)
		return ctx, cancel, nil
	}
	if err := o.journal.begun(x); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	return ctx, cancel, nil
}

// restartObject stops an object and starts it again as it was.
func (o *Ops) restartObject(ctx context.Context, caller catalog.Caller, r Ref) (catalog.Dict, error) {
	if err := o.cfg.Node.Settle(ctx); err != nil {
		return nil, err
	}
	d, err := o.getObject(ctx, r)
	if err != nil {
		return nil, err
	}
	w, err := o.cfg.Node.Worker(ctx, r.Worker)
	if err != nil {
		return nil, named(err, r.Worker)
	}
	x := restart{Node: o.inv.process(), By: caller.AuthID, Worker: w.ID, Type: w.Type, Created: w.Created, Alone: true}
	object := running{Kind: r.Kind.Key, Parent: r.Parent, ID: r.ID}
	object.Config, _ = wamp.AsDict(d["config"])
	x.Objects = []running{object}
	ctx, cancel, err := o.toTheEnd(ctx, x)
	if err != nil {
		return nil, err
	}
	defer cancel()
	d, err = o.stopAndBegin(ctx, x.By, r, object.Config)
	o.leave(ctx, x, err)
	return d, err
}

func (o *Ops) stopAndBegin(ctx context.Context, by string, r Ref, config map[string]any) (catalog.Dict, error) {
	if _, err := o.stopObject(ctx, catalog.Caller{AuthID: by}, r, StopOptions{}); err != nil {
		return nil, err
	}
	d, err := o.begin(ctx, by, r, config)
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
	_, err = survive(o, func() (any, error) { return nil, o.restartWorker(ctx, by, r.Worker, r) })
	finish(err)
	if err != nil {
		return nil, err
	}
	d["stopped"], d["who"] = wire.Time(time.Now()), by
	return d, nil
}

// restartWorker stops a worker and starts it and all that runs in it again, but
// for the object without. What does not start again is in the error; the rest
// runs.
func (o *Ops) restartWorker(ctx context.Context, by, id string, without Ref) error {
	if err := o.cfg.Node.Settle(ctx); err != nil {
		return err
	}
	x, err := o.toRestart(ctx, by, id, without)
	if err != nil {
		return named(err, id)
	}
	ctx, cancel, err := o.toTheEnd(ctx, x)
	if err != nil {
		return err
	}
	defer cancel()
	return o.finishRestart(ctx, x)
}

// toRestart is what a restart of a worker is to start again.
func (o *Ops) toRestart(ctx context.Context, by, id string, without Ref) (restart, error) {
	x := restart{Node: o.inv.process(), By: by, Worker: id, Without: without.ID}
	w, err := o.cfg.Node.Worker(ctx, id)
	if err != nil {
		return x, err
	}
	spec, err := o.cfg.Node.Spec(ctx, id)
	if err != nil {
		return x, err
	}
	x.Created, x.Type, x.Options = w.Created, spec.Type, spec.Options
	for _, k := range KindsOf(spec.Type) {
		if k.Parent == nil {
			some, err := o.running(ctx, Ref{Kind: k, Worker: id}, without)
			if err != nil {
				return x, err
			}
			x.Objects = append(x.Objects, some...)
		}
	}
	return x, nil
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
		now := running{Kind: x.Kind.Key, Parent: x.Parent, ID: x.ID}
		now.Config, _ = wamp.AsDict(d["config"])
		for _, k := range children(r.Kind) {
			parts, err := o.running(ctx, Ref{Kind: k, Worker: r.Worker, Parent: x.ID}, without)
			if err != nil {
				return nil, err
			}
			now.Parts = append(now.Parts, parts...)
		}
		list = append(list, now)
	}
	return list, nil
}

// finishRestart does what of a restart has not been done, and a second time
// where the worker dies in it.
func (o *Ops) finishRestart(ctx context.Context, x restart) error {
	died, err := o.carryThrough(ctx, x)
	if died && !o.brokenOff(ctx) {
		o.log.Warn("worker has died while it was restarted, it is started once more", zap.String("worker", x.Worker), zap.Error(err))
		if w, err := o.cfg.Node.Worker(ctx, x.Worker); err == nil {
			x.Created = w.Created // the node lists it for a moment more
		}
		_, err = o.carryThrough(ctx, x)
	}
	o.leave(ctx, x, err)
	return err
}

// carryThrough makes the worker run anew, with all that is to run in it.
func (o *Ops) carryThrough(ctx context.Context, x restart) (died bool, err error) {
	anew, err := o.runsAnew(ctx, x)
	if err != nil {
		return false, err
	}
	if !anew {
		if err := o.endOld(ctx, x); err != nil {
			return false, err
		}
		if _, err := o.beginWorker(ctx, x.By, WorkerSpec{ID: x.Worker, Type: x.Type, Options: x.Options}); err != nil {
			died := lost(err) || cfcerr.KindOf(err) == cfcerr.CannotStart
			return died, cfcerr.New(cfcerr.CannotStart, "cannot restart worker %s: it is stopped, and does not start again: %w", x.Worker, err).With("worker_id", x.Worker)
		}
	}
	var failed []error
	for _, object := range x.Objects {
		err := o.again(ctx, x.By, x.Worker, object)
		failed = append(failed, err)
		if died = lost(err); died {
			break
		}
	}
	if err := errors.Join(failed...); err != nil {
		return died, cfcerr.New(cfcerr.CannotStart, "cannot restart all of worker %s: it runs, but not all that ran in it: %w", x.Worker, err).With("worker_id", x.Worker)
	}
	return false, nil
}

// endOld ends the worker that is there, if any. One that is still starting the
// node may only be able to end when it has started.
func (o *Ops) endOld(ctx context.Context, x restart) error {
	for {
		_, err := o.endWorker(ctx, x.By, x.Worker, false)
		switch cfcerr.KindOf(err) {
		case cfcerr.NoSuchWorker:
			return nil
		case cfcerr.NotRunning:
		default:
			return err
		}
		select {
		case <-time.After(endAgain):
		case <-ctx.Done():
			return err
		}
	}
}

// lost reports whether an error is one of a worker that dies or has died.
func lost(err error) bool {
	switch cfcerr.KindOf(err) {
	case cfcerr.ConnectionLost, cfcerr.NotRunning, cfcerr.NoSuchWorker:
		return true
	}
	return false
}

// runsAnew reports whether the process of the worker is one that has been
// started, whole, after the restart had begun: then it may stay.
func (o *Ops) runsAnew(ctx context.Context, x restart) (bool, error) {
	w, err := o.cfg.Node.Worker(ctx, x.Worker)
	if cfcerr.KindOf(err) == cfcerr.NoSuchWorker || err == nil && w.Created == x.Created {
		return false, nil
	}
	if err != nil {
		return false, named(err, x.Worker)
	}
	if w.Type != x.Type {
		return false, cfcerr.New(cfcerr.AlreadyRunning, "cannot restart worker %s: in its place there is one of type %s by now", x.Worker, w.Type).With("worker_id", x.Worker)
	}
	o.untilReady(ctx, x.Worker)
	_, err = o.cfg.Node.Spec(ctx, x.Worker)
	switch cfcerr.KindOf(err) {
	case cfcerr.NotSupported, cfcerr.NoSuchWorker: // nobody has seen it come up, or it goes
		return false, nil
	}
	return err == nil, err
}

// again starts an object, if it is not there, and makes what belongs to it be
// as it was: its configuration may hold more by now, or less.
func (o *Ops) again(ctx context.Context, by, worker string, x running) error {
	r := x.ref(worker)
	here, err := o.objects(ctx, r)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(here, func(now Object) bool { return now.ID == x.ID }) {
		if _, err := o.begin(ctx, by, r, x.Config); err != nil {
			return err
		}
	}
	var failed []error
	for _, k := range children(r.Kind) {
		mark := o.inv.Mark()
		all, err := o.cfg.Node.Objects(ctx, k, worker, x.ID)
		if err != nil {
			return named(err, worker)
		}
		for _, now := range all {
			if r := now.ref(worker); !slices.ContainsFunc(x.Parts, func(p running) bool { return p.ref(worker) == r }) {
				_, err = o.end(ctx, by, mark, r, StopOptions{})
				failed = append(failed, err)
			}
		}
		for _, p := range x.Parts {
			if p.Kind == k.Key && !slices.ContainsFunc(all, func(now Object) bool { return now.ref(worker) == p.ref(worker) }) {
				failed = append(failed, o.again(ctx, by, worker, p))
			}
		}
	}
	return errors.Join(failed...)
}
