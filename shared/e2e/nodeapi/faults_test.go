package nodeapi

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/wire"
)

// faulty is an operator whose calls do not go on record: how they end is a
// matter of time.
func faulty(t *testing.T) operator {
	t.Helper()
	c, err := stage.libraries.Join(within(t, 30*time.Second), "autobahn-js/cbor", driver.Login{URL: stage.Relay.URL() + wire.UserPath, Realm: realm, KeyFile: stage.KeyFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	o := operator{t, c}
	for _, e := range catalog.Events() {
		if err := c.Subscribe(within(t, 10*time.Second), e.URI(), ""); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// interrupted are the ways in which a call may end when its worker does.
var interrupted = []cfcerr.Kind{cfcerr.Timeout, cfcerr.ConnectionLost, cfcerr.NoSuchWorker, cfcerr.NotRunning, cfcerr.Busy, cfcerr.NoSuchObject, cfcerr.NodeDetached, cfcerr.Canceled}

// ended expects one of those.
func ended(t *testing.T, what string, err error) {
	t.Helper()
	var e *driver.Error
	if !errors.As(err, &e) || !slices.ContainsFunc(interrupted, func(k cfcerr.Kind) bool { return k.URI() == e.URI }) {
		t.Errorf("%s ended with %v; expected one of %d kinds of interruption", what, err, len(interrupted))
	}
}

// inTheMiddle are operations of every kind, reads, starts and stops, by the type
// of worker, after the worker.
func inTheMiddle(t *testing.T, kind string) map[string][]any {
	switch kind {
	case "router":
		return map[string][]any{"router.get_router_realm": {"r1"}, "router.get_router_transports": nil, "router.start_router_realm": {"r2", map[string]any{"name": "realm2"}},
			"router.start_router_transport": {"t1", map[string]any{"type": "rawsocket", "endpoint": tcp(t).config}},
			"router.stop_router_realm":      {"r1"}, "router.meta.wamp.session.list": {"r1"}, "worker.get_pythonpath": nil}
	case "container":
		return map[string][]any{"container.start_container_component": {"c1", goodConfigs["container.component_config"]}, "worker.get_pythonpath": nil, "worker.get_cpu_affinity": nil}
	case "proxy":
		return map[string][]any{"worker.get_pythonpath": nil, "worker.add_pythonpath": {[]any{components(t)}}}
	}
	return nil
}

// TestWorkersEndInTheMiddle freezes a worker of each type, so that operations of
// every kind are under way in it, and then kills it, has it stopped, or lets it
// go on. No call hangs, the rest of the node goes on, and the id is free again.
func TestWorkersEndInTheMiddle(t *testing.T) {
	o := faulty(t)
	for _, kind := range []string{"router", "container", "proxy", "guest"} {
		options := map[string]any{}
		if kind == "guest" {
			options = map[string]any{"executable": "/bin/sleep", "arguments": []any{"600"}}
		}
		for _, how := range []string{"killed", "stopped", "frozen"} {
			t.Run(kind+" "+how, func(t *testing.T) {
				o := o
				o.T = t
				id := "middle_" + kind
				o.worker(id, kind, options)
				if kind == "router" {
					o.call("router.start_router_realm", id, "r1", map[string]any{"name": "realm1"})
				}
				n, _ := o.dict("pid", "node.get_worker", id)["pid"].(float64)
				o.endIn(id, int(n), how, inTheMiddle(t, kind))
				o.dict("controller_pid", "node.get_status")
			})
		}
	}
}

func (o operator) endIn(id string, pid int, how string, calls map[string][]any) {
	o.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		o.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }() // it may be gone
	const deadline = 5 * time.Second
	var wg sync.WaitGroup
	for key, args := range calls {
		wg.Go(func() {
			began := time.Now()
			_, err := o.tryFor(deadline, key, append([]any{id}, args...)...)
			if took := time.Since(began); took > deadline {
				o.Errorf("%s took %s, its deadline was %s", key, took, deadline)
			}
			ended(o.T, key, err)
		})
	}
	switch how {
	case "killed":
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			o.Error(err)
		}
		o.heard("node.on_worker_stopped", id)
	case "stopped":
		o.call("node.stop_worker", id, true)
	}
	wg.Wait()
	if how != "frozen" {
		o.fails(cfcerr.NoSuchWorker, "node.get_worker", id)
		return
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		o.Error(err)
	}
	if calls == nil {
		return // a guest has no procedures that could answer again
	}
	if err := fleet.Poll(within(o.T, time.Minute), func() error { _, err := o.tryFor(5*time.Second, "worker.get_pythonpath", id); return err }); err != nil {
		o.Errorf("%s goes on, and does not answer: %v", id, err)
	}
}

// TestAStartThatNeverReturns holds up neither what comes after it on the same
// worker nor anybody else.
func TestAStartThatNeverReturns(t *testing.T) {
	o := faulty(t)
	o.worker("never", "container", map[string]any{"pythonpath": []any{components(t)}})
	// A router that takes the connection and never says a word.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	config := map[string]any{"type": "class", "classname": "echo.Echo", "realm": appRealm, "transport": map[string]any{"type": "rawsocket",
		"url": "rs://localhost", "serializer": "cbor", "endpoint": map[string]any{"type": "tcp", "host": "127.0.0.1", "port": l.Addr().(*net.TCPAddr).Port}}}
	began := time.Now()
	_, err = o.tryFor(5*time.Second, "container.start_container_component", "never", "c1", config)
	ended(t, "the start", err)
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("the start took %s, its deadline was 5 s", took)
	}
	if ids, _ := o.call("container.get_container_components", "never").([]any); len(ids) != 0 {
		t.Errorf("what has never started is listed: %v", ids)
	}
	o.worker("next", "router", nil)
	o.object("router", "router_realm", "next").start("r1", map[string]any{"name": "realm1"})
}

