package ops

import (
	"context"
	"slices"
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

func (o *Ops) bindWorker() {
	t := o.table
	catalog.Bind(t, catalog.WorkerGetStatus, o.workerStatus)
	catalog.Bind(t, catalog.WorkerShutdownOp, o.shutdownWorker)
	catalog.Bind(t, catalog.WorkerGetLog, o.workerLog)
	catalog.Bind(t, catalog.WorkerSetAffinity, func(ctx context.Context, _ catalog.Caller, in catalog.SetWorkerAffinityIn) ([]int64, error) {
		procedure := func(name string) string { return WorkerProcedure(string(in.Worker), name) }
		if err := o.needWorker(ctx, string(in.Worker), "set_cpu_affinity", ""); err != nil {
			return nil, err
		}
		return o.setAffinity(ctx, procedure, in.CPUs)
	})
	catalog.Bind(t, catalog.NodeSetAffinity, func(ctx context.Context, _ catalog.Caller, in catalog.SetAffinityIn) ([]int64, error) {
		return o.setAffinity(ctx, func(name string) string { return name }, in.CPUs)
	})
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
		return nil, named(err, id)
	}
	d, _ := wamp.AsDict(v)
	status := catalog.Dict(honestWorker(wamp.NormalizeDict(d)))
	status["process"] = nil
	if stats := WorkerProcedure(id, catalog.WorkerGetProcessStats.Forward); o.cfg.Link.Has(stats) {
		if status["process"], err = o.cfg.Link.Call(ctx, stats, nil, nil); err != nil {
			return nil, named(err, id)
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
	return lines, named(err, id)
}

// setAffinity checks the CPUs before the process trips over them. Procedure
// makes a name of the process' own.
func (o *Ops) setAffinity(ctx context.Context, procedure func(string) string, cpus []int64) ([]int64, error) {
	v, err := o.cfg.Link.Call(ctx, catalog.NodeGetCPUs.Forward, nil, nil)
	if err != nil {
		return nil, err
	}
	all, _ := wamp.AsList(v)
	list := wamp.List{}
	for i, cpu := range cpus {
		if cpu < 0 || cpu >= int64(len(all)) || slices.Index(cpus, cpu) < i {
			return nil, cfcerr.Argument("cpus["+strconv.Itoa(i)+"]", "the number of a CPU, 0 to "+strconv.Itoa(len(all)-1)+", each once")
		}
		list = append(list, cpu)
	}
	if len(list) == 0 {
		return nil, cfcerr.Argument("cpus", "one CPU at least")
	}
	v, err = o.cfg.Link.Call(ctx, procedure("set_cpu_affinity"), wamp.List{list}, nil)
	if err != nil {
		return nil, err
	}
	now, _ := wamp.AsList(v)
	out := []int64{}
	for _, x := range now {
		n, _ := wamp.AsInt64(x)
		out = append(out, n)
	}
	return out, nil
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
		list[i] = map[string]any{"seq": l.Seq, "time": l.Time, "text": l.Text}
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
