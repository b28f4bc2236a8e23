package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// parts is a module of components: one that answers, and some that fail.
const parts = `
from autobahn.twisted.wamp import ApplicationSession
from twisted.internet.defer import Deferred

class Adder(ApplicationSession):
    async def onJoin(self, details):
        await self.register(lambda a, b: a + b + self.config.extra.get('more', 0), 'com.example.add')
        await self.register(self.leave, 'com.example.leave')
        await self.register(self.disconnect, 'com.example.drop')

class Broken(ApplicationSession):
    async def onJoin(self, details):
        raise RuntimeError('the oven is cold')

class Slow(ApplicationSession):
    async def onJoin(self, details):
        await Deferred()
`

// A node with a router and its clients, for what connects to one.
func newBackend(t *testing.T) (r *rig, port int) {
	r = newRig(t)
	if err := os.WriteFile(filepath.Join(r.dir.Path, "parts.py"), []byte(parts), 0o600); err != nil {
		t.Fatal(err)
	}
	port = freePort(t)
	r.served("rtr1", nil)
	r.must("router.start_router_transport", "rtr1", "ws", dict{"type": "websocket", "endpoint": dict{"type": "tcp", "port": port, "interface": "127.0.0.1"}})
	return r, port
}

func ask(c *client.Client, procedure string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	res, err := c.Call(ctx, procedure, nil, args, nil, nil)
	if err != nil || len(res.Arguments) == 0 {
		return nil, err
	}
	return res.Arguments[0], nil
}

func part(class string, port int, more ...any) dict {
	c := dict{"type": "class", "classname": class, "realm": "com.example.one",
		"transport": dict{"type": "websocket", "url": fmt.Sprintf("ws://127.0.0.1:%d", port),
			"endpoint": dict{"type": "tcp", "host": "127.0.0.1", "port": port}}}
	if len(more) > 0 {
		c["extra"] = dict{"more": more[0]}
	}
	return c
}

func TestContainers(t *testing.T) {
	r, port := newBackend(t)
	defer r.end()
	c := r.joins("the router", fmt.Sprintf("ws://127.0.0.1:%d", port), client.Config{})
	defer c.Close()
	r.must("node.start_worker", "c1", "container", dict{"pythonpath": []any{"."}})
	for _, x := range []struct {
		name string
		f    func(*rig, *client.Client, int)
	}{
		{"options of containers", containerOptions},
		{"rounds", componentRounds},
		{"arguments", componentArguments},
		{"components that fail", failingComponents},
		{"components that never connect", neverConnected},
		{"ends that nobody asked for", componentEnds},
		{"the agent restarts", componentsOverRestart},
		{"options of containers", containerOptions},
		{"a worker that freezes and dies", dyingContainer},
	} {
		if !t.Run(x.name, func(t *testing.T) { r.t = t; x.f(r, c, port) }) {
			break
		}
		r.t = t
	}
	r.t = t
}

func componentRounds(r *rig, c *client.Client, port int) {
	t := r.t
	var want []string
	for i := range 4 {
		d := r.mustDict("container.start_container_component", "c1", "adder", part("parts.Adder", port, i))
		if d["id"] != "adder" || d["started"] == nil {
			t.Fatalf("round %d: start gives %v", i, d)
		}
		if got, err := ask(c, "com.example.add", 1, 2); err != nil || fmt.Sprint(got) != fmt.Sprint(3+i) {
			t.Errorf("round %d: the component answers %v, %v", i, got, err)
		}
		if got := r.must("container.get_components", "c1"); !reflect.DeepEqual(got, []string{"adder"}) {
			t.Errorf("round %d: components are %v", i, got)
		}
		r.refused(cfcerr.AlreadyRunning, "container.start_container_component", "c1", "adder", part("parts.Adder", port))
		v, err := r.callWithin(time.Minute, as(wire.Operator), "container.get_container_component", "c1", "adder")
		if s := fmt.Sprint(v); err != nil || !strings.Contains(s, "extra:***") {
			t.Errorf("round %d: an operator sees %v, %v", i, s, err)
		}
		d = r.mustDict("container.stop_component", "c1", "adder")
		if d["id"] != "adder" || d["stopped"] == nil {
			t.Errorf("round %d: stop gives %v", i, d)
		}
		if _, err := ask(c, "com.example.add", 1, 2); err == nil {
			t.Errorf("round %d: the component is stopped, and answers", i)
		}
		r.refused(cfcerr.NoSuchObject, "container.get_container_component", "c1", "adder")
		r.refused(cfcerr.NoSuchObject, "container.stop_container_component", "c1", "adder")
		want = append(want, "on_container_component_starting", "on_container_component_started", "on_container_component_stopping", "on_container_component_stopped")
	}
	r.wantEvents([]string{"c1", "adder"}, want...)

	r.must("container.start_container_component", "c1", "again", part("parts.Adder", port, 5))
	r.must("container.restart_container_component", "c1", "again")
	if got, err := ask(c, "com.example.add", 1, 2); err != nil || fmt.Sprint(got) != "8" {
		t.Errorf("after the restart it answers %v, %v", got, err)
	}
	r.must("container.stop_container_component", "c1", "again")
	r.wantEvents([]string{"c1", "again"}, append(want[:4:4], want[:4]...)...)
}