// TestNodeRestartedUnderLoad restarts the node while operators work on it.
func TestNodeRestartedUnderLoad(t *testing.T) {
	o := faulty(t)
	o.worker("load", "router", nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := fmt.Sprintf("r%d", i)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key, args := "router.start_router_realm", []any{"load", id, map[string]any{"name": "realm." + id}}
				if n%2 == 1 {
					key, args = "router.stop_router_realm", args[:2]
				}
				if _, err := o.tryFor(10*time.Second, key, args...); err != nil {
					var e *driver.Error
					if errors.As(err, &e) && e.URI == cfcerr.AlreadyRunning.URI() {
						continue // a start of before that has reached the node
					}
					ended(t, key, err)
				}
			}
		})
	}
	o.heard("router.on_router_realm_stopped", "load")
	o.dict("node_id", "node.shutdown", true)
	err := stage.Ready(within(t, twoMinutes))
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	o.worker("load", "router", nil)
	o.object("router", "router_realm", "load").start("r1", map[string]any{"name": "realm1"})
}

// TestRepairedIDsOutliveTheAgent uses ids again that the node would not take a
// second time, and has the agent killed in between.
func TestRepairedIDsOutliveTheAgent(t *testing.T) {
	o := faulty(t)
	o.worker("memory", "router", map[string]any{"pythonpath": []any{components(t)}})
	realms, inside := o.object("router", "router_realm", "memory"), o.object("router", "router_component", "memory")
	config := map[string]any{"name": appRealm, "roles": appRoles()}
	echo := map[string]any{"type": "class", "classname": "echo.Echo", "realm": appRealm, "role": "worker"}
	realms.start("app", config)
	inside.start("echo", echo)
	inside.stop("echo")
	realms.stop("app")
	realms.start("app", config)
	inside.start("echo", echo)
	if err := stage.Agent.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := stage.Start(within(t, twoMinutes)); err != nil {
		t.Fatal(err)
	}
	if d := o.dict("config", "router.get_router_realm", "memory", "app"); d["id"] != "app" {
		t.Errorf("the realm after the agent's restart: %v", d)
	}
	o.list([]string{"app"}, "router.get_router_realms", "memory")
	o.list([]string{"echo"}, "router.get_router_components", "memory")
	inside.stop("echo")
	realms.stop("app")
	realms.start("app", config)
}
