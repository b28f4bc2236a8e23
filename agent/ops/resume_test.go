package ops_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/agent/crossbar"
	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/nodelink/nodetest"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// keeping has an agent keep its state in dir.
func keeping(dir string) func(*ops.Config) {
	return func(c *ops.Config) {
		c.StateDir = dir
		c.Node = crossbar.New(crossbar.Config{Link: c.Link.(*nodelink.Link), Poll: 50 * time.Millisecond, StateDir: dir})
	}
}

// cut is a proxy whose agent ends while its restart is at a procedure of the
// node, and the state directory of the next agent.
func cut(t *testing.T, at string, crash bool) (r *rig, dir string) {
	t.Helper()
	dir = t.TempDir()
	r = proxyRig(t, keeping(dir))
	return r, r.cut(dir, at, crash, "proxy.stop_proxy_transport", "p", "t", true)
}

// cut ends the agent while a call is at a procedure of the node. The next one's
// state directory is as it was at that moment, as after a crash, or as the agent
// has left it in order.
func (r *rig) cut(dir, at string, crash bool, key string, args ...any) (next string) {
	t := r.t
	t.Helper()
	release := r.node.Hang(at)
	defer release()
	before := r.node.Calls(at)
	ended := make(chan error, 1)
	agent := r.Ops
	go func() {
		_, err := agent.Call(context.Background(), as(wire.Owner), key, wamp.List(args), nil)
		ended <- err
	}()
	r.until("the restart is at "+at, func() bool { return r.node.Calls(at) > before })
	now := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(now, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "restarts.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the journal is %v, %v", info, err)
	}
	r.end()
	if err := <-ended; err == nil {
		t.Fatal("a restart that was broken off has succeeded")
	}
	_ = r.node.Close()
	if crash {
		return now
	}
	return dir
}

func noJournal(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "restarts.json"))
	return os.IsNotExist(err)
}

func TestARestartIsFinishedByTheNextAgent(t *testing.T) {
	for _, at := range []string{"stop_worker", "start_worker", "worker.p.start_proxy_connection", "worker.p.start_proxy_transport"} {
		for _, crash := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, crash %v", at, crash), func(t *testing.T) {
				r, dir := cut(t, at, crash)
				worker, before := r.node.Worker("p"), len(r.told())
				var by sync.Map
				r.start(keeping(dir), func(c *ops.Config) {
					publish := c.Publish
					c.Publish = func(e *catalog.Event, args ...any) {
						by.Store(e.Name, args[len(args)-1].(map[string]any)["by"])
						publish(e, args...)
					}
				})
				if err := r.node.Join(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.until("the restart is finished", func() bool { return noJournal(dir) })
				if got := r.must("proxy.get_proxy_transports", "p"); fmt.Sprint(got) != "[web]" {
					t.Errorf("transports are %v", got)
				}
				if got := r.node.Served("p", "web"); !slices.Equal(got, []string{"b"}) {
					t.Errorf("paths are %v", got)
				}
				if got := r.node.Reached("p", "com.a", "anonymous"); !slices.Equal(got, []string{"one"}) {
					t.Errorf("the route reaches %v", got)
				}
				r.onlyRoute("com.a")
				// What came up anew goes on, what was to be stopped does not.
				if stays := strings.HasPrefix(at, "worker."); stays != (worker != nil && r.node.Worker("p").PID == worker.PID) {
					t.Errorf("the worker was %v and is %v", worker, r.node.Worker("p"))
				}
				told := r.told()[before:]
				if !slices.Contains(told, "on_proxy_transport_started p web") || slices.Contains(told, "on_proxy_transport_started p t") {
					t.Errorf("told is %v", told)
				}
				if who, _ := by.Load("on_proxy_transport_started"); who != "alice" {
					t.Errorf("it was asked for by %v", who)
				}
				// The options are known, as after any start.
				r.must("proxy.stop_proxy_transport", "p", "web", true)
			})
		}
	}
}

// onlyReading is the policy of a host that has become strict.
type onlyReading struct{}

func (onlyReading) Allow(op *catalog.Op, _ catalog.Caller, _ wamp.List, _ wamp.Dict) error {
	if op.Mutates() {
		return cfcerr.New(cfcerr.DeniedByHost, "cannot call %s: reading alone is allowed", op.Key())
	}
	return nil
}

// What ran goes on under a stricter policy: so a restart that had been allowed does
// not leave the worker down.
func TestARestartIsFinishedUnderAStricterPolicy(t *testing.T) {
	r, dir := cut(t, "start_worker", true)
	r.start(keeping(dir), func(c *ops.Config) { c.Policy = onlyReading{} })
	if err := r.node.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.until("the restart is finished", func() bool { return noJournal(dir) })
	if got := r.must("proxy.get_proxy_transports", "p"); fmt.Sprint(got) != "[web]" {
		t.Errorf("transports are %v", got)
	}
	r.refused(cfcerr.DeniedByHost, "node.stop_worker", "p")
}

// A node that has restarted runs what its own configuration says.
func TestNothingIsResumedOnAnotherNode(t *testing.T) {
	r, dir := cut(t, "start_worker", true)
	r.start(keeping(dir))
	var err error
	if r.node, err = nodetest.Join(context.Background(), nodetest.Config{Addr: r.addr, Key: r.key}); err != nil {
		t.Fatal(err)
	}
	r.until("the journal is dropped", func() bool { return noJournal(dir) })
	if n := r.node.Calls("start_worker"); n != 0 {
		t.Errorf("it has started %d workers", n)
	}
}

