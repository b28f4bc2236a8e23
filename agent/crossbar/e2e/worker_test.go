package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

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
	if len(all) > 1 {
		elsewhere(r, all)
	}

	dir := t.TempDir()
	if added := r.mustDict("worker.add_pythonpath", "look1", []any{dir}); !strings.Contains(fmt.Sprint(added["paths_added"]), "resolved:"+dir) {
		t.Errorf("added %v", added)
	}
	if paths := fmt.Sprint(r.must("worker.get_pythonpath", "look1")); !strings.HasPrefix(paths, "["+dir) {
		t.Errorf("it looks in %s", paths)
	}
	if e := r.refused(cfcerr.InvalidArgument, "worker.add_pythonpath", "look1", []any{filepath.Join(dir, "nothing")}); e.Details["argument"] != "paths" {
		t.Errorf("%v %v", e, e.Details)
	}
	v, err := r.callWithin(time.Minute, as(wire.Operator), "worker.add_pythonpath", "look1", []any{dir})
	r.wantKind(cfcerr.NotAuthorized, v, err, "add_pythonpath by an operator")
	for _, key := range []string{"worker.get_status", "worker.get_worker_log", "worker.get_pythonpath", "worker.get_profilers", "worker.started"} {
		r.refused(cfcerr.NoSuchWorker, key, "nobody")
	}
	profiled(r)
	guestArea(r)
}

// elsewhere pins a worker to a CPU that it could not use when it started.
func elsewhere(r *rig, all []any) {
	r.must("node.set_cpu_affinity", all[:1])
	r.must("node.start_worker", "narrow", "container")
	defer func() { r.must("worker.shutdown", "narrow") }()
	r.must("node.set_cpu_affinity", all)
	last := all[len(all)-1]
	if got := r.must("worker.set_cpu_affinity", "narrow", []any{last}).([]int64); len(got) != 1 || any(got[0]) != last {
		r.t.Errorf("pinned to CPU %v it runs on %v", last, got)
	}
}

// guestArea holds what can be done with a guest in this area: it is heard, also
// after its end, and seen; its insides are out of reach.
func guestArea(r *rig) {
	t := r.t
	log := func(args ...any) []catalog.LogLine {
		return r.must("worker.get_worker_log", append([]any{"heard"}, args...)...).([]catalog.LogLine)
	}
	const script = `printf '\033[31mERROR\033[0m in \033]0;title\007red\n'; head -c 9000 /dev/zero | tr '\0' y; echo; echo quiet; read -r _ < "$0"; echo the reason; exit 3`
	fifo := filepath.Join(t.TempDir(), "go")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r.must("node.start_worker", "heard", "guest", map[string]any{"executable": "sh", "arguments": []any{"-c", script, fifo}})
	r.wait("it has written", func() bool { l := log(); return len(l) > 0 && l[len(l)-1].Text == "quiet" })
	first := log(1000, 1)[0]
	if first.Text != "ERROR in red" || first.Level == nil || *first.Level != "error" || first.Seq != 1 {
		t.Errorf("its first line is %+v", first)
	}
	for _, l := range log(1000) {
		if !utf8.ValidString(l.Text) || len(l.Text) > 4096 || strings.ContainsAny(l.Text, "\x1b\a") {
			t.Errorf("line %d of %d bytes is not fit to be shown: %.40q", l.Seq, len(l.Text), l.Text)
		}
	}
	if d := r.mustDict("worker.get_status", "heard"); d["type"] != "guest" || d["answering"] != nil {
		t.Errorf("its status is %v", d)
	}
	for _, c := range [][]any{{"worker.get_pythonpath"}, {"worker.add_pythonpath", []any{"/"}}, {"worker.get_cpu_affinity"}, {"worker.set_cpu_affinity", []any{0}},
		{"worker.get_profilers"}, {"worker.start_profiler"}, {"worker.get_process_stats"}, {"worker.trigger_gc"}} {
		e := r.refused(cfcerr.InvalidArgument, c[0].(string), append([]any{"heard"}, c[1:]...)...)
		if e.Details["type"] != "guest" || e.Details["argument"] != "worker_id" {
			t.Errorf("%s of a guest: %v %v", c[0], e, e.Details)
		}
	}
	next := log()[len(log())-1].Seq + 1
	if err := os.WriteFile(fifo, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := log(10, next, 10_000); len(got) != 1 || got[0].Text != "the reason" {
		t.Errorf("who follows it reads %v", got)
	}
	r.wait("it is gone", func() bool {
		_, err := r.call("node.get_worker", "heard")
		return cfcerr.KindOf(err) == cfcerr.NoSuchWorker
	})
	if l := log(1); len(l) != 1 || l[0].Text != "the reason" {
		t.Errorf("after its end its last words are %v", l)
	}
	r.must("node.start_worker", "heard", "guest", map[string]any{"executable": "sleep", "arguments": []any{"600"}})
	r.must("worker.shutdown", "heard")
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
