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

// populate starts in a worker what operations need; it gives those of every kind,
// the reads, starts and stops of each object, by their names, with what comes
// behind the worker.
func (o operator) populate(id, kind string) map[string][]any {
	o.Helper()
	calls := map[string][]any{"worker.get_pythonpath": nil, "worker.add_pythonpath": {[]any{components(o.T)}}, "worker.get_cpu_affinity": nil}
	socket := map[string]any{"type": "websocket"}
	echo := map[string]any{"type": "class", "classname": "echo.Echo", "realm": appRealm, "role": "worker"}
	web := func(at endpoint) map[string]any {
		return map[string]any{"type": "web", "endpoint": at.config, "paths": map[string]any{"/": map[string]any{"type": "json", "value": 1}}}
	}
	// of adds an object's operations: the one that runs is stopped, another started.
	of := func(key, object string, config map[string]any, parents ...any) {
		one, other := append(slices.Clone(parents), "one"), append(slices.Clone(parents), "other", config)
		calls[key+".get_"+object+"s"], calls[key+".get_"+object], calls[key+".stop_"+object], calls[key+".start_"+object] = parents, one, one, other
	}
	switch kind {
	case "router":
		o.object("router", "router_realm", id).start("r1", map[string]any{"name": appRealm, "roles": appRoles()})
		o.object("router", "router_realm", id).start("one", map[string]any{"name": "one"})
		o.object("router", "router_realm_role", id, "r1").start("one", map[string]any{"name": "one", "permissions": []any{}})
		o.object("router", "router_component", id).start("one", echo)
		o.object("router", "router_transport", id).start("one", map[string]any{"type": "rawsocket", "endpoint": tcp(o.T).config})
		o.object("router", "router_transport", id).start("t1", web(tcp(o.T)))
		o.call("router.start_router_transport_path", id, "t1", "one", socket)
		of("router", "router_realm", map[string]any{"name": "other"})
		of("router", "router_realm_role", map[string]any{"name": "other", "permissions": []any{}}, "r1")
		of("router", "router_component", echo)
		of("router", "router_transport", map[string]any{"type": "rawsocket", "endpoint": tcp(o.T).config})
		of("router", "router_transport_path", socket, "t1")
		calls["router.meta.wamp.session.list"], calls["router.meta.wamp.registration.list"] = []any{"r1"}, []any{"r1"}
	case "container":
		o.routed("beside")
		local := unix(o.T, "beside")
		o.object("router", "router_transport", "beside").start("t1", map[string]any{"type": "rawsocket", "endpoint": local.config,
			"auth": map[string]any{"anonymous": map[string]any{"type": "static", "role": "worker"}}})
		delete(echo, "role")
		echo["transport"] = map[string]any{"type": "rawsocket", "url": "rs://localhost", "serializer": "cbor", "endpoint": local.config}
		o.object("container", "container_component", id).start("one", echo)
		of("container", "container_component", echo)
	case "proxy":
		connection := map[string]any{"transport": goodConfigs["connection_config"]["transport"], "auth": map[string]any{"anonymous-proxy": map[string]any{}}}
		o.object("proxy", "proxy_connection", id).start("one", connection)
		o.object("proxy", "proxy_transport", id).start("one", web(tcp(o.T)))
		of("proxy", "proxy_connection", connection)
		of("proxy", "proxy_transport", web(tcp(o.T)))
		calls["proxy.stop_proxy_transport"] = []any{"one", true} // by a restart
		calls["proxy.start_proxy_realm_route"] = []any{appRealm, map[string]any{"worker": "one", "listener": "one"}}
		calls["proxy.start_web_transport_service"] = []any{"one", "x", map[string]any{"type": "json", "value": 1}}
	}
	return calls
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
		} else {
			options["pythonpath"] = []any{components(t)}
		}
		for _, how := range []string{"killed", "stopped", "frozen"} {
			t.Run(kind+" "+how, func(t *testing.T) {
				o := o
				o.T = t
				id := "middle_" + kind
				o.worker(id, kind, options)
				calls := map[string][]any{} // of a guest there are none
				if kind != "guest" {
					calls = o.populate(id, kind)
				}
				n, _ := o.dict("pid", "node.get_worker", id)["pid"].(float64)
				o.endIn(id, int(n), how, calls)
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
	if len(calls) == 0 {
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
