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
	"github.com/gammazero/nexus/v3/wamp"
)

func TestWorkerStatus(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.node.Answer("worker.w.get_process_stats", wamp.Dict{"resident": 7}, "")
	r.must("router.start_router_realm", "w", "a", map[string]any{"name": "com.a"})
	d := r.must("worker.get_status", "w").(catalog.Dict)
	stats, _ := wamp.AsDict(d["process"])
	if d["id"] != "w" || d["type"] != "router" || fmt.Sprint(stats["resident"]) != "7" || d["objects"].(map[string]any)["router_realm"] != 1 {
		t.Errorf("status %v", d)
	}
	r.node.Boot("g", "guest")
	if d := r.must("worker.get_status", "g").(catalog.Dict); d["process"] != nil || d["type"] != "guest" {
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
	r.node.Answer("get_cpus", wamp.List{0, 1}, "")
	r.node.Answer("set_cpu_affinity", wamp.List{1}, "")
	r.node.Answer("worker.w.set_cpu_affinity", wamp.List{1}, "")
	for _, c := range []struct {
		key  string
		args []any
	}{{"worker.set_cpu_affinity", []any{"w"}}, {"node.set_cpu_affinity", nil}} {
		if v := r.must(c.key, append(c.args, []any{1})...); fmt.Sprint(v) != "[1]" {
			t.Errorf("%s gives %v", c.key, v)
		}
		for cpus, argument := range map[string]string{"[]": "cpus", "[2]": "cpus[0]", "[0 -1]": "cpus[1]", "[1 1]": "cpus[1]"} {
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
	r.refused(cfcerr.NoSuchWorker, "worker.set_cpu_affinity", "nobody", []any{0})
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
	r.node.BootAs("w", "router", pid)
	r.node.Answer("worker.w.get_pythonpath", wamp.List{}, "")
	r.node.Boot("g", "guest")
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
