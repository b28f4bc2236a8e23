package ops_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/agent/profile"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestWorkerStatus(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.node.Answer("worker.w.get_process_stats", wamp.Dict{"resident": 7}, "")
	r.must("router.start_router_realm", "w", "a", map[string]any{"name": "com.a"})
	d := r.must("worker.get_status", "w").(catalog.Dict)
	if d["answering"] != true {
		t.Errorf("it answers, its status says %v", d["answering"])
	}
	stats, _ := wamp.AsDict(d["process"])
	if d["id"] != "w" || d["type"] != "router" || fmt.Sprint(stats["resident"]) != "7" || d["objects"].(map[string]any)["router_realm"] != 1 {
		t.Errorf("status %v", d)
	}
	release := r.node.Hang("worker.w.get_process_stats")
	frozen, err := r.within(20*time.Second, "viewer", "worker.get_status", "w")
	release()
	if d, _ := frozen.(catalog.Dict); err != nil || d["answering"] != false || d["process"] != nil || d["id"] != "w" {
		t.Errorf("status of one that does not answer: %v, %v", frozen, err)
	}
	r.node.Boot("g", "guest")
	if d := r.must("worker.get_status", "g").(catalog.Dict); d["process"] != nil || d["type"] != "guest" || d["answering"] != nil {
		t.Errorf("status of a guest %v", d)
	}
	r.refused(cfcerr.NoSuchWorker, "worker.get_status", "nobody")
}

func TestWorkerLogArguments(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.node.Publish("worker.w.on_log", "hello")
	r.until("it is told", func() bool { return slices.Contains(r.told(), "on_worker_log w") })
	if lines := r.must("worker.get_worker_log", "w").([]catalog.LogLine); len(lines) != 1 || lines[0].Text != "hello" {
		t.Errorf("the log is %v", lines)
	}
	if lines := r.must("worker.get_worker_log", "w", 10, 2, 50).([]catalog.LogLine); len(lines) != 0 {
		t.Errorf("beyond its end it has %v", lines)
	}
	for _, args := range [][]any{{"w", 0}, {"w", 10001}, {"w", "x"}, {"w", 10, 0}, {"w", 10, 1, -1}, {"w", 10, 1, 60001}, {"w", 10, nil, 5}} {
		r.refused(cfcerr.InvalidArgument, "worker.get_worker_log", args...)
	}
	r.refused(cfcerr.NoSuchWorker, "worker.get_worker_log", "nobody")
	if _, err := r.within(50*time.Millisecond, "viewer", "worker.get_worker_log", "w", 10, 2, 5000); cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Errorf("a deadline while it waits: %v", err)
	}
}

func TestAffinity(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.node.Answer("get_cpus", wamp.List{1, 3}, "") // the host gives it no others
	var asked []any
	pin := func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
		asked = i.Arguments
		return client.InvokeResult{Args: wamp.List{i.Arguments[0]}}
	}
	r.node.Register("set_cpu_affinity", pin)
	r.node.Replace("worker.w.set_cpu_affinity", pin)
	for _, c := range []struct {
		key  string
		args []any
	}{{"worker.set_cpu_affinity", []any{"w"}}, {"node.set_cpu_affinity", nil}} {
		if v := r.must(c.key, append(c.args, []any{3})...); fmt.Sprint(v) != "[3]" || len(asked) != 2 || asked[1] != false {
			t.Errorf("%s gives %v, the node is asked for %v", c.key, v, asked)
		}
		for cpus, argument := range map[string]string{"[]": "cpus", "[0]": "cpus[0]", "[2]": "cpus[0]", "[1 -1]": "cpus[1]", "[1 1]": "cpus[1]"} {
			var list []any
			for _, n := range strings.Fields(strings.Trim(cpus, "[]")) {
				var i int
				fmt.Sscan(n, &i)
				list = append(list, i)
			}
			if list == nil {
				list = []any{}
			}
			if e := r.refused(cfcerr.InvalidArgument, c.key, append(c.args, list)...); e.Details["argument"] != argument {
				t.Errorf("%s of %s: %v", c.key, cpus, e)
			}
		}
	}
	r.refused(cfcerr.NoSuchWorker, "worker.set_cpu_affinity", "nobody", []any{1})
	r.node.Fail("worker.w.set_cpu_affinity", "crossbar.error.runtime_error", "Could not set CPU affinity: [Errno 22] Invalid argument")
	if e := r.refused(cfcerr.InvalidArgument, "worker.set_cpu_affinity", "w", []any{3}); e.Details["argument"] != "cpus" || e.Details["expected"] == nil {
		t.Errorf("CPUs that the host takes away: %v %v", e, e.Details)
	}
}

