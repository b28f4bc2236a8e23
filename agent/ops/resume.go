package ops

import (
	"context"
	"errors"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/zap"
)

// resumeAgain is when a restart is looked at again that could not be begun to be
// finished: nobody else would before the node comes the next time.
const resumeAgain = 10 * time.Second

// resumeRestarts finishes what was broken off of restarts each time the node
// has come, until ctx ends.
func (o *Ops) resumeRestarts(ctx context.Context) {
	for again := (<-chan time.Time)(nil); ; {
		select {
		case <-ctx.Done():
			return
		case <-o.inv.came:
		case <-again:
		}
		again = nil
		for _, worker := range o.journal.workers() {
			if !o.resume(ctx, worker) {
				again = time.After(resumeAgain)
			}
		}
	}
}

// resume finishes a restart, in the lane of its worker: one that is still under
// way there ends first, and then has nothing left to finish. It is false when its
// turn has not come. The host's policy had its say when the restart began: a stricter
// one of today forbids what is new, and leaves running what ran.
func (o *Ops) resume(ctx context.Context, worker string) (begun bool) {
	log := o.log.With(zap.String("worker", worker))
	ctx, cancel := context.WithTimeout(ctx, 2*endTime) // for what is under way, and for itself
	defer cancel()
	leave, err := o.lanes.enter(ctx, workerLane(worker))
	if err == nil {
		defer leave()
		err = o.cfg.Node.Settle(ctx)
	}
	if err != nil {
		log.Error("cannot finish the restart of a worker yet", zap.Error(err), zap.Duration("again_in", resumeAgain))
		return false
	}
	x, open := o.journal.open(worker)
	switch {
	case !open:
		return true
	case x.Node == "" || x.Node != o.inv.process():
		log.Info("restart of a worker was broken off, and the node has restarted since: nothing is left to finish")
		o.journal.ended(worker)
		return true
	}
	log = log.With(zap.String("by", x.By), zap.String("without", x.Without))
	log.Warn("restart of a worker was broken off, it is finished now")
	working, done := context.WithTimeout(ctx, endTime)
	defer done()
	finish := o.finishRestart
	if x.Alone {
		finish = o.finishObjects
	}
	if _, err := survive(o, func() (any, error) { return nil, finish(working, x) }); err != nil {
		log.Error("cannot finish the restart of a worker", zap.Error(err))
		return true
	}
	log.Info("restart of a worker is finished")
	return true
}

// finishObjects restarts objects of a worker that goes on: whether they have been
// stopped, or started again, nobody can say for sure. With the worker's process
// they have ended for good.
func (o *Ops) finishObjects(ctx context.Context, x restart) (err error) {
	defer func() { o.leave(ctx, x, err) }()
	w, err := o.cfg.Node.Worker(ctx, x.Worker)
	if cfcerr.KindOf(err) == cfcerr.NoSuchWorker || err == nil && w.Created != x.Created {
		return nil
	}
	if err != nil {
		return named(err, x.Worker)
	}
	o.untilReady(ctx, x.Worker)
	for _, object := range x.Objects {
		r := object.ref(x.Worker)
		_, err := o.stopAndBegin(ctx, x.By, r, object.Config)
		if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
			_, err = o.begin(ctx, x.By, r, object.Config)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// untilReady waits until the procedures of a worker are there: a node that has
// just come back registers them one by one. One where they do not come is for
// the caller to find out.
func (o *Ops) untilReady(ctx context.Context, worker string) {
	ctx, cancel := context.WithTimeout(ctx, figuresWait)
	defer cancel()
	for {
		if w, err := o.cfg.Node.Worker(ctx, worker); err != nil || w.Ready {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// leave drops a restart from the journal when it has ended, unless it was only
// broken off.
func (o *Ops) leave(ctx context.Context, x restart, err error) {
	if err == nil || !o.brokenOff(ctx) {
		o.journal.ended(x.Worker)
	}
}

// brokenOff reports whether what has failed may go on later: the node is away,
// or the agent ends.
func (o *Ops) brokenOff(ctx context.Context) bool {
	if errors.Is(ctx.Err(), context.Canceled) {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), figuresWait)
	defer cancel()
	_, err := o.cfg.Node.Workers(ctx, nil)
	kind := cfcerr.KindOf(err)
	return kind == cfcerr.NodeDetached || kind == cfcerr.ConnectionLost
}
