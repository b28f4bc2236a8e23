package e2e

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// rows tries each row with good arguments and bad ones. It leaves rtr1, a
// router worker that is pinned to a CPU.
func rows(r *rig) {
	t := r.t
	status := r.mustDict("node.get_status")
	if status["management_node_id"] != "n1" || status["management_realm"] != "demo" {
		t.Errorf("the node is paired as n1 in demo, its status says %v in %v", status["management_node_id"], status["management_realm"])
	}
	if a := r.agent.link.Attached(); a.Kind == nil || *a.Kind != "crossbar" || a.Version == "" {
		t.Errorf("attached as %+v", a)
	}

	w := r.mustDict("node.start_worker", "rtr1", map[string]any{"type": "router"})
	for key, want := range map[string]any{"id": "rtr1", "type": "router", "status": "started", "who": "alice"} {
		if w[key] != want {
			t.Errorf("start_worker gives %s %v, expected %v", key, w[key], want)
		}
	}
	r.wantEvents([]string{"rtr1"}, "on_worker_starting", "on_worker_started")
	if got := r.must("node.get_workers"); !reflect.DeepEqual(got, []string{"rtr1"}) {
		t.Errorf("get_workers gives %v", got)
	}
	if got := r.must("node.get_workers", []any{"container"}); !reflect.DeepEqual(got, []string{}) {
		t.Errorf("get_workers of containers gives %#v", got)
	}
	if d := r.mustDict("node.get_worker", "rtr1"); d["type"] != "router" || d["status"] != "started" {
		t.Errorf("get_worker gives %v", d)
	}
	r.refused(cfcerr.AlreadyRunning, "node.start_worker", "rtr1", map[string]any{"type": "router"})

	t.Run("realms", func(t *testing.T) { r.t = t; realms(r) })
	r.t = t
	t.Run("bad arguments", func(t *testing.T) { r.t = t; badArguments(r) })
	r.t = t

	stopped := r.mustDict("node.stop_worker", "rtr1")
	if stopped["type"] != "router" || stopped["who"] != "alice" {
		t.Errorf("stop_worker gives %v", stopped)
	}
	r.wantEvents([]string{"rtr1"}, "on_worker_starting", "on_worker_started", "on_worker_stopping", "on_worker_stopped")
	r.refused(cfcerr.NoSuchWorker, "node.get_worker", "rtr1")
	r.refused(cfcerr.NoSuchWorker, "node.stop_worker", "rtr1")
	r.must("node.start_worker", "rtr1", map[string]any{"type": "router", "options": map[string]any{"cpu_affinity": []any{0}}})
}

func (r *rig) wantEvents(ids []string, names ...string) {
	r.t.Helper()
	r.wantEventsWithin(5*time.Second, ids, names...)
}

func (r *rig) wantEventsWithin(d time.Duration, ids []string, names ...string) {
	r.t.Helper()
	for end := time.Now().Add(d); ; time.Sleep(5 * time.Millisecond) {
		got := r.agent.events.of(ids...)
		if slices.Equal(got, names) {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("the events of %v are %v, expected %v", ids, got, names)
		}
	}
}

var realm1 = map[string]any{"name": "com.example.one", "roles": []any{
	map[string]any{"name": "anonymous", "permissions": []any{map[string]any{"uri": "", "match": "prefix",
		"allow": map[string]any{"call": true, "register": true, "publish": true, "subscribe": true}}}},
}}

func realms(r *rig) {
	t := r.t
	for i := range 5 { // the id again and again, which the node would take once
		d := r.mustDict("router.start_router_realm", "rtr1", "realm1", realm1)
		if d["id"] != "realm1" {
			t.Fatalf("round %d: the realm started as %v", i, d["id"])
		}
		roles, _ := wamp.AsList(d["roles"])
		if len(roles) != 1 {
			t.Errorf("round %d: its roles are %v", i, d["roles"])
		}
		if got := r.must("router.get_router_realms", "rtr1"); !reflect.DeepEqual(got, []string{"realm1"}) {
			t.Fatalf("round %d: realms are %v", i, got)
		}
		if d := r.mustDict("router.get_router_realm", "rtr1", "realm1"); d["id"] != "realm1" {
			t.Errorf("round %d: it shows as %v", i, d["id"])
		}
		r.refused(cfcerr.AlreadyRunning, "router.start_router_realm", "rtr1", "realm1", map[string]any{"name": "other"})
		r.refused(cfcerr.AlreadyRunning, "router.start_router_realm", "rtr1", "realm2", realm1)
		d = r.mustDict("router.stop_router_realm", "rtr1", "realm1")
		if d["id"] != "realm1" || d["stopped"] == nil {
			t.Errorf("round %d: stop gives %v", i, d)
		}
		if got := r.must("router.get_router_realms", "rtr1"); !reflect.DeepEqual(got, []string{}) {
			t.Fatalf("round %d: after the stop realms are %v", i, got)
		}
		r.refused(cfcerr.NoSuchObject, "router.get_router_realm", "rtr1", "realm1")
		r.refused(cfcerr.NoSuchObject, "router.stop_router_realm", "rtr1", "realm1")
	}
	var want []string
	for range 5 {
		want = append(want, "on_router_realm_starting", "on_router_realm_started", "on_router_realm_stopping", "on_router_realm_stopped")
	}
	r.wantEvents([]string{"rtr1", "realm1"}, want...)
	for _, e := range r.agent.events.details("rtr1", "realm1") {
		if e.details["by"] != "alice" || e.details["name"] != "com.example.one" {
			t.Errorf("%s says %v", e.name, e.details)
		}
	}
}

