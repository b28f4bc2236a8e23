package ops_test

import (
	"context"
	"slices"
	"testing"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// defective is a node whose code panics where it is told to, once.
type defective struct {
	ops.Node
	at string
}

func (d *defective) panic(at string) {
	if d.at == at {
		d.at = ""
		panic("a defect in " + at)
	}
}

func (d *defective) Start(ctx context.Context, by string, r ops.Ref, config map[string]any) (catalog.Dict, error) {
	d.panic("start")
	return d.Node.Start(ctx, by, r, config)
}

func (d *defective) Stop(ctx context.Context, by string, r ops.Ref, o ops.StopOptions) (catalog.Dict, error) {
	d.panic("stop")
	return d.Node.Stop(ctx, by, r, o)
}

func (d *defective) StartWorker(ctx context.Context, by string, spec ops.WorkerSpec) (catalog.Dict, error) {
	d.panic("start worker")
	return d.Node.StartWorker(ctx, by, spec)
}

func (d *defective) StopWorker(ctx context.Context, by, id string, kill bool) (catalog.Dict, error) {
	d.panic("stop worker")
	return d.Node.StopWorker(ctx, by, id, kill)
}

func (d *defective) Shutdown(ctx context.Context, by string, restart bool) error {
	d.panic("shutdown")
	return d.Node.Shutdown(ctx, by, restart)
}

func (d *defective) Spec(ctx context.Context, worker string) (ops.WorkerSpec, error) {
	d.panic("spec")
	return d.Node.Spec(ctx, worker)
}

// A panic is an internal error for the caller who met it, with its stack in the
// log, and what he worked on is nobody's afterwards: its end by itself is told.
func TestAPanicLeavesNothingBusy(t *testing.T) {
	node := &defective{}
	core, logged := observer.New(zap.ErrorLevel)
	r := proxyRig(t, func(c *ops.Config) { c.Log = zap.New(core) }, func(c *ops.Config) { node.Node, c.Node = c.Node, node })
	fails := func(at, key string, args ...any) {
		t.Helper()
		node.at = at
		e := r.refused(cfcerr.Internal, key, args...)
		lines := logged.TakeAll()
		if len(lines) != 1 || lines[0].ContextMap()["id"] != e.Details["id"] || lines[0].ContextMap()["stack"] == nil {
			t.Errorf("%s: it says %v, and the log %v", at, e.Details, lines)
		}
	}
	fails("start", "proxy.start_proxy_connection", "p", "spare", backend("spare"))
	r.must("proxy.start_proxy_connection", "p", "spare", backend("spare"))
	fails("stop", "proxy.stop_proxy_connection", "p", "spare")
	fails("spec", "proxy.stop_proxy_transport", "p", "t", true)
	fails("start worker", "node.start_worker", "w", "router")
	r.must("node.start_worker", "w", "router")
	fails("stop worker", "node.stop_worker", "w")
	fails("shutdown", "node.shutdown")
	r.node.Die("w")
	r.node.Die("p")
	r.until("all ends are told", func() bool {
		told := r.told()
		return !slices.ContainsFunc([]string{"on_proxy_connection_stopped p spare", "on_proxy_transport_stopped p t", "on_worker_stopped w", "on_worker_stopped p"},
			func(line string) bool { return !slices.Contains(told, line) })
	})
}
