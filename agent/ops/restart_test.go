package ops_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func backend(name string) dict {
	return dict{"transport": dict{"type": "rawsocket", "url": name, "endpoint": dict{"type": "unix", "path": name}}}
}

// proxyRig is a proxy with a connection, a route, and two transports.
func proxyRig(t *testing.T, adapt ...func(*ops.Config)) *rig {
	r := newRig(t, adapt...)
	r.must("node.start_worker", "p", "proxy", dict{"title": "x"})
	r.must("proxy.start_proxy_connection", "p", "c1", backend("one"))
	r.must("proxy.start_proxy_realm_route", "p", "com.a", dict{"anonymous": "c1"})
	r.must("proxy.start_proxy_transport", "p", "t", listening(1, nil))
	r.must("proxy.start_proxy_transport", "p", "web", listening(2, dict{"paths": dict{"a": dict{"type": "json"}}}))
	r.must("proxy.stop_web_transport_service", "p", "web", "a")
	r.must("proxy.start_web_transport_service", "p", "web", "b", dict{"type": "json"})
	return r
}

// onlyRoute is the id of the one route of a realm.
func (r *rig) onlyRoute(realm string) string {
	r.t.Helper()
	ids := r.must("proxy.list_proxy_realm_routes", "p", realm).([]string)
	if len(ids) != 1 {
		r.t.Fatalf("routes are %v", ids)
	}
	return ids[0]
}

