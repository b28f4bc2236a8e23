package nodeapi

import (
	"slices"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
)

// TestNode is the node area: what is read of a node, and workers of every type,
// which start, are seen and stop, in both forms of the arguments.
func TestNode(t *testing.T) {
	o := operate(t, "autobahn-js/json")
	o.dict("title started controller_pid running_workers workers_by_type directory pubkey", "node.get_status")
	if n, _ := o.call("node.get_cpu_count").(float64); n < 1 {
		t.Errorf("get_cpu_count: %v", n)
	}
	for _, kind := range []string{"router", "container", "proxy", "websocket-testee"} {
		id := "node_" + kind[:5]
		o.worker(id, kind, nil)
		if w := o.dict("id pid status created started", "node.get_worker", id); w["type"] != kind || w["status"] != "started" {
			t.Errorf("get_worker of a %s: %v", kind, w)
		}
		o.list([]string{id}, "node.get_workers", []any{kind})
		o.fails(cfcerr.AlreadyRunning, "node.start_worker", id, kind, map[string]any{})
		o.dict("id type", "node.stop_worker", id, kind == "proxy")
		o.fails(cfcerr.NoSuchWorker, "node.stop_worker", id)
		o.fails(cfcerr.NoSuchWorker, "node.get_worker", id)
		o.life("node.on_worker", id)
	}
	made := o.dict("id", "node.start_worker", nil, "router", map[string]any{"title": "made up"})
	id, _ := made["id"].(string)
	if workers, _ := o.call("node.get_workers").([]any); id == "" || !slices.Contains(workers, any(id)) {
		t.Errorf("start_worker without an id: %v", made)
	}
	o.dict("id", "node.stop_worker", id)
	o.fails(cfcerr.InvalidConfiguration, "node.start_worker", "node_bad", "router", map[string]any{"no_such_option": 1})
	o.fails(cfcerr.InvalidArgument, "node.start_worker", "node_bad", "no-such-type", map[string]any{})
}

// TestNodeShutdown shuts the node down and has it started again.
func TestNodeShutdown(t *testing.T) {
	o := operate(t, "autobahn/cbor")
	o.dict("node_id stopped by", "node.shutdown", true)
	if err := stage.Ready(within(t, twoMinutes)); err != nil {
		t.Fatal(err)
	}
	o.dict("controller_pid", "node.get_status")
	for _, when := range []string{"stopping", "stopped", "starting", "started"} {
		o.heard("node.on_node_" + when)
	}
}