func TestMonitoring(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.node.Answer("set_process_stats_monitoring", nil, "")
	r.node.Answer("worker.w.set_process_stats_monitoring", nil, "")
	for key, args := range map[string][]any{"node.set_process_stats_monitoring": nil, "worker.set_process_stats_monitoring": {"w"}} {
		for _, good := range []any{0, 1, 2.5, 86400} {
			r.must(key, append(slices.Clone(args), good)...)
		}
		for _, bad := range []any{-1, 0.01, 86401, "1"} {
			if e := r.refused(cfcerr.InvalidArgument, key, append(slices.Clone(args), bad)...); e.Details["argument"] != "interval" {
				t.Errorf("%s %v: %v", key, bad, e.Details)
			}
		}
	}
	if n := r.node.Calls("worker.w.set_process_stats_monitoring"); n != 4 {
		t.Errorf("the worker was asked %d times", n)
	}
}

func TestPythonpath(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.node.Answer("worker.w.add_pythonpath", wamp.Dict{"paths": wamp.List{"/a"}, "who": 4711}, "")
	if d := r.must("worker.add_pythonpath", "w", []any{"/a"}).(catalog.Dict); d["who"] != "alice" {
		t.Errorf("it gives %v", d)
	}
	r.node.Fail("worker.w.add_pythonpath", "crossbar.error.invalid_argument", "Cannot add Python search path '/b': not a directory")
	for what, paths := range map[string][]any{"no directory": {"/b"}, "none": {}, "an empty one": {""}} {
		if e := r.refused(cfcerr.InvalidArgument, "worker.add_pythonpath", "w", paths); e.Details["argument"] != "paths" || e.Details["expected"] == nil {
			t.Errorf("%s: %v %v", what, e, e.Details)
		}
	}
}

// A worker that dies still has its procedures for a moment, and nobody behind
// them.
func TestAWorkerThatGoesAway(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	for procedure, args := range map[string][]any{"add_pythonpath": {"w", []any{"/a"}}, "get_pythonpath": {"w"}, "get_cpu_affinity": {"w"}} {
		r.node.Answer("worker.w."+procedure, nil, "")
		r.node.Fail("worker.w."+procedure, "wamp.error.no_such_procedure", "no callee registered for procedure")
		if e := r.refused(cfcerr.NotRunning, "worker."+procedure, args...); e.Details["worker_id"] != "w" {
			t.Errorf("%s: %v %v", procedure, e, e.Details)
		}
	}
}

// A guest can be looked at, heard and stopped; what is within it cannot be
// reached, and the error says whose worker that is.
func TestWhatAGuestCannot(t *testing.T) {
	r := newRig(t)
	r.node.Boot("g", "guest")
	can := []string{"get_status", "get_worker_log", "shutdown"}
	further := map[string]any{"add_pythonpath": []any{"/a"}, "set_cpu_affinity": []any{0}, "set_process_stats_monitoring": 1}
	r.node.Answer("get_cpus", wamp.List{0}, "")
	for _, op := range catalog.All() {
		if op.Area != "worker" || slices.Contains(can, op.Name) || op == catalog.WorkerGetProfile.Op {
			continue
		}
		args := []any{"g"}
		if v, ok := further[op.Name]; ok {
			args = append(args, v)
		}
		e := r.refused(cfcerr.InvalidArgument, op.Key(), args...)
		if e.Details["type"] != "guest" || e.Details["argument"] != "worker_id" || e.Details["expected"] != "a native worker" {
			t.Errorf("%s: %v %v", op.Key(), e, e.Details)
		}
	}
	for _, name := range can {
		r.must("worker."+name, "g")
	}
}

func TestWhenTheNodeStarted(t *testing.T) {
	r := newRig(t)
	if _, err := time.Parse(time.RFC3339, r.must("node.started").(string)); err != nil {
		t.Error(err)
	}
	if up := r.must("node.uptime").(float64); up < 0 || up > 60 {
		t.Errorf("it is up for %v s", up)
	}
}

func TestWorkerShutdown(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	d := r.must("worker.shutdown", "w").(catalog.WorkerShutdown)
	if d.NodeID != "n1" || d.WorkerID != "w" || d.Type != "router" || d.By != "alice" || d.Stopped == "" {
		t.Errorf("it gives %+v", d)
	}
	r.refused(cfcerr.NoSuchWorker, "worker.shutdown", "w")
}

// sampler is a profiler whose profiles end when the test says so.
type sampler struct {
	end   chan error
	fault error
}

func (s *sampler) Version(context.Context) (string, error) { return "1.2", s.fault }

