package nodeapi

import (
	"slices"
	"testing"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

// TestNode is the node area: what is read of a node, and workers of every type,
// which start, are seen and stop, in both forms of the arguments.
func TestNode(t *testing.T) {
	o := operate(t, "autobahn-js/json")
	o.dict(catalog.NodeGetStatus.Op, []string{"title", "started", "controller_pid", "running_workers", "workers_by_type", "directory", "pubkey"})
	if n, _ := o.call(catalog.NodeGetCPUCount.Op).(float64); n < 1 {
		t.Errorf("get_cpu_count: %v", n)
	}
	for _, kind := range []string{"router", "container", "proxy", "websocket-testee"} {
		id := "node_" + kind[:5]
		o.worker(id, kind, nil)
		w := o.dict(catalog.NodeGetWorker.Op, []string{"id", "pid", "status", "created", "started"}, id)
		if w["type"] != kind || w["status"] != "started" {
			t.Errorf("get_worker of a %s: %v", kind, w)
		}
		o.list(catalog.NodeGetWorkers.Op, []any{[]any{kind}}, id)
		o.fails(cfcerr.AlreadyRunning, catalog.NodeStartWorker.Op, id, kind, map[string]any{})
		o.dict(catalog.NodeStopWorker.Op, []string{"id", "type"}, id, kind == "proxy")
		o.fails(cfcerr.NoSuchWorker, catalog.NodeStopWorker.Op, id)
		o.fails(cfcerr.NoSuchWorker, catalog.NodeGetWorker.Op, id)
		o.heard(catalog.OnWorkerStarting, id)
		o.heard(catalog.OnWorkerStarted, id)
		o.heard(catalog.OnWorkerStopping, id)
		o.heard(catalog.OnWorkerStopped, id)
	}
	made := o.dict(catalog.NodeStartWorker.Op, []string{"id"}, nil, "router", map[string]any{"title": "made up"})
	id, _ := made["id"].(string)
	if workers, _ := o.call(catalog.NodeGetWorkers.Op).([]any); id == "" || !slices.Contains(workers, any(id)) {
		t.Errorf("start_worker without an id: %v", made)
	}
	o.dict(catalog.NodeStopWorker.Op, []string{"id"}, id)
	o.fails(cfcerr.InvalidConfiguration, catalog.NodeStartWorker.Op, "node_bad", "router", map[string]any{"no_such_option": 1})
	o.fails(cfcerr.InvalidArgument, catalog.NodeStartWorker.Op, "node_bad", "no-such-type", map[string]any{})
}

// TestNodeShutdown shuts the node down and has it started again.
func TestNodeShutdown(t *testing.T) {
	o := operate(t, "autobahn/cbor")
	o.dict(catalog.NodeShutdownOp.Op, []string{"node_id", "stopped", "by"}, true)
	if err := stage.Ready(within(t, twoMinutes)); err != nil {
		t.Fatal(err)
	}
	o.dict(catalog.NodeGetStatus.Op, []string{"controller_pid"})
}
