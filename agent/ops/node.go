package ops

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Node is what this package asks of the node beyond passing a call on. Each
// method returns at the end of ctx. by is the caller's authid.
type Node interface {
	// Workers are the ids of the workers of these types, of all without types.
	Workers(ctx context.Context, types []string) ([]string, error)
	// Worker is one of them; no_such_worker when there is none.
	Worker(ctx context.Context, id string) (Worker, error)
	// StartWorker returns when the worker is ready, with what the node says.
	StartWorker(ctx context.Context, by string, spec WorkerSpec) (catalog.Dict, error)
	// StopWorker returns when its process is gone.
	StopWorker(ctx context.Context, by, id string, kill bool) (catalog.Dict, error)
	// Shutdown returns when the node is down; not_supported when it should be
	// started again and nobody is there to do it.
	Shutdown(ctx context.Context, by string, restart bool) error
	// Procedure is one that a worker has when it can have objects of the kind.
	Procedure(k *Kind) string
	// Objects are those of a kind that run in a worker, within the object
	// parent where the kind has one; no_such_object when there is no parent.
	Objects(ctx context.Context, k *Kind, worker, parent string) ([]Object, error)
	// Object is one of them, as the node shows it.
	Object(ctx context.Context, r Ref) (catalog.Dict, error)
	// About calls a procedure of the worker that takes the object's id first.
	About(ctx context.Context, r Ref, procedure string, args ...any) (any, error)
	// Start starts one and all that its configuration holds, or nothing.
	Start(ctx context.Context, by string, r Ref, config map[string]any) (catalog.Dict, error)
	// MayStop refuses, before anything is told of it, a stop that the node
	// cannot carry out; with no_such_object when there is none. Anew says that
	// the worker has to be restarted, as options allow.
	MayStop(ctx context.Context, r Ref, options StopOptions) (anew bool, err error)
	// MayStart is the same for a start.
	MayStart(ctx context.Context, r Ref, config map[string]any, options StopOptions) (anew bool, err error)
	// Spec is how a worker was started; not_supported where it is not known.
	Spec(ctx context.Context, worker string) (WorkerSpec, error)
	// Stop stops it; its id may be used again.
	Stop(ctx context.Context, by string, r Ref, options StopOptions) (catalog.Dict, error)
	// Log is what a worker has written: from the line with that number on, or
	// the last ones. Where there is none yet it waits for one.
	Log(ctx context.Context, worker string, from *int64, most int, wait time.Duration) ([]catalog.LogLine, error)
	// PID is the process of a worker; not_supported where it cannot be seen
	// from here.
	PID(ctx context.Context, worker string) (int, error)
	// Meta calls a procedure of a realm's meta API by WAMP's name;
	// not_supported where the node does not let anybody look into the realm.
	Meta(ctx context.Context, realm Ref, procedure string, args wamp.List, kwargs wamp.Dict) (any, error)
	// Exit is how a worker that is gone has ended, "exit code 3" or "signal 9";
	// empty where that cannot be known.
	Exit(w Worker) string
	// Settle waits until Watch has told that the node has come, if it has: what
	// changes there is told after that.
	Settle(ctx context.Context) error
	// Watch tells changes what goes on at the node until ctx ends.
	Watch(ctx context.Context, changes Changes) error
}

// StopOptions are what the caller of a stop, or of a start, consents to.
type StopOptions struct {
	// RestartWorker: all of the worker may be started anew, where nothing less
	// helps.
	RestartWorker bool
}

// WorkerSpec is a worker to be.
type WorkerSpec struct {
	ID, Type string
	// Options are a native worker's options, or a guest's whole configuration.
	Options map[string]any
}

// WorkerTypes are those that can be started; NoWorkerTypes are known to the
// node, but it never finishes starting one.
var (
	WorkerTypes   = []string{"router", "container", "proxy", "guest", "websocket-testee"}
	noWorkerTypes = []string{"hostmonitor", "xbrmm"}
)

func workerTypesForm() string { return "one of " + strings.Join(WorkerTypes, ", ") }