func componentArguments(r *rig, _ *client.Client, port int) {
	d := r.mustDict("container.start_container_component", "c1", part("parts.Adder", port))
	id, _ := d["id"].(string)
	if !strings.HasPrefix(id, "component_") {
		r.t.Errorf("a made-up id is %q", id)
	}
	r.must("container.stop_container_component", "c1", id)
	d = r.mustDict("container.start_component", "c1", nil, part("parts.Adder", port))
	r.must("container.stop_component", "c1", d["id"])
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v, err := r.agent.ops.Call(ctx, owner, "container.start_container_component", nil,
		wamp.Dict{"worker_id": "c1", "component_config": part("parts.Adder", port), "component_id": "byname"})
	if err != nil {
		r.t.Fatalf("by name: %v, %v", v, err)
	}
	r.must("container.stop_component", "c1", "byname")
	v, err = r.callWithin(time.Minute, as(wire.Operator), "container.start_container_component", "c1", part("parts.Adder", port))
	r.wantKind(cfcerr.NotAuthorized, v, err, "a component of an operator")
	e := r.refused(cfcerr.InvalidArgument, "container.get_container_components", "rtr1")
	if e.Details["type"] != "router" {
		r.t.Errorf("a router asked for components: %v", e.Details)
	}
}

func failingComponents(r *rig, _ *client.Client, port int) {
	for _, x := range []struct {
		kind   cfcerr.Kind
		id     string
		config dict
		says   string
	}{
		{cfcerr.InvalidConfiguration, "nomodule", part("nowhere.Adder", port), "No module named 'nowhere'"},
		{cfcerr.InvalidConfiguration, "noclass", part("parts.Nobody", port), "has no attribute 'Nobody'"},
		{cfcerr.InvalidConfiguration, "nosession", part("os.path", port), "class"},
		{cfcerr.CannotStart, "broken", part("parts.Broken", port), "the oven is cold"},
		{cfcerr.CannotStart, "noport", part("parts.Adder", 1), "could not connect"},
		{cfcerr.CannotStart, "norealm", changed(part("parts.Adder", port), "realm", "com.example.none"), "no_such_realm"},
		{cfcerr.InvalidConfiguration, "unknown", changed(part("parts.Adder", port), "color", "red"), "color"},
	} {
		for range 2 { // the id is free afterwards
			e := r.refused(x.kind, "container.start_container_component", "c1", x.id, x.config)
			if !strings.Contains(e.Error(), x.says) && !strings.Contains(fmt.Sprint(e.Details), x.says) {
				r.t.Errorf("%s: it says %q, %v", x.id, e, e.Details)
			}
			if got := r.must("container.get_container_components", "c1"); !reflect.DeepEqual(got, []string{}) {
				r.t.Errorf("%s: components are %v", x.id, got)
			}
		}
		r.wantEvents([]string{"c1", x.id}, "on_container_component_starting", "on_container_component_stopped",
			"on_container_component_starting", "on_container_component_stopped")
	}
}

func changed(config dict, key string, v any) dict {
	config[key] = v
	return config
}

// silent takes connections and never answers.
func silent(t *testing.T) (port int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().(*net.TCPAddr).Port
}

func neverConnected(r *rig, c *client.Client, port int) {
	deaf := silent(r.t)
	for _, config := range []dict{part("parts.Adder", deaf), part("parts.Slow", port)} {
		v, err := r.callWithin(2*time.Second, owner, "container.start_container_component", "c1", "hangs", config)
		r.wantKind(cfcerr.Timeout, v, err, "a component that never connects")
		if got := r.must("container.get_container_components", "c1"); !reflect.DeepEqual(got, []string{}) {
			r.t.Errorf("components are %v", got)
		}
		r.refused(cfcerr.NoSuchObject, "container.stop_container_component", "c1", "hangs")
	}
	// Its id is as good as new.
	for range 2 {
		r.must("container.start_container_component", "c1", "hangs", part("parts.Adder", port))
		if got, err := ask(c, "com.example.add", 1, 2); err != nil {
			r.t.Errorf("it answers %v, %v", got, err)
		}
		r.must("container.stop_container_component", "c1", "hangs")
	}
	up := []string{"on_container_component_starting", "on_container_component_started", "on_container_component_stopping", "on_container_component_stopped"}
	failed := []string{up[0], up[3], up[0], up[3]}
	r.wantEvents([]string{"c1", "hangs"}, append(append(failed, up...), up...)...)
}