func badArguments(r *rig) {
	t := r.t
	for _, c := range []struct {
		kind     cfcerr.Kind
		argument string
		key      string
		args     []any
	}{
		{cfcerr.InvalidArgument, "worker_id", "node.get_worker", nil},
		{cfcerr.InvalidArgument, "worker_id", "node.get_worker", []any{"a.b"}},
		{cfcerr.InvalidArgument, "worker_id", "node.get_worker", []any{7}},
		{cfcerr.InvalidArgument, "include_stats", "node.get_worker", []any{"rtr1", "yes"}},
		{cfcerr.InvalidArgument, "config.type", "node.start_worker", []any{"w", map[string]any{"type": "rotor"}}},
		{cfcerr.InvalidArgument, "config.type", "node.start_worker", []any{"w", map[string]any{}}},
		{cfcerr.InvalidArgument, "config", "node.start_worker", []any{"w", "rotor"}},
		{cfcerr.InvalidArgument, "config", "node.start_worker", []any{"w", 3}},
		{cfcerr.InvalidArgument, "options", "node.start_worker", []any{"w", map[string]any{"type": "router"}, map[string]any{"title": "x"}}},
		{cfcerr.InvalidArgument, "config.executable", "node.start_worker", []any{"w", "guest", map[string]any{}}},
		{cfcerr.InvalidArgument, "options.cpu_affinity", "node.start_worker", []any{"w", "router", map[string]any{"cpu_affinity": "0"}}},
		{cfcerr.InvalidConfiguration, "", "node.start_worker", []any{"w", "router", map[string]any{"nonsense": 1}}},
		{cfcerr.InvalidConfiguration, "", "node.start_worker", []any{"w", "router", map[string]any{"python": "python3"}}},
		{cfcerr.InvalidConfiguration, "", "node.start_worker", []any{"w", "guest", map[string]any{"executable": "/nowhere/x"}}},
		{cfcerr.InvalidConfiguration, "", "node.start_worker", []any{"w", "router", map[string]any{"cpu_affinity": []any{4711}}}},
		{cfcerr.CannotStart, "", "node.start_worker", []any{"w", "router", map[string]any{"python": "/bin/true"}}},
		{cfcerr.NotSupported, "", "node.start_worker", []any{"w", "hostmonitor"}},
		{cfcerr.NotSupported, "", "node.start_worker", []any{"w", "xbrmm"}},
		{cfcerr.NoSuchWorker, "", "node.stop_worker", []any{"nobody"}},
		{cfcerr.NoSuchWorker, "", "router.get_router_realms", []any{"nobody"}},
		{cfcerr.NoSuchWorker, "", "router.start_router_realm", []any{"nobody", "r", realm1}},
		{cfcerr.NoSuchObject, "", "router.get_router_realm", []any{"rtr1", "nothing"}},
		{cfcerr.InvalidArgument, "realm_config.name", "router.start_router_realm", []any{"rtr1", "r", map[string]any{"nam": "x"}}},
		{cfcerr.InvalidArgument, "realm_config.roles", "router.start_router_realm", []any{"rtr1", "r", map[string]any{"name": "com.x", "roles": "all"}}},
		{cfcerr.InvalidConfiguration, "", "router.start_router_realm", []any{"rtr1", "r", map[string]any{"name": "com.x", "options": map[string]any{"nonsense": 1}}}},
		{cfcerr.InvalidConfiguration, "", "router.start_router_realm", []any{"rtr1", "r", map[string]any{"name": "a b"}}},
		{cfcerr.NoSuchProcedure, "", "node.sign", []any{"x"}},
		{cfcerr.NoSuchProcedure, "", "nonsense.nothing", nil},
	} {
		t.Run(fmt.Sprint(c.key, c.args), func(t *testing.T) {
			r.t = t
			e := r.refused(c.kind, c.key, c.args...)
			if c.argument != "" && e.Details["argument"] != c.argument {
				t.Errorf("it blames argument %v, not %s: %v", e.Details["argument"], c.argument, e)
			}
			t.Log(e)
		})
	}
	r.t = t
	if got := r.must("router.get_router_realms", "rtr1"); !reflect.DeepEqual(got, []string{}) {
		t.Errorf("bad starts have left %v", got)
	}
	waitFor(t, 10*time.Second, "bad starts leave no worker", func() bool { return reflect.DeepEqual(r.must("node.get_workers"), []string{"rtr1"}) })
}
