package e2e

import (
	"context"
	"fmt"
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

// front is a proxy p1 before two routers, each of which answers who it is.
type front struct {
	*rig
	port int
}

func (f front) url() string { return fmt.Sprintf("ws://127.0.0.1:%d", f.port) }

func (f front) transport() dict {
	return dict{"type": "websocket", "endpoint": dict{"type": "tcp", "port": f.port, "interface": "127.0.0.1"},
		"auth": dict{"anonymous": dict{"type": "static", "role": "anonymous"}}}
}

func (f front) backend(router string) dict {
	return dict{"transport": dict{"type": "rawsocket", "url": "rs://localhost", "serializer": "cbor", "endpoint": dict{"type": "unix", "path": filepath.Join(f.dir.Path, router+".sock")}},
		"auth": dict{"anonymous-proxy": dict{"type": "static"}}}
}

// router starts one that proxies reach by its socket.
func (f front) router(id string) {
	f.t.Helper()
	port := freePort(f.t)
	f.served(id, nil)
	f.must("router.start_router_transport", id, "ws", dict{"type": "websocket", "endpoint": dict{"type": "tcp", "port": port, "interface": "127.0.0.1"}})
	f.must("router.start_router_transport", id, "uds", dict{"type": "rawsocket", "endpoint": dict{"type": "unix", "path": id + ".sock"},
		"auth": dict{"anonymous-proxy": dict{"type": "static"}}})
	c := f.joins("router "+id, fmt.Sprintf("ws://127.0.0.1:%d", port), client.Config{})
	f.root.Cleanup(func() { c.Close() })
	who := func(context.Context, *wamp.Invocation) client.InvokeResult {
		return client.InvokeResult{Args: wamp.List{id}}
	}
	if err := c.Register("com.example.who", who, nil); err != nil {
		f.t.Fatal(err)
	}
}

// reaches joins some times through the proxy, and wants these routers in turns.
func (f front) reaches(what string, routers ...string) {
	f.t.Helper()
	got, want := map[string]bool{}, map[string]bool{}
	for _, id := range routers {
		want[id] = true
	}
	for range 4 {
		c := f.joins(what, f.url(), client.Config{})
		who, err := ask(c, "com.example.who")
		if err != nil {
			f.t.Errorf("%s: nobody answers: %v", what, err)
		}
		got[fmt.Sprint(who)] = true
		c.Close()
	}
	if !reflect.DeepEqual(got, want) {
		f.t.Errorf("%s: reached are %v, expected %v", what, got, routers)
	}
}

func TestProxies(t *testing.T) {
	r := newRig(t)
	defer r.end()
	f := front{r, freePort(t)}
	f.router("one")
	f.router("two")
	r.must("node.start_worker", "p1", "proxy")
	for _, x := range []struct {
		name string
		f    func(front)
	}{
		{"rounds", proxyRounds},
		{"routes are not mixed", mixedRoutes},
		{"paths", proxyPaths},
		{"refusals", proxyRefusals},
		{"the agent restarts", proxiesOverRestart},
		{"a worker that freezes and dies", dyingProxy},
	} {
		if !t.Run(x.name, func(t *testing.T) { r.t = t; x.f(f) }) {
			break
		}
		r.t = t
	}
	r.t = t
}

func proxyRounds(f front) {
	t := f.t
	var connection, transport []string
	for i := range 3 {
		what := fmt.Sprint("round ", i)
		f.must("proxy.start_proxy_connection", "p1", "c1", f.backend("one"))
		d := f.mustDict("proxy.start_proxy_realm_route", "p1", "com.example.one", dict{"anonymous": "c1"})
		route, _ := d["id"].(string)
		f.must("proxy.start_proxy_transport", "p1", "ws", f.transport())
		f.reaches(what, "one")
		for key, want := range map[string]any{"get_proxy_connections": []string{"c1"}, "get_proxy_routes": []string{"com.example.one"}, "get_proxy_transports": []string{"ws"}} {
			if got := f.must("proxy."+key, "p1"); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s gives %v", what, key, got)
			}
		}
		f.refused(cfcerr.AlreadyRunning, "proxy.start_proxy_connection", "p1", "c1", f.backend("one"))
		f.refused(cfcerr.AlreadyRunning, "proxy.start_proxy_transport", "p1", "ws", f.transport())
		if d := f.mustDict("proxy.get_proxy_realm_route", "p1", "com.example.one", route); d["id"] != route || d["realm"] != "com.example.one" {
			t.Errorf("%s: the route shows as %v", what, d)
		}
		f.refused(cfcerr.CannotStop, "proxy.stop_proxy_connection", "p1", "c1")

		c := f.joins(what, f.url(), client.Config{})
		f.must("proxy.stop_proxy_realm_route", "p1", "com.example.one", route)
		f.joinsNot(what+", the route is stopped", f.url(), client.Config{})
		if _, err := ask(c, "com.example.who"); err != nil {
			t.Errorf("%s: a session that ran does not go on: %v", what, err)
		}
		c.Close()
		f.must("proxy.stop_proxy_connection", "p1", "c1")
		f.refused(cfcerr.NoSuchObject, "proxy.get_proxy_connection", "p1", "c1")
		e := f.refused(cfcerr.InvalidArgument, "proxy.stop_proxy_transport", "p1", "ws")
		if e.Details["argument"] != "restart_worker" {
			t.Errorf("%s: a stop without consent says %v", what, e)
		}
		f.must("proxy.stop_proxy_transport", "p1", "ws", true)
		f.joinsNot(what+", the transport is stopped", f.url(), client.Config{})
		f.refused(cfcerr.NoSuchObject, "proxy.get_proxy_transport", "p1", "ws")
		f.wantEvents([]string{"p1", route}, "on_proxy_route_starting", "on_proxy_route_started", "on_proxy_route_stopping", "on_proxy_route_stopped")
		connection = append(connection, "on_proxy_connection_starting", "on_proxy_connection_started", "on_proxy_connection_stopping", "on_proxy_connection_stopped")
		transport = append(transport, "on_proxy_transport_starting", "on_proxy_transport_started", "on_proxy_transport_stopping", "on_proxy_transport_stopped")
	}
	f.wantEvents([]string{"p1", "c1"}, connection...)
	f.wantEvents([]string{"p1", "ws"}, transport...)
}