func componentEnds(r *rig, c *client.Client, port int) {
	for i, how := range []string{"com.example.leave", "com.example.drop"} {
		id := fmt.Sprint("ends", i)
		r.must("container.start_container_component", "c1", id, part("parts.Adder", port))
		_, _ = ask(c, how)
		r.wantEvents([]string{"c1", id}, "on_container_component_starting", "on_container_component_started", "on_container_component_stopped")
		if d := r.agent.events.details("c1", id)[2].details; d["reason"] != "ended" || d["by"] != nil {
			r.t.Errorf("after %s its end says %v", how, d)
		}
	}
}

func componentsOverRestart(r *rig, _ *client.Client, port int) {
	// "hangs" has another id on the node by now.
	r.must("container.start_container_component", "c1", "hangs", part("parts.Adder", port))
	r.stopParts()
	r.start()
	if d := r.mustDict("container.get_container_component", "c1", "hangs"); d["id"] != "hangs" {
		r.t.Errorf("it shows as %v", d["id"])
	}
	r.must("container.restart_container_component", "c1", "hangs")
	r.must("container.stop_container_component", "c1", "hangs")
	r.wantEvents([]string{"c1", "hangs"}, "on_container_component_stopping", "on_container_component_stopped", "on_container_component_starting", "on_container_component_started",
		"on_container_component_stopping", "on_container_component_stopped")
}

func containerOptions(r *rig, c *client.Client, port int) {
	r.must("node.start_worker", "c2", "container", dict{"pythonpath": []any{"."}, "restart": "restart-always"})
	r.must("container.start_container_component", "c2", "phoenix", part("parts.Adder", port))
	e := r.refused(cfcerr.NotSupported, "container.stop_container_component", "c2", "phoenix")
	if e.Details["reason"] == nil {
		r.t.Errorf("it says %v", e)
	}
	r.must("container.get_container_component", "c2", "phoenix")
	_, _ = ask(c, "com.example.drop")
	up := []string{"on_container_component_starting", "on_container_component_started"}
	r.wantEventsWithin(10*time.Second, []string{"c2", "phoenix"}, append(append(up, "on_container_component_stopped"), up...)...)
	r.must("node.stop_worker", "c2")

	r.must("node.start_worker", "c3", "container", dict{"pythonpath": []any{"."}, "shutdown": "shutdown-on-last-component-stopped"})
	r.must("container.start_container_component", "c3", "last", part("parts.Adder", port))
	_, _ = ask(c, "com.example.drop")
	r.wantEventsWithin(10*time.Second, []string{"c3"}, "on_worker_starting", "on_worker_started", "on_worker_stopped")
	r.wantEvents([]string{"c3", "last"}, append(up, "on_container_component_stopped")...)
	r.refused(cfcerr.NotSupported, "node.start_worker", "c4", "container", dict{"restart": "restart-on-failed"})
	r.refused(cfcerr.InvalidConfiguration, "node.start_worker", "c4", "container", dict{"restart": "sometimes"})
}

func dyingContainer(r *rig, _ *client.Client, port int) {
	began := func(id string) (done chan error) {
		done = make(chan error, 1)
		go func() {
			_, err := r.callWithin(3*time.Second, owner, "container.start_container_component", "c1", id, part("parts.Slow", port))
			done <- err
		}()
		r.wantEvents([]string{"c1", id}, "on_container_component_starting")
		return done
	}
	done, pid := began("frozen"), r.pid("c1")
	kill(r.t, pid, syscall.SIGSTOP)
	r.wantKind(cfcerr.Timeout, nil, <-done, "a start in a worker that freezes")
	kill(r.t, pid, syscall.SIGCONT)
	r.wantEvents([]string{"c1", "frozen"}, "on_container_component_starting", "on_container_component_stopped")
	r.must("container.start_container_component", "c1", "frozen", part("parts.Adder", port))

	done = began("killed")
	kill(r.t, pid, syscall.SIGKILL)
	r.wantKind(cfcerr.ConnectionLost, nil, <-done, "a start in a worker that dies")
	r.wantEvents([]string{"c1", "killed"}, "on_container_component_starting", "on_container_component_stopped")
	r.wantEvents([]string{"c1", "frozen"}, "on_container_component_starting", "on_container_component_stopped",
		"on_container_component_starting", "on_container_component_started", "on_container_component_stopped")
	r.refused(cfcerr.NoSuchWorker, "container.get_container_components", "c1")
}
