package crossbar

import (
	"context"
	"errors"
	"time"

	"fabric.center/cfc/agent/host"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

const (
	startPoll = 250 * time.Millisecond // how often a starting worker is looked at
	stopCall  = 20 * time.Second       // an orderly stop; then its process is ended
	goneWait  = 5 * time.Second        // from the end of a process to its leaving the list
	guestWait = 10 * time.Second       // a guest that ignores SIGTERM is killed after it
)

var errEndedEarly = errors.New("the process ended")

// StartWorker implements ops.Node.
func (n *Node) StartWorker(ctx context.Context, by string, spec ops.WorkerSpec) (catalog.Dict, error) {
	options, cpus := spec.Options, any(nil)
	if spec.Type == "guest" {
		options = withKey(options, "type", "guest")
	} else {
		cpus = options["cpu_affinity"]
	}
	d, err := n.start(ctx, spec, options)
	if err == nil && cpus != nil {
		if err = n.pin(ctx, spec.ID, cpus); err != nil {
			if _, failed := n.StopWorker(ctx, by, spec.ID, true); failed != nil {
				n.takeBack(ctx, spec.ID, "")
			}
		}
	}
	if err != nil {
		return nil, err
	}
	d["type"], d["who"] = spec.Type, by
	// The node's answer lacks a guest's pid, and the time that tells this
	// worker from a later one with its id.
	if w, err := n.Worker(ctx, spec.ID); err == nil {
		d["pid"], d["created"] = w.PID, w.Created
		n.memory.spec(w.ID, life{PID: w.PID, Created: w.Created}, spec.Options)
	}
	return d, nil
}

// PID implements ops.Node.
func (n *Node) PID(ctx context.Context, id string) (int, error) {
	w, err := n.Worker(ctx, id)
	if err != nil {
		return 0, err
	}
	if _, ours := n.ours(ctx, w.PID); !ours {
		const reason = "its process cannot be seen from the agent"
		return 0, cfcerr.New(cfcerr.NotSupported, "cannot look at worker %s: %s", id, reason).With("worker_id", id).With("reason", reason)
	}
	return w.PID, nil
}

func withKey(d map[string]any, key string, v any) map[string]any {
	out := map[string]any{key: v}
	for k, x := range d {
		out[k] = x
	}
	return out
}

// start calls start_worker, which never answers when the process ends before
// it is ready. So it is looked at meanwhile.
func (n *Node) start(ctx context.Context, spec ops.WorkerSpec, options map[string]any) (catalog.Dict, error) {
	n.listen(spec.ID)
	defer n.deaf(spec.ID)
	calling, cancel := context.WithCancelCause(ctx)
	watched := make(chan string, 1)
	go func() { watched <- n.watchStart(calling, spec.ID, func() { cancel(errEndedEarly) }) }()
	v, err := n.cfg.Link.Call(calling, "start_worker", wamp.List{spec.ID, spec.Type, wamp.Dict(options)}, nil)
	early := errors.Is(context.Cause(calling), errEndedEarly)
	cancel(nil)
	created := <-watched
	switch {
	case err == nil:
		d, _ := wamp.AsDict(v)
		return catalog.Dict(wamp.NormalizeDict(d)), nil
	case early:
		lines := n.tail(spec.ID)
		e := cfcerr.New(cfcerr.CannotStart, "cannot start worker %s: its process ended before it was ready", spec.ID).With("worker_id", spec.ID)
		if len(lines) > 0 {
			e = cfcerr.New(cfcerr.CannotStart, "cannot start worker %s: its process ended before it was ready: %s", spec.ID, short(lines)).With("worker_id", spec.ID)
		}
		return nil, e
	case unfinished(err):
		n.takeBack(ctx, spec.ID, created)
		return nil, givenUp(err, "worker "+spec.ID)
	}
	return nil, err
}

// givenUp is the error of a start that was not awaited to its end.
func givenUp(err error, what string) error {
	if cfcerr.KindOf(err) == cfcerr.Canceled {
		return cfcerr.New(cfcerr.Canceled, "canceled: the start of %s is taken back", what)
	}
	late := cfcerr.New(cfcerr.Timeout, "cannot finish in time: %s was not ready before the deadline, its start is taken back", what)
	var e *cfcerr.Error
	if errors.As(err, &e) && e.Details["log"] != nil {
		return late.With("log", e.Details["log"])
	}
	return late
}

func unfinished(err error) bool {
	k := cfcerr.KindOf(err)
	return k == cfcerr.Timeout || k == cfcerr.Canceled
}

// watchStart calls ended when the node has dropped the worker from its list.
// It has put it there before it can answer our first question. When the node has
// made it is the result, empty where that was not seen.
func (n *Node) watchStart(ctx context.Context, id string, ended func()) (created string) {
	for pause(ctx, startPoll) {
		w, err := n.Worker(ctx, id)
		if err == nil {
			created = w.Created
		}
		if !notThere(err) {
			continue
		}
		// A start that was refused is answered about now.
		if pause(ctx, startPoll) {
			ended()
		}
		return created
	}
	return created
}

// pin applies cpu_affinity, which start_worker checks and forgets.
func (n *Node) pin(ctx context.Context, id string, cpus any) error {
	_, err := n.call(ctx, quick, ops.WorkerProcedure(id, "set_cpu_affinity"), cpus)
	if err != nil && cfcerr.KindOf(err) == cfcerr.NodeError {
		return cfcerr.New(cfcerr.InvalidConfiguration, "cannot start worker %s: cpu_affinity: %w", id, err).With("worker_id", id)
	}
	return err
}

// takeBack ends a worker whose start has failed or was not awaited. One that
// the node cannot stop yet, and whose process cannot be seen from here, is
// stopped as soon as it is ready. One with its id that the node has made at
// another time than created is somebody else's: so where that is not known it is
// asked for now, as long as nobody else can start one. The node has made the
// worker by the time it answers.
func (n *Node) takeBack(ctx context.Context, id, created string) {
	if created == "" {
		asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWait)
		w, err := n.Worker(asked, id)
		cancel()
		if notThere(err) {
			return
		}
		created = w.Created
	}
	n.later(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		end := func() error {
			if w, err := n.Worker(ctx, id); err != nil || created != "" && w.Created != created {
				return err
			}
			_, err := n.StopWorker(ctx, "", id, true)
			return err
		}
		err := end()
		for cfcerr.KindOf(err) == cfcerr.NotRunning && pause(ctx, startPoll) {
			err = end()
		}
		if err != nil && !notThere(err) {
			n.log.Warn("cannot take back the start of a worker", zap.String("worker", id), zap.Error(err))
		}
	})
}

