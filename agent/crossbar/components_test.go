package crossbar

import (
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

func componentRef(id string) ops.Ref {
	return ops.Ref{Kind: ops.RouterComponent, Worker: "w", ID: id}
}

func embedded(name string) dict {
	return dict{"type": "class", "classname": "mod." + name, "realm": "com.a"}
}

// componentRig boots a worker with a realm.
func componentRig(t *testing.T) *rig {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	return r
}

func TestComponentIDsCanBeUsedAgain(t *testing.T) {
	r := componentRig(t)
	for range 3 {
		r.begin(componentRef("c"), embedded("Good"))
		r.begin(componentRef("d"), with(embedded("Good"), "role", "backend"))
		if got := r.list(ops.RouterComponent, ""); got != "c d" {
			t.Errorf("components are %q", got)
		}
		r.finish(componentRef("c"))
		if got := r.list(ops.RouterComponent, ""); got != "d" || r.fake.Embedded("w", "a") != 1 {
			t.Errorf("after a stop components are %q, %d at the node", got, r.fake.Embedded("w", "a"))
		}
		r.watch() // an agent that knows them from its memory alone
		r.finish(componentRef("d"))
		if n := r.fake.Embedded("w", "a"); n != 0 {
			t.Errorf("%d components still run", n)
		}
	}
}

func with(d dict, key string, v any) dict {
	out := dict{key: v}
	for k, x := range d {
		if k != key {
			out[k] = x
		}
	}
	return out
}

func TestComponentsThatCannotBe(t *testing.T) {
	r := componentRig(t)
	for name, c := range map[string]struct {
		kind cfcerr.Kind
		says string
	}{
		"None":   {cfcerr.InvalidConfiguration, "Failed to import class 'mod.None': AttributeError: no None"},
		"Leaves": {cfcerr.CannotStart, "left before being ready"},
		"Ctor":   {cfcerr.CannotStart, "it does not want to"},
		"Bad":    {cfcerr.CannotStart, "it failed when it had joined: RuntimeError: it does not like it here"},
	} {
		e := r.cannot(c.kind, componentRef("c"), embedded(name))
		if !strings.Contains(e.Message, c.says) || strings.Contains(e.Message, "\n") {
			t.Errorf("%s: it says %q, expected %q in a line", name, e.Message, c.says)
		}
	}
	e := r.cannot(cfcerr.InvalidConfiguration, componentRef("c"), with(embedded("f"), "type", "function"))
	if want := "cannot start the component: Failed to import package 'mod' (for 'mod.f'): ImportError: no mod"; e.Message != want {
		t.Errorf("a function: it says %q, expected %q", e.Message, want)
	}
	if e := r.cannot(cfcerr.InvalidArgument, componentRef("c"), with(embedded("Good"), "realm", "com.none")); e.Details["argument"] != "component_config.realm" {
		t.Errorf("a realm that is not there: %v", e)
	}
	if got := r.list(ops.RouterComponent, ""); got != "" || r.fake.Embedded("w", "a") != 0 {
		t.Errorf("starts that failed have left %q, %d at the node", got, r.fake.Embedded("w", "a"))
	}
	r.begin(componentRef("c"), embedded("Good"))
}

func TestAComponentThatIsNeverReadyIsTakenBack(t *testing.T) {
	r := componentRig(t)
	if _, err := r.Start(r.fake.Asked(r.ctx, "worker.w.start_router_component"), "alice", componentRef("c"), embedded("Never")); cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Fatalf("a start that is not answered: %v", err)
	}
	r.until("its session is ended", func() bool { return r.fake.Embedded("w", "a") == 0 })
	r.until("it is not there", func() bool { return r.list(ops.RouterComponent, "") == "" })
	r.begin(componentRef("c"), embedded("Good"))
}

func TestAComponentThatEndsByItselfIsSeen(t *testing.T) {
	r := componentRig(t)
	r.begin(componentRef("c"), embedded("Good"))
	r.fake.Crash("w", "a")
	if got := r.list(ops.RouterComponent, ""); got != "" {
		t.Errorf("components are %q", got)
	}
	r.begin(componentRef("c"), embedded("Good"))
	r.stop("a")
	if got := r.list(ops.RouterComponent, ""); got != "" {
		t.Errorf("after the end of their realm components are %q", got)
	}
	r.cannot(cfcerr.InvalidArgument, componentRef("c"), embedded("Good"))
	r.start("a", named("com.a"))
	r.begin(componentRef("c"), embedded("Good"))
}

func TestComponentsOfTheNodesOwnConfiguration(t *testing.T) {
	r := componentRig(t)
	for _, id := range []string{"one", "two"} {
		r.fake.BootComponent("w", id, wamp.Dict(embedded("Good")))
	}
	if got := r.list(ops.RouterComponent, ""); got != "one two" {
		t.Errorf("components are %q", got)
	}
	r.finish(componentRef("one"))
	if got := r.list(ops.RouterComponent, ""); got != "two" {
		t.Errorf("components are %q", got)
	}
	r.begin(componentRef("three"), embedded("Good"))
	r.finish(componentRef("two"))
	r.finish(componentRef("three"))
	if n := r.fake.Embedded("w", "a"); n != 0 {
		t.Errorf("%d components still run", n)
	}
}

func TestComponentsThatCannotBeStopped(t *testing.T) {
	r := componentRig(t)
	r.start("b", dict{"name": "com.b", "options": dict{"bridge_meta_api": false}})
	r.begin(componentRef("closed"), with(embedded("Good"), "realm", "com.b"))
	r.begin(componentRef("trusted"), with(embedded("Good"), "role", "trusted"))
	for id, reason := range map[string]string{"closed": notBridged, "trusted": isTrusted} {
		_, err := r.Stop(r.within(time.Second), "alice", componentRef(id), ops.StopOptions{})
		if e, _ := cfcerr.Public(err); cfcerr.KindOf(err) != cfcerr.NotSupported || e.Details["reason"] != reason {
			t.Errorf("stop %s: %v", id, err)
		}
	}
	if got := r.list(ops.RouterComponent, ""); got != "closed trusted" {
		t.Errorf("components are %q", got)
	}
}