func (o *Ops) bindNode() {
	t := o.table
	catalog.Bind(t, catalog.NodeGetWorkers, func(ctx context.Context, _ catalog.Caller, in catalog.GetWorkersIn) ([]string, error) {
		for i, typ := range in.FilterTypes {
			if !slices.Contains(WorkerTypes, typ) && !slices.Contains(noWorkerTypes, typ) {
				return nil, cfcerr.Argument(fmt.Sprintf("filter_types[%d]", i), workerTypesForm())
			}
		}
		ids, err := o.cfg.Node.Workers(ctx, in.FilterTypes)
		slices.Sort(ids)
		return ids, err
	})
	catalog.Bind(t, catalog.NodeStartWorker, o.startWorker)
	catalog.Bind(t, catalog.NodeStopWorker, o.stopWorker)
	catalog.Bind(t, catalog.NodeShutdownOp, o.shutdown)
}

func (o *Ops) startWorker(ctx context.Context, caller catalog.Caller, in catalog.StartWorkerIn) (catalog.Dict, error) {
	spec, err := workerSpec(in)
	if err != nil {
		return nil, err
	}
	if what := spec.program(); what != "" && caller.Role != wire.Owner {
		return nil, cfcerr.New(cfcerr.NotAuthorized, "cannot start worker %s: %s, so it takes the role owner; the caller's is %q", spec.ID, what, caller.Role)
	}
	// The node would refuse a second one, but only after its start had been
	// told to everybody.
	if err := o.absent(ctx, spec.ID); err != nil {
		return nil, err
	}
	return o.beginWorker(ctx, caller.AuthID, spec)
}

// program says what makes the worker another program than the node's own; empty
// where nothing does.
func (s WorkerSpec) program() string {
	if s.Type == "guest" {
		return "a guest may be any program"
	}
	for _, key := range []string{"python", "pythonpath", "env"} {
		if _, given := s.Options[key]; given {
			return "its option " + key + " may make it any program"
		}
	}
	return ""
}

func (o *Ops) beginWorker(ctx context.Context, by string, spec WorkerSpec) (catalog.Dict, error) {
	finish := o.inv.startingWorker(spec.ID, spec.Type, by)
	d, err := survive(o, func() (catalog.Dict, error) { return o.cfg.Node.StartWorker(ctx, by, spec) })
	finish(workerOf(d), err)
	return d, err
}

func (o *Ops) absent(ctx context.Context, id string) error {
	if err := o.cfg.Node.Settle(ctx); err != nil {
		return err
	}
	switch _, err := o.cfg.Node.Worker(ctx, id); {
	case err == nil:
		return cfcerr.New(cfcerr.AlreadyRunning, "cannot start worker %s: there is one with this id", id).With("worker_id", id)
	case cfcerr.KindOf(err) == cfcerr.NoSuchWorker:
		return nil
	default:
		return err
	}
}

// workerSpec reads both forms of the arguments: a dict with the type in it,
// or the type and the options apart.
func workerSpec(in catalog.StartWorkerIn) (WorkerSpec, error) {
	spec := WorkerSpec{ID: madeUp("w_")}
	if in.Worker != nil {
		spec.ID = string(*in.Worker)
	}
	if spec.ID == "controller" {
		return spec, cfcerr.Argument("worker_id", "an id other than that of the node's controller")
	}
	what := "config"
	switch config := in.Config.(type) {
	case string:
		spec.Type, spec.Options = config, in.Options
	default:
		d, ok := wamp.AsDict(config)
		if !ok || config == nil {
			return spec, cfcerr.Argument("config", "a dict with type, or the type alone: "+workerTypesForm())
		}
		if len(in.Options) > 0 {
			return spec, cfcerr.Argument("options", "options within config, since config is a dict")
		}
		what = "config.type"
		if spec.Type, ok = d["type"].(string); !ok {
			return spec, cfcerr.Argument(what, workerTypesForm())
		}
		var err error
		if spec.Options, err = optionsOf(spec.Type, wamp.NormalizeDict(d)); err != nil {
			return spec, err
		}
	}
	switch {
	case slices.Contains(noWorkerTypes, spec.Type):
		reason := fmt.Sprintf("a worker of type %s never becomes ready on this node", spec.Type)
		return spec, cfcerr.New(cfcerr.NotSupported, "cannot start worker %s: %s", spec.ID, reason).With("reason", reason)
	case !slices.Contains(WorkerTypes, spec.Type):
		return spec, cfcerr.Argument(what, workerTypesForm())
	}
	if spec.Options == nil {
		spec.Options = map[string]any{}
	}
	return spec, checkOptions(spec)
}

