package ops_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

type dict = map[string]any

func listening(port int, more dict) dict {
	d := dict{"type": "web", "endpoint": dict{"type": "tcp", "port": port}, "paths": dict{}}
	for k, v := range more {
		d[k] = v
	}
	return d
}

func (r *rig) toldOf(want ...string) {
	r.t.Helper()
	defer func() {
		if r.t.Failed() {
			r.t.Logf("told is\n%s\nexpected at the end\n%s", strings.Join(r.told(), "\n"), strings.Join(want, "\n"))
		}
	}()
	r.until("the events are those", func() bool {
		got := slices.DeleteFunc(r.told(), func(line string) bool { return strings.HasPrefix(line, "on_worker_log ") })
		return len(got) >= len(want) && slices.Equal(got[len(got)-len(want):], want)
	})
}

func TestTransportsTellOfTheirPaths(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.toldOf("on_worker_starting w", "on_worker_started w")
	r.must("router.start_router_transport", "w", "t", listening(1, dict{"paths": dict{"a": dict{"type": "json"}}}))
	r.must("router.start_transport_path", "w", "t", "b", dict{"type": "json"})
	r.must("router.stop_router_transport_path", "w", "t", "a")
	r.must("router.stop_router_transport", "w", "t")
	r.toldOf("on_router_transport_starting w t", "on_router_transport_started w t",
		"on_web_transport_service_starting w t a", "on_web_transport_service_started w t a",
		"on_web_transport_service_starting w t b", "on_web_transport_service_started w t b",
		"on_web_transport_service_stopping w t a", "on_web_transport_service_stopped w t a",
		"on_router_transport_stopping w t", "on_web_transport_service_stopped w t b", "on_router_transport_stopped w t")

	r.node.BootTransport("w", "own", wamp.Dict(listening(2, dict{"paths": dict{"c": dict{"type": "json"}}})))
	r.toldOf("on_router_transport_starting w own", "on_router_transport_started w own",
		"on_web_transport_service_starting w own c", "on_web_transport_service_started w own c")
	r.node.Die("w")
	r.toldOf("on_web_transport_service_stopped w own c", "on_router_transport_stopped w own", "on_worker_stopped w")
}

func TestPathsAreLeftOutOnRequest(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	config := listening(1, dict{"paths": dict{"/": dict{"type": "json"}, "a": dict{"type": "json"}}})
	r.must("router.start_router_transport", "w", "t", config, false)
	if got := r.must("router.get_router_transport_paths", "w", "t").([]string); len(got) != 1 || got[0] != "/" {
		t.Errorf("paths are %v", got)
	}
	universal := dict{"type": "universal", "endpoint": dict{"type": "tcp", "port": 2}, "web": dict{"paths": dict{"a": dict{"type": "json"}}}}
	r.must("router.start_router_transport", "w", "u", universal, false)
	if got := r.must("router.get_router_transport_paths", "w", "u").([]string); len(got) != 0 {
		t.Errorf("paths are %v", got)
	}
}

func TestCodeTakesTheOwner(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	config := listening(1, dict{"paths": dict{"a": dict{"type": "wsgi"}}})
	v, err := r.within(time.Second, wire.Operator, "router.start_router_transport", "w", "t", config)
	wantKind(t, cfcerr.NotAuthorized, v, err)
	r.must("router.start_router_transport", "w", "t", config)
	v, err = r.within(time.Second, wire.Operator, "router.start_router_transport_path", "w", "t", "b", dict{"type": "cgi"})
	wantKind(t, cfcerr.NotAuthorized, v, err)
	if _, err = r.within(time.Second, wire.Operator, "router.start_router_transport_path", "w", "t", "b", dict{"type": "json"}); err != nil {
		t.Error(err)
	}
}

