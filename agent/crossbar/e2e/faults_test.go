package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/crossbar"
	"fabric.center/cfc/agent/host"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func (r *rig) pid(worker string) int {
	r.t.Helper()
	pid, ok := wamp.AsInt64(r.mustDict("node.get_worker", worker)["pid"])
	if !ok || pid <= 1 {
		r.t.Fatalf("worker %s has pid %d", worker, pid)
	}
	return int(pid)
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("cannot send %s to %d: %v", sig, pid, err)
	}
}

// One node for all that it survives: its start is what takes long.
func TestARealNode(t *testing.T) {
	r := newRig(t)
	defer r.end()
	for _, c := range []struct {
		name string
		f    func(*rig)
	}{
		{"rows", rows},
		{"sessions of realms", sessions},
		{"transports", transports},
		{"paths", paths},
		{"components", components},
		{"more of realms", moreOfRealms},
		{"meta API", metaAPI},
		{"worker area", workerArea},
		{"many changes at once", storm},
		{"a hundred calls at once", manyCalls},
		{"a killed worker", killedWorker},
		{"guests", guests},
		{"a worker that ignores its stop", stuckWorker},
		{"a frozen node", frozenNode},
		{"the agent restarts", agentRestarts},
		{"the node is killed", killedNode},
		{"shutdown and restart", shutdown},
	} {
		if !t.Run(c.name, func(t *testing.T) { r.t = t; c.f(r) }) {
			break
		}
		r.t = t
	}
	r.t = t
}

