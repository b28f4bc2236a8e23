package nodeapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
)

// TestWorker is the worker area, on a worker of each native type.
func TestWorker(t *testing.T) {
	o := operate(t, "autobahn/cbor")
	for _, kind := range []string{"router", "container", "proxy"} {
		id := "area_" + kind
		o.worker(id, kind, nil)
		if d := o.dict("id type pid process objects", "worker.get_status", id); d["type"] != kind {
			t.Errorf("get_status of a %s: %v", kind, d)
		}
		o.paths(id)
		o.call("worker.set_cpu_affinity", id, []any{0})
		if cpus, _ := o.call("worker.get_cpu_affinity", id).([]any); !slices.Equal(cpus, []any{0.0}) {
			t.Errorf("get_cpu_affinity after set_cpu_affinity: %v", cpus)
		}
		o.fails(cfcerr.InvalidArgument, "worker.set_cpu_affinity", id, []any{4711})
		if log, _ := o.call("worker.get_worker_log", id, 5).([]any); len(log) == 0 || len(log) > 5 || !strings.Contains(fmt.Sprint(log), " ") {
			t.Errorf("get_worker_log: %v", log)
		}
		o.heard("worker.on_worker_log", id)
		o.dict("pid", "worker.get_process_stats", id)
		o.dict("", "worker.get_process_info", id)
		for _, key := range []string{"get_cpu_count", "started", "uptime", "utcnow", "trigger_gc"} {
			if v := o.call("worker."+key, id); v == nil {
				t.Errorf("worker.%s: %v", key, v)
			}
		}
		o.call("worker.set_process_stats_monitoring", id, 1)
		o.heard("worker.on_process_stats", id)
		o.call("worker.set_process_stats_monitoring", id, 0)
		o.dict("worker_id stopped", "worker.shutdown", id)
		o.fails(cfcerr.NoSuchWorker, "node.get_worker", id)
		o.heard("node.on_worker_stopped", id)
		o.heard("node.on_" + kind + "_starting")
		o.heard("node.on_" + kind + "_started")
	}
}

// paths adds to where a worker looks for modules.
func (o operator) paths(worker string) {
	o.Helper()
	paths, _ := o.call("worker.get_pythonpath", worker).([]any)
	if len(paths) == 0 || slices.Contains(paths, any(components(o.T))) {
		o.Errorf("get_pythonpath: %v", paths)
	}
	o.call("worker.add_pythonpath", worker, []any{components(o.T)})
	if paths, _ = o.call("worker.get_pythonpath", worker).([]any); len(paths) == 0 || paths[0] != components(o.T) {
		o.Errorf("get_pythonpath after add_pythonpath: %v", paths)
	}
	o.fails(cfcerr.InvalidArgument, "worker.add_pythonpath", worker, []any{"/no/such/directory"})
}

// TestProfile looks where a worker spends its time.
func TestProfile(t *testing.T) {
	o := operate(t, "autobahn-js/cbor")
	o.worker("busy", "router", nil)
	if profilers, _ := o.call("worker.get_profilers", "busy").([]any); len(profilers) == 0 {
		t.Errorf("get_profilers: %v", profilers)
	}
	started := o.dict("id", "worker.start_profiler", "busy", nil, 1)
	o.heard("worker.on_profile_started", "busy", started["id"])
	o.heard("worker.on_profile_finished", "busy", started["id"])
	if d := o.dict("samples text speedscope", "worker.get_profile", "busy", started["id"]); d["status"] != "finished" {
		t.Errorf("get_profile: %v, %v", d["status"], d["error"])
	}
}

// TestNodeFigures are those of a node's host, and of its controller.
func TestNodeFigures(t *testing.T) {
	o := operate(t, "nexus/msgpack")
	for key, keys := range map[string]string{"get_system_stats": "cpu memory", "get_process_info": "", "get_process_stats": "pid"} {
		o.dict(keys, "node."+key)
	}
	for _, key := range []string{"get_cpus", "get_cpu_affinity", "started", "uptime", "utcnow", "trigger_gc"} {
		if v := o.call("node." + key); v == nil {
			t.Errorf("node.%s: %v", key, v)
		}
	}
	cpus := o.call("node.get_cpu_affinity")
	o.call("node.set_cpu_affinity", cpus)
	o.fails(cfcerr.InvalidArgument, "node.set_cpu_affinity", []any{4711})
	o.call("node.set_process_stats_monitoring", 1)
	o.heard("node.on_process_stats")
	o.call("node.set_process_stats_monitoring", 0)
	o.heard("node.on_node_heartbeat")
}
