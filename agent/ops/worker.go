package ops

import (
	"context"
	"strconv"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Bounds of what may be asked of a worker's log.
const (
	mostLogLines = 10_000
	mostLogWait  = time.Minute
)

// figuresWait is how long a worker may take to show itself before it counts as
// one that does not answer.
const figuresWait = 5 * time.Second

func (o *Ops) bindWorker() {
	t := o.table
	catalog.Bind(t, catalog.WorkerGetStatus, o.workerStatus)
	catalog.Bind(t, catalog.WorkerShutdownOp, o.shutdownWorker)
	catalog.Bind(t, catalog.WorkerGetLog, o.workerLog)
	catalog.Bind(t, catalog.WorkerAddPythonpath, o.addPythonpath)
	o.bindProcesses()
	catalog.Bind(t, catalog.NodeStarted, func(ctx context.Context, _ catalog.Caller, _ catalog.None) (string, error) {
		started, err := o.nodeStarted(ctx)
		return wire.Time(started), err
	})
	catalog.Bind(t, catalog.NodeUptime, func(ctx context.Context, _ catalog.Caller, _ catalog.None) (float64, error) {
		started, err := o.nodeStarted(ctx)
		return time.Since(started).Seconds(), err
	})
	o.bindProfiles()
}

// workerStatus puts together what node, worker and inventory know.
func (o *Ops) workerStatus(ctx context.Context, _ catalog.Caller, in catalog.Workers) (catalog.Dict, error) {
	id := string(in.Worker)
	v, err := o.cfg.Link.Call(ctx, catalog.NodeGetWorker.Forward, wamp.List{id}, nil)
	if err != nil {
		return nil, err
	}
	d, _ := wamp.AsDict(v)
	status := catalog.Dict(honestWorker(wamp.NormalizeDict(d)))
	status["process"], status["answering"] = nil, nil
	if stats := WorkerProcedure(id, catalog.WorkerGetProcessStats.Forward); o.cfg.Link.Has(stats) {
		asked, cancel := context.WithTimeout(ctx, figuresWait)
		defer cancel()
		status["process"], err = o.cfg.Link.Call(asked, stats, nil, nil)
		if status["answering"] = err == nil; err != nil && (!unknown(err) || ctx.Err() != nil) {
			return nil, err
		}
	}
	typ, _ := wamp.AsString(status["type"])
	status["objects"] = o.inv.count(id, typ)
	return status, nil
}

// count tells how many objects of each kind run in a worker.
func (v *Inventory) count(worker, typ string) map[string]any {
	v.mu.Lock()
	defer v.mu.Unlock()
	counts := map[string]any{}
	w := v.workers[worker]
	if w == nil {
		return counts
	}
	for _, k := range KindsOf(typ) {
		n := 0
		for r, e := range w.objects {
			if r.Kind == k && e.up {
				n++
			}
		}
		counts[k.Key] = n
	}
	return counts
}

func (o *Ops) shutdownWorker(ctx context.Context, caller catalog.Caller, in catalog.Workers) (catalog.WorkerShutdown, error) {
	d, err := o.stopWorker(ctx, caller, catalog.StopWorkerIn{Worker: in.Worker})
	if err != nil {
		return catalog.WorkerShutdown{}, err
	}
	typ, _ := wamp.AsString(d["type"])
	return catalog.WorkerShutdown{NodeID: o.nodeID(), WorkerID: string(in.Worker), Type: typ, Stopped: wire.Time(time.Now()), By: caller.AuthID}, nil
}

func (o *Ops) workerLog(ctx context.Context, _ catalog.Caller, in catalog.WorkerLogIn) ([]catalog.LogLine, error) {
	id, wait := string(in.Worker), time.Duration(in.Wait)*time.Millisecond
	switch {
	case in.Limit < 1 || in.Limit > mostLogLines:
		return nil, cfcerr.Argument("limit", "an integer, 1 to "+strconv.Itoa(mostLogLines))
	case wait < 0 || wait > mostLogWait:
		return nil, cfcerr.Argument("wait", "ms, 0 to "+strconv.FormatInt(mostLogWait.Milliseconds(), 10))
	case in.From != nil && *in.From < 1:
		return nil, cfcerr.Argument("from_seq", "the seq of a line, 1 or more, or null")
	case in.From == nil && wait > 0:
		return nil, cfcerr.Argument("wait", "0 without from_seq: the last lines are there already")
	}
	lines, err := o.cfg.Node.Log(ctx, id, in.From, int(in.Limit), wait)
	if err == nil && ctx.Err() != nil {
		return nil, cfcerr.New(cfcerr.KindOf(ctx.Err()), "cannot read the log of worker %s: %w", id, ctx.Err())
	}
	return lines, err
}

// nodeStarted is when the node's controller says that it started.
func (o *Ops) nodeStarted(ctx context.Context) (time.Time, error) {
	v, err := o.cfg.Link.Call(ctx, catalog.NodeGetStatus.Forward, nil, nil)
	if err != nil {
		return time.Time{}, err
	}
	d, _ := wamp.AsDict(v)
	text, _ := wamp.AsString(d["started"])
	started, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, cfcerr.New(cfcerr.NotSupported, "cannot tell since when the node runs: it says %q", text).With("reason", "the node's answer to get_status")
	}
	return started, nil
}

// Logged implements Changes.
func (v *Inventory) Logged(worker string, lines []catalog.LogLine, lost uint64) {
	list := make([]any, len(lines))
	for i, l := range lines {
		line := map[string]any{"seq": l.Seq, "time": l.Time, "level": nil, "text": l.Text}
		if l.Level != nil {
			line["level"] = *l.Level
		}
		list[i] = line
	}
	v.emit(catalog.OnWorkerLog, details(catalog.Dict{"lines": list, "lost": lost}), worker)
}

// Stats implements Changes; worker is empty for the controller.
func (v *Inventory) Stats(worker string, stats any) {
	if worker == "" {
		v.emit(catalog.OnNodeStats, nil, stats)
		return
	}
	v.emit(catalog.OnWorkerStats, nil, worker, stats)
}

// Heartbeat implements Changes.
func (v *Inventory) Heartbeat(beat any) {
	v.emit(catalog.OnNodeHeartbeat, catalog.Dict{"heartbeat": beat})
}