func manyCalls(r *rig) {
	var wg sync.WaitGroup
	errs := make(chan error, 300)
	for i := range 100 {
		for _, c := range [][]any{{"node.get_status"}, {"node.get_worker", "rtr1"}, {"router.get_router_realms", "rtr1"}} {
			wg.Go(func() {
				if _, err := r.call(c[0].(string), c[1:]...); err != nil {
					errs <- fmt.Errorf("%d: %v: %w", i, c, err)
				}
			})
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		r.t.Error(err)
	}
}

func killedWorker(r *rig) {
	r.must("node.start_worker", "dies", "router")
	r.must("router.start_router_realm", "dies", "realm1", map[string]any{"name": "com.example.dies"})
	began := time.Now()
	kill(r.t, r.pid("dies"), syscall.SIGKILL)
	r.wantEvents([]string{"dies"}, "on_worker_starting", "on_worker_started", "on_worker_stopped")
	if d := time.Since(began); d > time.Second {
		r.t.Errorf("its end was told after %s", d)
	}
	r.wantEvents([]string{"dies", "realm1"}, "on_router_realm_starting", "on_router_realm_started", "on_router_realm_stopped")
	events := r.agent.events.details("dies")
	if d := events[len(events)-1].details; d["reason"] != "ended" || d["by"] != nil || d["type"] != "router" {
		r.t.Errorf("its end says %v", d)
	}
	r.refused(cfcerr.NoSuchWorker, "router.get_router_realms", "dies")

	r.must("node.start_worker", "dies", "container")
	e := r.refused(cfcerr.InvalidArgument, "router.get_router_realms", "dies")
	if e.Details["argument"] != "worker_id" || e.Details["type"] != "container" {
		r.t.Errorf("a container asked for realms: %v %v", e, e.Details)
	}
	r.must("node.stop_worker", "dies", true)
	r.wantEvents([]string{"dies"}, "on_worker_starting", "on_worker_started", "on_worker_stopped",
		"on_worker_starting", "on_worker_started", "on_worker_stopping", "on_worker_stopped")
}

func guests(r *rig) {
	v, err := r.callWithin(time.Minute, as(wire.Operator), "node.start_worker", "g0", "guest", map[string]any{"executable": "sleep"})
	r.wantKind(cfcerr.NotAuthorized, v, err, "a guest of an operator")

	d := r.mustDict("node.start_worker", "g1", map[string]any{"type": "guest", "executable": "sleep", "arguments": []any{"0.5"}})
	if d["pid"] == nil || d["type"] != "guest" {
		r.t.Errorf("a guest starts as %v", d)
	}
	r.wantEvents([]string{"g1"}, "on_worker_starting", "on_worker_started", "on_worker_stopped")
	r.refused(cfcerr.NoSuchWorker, "node.get_worker", "g1")

	// A guest that ignores SIGTERM: the node would say that it has stopped.
	r.must("node.start_worker", "g2", "guest", map[string]any{"executable": "sh", "arguments": []any{"-c", "trap '' TERM PIPE; while :; do sleep 0.1; done"}})
	process, err := host.Find(context.Background(), r.pid("g2"))
	if err != nil {
		r.t.Fatal(err)
	}
	if v, err := r.callWithin(6*time.Second, owner, "node.stop_worker", "g2"); err != nil {
		r.t.Errorf("stopping it gives %v, %v", v, err)
	}
	if process.Alive(context.Background()) {
		r.t.Error("stopped, but its process lives")
	}
	r.wantEvents([]string{"g2"}, "on_worker_starting", "on_worker_started", "on_worker_stopping", "on_worker_stopped")
}

func stuckWorker(r *rig) {
	r.must("node.start_worker", "stuck", "router")
	pid := r.pid("stuck")
	kill(r.t, pid, syscall.SIGSTOP)
	// A read and a mutation that the worker never answers end in time, and
	// do not hold up the next.
	began := time.Now()
	v, err := r.callWithin(time.Second, owner, "router.get_router_realms", "stuck")
	r.wantKind(cfcerr.Timeout, v, err, "a read of a stuck worker")
	v, err = r.callWithin(time.Second, owner, "router.start_router_realm", "stuck", "realm1", map[string]any{"name": "com.example.stuck"})
	r.wantKind(cfcerr.Timeout, v, err, "a change of a stuck worker")
	if d := time.Since(began); d > 3*time.Second {
		r.t.Errorf("two calls of a second each took %s", d)
	}
	r.must("node.get_worker", "rtr1")
	if v, err := r.callWithin(6*time.Second, owner, "node.stop_worker", "stuck"); err != nil {
		r.t.Errorf("a worker that ignores its stop: %v, %v", v, err)
	}
	if _, err := host.Find(context.Background(), pid); err == nil {
		r.t.Error("stopped, but its process lives")
	}
}

func frozenNode(r *rig) {
	node := r.nodePID()
	kill(r.t, node, syscall.SIGSTOP)
	thaw := sync.OnceFunc(func() { kill(r.t, node, syscall.SIGCONT) })
	defer thaw()
	var wg sync.WaitGroup
	began := time.Now()
	for range 100 {
		wg.Go(func() {
			v, err := r.callWithin(time.Second, owner, "node.get_status")
			r.wantKind(cfcerr.Timeout, v, err, "a call of a frozen node")
		})
	}
	wg.Wait()
	if d := time.Since(began); d > 3*time.Second {
		r.t.Errorf("calls of a second each took %s", d)
	}
	thaw()
	r.must("node.get_status")
	r.must("node.get_worker", "rtr1")
}

func agentRestarts(r *rig) {
	for range 2 { // the second time on the id rtr1.again that is burnt
		r.must("router.start_router_realm", "rtr1", "again", map[string]any{"name": "com.example.again"})
		r.must("router.stop_router_realm", "rtr1", "again")
	}
	r.must("router.start_router_realm", "rtr1", "again", map[string]any{"name": "com.example.again"})
	worker, node := r.pid("rtr1"), r.nodePID()
	r.stopParts()
	r.start()
	if st := r.agent.sup.Status(); st.PID != node || !st.Adopted {
		r.t.Fatalf("the node was %d, after the restart it is %+v", node, st)
	}
	if got := r.pid("rtr1"); got != worker {
		r.t.Errorf("the worker was %d, after the restart it is %d", worker, got)
	}
	if got := r.must("router.get_router_realms", "rtr1"); !reflect.DeepEqual(got, []string{"again"}) {
		r.t.Errorf("realms are %v", got)
	}
	if d := r.mustDict("router.get_router_realm", "rtr1", "again"); d["id"] != "again" {
		r.t.Errorf("the realm shows as %v", d["id"])
	}
	r.must("router.stop_router_realm", "rtr1", "again")
	r.must("router.start_router_realm", "rtr1", "again", map[string]any{"name": "com.example.again"})
	// What ran all the time is not told again.
	r.wantEvents([]string{"rtr1", "again"}, "on_router_realm_stopping", "on_router_realm_stopped", "on_router_realm_starting", "on_router_realm_started")
	r.wantEvents([]string{"rtr1"})
}

func killedNode(r *rig) {
	r.must("node.start_worker", "g3", "guest", map[string]any{"executable": "sleep", "arguments": []any{"600"}})
	guest := r.pid("g3")
	node, worker := r.nodePID(), r.pid("rtr1")
	answers := make(chan error, 20)
	for range cap(answers) {
		go func() {
			for {
				if _, err := r.call("node.get_status"); err != nil {
					answers <- err
					return
				}
			}
		}()
	}
	kill(r.t, node, syscall.SIGKILL)
	for range cap(answers) {
		if k := cfcerr.KindOf(<-answers); k != cfcerr.ConnectionLost && k != cfcerr.NodeDetached {
			r.t.Errorf("a call in flight ended as %s", k.URI())
		}
	}
	r.wait("the end of the worker is told", func() bool {
		return slices.Contains(r.agent.events.of("rtr1"), "on_worker_stopped")
	})
	if d := r.agent.events.details("rtr1")[0].details; d["reason"] != "node gone" {
		r.t.Errorf("its end says %v", d)
	}
	r.wait("the node comes back", func() bool {
		a := r.agent.link.Attached()
		return a.Attached && r.agent.sup.Status().PID != node
	})
	for _, pid := range []int{guest, worker} {
		if _, err := host.Find(context.Background(), pid); err == nil {
			r.t.Errorf("process %d of the killed node is left behind", pid)
		}
	}
	if got := r.must("node.get_workers"); !reflect.DeepEqual(got, []string{}) {
		r.t.Errorf("a node without workers in its configuration came back with %v", got)
	}
	r.wantEvents(nil, "on_node_attached", "on_node_detached", "on_node_attached")
	r.must("node.start_worker", "rtr1", "router")
	r.must("router.start_router_realm", "rtr1", "again", map[string]any{"name": "com.example.again"})
}

func shutdown(r *rig) {
	node := r.nodePID()
	d := r.must("node.shutdown", true)
	if s := fmt.Sprintf("%+v", d); !reflect.DeepEqual(reflect.ValueOf(d).FieldByName("Restarting").Bool(), true) {
		r.t.Errorf("shutdown gives %s", s)
	}
	if _, err := host.Find(context.Background(), node); err == nil {
		r.t.Error("shutdown has returned, and the node's process lives")
	}
	r.wait("the node comes back", func() bool { return r.agent.link.Attached().Attached })
	events := r.agent.events.details("rtr1")
	if last := events[len(events)-1]; last.name != "on_worker_stopped" || last.details["reason"] != "node shut down" || last.details["by"] != "alice" {
		r.t.Errorf("the worker's last event is %v", last)
	}
	r.must("node.shutdown")
	e := r.refused(cfcerr.NodeDetached, "node.get_status")
	if e.Details["since"] == nil || e.Details["reason"] == nil {
		r.t.Errorf("a detached node says %v", e.Details)
	}
	r.refused(cfcerr.NotRunning, "node.shutdown")
	r.must("node.shutdown", true)
	r.wait("a node that is down is started by a restart", func() bool { return r.agent.link.Attached().Attached })
}

const ownConfig = `{"version": 2, "workers": [
  {"type": "router", "id": "own", "realms": [{"id": "realm1", "name": "com.example.own", "roles": [{"name": "anonymous", "permissions": []}]}]},
  {"type": "guest", "id": "brief", "executable": "true"},
  {"type": "router", "id": "web", "options": {"pythonpath": ["."]},
   "realms": [{"id": "realm1", "name": "com.example.web", "options": {"bridge_meta_api": true}, "roles": [{"name": "anonymous", "permissions": []}]}],
   "components": [{"id": "comp1", "type": "class", "classname": "cfcmodules.Idle", "realm": "com.example.web"},
                  {"id": "comp2", "type": "class", "classname": "cfcmodules.Idle", "realm": "com.example.web"}],
   "transports": [{"id": "uni1", "type": "universal", "endpoint": {"type": "unix", "path": "own.sock"}, "rawsocket": {},
                   "web": {"paths": {"/": {"type": "json", "value": 1}, "info": {"type": "nodeinfo"}}}}]}]}`

// The node's own configuration boots workers; their events come too, and again
// when the node comes back from its death.
func TestWorkersOfTheNodesOwnConfiguration(t *testing.T) {
	r := newRig(t, configured(ownConfig), module("cfcmodules", idle))
	defer r.end()
	up := []string{"on_worker_starting", "on_worker_started"}
	realmUp := []string{"on_router_realm_starting", "on_router_realm_started"}
	brief := append(slices.Clone(up), "on_worker_stopped")
	r.wantEventsWithin(30*time.Second, []string{"brief"}, brief...)
	r.wantEvents([]string{"own"}, up...)
	r.wantEvents([]string{"own", "realm1"}, realmUp...)
	if e := r.agent.events.details("own")[1]; e.details["by"] != nil || e.details["type"] != "router" || e.details["pid"] == nil {
		t.Errorf("its start says %v", e.details)
	}

	objects := ownObjects(r)

	kill(t, r.nodePID(), syscall.SIGKILL)
	r.wantEventsWithin(60*time.Second, []string{"brief"}, append(slices.Clone(brief), brief...)...)
	r.wantEvents([]string{"own"}, append(append(slices.Clone(up), "on_worker_stopped"), up...)...)
	r.wantEvents([]string{"own", "realm1"}, append(append(slices.Clone(realmUp), "on_router_realm_stopped"), realmUp...)...)
	if e := r.agent.events.details("own")[2]; e.details["reason"] != "node gone" {
		t.Errorf("its end says %v", e.details)
	}
	for event, ids := range objects {
		r.wantEventsWithin(30*time.Second, ids, event+"_starting", event+"_started", event+"_stopped", event+"_starting", event+"_started")
	}
	// What the node's own configuration has started can be stopped from here.
	for _, id := range []string{"comp2", "comp1"} {
		r.must("router.stop_router_component", "web", id)
	}
	r.must("router.stop_router_transport_path", "web", "uni1", "info")
	r.must("router.stop_router_transport", "web", "uni1")
	r.must("router.stop_router_realm_role", "web", "realm1", r.must("router.get_router_realm_roles", "web", "realm1").([]string)[0])
	for _, key := range []string{"router.get_router_components", "router.get_router_transports"} {
		if got := r.must(key, "web"); !reflect.DeepEqual(got, []string{}) {
			t.Errorf("%s gives %v", key, got)
		}
	}
}

// ownObjects waits until all of the worker web has started, and returns the
// ids of its objects by their events.
func ownObjects(r *rig) map[string][]string {
	objects := map[string][]string{
		"on_router_realm":          {"web", "realm1"},
		"on_router_component":      {"web", "comp1"},
		"on_router_transport":      {"web", "uni1"},
		"on_web_transport_service": {"web", "uni1", "info"},
	}
	for event, ids := range objects {
		r.wantEventsWithin(30*time.Second, ids, event+"_starting", event+"_started")
	}
	return objects
}

const idle = `
from autobahn.twisted.wamp import ApplicationSession

class Idle(ApplicationSession):
    pass
`

// module puts a module of Python into the node's directory.
func module(name, text string) option {
	return func(r *rig) {
		r.t.Helper()
		if err := os.WriteFile(filepath.Join(r.dir.Path, name+".py"), []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A node that somebody else has started.
func TestUnsupervisedNode(t *testing.T) {
	r := newRig(t, unsupervised)
	node := exec.CommandContext(context.Background(), r.dir.Executable, "edge", "start", "--cbdir", r.dir.Path)
	out, err := os.Create(filepath.Join(r.dir.Path, "node.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	node.Stdout, node.Stderr = out, out
	node.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- node.Wait() }()
	defer func() {
		_ = syscall.Kill(-node.Process.Pid, syscall.SIGKILL)
		<-ended
	}()
	r.wait("the node attaches", func() bool { return r.agent.link.Attached().Attached })
	r.must("node.start_worker", "c1", "container")
	r.refused(cfcerr.NotSupported, "node.shutdown", true)
	r.must("node.shutdown")
	select {
	case <-ended:
		ended <- nil
	case <-time.After(5 * time.Second):
		t.Error("shutdown has returned, and the node's process lives")
	}
	r.wantEvents([]string{"c1"}, "on_worker_starting", "on_worker_started", "on_worker_stopped")
	if e := r.agent.events.details("c1")[2]; e.details["reason"] != "node shut down" || e.details["by"] != "alice" {
		t.Errorf("its end says %v", e.details)
	}
}

// Starting and stopping leaves nothing behind, and a second supervisor never
// makes a second node.
func TestSupervisorLeavesNothingBehind(t *testing.T) {
	r := newRig(t, patience(5*time.Second)) // the node would wait for the guest's child for 20 s
	r.must("node.start_worker", "rtr1", "router")
	r.must("node.start_worker", "g1", "guest", map[string]any{"executable": "sh", "arguments": []any{"-c", "sleep 601 & sleep 602"}})
	node := r.nodePID()

	second, err := crossbar.NewSupervisor(crossbar.SupervisorConfig{Executable: r.dir.Executable, Dir: r.dir.Path, StateDir: t.TempDir(), KeepRunning: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- second.Run(ctx) }()
	r.wait("the second adopts the node of the first", func() bool { return second.Status().PID == node })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := host.Find(context.Background(), node); err != nil {
		t.Fatalf("the second has ended the node: %v", err)
	}

	r.end()
	group, err := host.Group(context.Background(), node)
	if err != nil || len(group) > 0 {
		t.Errorf("left behind: %v, %v", group, err)
	}
	if _, err := os.Stat(filepath.Join(r.dir.Path, "node.pid")); err == nil {
		t.Error("node.pid is left behind")
	}
}