// optionsOf takes the options out of a dict: all of it for a guest, and for
// others its key options or what stands beside type.
func optionsOf(typ string, d wamp.Dict) (map[string]any, error) {
	rest := without(d, "type")
	if typ == "guest" {
		return rest, nil
	}
	nested, ok := rest["options"]
	if !ok {
		return rest, nil
	}
	if len(rest) > 1 {
		delete(rest, "options")
		return nil, cfcerr.Argument("config."+firstKey(rest), "nothing beside type and options")
	}
	options, ok := wamp.AsDict(nested)
	if !ok || nested == nil {
		return nil, cfcerr.Argument("config.options", "a dict")
	}
	return options, nil
}

// checkOptions refuses what the node would only fail at, without saying why.
func checkOptions(spec WorkerSpec) error {
	if spec.Type == "guest" {
		return checkGuest(spec.Options)
	}
	if spec.Type == "container" && spec.Options["restart"] == "restart-on-failed" {
		reason := "the node takes restart-on-failed, and then never restarts a component"
		return cfcerr.New(cfcerr.NotSupported, "cannot start worker %s: %s", spec.ID, reason).With("reason", reason)
	}
	cpus, ok := spec.Options["cpu_affinity"]
	if !ok {
		return nil
	}
	list, ok := wamp.AsList(cpus)
	if !ok || len(list) == 0 {
		return cfcerr.Argument("options.cpu_affinity", "a list of CPU numbers")
	}
	for i, c := range list {
		if n, ok := wamp.AsInt64(c); !ok || n < 0 {
			return cfcerr.Argument(fmt.Sprintf("options.cpu_affinity[%d]", i), "a CPU number")
		}
	}
	return nil
}

func firstKey(d map[string]any) string {
	keys := make([]string, 0, len(d))
	for k := range d {
		keys = append(keys, k)
	}
	return slices.Min(keys)
}

// madeUp is an id for an object whose caller leaves the choice to us.
func madeUp(prefix string) string {
	var b [8]byte
	rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}

// workerOf reads the node's answer to a start.
func workerOf(d catalog.Dict) Worker {
	w := Worker{Ready: true}
	w.ID, _ = wamp.AsString(d["id"])
	w.Type, _ = wamp.AsString(d["type"])
	w.Created, _ = wamp.AsString(d["created"])
	pid, _ := wamp.AsInt64(d["pid"])
	w.PID = int(pid)
	return w
}

func (o *Ops) stopWorker(ctx context.Context, caller catalog.Caller, in catalog.StopWorkerIn) (catalog.Dict, error) {
	if err := o.cfg.Node.Settle(ctx); err != nil {
		return nil, err
	}
	return o.endWorker(ctx, caller.AuthID, string(in.Worker), in.Kill)
}

func (o *Ops) endWorker(ctx context.Context, by, id string, kill bool) (catalog.Dict, error) {
	mark := o.inv.Mark()
	w, err := o.cfg.Node.Worker(ctx, id)
	if err != nil {
		return nil, named(err, id)
	}
	finish := o.inv.stoppingWorker(mark, w, by)
	d, err := survive(o, func() (catalog.Dict, error) { return o.cfg.Node.StopWorker(ctx, by, id, kill) })
	finish(err)
	return d, named(err, id)
}

func (o *Ops) shutdown(ctx context.Context, caller catalog.Caller, in catalog.ShutdownNodeIn) (catalog.NodeShutdown, error) {
	finish := o.inv.shuttingDown(caller.AuthID)
	_, err := survive(o, func() (any, error) { return nil, o.cfg.Node.Shutdown(ctx, caller.AuthID, in.Restart) })
	finish(err)
	if err != nil {
		return catalog.NodeShutdown{}, err
	}
	return catalog.NodeShutdown{NodeID: o.nodeID(), Stopped: wire.Time(time.Now()), Restarting: in.Restart, By: caller.AuthID}, nil
}

func (o *Ops) nodeID() string {
	if o.cfg.NodeID == nil {
		return ""
	}
	return o.cfg.NodeID()
}