func TestATransportOfAProxyIsStoppedByARestart(t *testing.T) {
	r := proxyRig(t)
	route, pid := r.onlyRoute("com.a"), r.node.Worker("p").PID
	e := r.refused(cfcerr.InvalidArgument, "proxy.stop_proxy_transport", "p", "t")
	if e.Details["argument"] != "restart_worker" || r.node.Worker("p").PID != pid {
		t.Fatalf("without consent it says %v", e)
	}
	before := len(r.told())
	d := r.must("proxy.stop_proxy_transport", "p", "t", true).(catalog.Dict)
	if d["id"] != "t" || d["stopped"] == nil || r.node.Worker("p").PID == pid {
		t.Errorf("with it stop gives %v", d)
	}
	want := []string{"on_proxy_transport_stopping t", "on_worker_stopping",
		"on_web_transport_service_stopped web b", "on_web_transport_service_stopped web /", "on_proxy_transport_stopped web", "on_proxy_transport_stopped t",
		"on_proxy_route_stopped " + route, "on_proxy_connection_stopped c1", "on_worker_stopped", "on_worker_starting", "on_worker_started",
		"on_proxy_connection_starting c1", "on_proxy_connection_started c1", "on_proxy_route_starting " + route, "on_proxy_route_started " + route,
		"on_proxy_transport_starting web", "on_proxy_transport_started web"}
	told := r.told()[before:]
	for i := range told {
		told[i] = strings.Replace(told[i], " p", "", 1)
	}
	told = slices.DeleteFunc(told, func(s string) bool {
		return strings.HasSuffix(s, "web /") || strings.HasSuffix(s, "web a") || strings.HasSuffix(s, "ing web b") || strings.HasSuffix(s, "started web b")
	})
	want = slices.DeleteFunc(want, func(s string) bool { return strings.HasSuffix(s, "web /") })
	if !slices.Equal(told, want) {
		t.Errorf("told is\n%s\nexpected\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	if got := r.must("proxy.get_proxy_transports", "p"); fmt.Sprint(got) != "[web]" {
		t.Errorf("transports are %v", got)
	}
	if got := r.node.Served("p", "web"); !slices.Equal(got, []string{"b"}) {
		t.Errorf("paths are %v, as if nobody had stopped and started some", got)
	}
	if got := r.onlyRoute("com.a"); got != route {
		t.Errorf("the route was %s, and is %s", route, got)
	}
	r.must("proxy.start_proxy_transport", "p", "t", listening(1, nil))
}

func TestARestartNeedsToKnowTheWorker(t *testing.T) {
	r := newRig(t)
	r.node.Boot("p", "proxy")
	r.must("proxy.start_proxy_transport", "p", "t", listening(1, nil))
	r.refused(cfcerr.NotSupported, "proxy.stop_proxy_transport", "p", "t", true)
	if got := r.must("proxy.get_proxy_transports", "p"); fmt.Sprint(got) != "[t]" {
		t.Errorf("transports are %v", got)
	}
}

// Who only wanted a restart, and loses patience or the connection in the middle
// of it, has not wanted all of the worker to be gone.
func TestARestartIsNotLeftHalfDone(t *testing.T) {
	r := proxyRig(t)
	route := r.onlyRoute("com.a")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	release := r.node.Hang("start_worker")
	ended := make(chan error, 1)
	go func() {
		_, err := r.Call(ctx, as(wire.Owner), "proxy.stop_proxy_transport", wamp.List{"p", "t", true}, nil)
		ended <- err
	}()
	r.until("the worker is down", func() bool { return r.node.Calls("start_worker") == 2 })
	leave()
	release()
	if err := <-ended; err != nil {
		t.Fatalf("the restart says %v", err)
	}
	if got := r.must("proxy.get_proxy_transports", "p"); fmt.Sprint(got) != "[web]" || r.onlyRoute("com.a") != route {
		t.Errorf("transports are %v", got)
	}
	// Nothing has begun for one who has left already.
	_, err := r.Call(ctx, as(wire.Owner), "proxy.stop_proxy_transport", wamp.List{"p", "web", true}, nil)
	wantKind(t, cfcerr.Canceled, nil, err)
	if got := r.must("proxy.get_proxy_transports", "p"); fmt.Sprint(got) != "[web]" {
		t.Errorf("transports are %v", got)
	}
}

func TestRoutesOfAProxy(t *testing.T) {
	r := proxyRig(t)
	route := r.onlyRoute("com.a")
	d := r.must("proxy.get_proxy_realm_route", "p", "com.a", route).(catalog.Dict)
	if roles, _ := wamp.AsDict(d["config"]); d["id"] != route || d["realm"] != "com.a" || roles["anonymous"] != "c1" {
		t.Errorf("the route shows as %v", d)
	}
	r.refused(cfcerr.NoSuchObject, "proxy.get_proxy_realm_route", "p", "com.b", route)
	r.refused(cfcerr.NoSuchObject, "proxy.stop_proxy_realm_route", "p", "com.b", route)
	r.refused(cfcerr.NoSuchObject, "proxy.start_proxy_realm_route", "p", "com.a", dict{"user": "c9"})
	caller := as(wire.Owner)
	caller.Procedure = "crossbarfabriccenter.remote.proxy.list_proxy_realm_routes"
	v, err := r.Call(t.Context(), caller, "proxy.list_proxy_realm_routes", wamp.List{"p", "com.a"}, nil)
	if list, _ := v.([]catalog.Dict); err != nil || len(list) != 1 || list[0]["id"] != route {
		t.Errorf("under Crossbar.io's name the list is %v, %v", v, err)
	}
	e := r.refused(cfcerr.CannotStop, "proxy.stop_proxy_connection", "p", "c1")
	if e.Details["route_id"] != route {
		t.Errorf("a connection that is in use: %v", e)
	}
	for range 3 {
		r.must("proxy.stop_proxy_realm_route", "p", "com.a", r.onlyRoute("com.a"))
		if got := r.must("proxy.get_proxy_routes", "p"); fmt.Sprint(got) != "[]" {
			t.Errorf("realms are %v", got)
		}
		// The same connection again, and one that is the same in all but its time.
		r.must("proxy.stop_proxy_connection", "p", "c1")
		r.must("proxy.start_proxy_connection", "p", "c1", backend("one"))
		r.must("proxy.start_proxy_realm_route", "p", "com.a", dict{"anonymous": "c1"})
	}
	r.node.BootRoute("p", "com.b", wamp.Dict{"anonymous": "c1"})
	r.until("it is told", func() bool { return slices.Contains(r.told(), "on_proxy_route_started p route004") })
	r.must("proxy.start_proxy_realm_route", "p", "com.c", dict{"anonymous": "c1"})
	r.must("proxy.stop_proxy_realm_route", "p", "com.b", "route004")
}

// The node never forgets the connections of a role.
func TestRoutesAreNotMixedWithThoseThatAreStopped(t *testing.T) {
	r := proxyRig(t)
	r.must("proxy.start_proxy_connection", "p", "c2", backend("two"))
	reached := func() string { return strings.Join(r.node.Reached("p", "com.a", "anonymous"), " ") }
	first := r.onlyRoute("com.a")
	second := r.must("proxy.start_proxy_realm_route", "p", "com.a", dict{"anonymous": "c2"}).(catalog.Dict)["id"].(string)
	if got := reached(); got != "one two" {
		t.Errorf("two routes reach %s", got)
	}
	e := r.refused(cfcerr.InvalidArgument, "proxy.stop_proxy_realm_route", "p", "com.a", first)
	if e.Details["argument"] != "restart_worker" {
		t.Errorf("it says %v", e)
	}
	r.must("proxy.stop_proxy_realm_route", "p", "com.a", first, true)
	if got := reached(); got != "two" {
		t.Errorf("the route that is left reaches %s", got)
	}
	r.must("proxy.stop_proxy_realm_route", "p", "com.a", second)
	r.refused(cfcerr.InvalidArgument, "proxy.start_proxy_realm_route", "p", "com.a", dict{"anonymous": "c1"})
	r.must("proxy.start_proxy_realm_route", "p", "com.a", dict{"anonymous": "c1"}, true)
	if got := reached(); got != "one" {
		t.Errorf("the new route reaches %s", got)
	}
	r.must("proxy.stop_proxy_realm_route", "p", "com.a", r.onlyRoute("com.a"))
	// Another router under the id of a connection that had a role.
	r.must("proxy.stop_proxy_connection", "p", "c1")
	r.must("proxy.start_proxy_connection", "p", "c1", backend("three"))
	r.refused(cfcerr.InvalidArgument, "proxy.start_proxy_realm_route", "p", "com.a", dict{"anonymous": "c1"})
}

func TestARouteThatNobodyAwaitedIsTakenBack(t *testing.T) {
	r := proxyRig(t)
	release := r.node.Hang("worker.p.start_proxy_realm_route")
	v, err := r.Call(r.node.Asked(r.t.Context(), "worker.p.start_proxy_realm_route"), as(wire.Owner), "proxy.start_proxy_realm_route", wamp.List{"p", "com.b", dict{"anonymous": "c1"}}, nil)
	wantKind(t, cfcerr.Timeout, v, err)
	release()
	r.until("it is stopped", func() bool { return r.node.Calls("worker.p.stop_proxy_realm_route") == 1 })
	if got := r.must("proxy.get_proxy_routes", "p"); fmt.Sprint(got) != "[com.a]" {
		t.Errorf("realms are %v", got)
	}
}

func TestAProxyTransportThatFailsHalf(t *testing.T) {
	r := proxyRig(t)
	bad := listening(3, dict{"paths": dict{"ok": dict{"type": "json"}, "z": dict{"type": "static"}}})
	e := r.refused(cfcerr.InvalidConfiguration, "proxy.start_proxy_transport", "p", "half", bad)
	if !strings.Contains(e.Error(), "it runs") {
		t.Errorf("it says %v", e)
	}
	r.must("proxy.get_proxy_transport", "p", "half")
	if got := r.node.Served("p", "half"); !slices.Equal(got, []string{"ok"}) {
		t.Errorf("paths are %v", got)
	}
	e = r.refused(cfcerr.CannotListen, "proxy.start_proxy_transport", "p", "busy", listening(3, nil))
	if !strings.Contains(e.Error(), "Address already in use") {
		t.Errorf("a port in use: %v", e)
	}
}