func TestSecretsOfTransports(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	auth := dict{"ticket": dict{"type": "static", "principals": dict{"joe": dict{"ticket": "s3cret", "role": "a"}}},
		"wampcra": dict{"type": "static", "users": dict{"joe": dict{"secret": "s3cret"}}},
		"scram":   dict{"type": "static", "principals": dict{"joe": dict{"stored-key": "s3cret", "server-key": "s3cret"}}}}
	r.must("router.start_router_transport", "w", "t", listening(1, dict{"paths": dict{"ws": dict{"type": "websocket", "auth": auth},
		"deep": dict{"type": "path", "paths": dict{"p": dict{"type": "publisher", "options": dict{"secret": "s3cret"}}}}}}))
	calls := []struct {
		key  string
		args []any
	}{
		{"router.get_router_transport", []any{"w", "t"}},
		{"router.get_router_transport_path", []any{"w", "t", "ws"}},
		{"router.get_router_transport_path", []any{"w", "t", "deep"}},
		{"router.stop_router_transport_path", []any{"w", "t", "ws"}},
		{"router.stop_router_transport", []any{"w", "t"}},
	}
	for _, c := range calls[:3] {
		if v := r.must(c.key, c.args...); !holds(v, "s3cret") {
			t.Errorf("%s hides from the owner: %v", c.key, v)
		}
	}
	for _, c := range calls {
		v, err := r.within(time.Second, wire.Operator, c.key, c.args...)
		if err != nil || holds(v, "s3cret") {
			t.Errorf("%s shows an operator %v, %v", c.key, v, err)
		}
	}
}

// holds reports whether the string stands anywhere in v.
func holds(v any, s string) bool {
	if v == s {
		return true
	}
	if d, ok := v.(catalog.Dict); ok {
		v = wamp.Dict(d)
	}
	if d, ok := wamp.AsDict(v); ok {
		for _, x := range d {
			if holds(x, s) {
				return true
			}
		}
		return false
	}
	list, _ := wamp.AsList(v)
	for _, x := range list {
		if holds(x, s) {
			return true
		}
	}
	return false
}

func TestTransportsInCrossbarsShape(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.must("router.start_router_transport", "w", "t", listening(1, nil))
	caller := as(wire.Viewer)
	caller.Procedure = "crossbarfabriccenter.remote.router.get_router_transports"
	v, err := r.Call(t.Context(), caller, "router.get_router_transports", wamp.List{"w"}, nil)
	list, ok := wamp.AsList(v)
	if err != nil || !ok || len(list) != 1 || !holds(list[0], "t") || !holds(list[0], "tcp") {
		t.Errorf("under Crossbar.io's name the list is %v, %v", v, err)
	}
}

func component(name string) dict {
	return dict{"type": "class", "classname": "mod." + name, "realm": "com.a", "extra": dict{"key": "s3cret"}}
}

func TestTheOnlyComponent(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.toldOf("on_worker_starting w", "on_worker_started w")
	r.must("router.start_router_realm", "w", "a", dict{"name": "com.a"})
	if e := r.refused(cfcerr.InvalidArgument, "router.stop_router_component", "w"); e.Details["argument"] != "component_id" {
		t.Errorf("without any: %v", e)
	}
	for _, id := range []string{"c", "b"} {
		r.must("router.start_router_component", "w", id, component("Good"))
	}
	e := r.refused(cfcerr.InvalidArgument, "router.stop_router_component", "w")
	if running, _ := e.Details["running"].([]string); !slices.Equal(running, []string{"b", "c"}) || !strings.Contains(e.Message, "one of b, c") {
		t.Errorf("with two: %v %v", e, e.Details)
	}
	r.must("router.stop_router_component", "w", "c")
	if d := r.must("router.stop_router_component", "w").(catalog.Dict); d["id"] != "b" {
		t.Errorf("the only one: %v", d)
	}
	r.toldOf("on_router_component_starting w c", "on_router_component_started w c", "on_router_component_starting w b", "on_router_component_started w b",
		"on_router_component_stopping w c", "on_router_component_stopped w c", "on_router_component_stopping w b", "on_router_component_stopped w b")
}

func TestRightsAndSecretsOfComponents(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.toldOf("on_worker_starting w", "on_worker_started w")
	r.must("router.start_router_realm", "w", "a", dict{"name": "com.a"})
	v, err := r.within(time.Second, wire.Operator, "router.start_router_component", "w", "c", component("Good"))
	wantKind(t, cfcerr.NotAuthorized, v, err)
	r.must("router.start_router_component", "w", "c", component("Good"))
	if v := r.must("router.get_router_component", "w", "c"); !holds(v, "s3cret") {
		t.Errorf("it hides from the owner: %v", v)
	}
	v, err = r.within(time.Second, wire.Viewer, "router.get_router_component", "w", "c")
	if err != nil || holds(v, "s3cret") {
		t.Errorf("it shows a viewer %v, %v", v, err)
	}
	r.node.Crash("w", "a")
	r.toldOf("on_router_component_stopped w c")
	r.refused(cfcerr.CannotStart, "router.start_router_component", "w", "c", component("Bad"))
	r.toldOf("on_router_component_starting w c", "on_router_component_stopped w c")
}
