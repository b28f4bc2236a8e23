package ops

import (
	"context"
	"fmt"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// forward passes a call on to the node as it came, but for the worker, which
// becomes part of the procedure's name.
func (o *Ops) forward(ctx context.Context, c catalog.Call) (any, error) {
	procedure, args, kwargs := c.Op.Forward, c.Args, c.Kwargs
	id := workerArg(c.Op, args, kwargs)
	if c.Op.Scope == catalog.Worker {
		_, args, kwargs = take("worker_id", args, kwargs)
		procedure = WorkerProcedure(id, procedure)
		if !o.cfg.Link.Has(procedure) {
			return nil, o.explainWorker(ctx, id, workerType[c.Op.Area])
		}
	}
	v, err := o.cfg.Link.Call(ctx, procedure, args, kwargs)
	if err != nil {
		return nil, named(err, id)
	}
	return o.repair(c.Op, v), nil
}

// WorkerProcedure is the name of a worker's procedure below the node's prefix.
func WorkerProcedure(worker, name string) string { return "worker." + worker + "." + name }

func without(d wamp.Dict, key string) wamp.Dict {
	out := wamp.Dict{}
	for k, v := range d {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// workerType is which type of worker an area's rows need; any native one
// where it has no entry.
var workerType = map[string]string{"router": "router", "tracing": "router", "container": "container", "proxy": "proxy"}

// explainWorker says why a worker has not got a procedure.
func (o *Ops) explainWorker(ctx context.Context, id, want string) error {
	w, err := o.cfg.Node.Worker(ctx, id)
	switch {
	case err != nil:
		return named(err, id)
	case want != "" && w.Type != want:
		return cfcerr.New(cfcerr.InvalidArgument, "invalid argument worker_id: worker %s is of type %s, expected a %s worker", id, w.Type, want).
			With("argument", "worker_id").With("expected", "a "+want+" worker").With("worker_id", id).With("type", w.Type)
	case w.Type == "guest":
		return cfcerr.New(cfcerr.InvalidArgument, "invalid argument worker_id: worker %s is a guest, which cannot be managed from within", id).
			With("argument", "worker_id").With("expected", "a native worker").With("worker_id", id).With("type", w.Type)
	case !w.Ready:
		return cfcerr.New(cfcerr.NotRunning, "cannot use worker %s: it is %s", id, w.Status).With("worker_id", id).With("status", w.Status)
	}
	reason := fmt.Sprintf("its %s worker has no such procedure", w.Type)
	return cfcerr.New(cfcerr.NotSupported, "cannot do this on the node: %s", reason).With("reason", reason)
}

// needWorker answers nil when the worker is there, ready and of the type.
func (o *Ops) needWorker(ctx context.Context, id, procedure, want string) error {
	if o.cfg.Link.Has(WorkerProcedure(id, procedure)) {
		return nil
	}
	return o.explainWorker(ctx, id, want)
}

// named adds which worker it is that the node has not got. A procedure that is
// registered and has nobody behind it is that of a worker that goes away.
func named(err error, worker string) error {
	kind := cfcerr.KindOf(err)
	switch {
	case worker == "":
		return err
	case kind == cfcerr.NoSuchProcedure:
		return cfcerr.New(cfcerr.NotRunning, "cannot use worker %s: it, or what was called in it, goes away", worker).With("worker_id", worker)
	case kind != cfcerr.NoSuchWorker:
		return err
	}
	return cfcerr.New(cfcerr.NoSuchWorker, "cannot find worker %s: the node has no such worker", worker).With("worker_id", worker)
}

// repair sets right what a node's own answer cannot know or gets wrong.
func (o *Ops) repair(op *catalog.Op, v any) any {
	d, ok := wamp.AsDict(v)
	if !ok {
		return v
	}
	switch op {
	case catalog.NodeGetStatus.Op:
		return o.pairedNames(d)
	case catalog.NodeGetWorker.Op:
		return honestWorker(d)
	}
	return v
}

// pairedNames replaces the constant names of the local link by those under
// which the realm knows the node.
func (o *Ops) pairedNames(d wamp.Dict) wamp.Dict {
	for key, name := range map[string]func() string{"management_node_id": o.cfg.NodeID, "management_realm": o.cfg.Realm} {
		if name == nil {
			continue
		}
		if s := name(); s != "" {
			d[key] = s
		} else {
			d[key] = nil
		}
	}
	return d
}

// honestWorker takes back the start that is told of a worker that has not
// started: it is the time of the question.
func honestWorker(d wamp.Dict) wamp.Dict {
	if d["status"] != "started" {
		d["started"], d["startup_time"], d["uptime"] = nil, nil, nil
	}
	return d
}
