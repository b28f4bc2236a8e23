package ops

import (
	"context"
	"fmt"
	"slices"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// longestInterval is the longest time between two tellings of a process'
// statistics, in seconds; the shortest is one.
const longestInterval = 24 * 60 * 60

// bindProcesses binds what is changed of a process of the node: its
// controller's, or a worker's.
func (o *Ops) bindProcesses() {
	t := o.table
	catalog.Bind(t, catalog.WorkerSetAffinity, func(ctx context.Context, _ catalog.Caller, in catalog.SetWorkerAffinityIn) ([]int64, error) {
		return o.setAffinity(ctx, string(in.Worker), in.CPUs)
	})
	catalog.Bind(t, catalog.NodeSetAffinity, func(ctx context.Context, _ catalog.Caller, in catalog.SetAffinityIn) ([]int64, error) {
		return o.setAffinity(ctx, "", in.CPUs)
	})
	catalog.Bind(t, catalog.WorkerSetMonitoring, func(ctx context.Context, _ catalog.Caller, in catalog.WorkerMonitoringIn) (any, error) {
		return o.setMonitoring(ctx, string(in.Worker), in.Interval)
	})
	catalog.Bind(t, catalog.NodeSetMonitoring, func(ctx context.Context, _ catalog.Caller, in catalog.MonitoringIn) (any, error) {
		return o.setMonitoring(ctx, "", in.Interval)
	})
}

// ofProcess calls a procedure of a worker or, without one, of the controller.
func (o *Ops) ofProcess(ctx context.Context, worker, procedure string, args ...any) (any, error) {
	if worker != "" {
		if err := o.needWorker(ctx, worker, procedure, ""); err != nil {
			return nil, err
		}
		procedure = WorkerProcedure(worker, procedure)
	}
	return o.cfg.Link.Call(ctx, procedure, args, nil)
}

// setAffinity checks the CPUs before the process trips over them. They are the
// host's own numbers, as get_cpus and get_cpu_affinity give them: what the node
// would take otherwise are places in the list of those that the process could
// use when it started.
func (o *Ops) setAffinity(ctx context.Context, worker string, cpus []int64) ([]int64, error) {
	if len(cpus) == 0 {
		return nil, cfcerr.Argument("cpus", "one CPU at least")
	}
	v, err := o.ofProcess(ctx, "", catalog.NodeGetCPUs.Forward)
	if err != nil {
		return nil, err
	}
	all := integers(v)
	for i, cpu := range cpus {
		if !slices.Contains(all, cpu) || slices.Index(cpus, cpu) < i {
			return nil, cfcerr.Argument(fmt.Sprintf("cpus[%d]", i), fmt.Sprintf("the number of a CPU, one of %v, each once", all))
		}
	}
	const relative = false
	v, err = o.ofProcess(ctx, worker, "set_cpu_affinity", cpus, relative)
	if cfcerr.KindOf(err) == cfcerr.NodeError { // the kernel does not give them
		return nil, cfcerr.New(cfcerr.InvalidArgument, "invalid argument cpus: the host does not give these CPUs to the process: %w", err).
			With("argument", "cpus").With("expected", "CPUs that the host gives to the process")
	}
	return integers(v), err
}

// integers reads a list of the node's.
func integers(v any) []int64 {
	list, _ := wamp.AsList(v)
	out := make([]int64, 0, len(list))
	for _, x := range list {
		n, _ := wamp.AsInt64(x)
		out = append(out, n)
	}
	return out
}

// setMonitoring refuses what would flood the way to the agent, and what the
// node takes for an end without saying so.
func (o *Ops) setMonitoring(ctx context.Context, worker string, interval float64) (any, error) {
	if interval != 0 && !(interval >= 1 && interval <= longestInterval) {
		return nil, cfcerr.Argument("interval", fmt.Sprintf("seconds, 1 to %d, or 0", longestInterval))
	}
	return o.ofProcess(ctx, worker, "set_process_stats_monitoring", interval)
}

// addPythonpath says which argument it is that the node refuses, and who asked.
func (o *Ops) addPythonpath(ctx context.Context, caller catalog.Caller, in catalog.AddPythonpathIn) (catalog.Dict, error) {
	if len(in.Paths) == 0 || slices.Contains(in.Paths, "") {
		return nil, cfcerr.Argument("paths", "directories, one at least")
	}
	id := string(in.Worker)
	if err := o.needWorker(ctx, id, "add_pythonpath", ""); err != nil {
		return nil, err
	}
	v, err := o.cfg.Link.Call(ctx, WorkerProcedure(id, "add_pythonpath"), wamp.List{in.Paths, in.Prepend}, nil)
	if cfcerr.KindOf(err) == cfcerr.InvalidArgument {
		const expected = "directories that are there on the node's host"
		return nil, cfcerr.New(cfcerr.InvalidArgument, "invalid argument paths: expected %s: %w", expected, err).With("argument", "paths").With("expected", expected)
	}
	if err != nil {
		return nil, err
	}
	d, ok := wamp.AsDict(v)
	if !ok {
		return nil, cfcerr.New(cfcerr.NotSupported, "cannot use the node's answer to add_pythonpath: it is no dict")
	}
	added := catalog.Dict(wamp.NormalizeDict(d))
	added["who"] = caller.AuthID // the node knows but its session with us
	return added, nil
}