// StopWorker implements ops.Node.
func (n *Node) StopWorker(ctx context.Context, by, id string, kill bool) (catalog.Dict, error) {
	w, err := n.Worker(ctx, id)
	if err != nil {
		return nil, err
	}
	if w.Type == "guest" {
		return n.stopGuest(ctx, by, w, kill)
	}
	process, ours := n.ours(ctx, w.PID)
	result := catalog.Dict{"id": id, "type": w.Type, "kill": kill}
	if w.Status == "started" {
		v, err := n.call(ctx, share(ctx, stopCall), "stop_worker", id, kill)
		switch {
		case err == nil:
			d, _ := wamp.AsDict(v)
			result = catalog.Dict(wamp.NormalizeDict(d))
		case notThere(err): // ended in the same moment
		case !ours || cfcerr.KindOf(err) != cfcerr.Timeout && cfcerr.KindOf(err) != cfcerr.NotRunning:
			return nil, err
		}
		ours = ours && err != nil
	} else if !ours {
		return nil, cfcerr.New(cfcerr.NotRunning, "cannot stop worker %s: it is %s, and its process cannot be seen from here", id, w.Status).
			With("worker_id", id).With("status", w.Status)
	}
	if ours {
		if err := n.endProcess(ctx, process, false); err != nil {
			return nil, cfcerr.New(cfcerr.CannotStop, "cannot stop worker %s: %w", id, err).With("worker_id", id)
		}
	}
	result["who"] = by
	return result, n.untilGone(ctx, id, w.Created)
}

// endProcess waits for the end of a process that was asked to end, and sees to
// it otherwise.
func (n *Node) endProcess(ctx context.Context, p host.Process, asked bool) error {
	if asked {
		wait, cancel := context.WithTimeout(ctx, share(ctx, guestWait))
		defer cancel()
		for p.Alive(wait) && pause(wait, 20*time.Millisecond) {
		}
	}
	if err := p.Kill(ctx); err != nil {
		return err
	}
	for p.Alive(ctx) {
		if !pause(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// untilGone waits until the node no longer lists the worker.
func (n *Node) untilGone(ctx context.Context, id, created string) error {
	ctx, cancel := context.WithTimeout(ctx, goneWait)
	defer cancel()
	for {
		w, err := n.Worker(ctx, id)
		if notThere(err) || err == nil && w.Created != created {
			n.memory.forget(id)
			return nil
		}
		if err != nil {
			return err
		}
		if !pause(ctx, 20*time.Millisecond) {
			return cfcerr.New(cfcerr.CannotStop, "cannot stop worker %s: its process is gone, but the node still lists it", id).With("worker_id", id)
		}
	}
}

// Shutdown implements ops.Node.
func (n *Node) Shutdown(ctx context.Context, _ string, restart bool) error {
	if n.cfg.Supervisor != nil {
		return n.cfg.Supervisor.Shutdown(ctx, restart)
	}
	if restart {
		reason := "nobody starts it again: this agent does not supervise its node"
		return cfcerr.New(cfcerr.NotSupported, "cannot restart the node: %s", reason).With("reason", reason)
	}
	n.mu.Lock()
	process := n.process
	n.mu.Unlock()
	// The node tears the connection down before it has answered.
	_, err := n.cfg.Link.Call(ctx, "shutdown", nil, nil)
	if err != nil && cfcerr.KindOf(err) != cfcerr.ConnectionLost {
		return err
	}
	for n.attached() || process.PID != 0 && process.Alive(ctx) {
		if !pause(ctx, 50*time.Millisecond) {
			return cfcerr.New(cfcerr.Timeout, "cannot finish in time: the node was told to shut down and has not ended before the deadline")
		}
	}
	return nil
}

func (n *Node) attached() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}
