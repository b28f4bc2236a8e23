package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// workerArea looks at a worker's process from all sides.
func workerArea(r *rig) {
	t := r.t
	r.must("node.start_worker", "look1", "container")
	defer func() { r.must("worker.shutdown", "look1") }()
	d := r.mustDict("worker.get_status", "look1")
	if d["type"] != "container" || number(asMap(d["process"])["resident"]) < 1<<20 || d["uptime"] == nil {
		t.Errorf("status %v", d)
	}
	lines := r.must("worker.get_worker_log", "look1", 1000).([]catalog.LogLine)
	if !slices.ContainsFunc(lines, func(l catalog.LogLine) bool { return strings.Contains(l.Text, "Native worker ready") }) {
		t.Errorf("of its %d lines none tells of its start: %v", len(lines), lines)
	}
	if info := r.mustDict("worker.get_process_info", "look1"); number(info["threads"]) < 1 {
		t.Errorf("process %v", info)
	}
	for _, key := range []string{"worker.get_process_stats", "worker.get_cpu_count", "worker.started", "worker.uptime", "worker.utcnow", "worker.trigger_gc"} {
		if v := r.must(key, "look1"); v == nil {
			t.Errorf("%s gives nothing", key)
		}
	}
	for _, key := range []string{"node.get_system_stats", "node.get_cpus", "node.get_cpu_affinity", "node.get_process_info", "node.get_process_stats", "node.utcnow", "node.trigger_gc", "node.started", "node.uptime"} {
		if v := r.must(key); v == nil {
			t.Errorf("%s gives nothing", key)
		}
	}
	r.must("worker.set_process_stats_monitoring", "look1", 1)
	r.must("node.set_process_stats_monitoring", 1)
	r.wait("figures are told", func() bool {
		return slices.Contains(r.agent.events.of("look1"), "on_process_stats") && slices.Contains(r.agent.events.of(), "on_process_stats")
	})
	r.must("worker.set_process_stats_monitoring", "look1", 0)
	r.must("node.set_process_stats_monitoring", 0)

	before := ints(r.must("worker.get_cpu_affinity", "look1"))
	if got := r.must("worker.set_cpu_affinity", "look1", []any{0}).([]int64); !slices.Equal(got, []int64{0}) {
		t.Errorf("pinned to %v", got)
	}
	r.refused(cfcerr.InvalidArgument, "worker.set_cpu_affinity", "look1", []any{999})
	r.refused(cfcerr.InvalidArgument, "worker.set_cpu_affinity", "look1", []any{})
	if got := ints(r.must("worker.get_cpu_affinity", "look1")); !slices.Equal(got, []int64{0}) {
		t.Errorf("it may use %v", got)
	}
	all := make([]any, len(before))
	for i, n := range before {
		all[i] = n
	}
	r.must("worker.set_cpu_affinity", "look1", all)

	dir := t.TempDir()
	if added := r.mustDict("worker.add_pythonpath", "look1", []any{dir}); !strings.Contains(fmt.Sprint(added["paths_added"]), "resolved:"+dir) {
		t.Errorf("added %v", added)
	}
	if paths := fmt.Sprint(r.must("worker.get_pythonpath", "look1")); !strings.HasPrefix(paths, "["+dir) {
		t.Errorf("it looks in %s", paths)
	}
	r.refused(cfcerr.InvalidArgument, "worker.add_pythonpath", "look1", []any{filepath.Join(dir, "nothing")})
	v, err := r.callWithin(time.Minute, as(wire.Operator), "worker.add_pythonpath", "look1", []any{dir})
	r.wantKind(cfcerr.NotAuthorized, v, err, "add_pythonpath by an operator")
	for _, key := range []string{"worker.get_status", "worker.get_worker_log", "worker.get_pythonpath", "worker.get_profilers", "worker.started"} {
		r.refused(cfcerr.NoSuchWorker, key, "nobody")
	}
	profiled(r)
}

// profiled samples a real worker with the real py-spy.
func profiled(r *rig) {
	t := r.t
	profilers := r.must("worker.get_profilers", "look1").([]catalog.Profiler)
	if len(profilers) != 1 || profilers[0].ID != "py-spy" || profilers[0].Version == "" {
		t.Fatalf("profilers are %v: is py-spy beside %s?", profilers, r.dir.Executable)
	}
	started := r.must("worker.start_profiler", "look1", nil, 2).(catalog.ProfileStarted)
	p := r.profile(started.ID)
	if p.Status != "finished" || p.Samples < 20 || !strings.Contains(p.Text, "poll") || p.Speedscope["shared"] == nil {
		t.Errorf("the profile has %d samples, status %s, error %v:\n%s", p.Samples, p.Status, p.Error, p.Text)
	}
	if got := r.agent.events.of("look1", started.ID); !slices.Equal(got, []string{"on_profile_started", "on_profile_finished"}) {
		t.Errorf("of the profile is told %v", got)
	}
	// One that is frozen can be looked at as well, one that dies meanwhile ends it.
	pid := r.pid("look1")
	kill(t, pid, syscall.SIGSTOP)
	frozen := r.must("worker.start_profiler", "look1", nil, 1).(catalog.ProfileStarted)
	if p := r.profile(frozen.ID); p.Status != "finished" {
		t.Errorf("of a frozen worker: %s, %v", p.Status, p.Error)
	}
	v, err := r.callWithin(2*time.Second, owner, "worker.get_process_stats", "look1")
	r.wantKind(cfcerr.Timeout, v, err, "figures of a frozen worker")
	v, err = r.callWithin(2*time.Second, owner, "worker.set_cpu_affinity", "look1", []any{0})
	r.wantKind(cfcerr.Timeout, v, err, "set_cpu_affinity of a frozen worker")
	if lines := r.must("worker.get_worker_log", "look1").([]catalog.LogLine); len(lines) == 0 {
		t.Error("the log of a frozen worker cannot be read")
	}
	kill(t, pid, syscall.SIGCONT)

	r.must("node.start_worker", "brief", "container")
	dying := r.must("worker.start_profiler", "brief", nil, 30).(catalog.ProfileStarted)
	kill(t, r.pid("brief"), syscall.SIGKILL)
	r.wait("its end is seen", func() bool { return slices.Contains(r.agent.events.of("brief"), "on_worker_stopped") })
	r.wait("the profile has ended", func() bool { return slices.Contains(r.agent.events.of("brief", dying.ID), "on_profile_finished") })
	if lines := r.must("worker.get_worker_log", "brief").([]catalog.LogLine); len(lines) == 0 {
		t.Error("the log of a dead worker is gone with it")
	}
}

// profile is one that is finished, or has failed.
func (r *rig) profile(id string) catalog.Profile {
	r.t.Helper()
	var p catalog.Profile
	r.wait("the profile is finished", func() bool {
		p = r.must("worker.get_profile", "look1", id).(catalog.Profile)
		return p.Status != "running"
	})
	return p
}

func asMap(v any) map[string]any {
	d, _ := asDict(v)
	return d
}