func TestADamagedJournalIsSetAside(t *testing.T) {
	r, dir := cut(t, "start_worker", true)
	path := filepath.Join(dir, "restarts.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start(keeping(dir))
	if err := r.node.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.until("the node is attached", func() bool { return r.link.Attached().Attached })
	if aside, err := filepath.Glob(path + ".damaged-*"); err != nil || len(aside) != 1 || !noJournal(dir) {
		t.Errorf("set aside are %v, %v", aside, err)
	}
	r.refused(cfcerr.NoSuchWorker, "proxy.get_proxy_transports", "p")
	r.must("node.start_worker", "p", "proxy")
}

// A restart that could not be finished by the next agent is not begun.
func TestARestartNeedsItsJournal(t *testing.T) {
	dir := t.TempDir()
	r := proxyRig(t, keeping(dir))
	pid := r.node.Worker("p").PID
	path := filepath.Join(dir, "restarts.json")
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	e := r.refused(cfcerr.Unavailable, "proxy.stop_proxy_transport", "p", "t", true)
	if e.Details["part"] != "state directory" || r.node.Worker("p").PID != pid {
		t.Errorf("it says %v %v", e, e.Details)
	}
	r.must("proxy.get_proxy_transport", "p", "t")
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	r.must("proxy.stop_proxy_transport", "p", "t", true)
	if !noJournal(dir) {
		t.Error("the journal of a restart that has ended is left behind")
	}
}

// A worker that dies while it is restarted is started once more.
func TestARestartIsTriedOnceMore(t *testing.T) {
	const lost, invalid = "wamp.error.canceled", "crossbar.error.invalid_configuration"
	for name, c := range map[string]struct {
		at, uri string
		dies    bool
		starts  int
		fails   cfcerr.Kind
	}{
		"before it is ready": {"start_worker", lost, false, 3, 0},
		"later":              {"worker.p.start_proxy_transport", lost, true, 3, 0},
		"not for its faults": {"start_worker", invalid, false, 2, cfcerr.CannotStart},
	} {
		t.Run(name, func(t *testing.T) {
			r := proxyRig(t)
			r.node.Fail(c.at, c.uri, "gone")
			release, before := r.node.Hang(c.at), r.node.Calls(c.at)
			ended := make(chan error, 1)
			go func() {
				_, err := r.call("proxy.stop_proxy_transport", "p", "t", true)
				ended <- err
			}()
			r.until("the restart is at "+c.at, func() bool { return r.node.Calls(c.at) > before })
			if c.dies {
				r.node.Die("p")
			}
			r.node.Fail(c.at, "", "") // the next time
			release()
			err := <-ended
			if n := r.node.Calls("start_worker"); cfcerr.KindOf(err) != c.fails || n != c.starts {
				t.Fatalf("%d starts, and %v", n, err)
			}
			if err != nil {
				return
			}
			if got := r.must("proxy.get_proxy_transports", "p"); fmt.Sprint(got) != "[web]" || r.onlyRoute("com.a") == "" {
				t.Errorf("transports are %v", got)
			}
		})
	}
}

// A component that is restarted is down in between too.
func TestARestartOfAComponentIsFinishedByTheNextAgent(t *testing.T) {
	config := dict{"type": "class", "classname": "a.B", "realm": "com.a",
		"transport": dict{"type": "websocket", "url": "ws://h:1", "endpoint": dict{"type": "tcp", "host": "h", "port": 1}}}
	for _, at := range []string{"worker.c.stop_component", "worker.c.start_component"} {
		for _, crash := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, crash %v", at, crash), func(t *testing.T) {
				dir := t.TempDir()
				r := newRig(t, keeping(dir))
				r.must("node.start_worker", "c", "container")
				for _, id := range []string{"x", "y"} {
					r.must("container.start_container_component", "c", id, config)
				}
				dir = r.cut(dir, at, crash, "container.restart_container_component", "c", "x")
				pid, before := r.node.Worker("c").PID, len(r.told())
				r.start(keeping(dir))
				if err := r.node.Join(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.until("the restart is finished", func() bool { return noJournal(dir) })
				if got := r.must("container.get_container_components", "c"); fmt.Sprint(got) != "[x y]" || r.node.Worker("c").PID != pid {
					t.Errorf("components are %v", got)
				}
				if told := r.told()[before:]; !slices.Contains(told, "on_container_component_started c x") || slices.Contains(told, "on_container_component_started c y") {
					t.Errorf("told is %v", told)
				}
			})
		}
	}
}

// With its worker a component has ended for good.
func TestARestartOfAComponentEndsWithItsWorker(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, keeping(dir))
	r.must("node.start_worker", "c", "container")
	r.must("container.start_container_component", "c", "x", dict{"type": "class", "classname": "a.B", "realm": "com.a",
		"transport": dict{"type": "websocket", "url": "ws://h:1", "endpoint": dict{"type": "tcp", "host": "h", "port": 1}}})
	dir = r.cut(dir, "worker.c.start_component", true, "container.restart_container_component", "c", "x")
	r.start(keeping(dir))
	release := r.node.Hang("get_worker") // what comes first is the other worker
	if err := r.node.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.node.Die("c")
	r.node.Boot("c", "container")
	release()
	r.until("the journal is dropped", func() bool { return noJournal(dir) })
	if got := r.node.Components("c"); len(got) != 0 {
		t.Errorf("components are %v", got)
	}
}