func (s *sampler) Sample(ctx context.Context, pid int, runtime time.Duration) (profile.Result, error) {
	select {
	case err := <-s.end:
		return profile.Result{Samples: pid, Text: runtime.String()}, err
	case <-ctx.Done():
		return profile.Result{}, ctx.Err()
	}
}

func TestProfiles(t *testing.T) {
	s := &sampler{end: make(chan error)}
	controller, pid := family(t)
	r := newRigOf(t, controller, func(c *ops.Config) { c.Sampler = s })
	r.until("the node's process is known", func() bool { return slices.Contains(r.told(), "on_node_attached") })
	r.node.BootAs("w", "router", pid)
	r.node.Answer("worker.w.get_pythonpath", wamp.List{}, "")
	r.node.BootAs("g", "guest", pid) // a process that is not there would be taken for dead
	r.until("the guest is known", func() bool { return slices.Contains(r.told(), "on_worker_started g") })
	if v := r.must("worker.get_profilers", "w").([]catalog.Profiler); len(v) != 1 || v[0] != (catalog.Profiler{ID: "py-spy", State: "inactive", Version: "1.2"}) {
		t.Errorf("profilers are %v", v)
	}
	for _, args := range [][]any{{"w", "vmprof"}, {"w", nil, 0.5}, {"w", nil, 301}, {"g"}} {
		r.refused(cfcerr.InvalidArgument, "worker.start_profiler", args...)
	}
	started := r.must("worker.start_profiler", "w", nil, 2).(catalog.ProfileStarted)
	if started.Who != "alice" || started.WorkerID != "w" || started.Profiler != "py-spy" || started.Runtime != 2 {
		t.Errorf("started %+v", started)
	}
	if e := r.refused(cfcerr.AlreadyRunning, "worker.start_profiler", "w"); e.Details["profile_id"] != started.ID {
		t.Errorf("a second one: %v", e)
	}
	if v := r.must("worker.get_profilers", "w").([]catalog.Profiler); v[0].State != "running" {
		t.Errorf("profilers are %v", v)
	}
	get := func(id string) catalog.Profile { return r.must("worker.get_profile", "w", id).(catalog.Profile) }
	if p := get(started.ID); p.Status != "running" || p.Finished != nil {
		t.Errorf("while it is made: %+v", p)
	}
	s.end <- nil
	r.until("it is finished", func() bool { return get(started.ID).Status == "finished" })
	if p := get(started.ID); p.Samples != pid || p.Text != "2s" || p.Finished == nil || p.Error != nil {
		t.Errorf("finished: %+v", p)
	}
	r.refused(cfcerr.NoSuchObject, "worker.get_profile", "w", "p_0")
	r.refused(cfcerr.NoSuchObject, "worker.get_profile", "g", started.ID)
	r.refused(cfcerr.NoSuchWorker, "worker.get_profile", "nobody", started.ID)

	failed := r.must("worker.start_profiler", "w").(catalog.ProfileStarted)
	s.end <- errors.New("secret of the host")
	r.until("it has failed", func() bool { return get(failed.ID).Status == "failed" })
	if p := get(failed.ID); p.Error == nil || strings.Contains(*p.Error, "secret") {
		t.Errorf("failed: %v", p.Error)
	}
	for range 8 { // so many are kept
		id := r.must("worker.start_profiler", "w").(catalog.ProfileStarted).ID
		s.end <- nil
		r.until("it is finished", func() bool { return get(id).Status == "finished" })
	}
	r.refused(cfcerr.NoSuchObject, "worker.get_profile", "w", started.ID)
	events := strings.Join(r.told(), " ")
	if !strings.Contains(events, "on_profile_started w "+started.ID) || !strings.Contains(events, "on_profile_finished w "+started.ID) {
		t.Errorf("told is %s", events)
	}
	s.fault = cfcerr.New(cfcerr.Unavailable, "cannot profile: it is not installed")
	if v := r.must("worker.get_profilers", "w").([]catalog.Profiler); len(v) != 0 {
		t.Errorf("without one there are %v", v)
	}
	r.refused(cfcerr.Unavailable, "worker.start_profiler", "w")
	r.node.Boot("far", "router")
	r.node.Answer("worker.far.get_pythonpath", wamp.List{}, "")
	s.fault = nil
	r.refused(cfcerr.NotSupported, "worker.start_profiler", "far")
}

// family is a process and its child, as a controller and its worker are.
func family(t *testing.T) (parent, child int) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "sleep 60 & echo $!; wait")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = fmt.Fscan(out, &child)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(child, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd.Process.Pid, child
}