func mixedRoutes(f front) {
	start := func(connection string, more ...any) string {
		args := append([]any{"p1", "com.example.one", dict{"anonymous": connection}}, more...)
		id, _ := f.mustDict("proxy.start_proxy_realm_route", args...)["id"].(string)
		return id
	}
	f.must("proxy.start_proxy_connection", "p1", "c1", f.backend("one"))
	f.must("proxy.start_proxy_connection", "p1", "c2", f.backend("two"))
	f.must("proxy.start_proxy_transport", "p1", "ws", f.transport())
	first, second := start("c1"), start("c2")
	f.reaches("two routes", "one", "two")
	f.refused(cfcerr.InvalidArgument, "proxy.stop_proxy_realm_route", "p1", "com.example.one", first)
	f.must("proxy.stop_proxy_realm_route", "p1", "com.example.one", first, true)
	f.reaches("one of two is stopped", "two")
	f.must("proxy.stop_proxy_realm_route", "p1", "com.example.one", second)
	f.refused(cfcerr.InvalidArgument, "proxy.start_proxy_realm_route", "p1", "com.example.one", dict{"anonymous": "c1"})
	third := start("c1", true)
	f.reaches("another route", "one")
	f.wantEvents([]string{"p1", first}, "on_proxy_route_starting", "on_proxy_route_started", "on_proxy_route_stopping", "on_proxy_route_stopped")
	f.wantEvents([]string{"p1", second}, "on_proxy_route_starting", "on_proxy_route_started", "on_proxy_route_stopped",
		"on_proxy_route_starting", "on_proxy_route_started", "on_proxy_route_stopping", "on_proxy_route_stopped")
	f.wantEvents([]string{"p1", third}, "on_proxy_route_starting", "on_proxy_route_started")
	for _, e := range f.agent.events.details("p1", third) {
		if e.details["name"] != "com.example.one" || e.details["by"] != "alice" {
			f.t.Errorf("%s says %v", e.name, e.details)
		}
	}
}

func proxyPaths(f front) {
	port := freePort(f.t)
	url := func(path string) string { return fmt.Sprintf("http://127.0.0.1:%d/%s", port, path) }
	f.must("proxy.start_proxy_transport", "p1", "web", dict{"type": "web", "endpoint": dict{"type": "tcp", "port": port, "interface": "127.0.0.1"},
		"paths": dict{"/": jsonPath("root"), "a": jsonPath("a")}})
	f.serves(url("a"), "a")
	for range 2 {
		f.must("proxy.start_web_transport_service", "p1", "web", "b", jsonPath("b"))
		f.serves(url("b"), "b")
		f.must("proxy.stop_web_transport_service", "p1", "web", "b")
	}
	f.must("proxy.stop_web_transport_service", "p1", "web", "a")
	f.must("proxy.start_web_transport_service", "p1", "web", "b", jsonPath("b"))
	if got := f.must("proxy.get_web_transport_services", "p1", "web"); !reflect.DeepEqual(got, []string{"/", "b"}) {
		f.t.Errorf("paths are %v", got)
	}
	// They are the same after a restart for the other transport.
	f.must("proxy.stop_proxy_transport", "p1", "ws", true)
	f.serves(url("b"), "b")
	if got := f.must("proxy.get_web_transport_services", "p1", "web"); !reflect.DeepEqual(got, []string{"/", "b"}) {
		f.t.Errorf("after the restart paths are %v", got)
	}
	f.must("proxy.stop_proxy_transport", "p1", "web", true)
	f.must("proxy.start_proxy_transport", "p1", "ws", f.transport())
	f.reaches("after two restarts", "one")
}

func proxyRefusals(f front) {
	e := f.refused(cfcerr.CannotListen, "proxy.start_proxy_transport", "p1", "busy", f.transport())
	f.wantEvents([]string{"p1", "busy"}, "on_proxy_transport_starting", "on_proxy_transport_stopped")
	if !strings.Contains(e.Error(), "Address already in use") {
		f.t.Errorf("a port that is in use: %v", e)
	}
	f.refused(cfcerr.InvalidConfiguration, "proxy.start_proxy_transport", "p1", "odd", changed(f.transport(), "color", "red"))
	f.refused(cfcerr.InvalidArgument, "proxy.start_proxy_connection", "p1", "odd", dict{})
	f.refused(cfcerr.NoSuchObject, "proxy.start_proxy_realm_route", "p1", "com.example.one", dict{"user": "c9"})
	f.refused(cfcerr.NoSuchObject, "proxy.stop_proxy_realm_route", "p1", "com.example.one", "route999")
	f.refused(cfcerr.InvalidArgument, "proxy.get_proxy_connections", "one")
	v, err := f.callWithin(time.Minute, as(wire.Viewer), "proxy.get_proxy_connection", "p1", "c1")
	if err != nil || !strings.Contains(fmt.Sprint(v), "anonymous-proxy:***") {
		f.t.Errorf("a viewer sees %v, %v", v, err)
	}
}

func proxiesOverRestart(f front) {
	routes := f.must("proxy.list_proxy_realm_routes", "p1", "com.example.one").([]string)
	f.stopParts()
	f.start()
	if got := f.must("proxy.list_proxy_realm_routes", "p1", "com.example.one"); !reflect.DeepEqual(got, routes) {
		f.t.Errorf("the routes were %v and are %v", routes, got)
	}
	f.reaches("after the restart", "one")
	f.must("proxy.stop_proxy_realm_route", "p1", "com.example.one", routes[0])
	f.refused(cfcerr.InvalidArgument, "proxy.start_proxy_realm_route", "p1", "com.example.one", dict{"anonymous": "c2"})
	f.must("proxy.start_proxy_realm_route", "p1", "com.example.one", dict{"anonymous": "c1"})
	f.wantEvents([]string{"p1", routes[0]}, "on_proxy_route_stopping", "on_proxy_route_stopped")
	f.must("proxy.stop_proxy_transport", "p1", "ws", true) // the options are known
	f.must("proxy.start_proxy_transport", "p1", "ws", f.transport())
	f.reaches("after another restart", "one")
}

func dyingProxy(f front) {
	pid := f.pid("p1")
	kill(f.t, pid, syscall.SIGSTOP)
	v, err := f.callWithin(2*time.Second, owner, "proxy.start_proxy_connection", "p1", "late", f.backend("two"))
	f.wantKind(cfcerr.Timeout, v, err, "a start in a worker that is frozen")
	kill(f.t, pid, syscall.SIGCONT)
	f.must("proxy.start_proxy_connection", "p1", "late", f.backend("two"))
	f.must("proxy.stop_proxy_connection", "p1", "late")
	kill(f.t, pid, syscall.SIGKILL)
	f.wantEvents([]string{"p1", "c2"}, "on_proxy_connection_stopped", "on_proxy_connection_starting", "on_proxy_connection_started", // the restart
		"on_proxy_connection_stopped")
	f.refused(cfcerr.NoSuchWorker, "proxy.get_proxy_connections", "p1")
	f.must("node.start_worker", "p1", "proxy")
	if got := f.must("proxy.get_proxy_connections", "p1"); !reflect.DeepEqual(got, []string{}) {
		f.t.Errorf("connections are %v", got)
	}
}
