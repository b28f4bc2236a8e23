package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

const modules = `
from autobahn.twisted.wamp import ApplicationSession
from twisted.internet import reactor
from twisted.internet.defer import Deferred

class Echo(ApplicationSession):
    async def onJoin(self, details):
        name = self.config.extra.get("name", "echo")
        await self.register(lambda x: x, "com.example." + name)
        def end():
            reactor.callLater(0.05, self.leave)
        await self.register(end, "com.example.end." + name)

class Refuses(ApplicationSession):
    async def onJoin(self, details):
        raise RuntimeError("it does not like it here")

class Leaves(ApplicationSession):
    async def onJoin(self, details):
        self.leave()
        await Deferred()

class Unborn(ApplicationSession):
    def __init__(self, config):
        raise RuntimeError("it does not want to be")

class Never(ApplicationSession):
    def onJoin(self, details):
        return Deferred()

def on_join(session, details):
    return session.register(lambda x: x, "com.example.function")
`

func ofClass(name string, more ...any) dict {
	d := dict{"type": "class", "classname": "cfcmodules." + name, "realm": "com.example.one"}
	for i := 0; i < len(more); i += 2 {
		d[more[i].(string)] = more[i+1]
	}
	return d
}

// components are started, called and stopped, three times with the same ids;
// they end by themselves, fail, and outlive the agent.
func components(r *rig) {
	t := r.t
	where := t.TempDir()
	if err := os.WriteFile(filepath.Join(where, "cfcmodules.py"), []byte(modules), 0o600); err != nil {
		t.Fatal(err)
	}
	r.served("cw", dict{"pythonpath": []any{where}})
	port := freePort(t)
	r.must("router.start_router_transport", "cw", "ws", dict{"type": "websocket", "endpoint": dict{"type": "tcp", "port": port, "interface": "127.0.0.1"}})
	c := r.joins("components", fmt.Sprintf("ws://127.0.0.1:%d", port), client.Config{})
	defer c.Close()
	answers := func(procedure string, args ...any) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := c.Call(ctx, procedure, nil, args, nil, nil)
		return err
	}
	list := func(want ...string) {
		t.Helper()
		if got := r.must("router.get_router_components", "cw"); !reflect.DeepEqual(got, append([]string{}, want...)) {
			t.Errorf("components are %v, expected %v", got, want)
		}
	}
	v, err := r.callWithin(time.Minute, as(wire.Operator), "router.start_router_component", "cw", "c", ofClass("Echo"))
	r.wantKind(cfcerr.NotAuthorized, v, err, "a component of an operator")
	for round := range 3 {
		d := r.mustDict("router.start_router_component", "cw", "c", ofClass("Echo", "extra", dict{"name": "mine"}))
		if d["id"] != "c" {
			t.Errorf("round %d: it starts as %v", round, d)
		}
		r.must("router.start_router_component", "cw", "f", dict{"type": "function", "realm": "com.example.one", "callbacks": dict{"join": "cfcmodules.on_join"}})
		for _, procedure := range []string{"com.example.mine", "com.example.function"} {
			if err := answers(procedure, 1); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		e := r.refused(cfcerr.InvalidArgument, "router.stop_router_component", "cw")
		if !strings.Contains(e.Message, "c, f") {
			t.Errorf("two components: %v", e)
		}
		r.must("router.stop_router_component", "cw", "c")
		list("f")
		if answers("com.example.mine", 1) == nil || answers("com.example.function", 1) != nil {
			t.Errorf("round %d: the wrong component was stopped", round)
		}
		r.must("router.stop_router_component", "cw")
		list()
	}
	var want []string
	for range 3 {
		want = append(want, "on_router_component_starting", "on_router_component_started", "on_router_component_stopping", "on_router_component_stopped")
	}
	r.wantEvents([]string{"cw", "c"}, want...)

	// One that ends by itself.
	r.must("router.start_router_component", "cw", "ends", ofClass("Echo"))
	if err := answers("com.example.end.echo"); err != nil {
		t.Error(err)
	}
	r.wantEvents([]string{"cw", "ends"}, "on_router_component_starting", "on_router_component_started", "on_router_component_stopped")
	list()
	r.must("router.start_router_component", "cw", "ends", ofClass("Echo"))
	r.must("router.stop_router_component", "cw", "ends")

	noComponents(r)
	list()

	// The agent restarts: ids that are not the node's own still resolve.
	r.must("router.start_router_component", "cw", "c", ofClass("Echo"))
	r.stopParts()
	r.start()
	list("c")
	if d := r.mustDict("router.get_router_component", "cw", "c"); d["id"] != "c" {
		t.Errorf("after a restart of the agent it shows as %v", d)
	}
	r.must("router.stop_router_component", "cw")
	if answers("com.example.echo", 1) == nil {
		t.Error("it runs on")
	}
	list()
	// One that the realm hides, and two that end with it.
	r.must("router.start_router_component", "cw", "own", ofClass("Echo", "role", "trusted", "extra", dict{"name": "trusted"}))
	e := r.refused(cfcerr.NotSupported, "router.stop_router_component", "cw", "own")
	if !strings.Contains(fmt.Sprint(e.Details["reason"]), "trusted") {
		t.Errorf("a component that the realm hides: %v %v", e, e.Details)
	}
	r.must("router.start_router_component", "cw", "c", ofClass("Echo"))
	r.must("router.stop_router_realm", "cw", "realm1")
	list()
	r.wantEvents([]string{"cw", "c"}, "on_router_component_stopping", "on_router_component_stopped",
		"on_router_component_starting", "on_router_component_started", "on_router_component_stopped")
	r.must("node.stop_worker", "cw")
}

// noComponents are refused with the reason in a line, and leave nothing behind.
func noComponents(r *rig) {
	for name, c := range map[string]struct {
		config dict
		kind   cfcerr.Kind
		says   string
	}{
		"no module":             {dict{"type": "class", "classname": "nowhere.X", "realm": "com.example.one"}, cfcerr.InvalidConfiguration, "ModuleNotFoundError: No module named 'nowhere'"},
		"no class":              {ofClass("Nobody"), cfcerr.InvalidConfiguration, "has no attribute 'Nobody'"},
		"no realm":              {ofClass("Echo", "realm", "com.example.none"), cfcerr.InvalidArgument, "component_config.realm"},
		"an unknown key":        {ofClass("Echo", "nonsense", 1), cfcerr.InvalidConfiguration, "nonsense"},
		"one that is not born":  {ofClass("Unborn"), cfcerr.CannotStart, "it does not want to be"},
		"one that refuses":      {ofClass("Refuses"), cfcerr.CannotStart, "RuntimeError: it does not like it here"},
		"one that leaves":       {ofClass("Leaves"), cfcerr.CannotStart, "left before being ready"},
		"a function of nothing": {dict{"type": "function", "realm": "com.example.one", "callbacks": dict{"join": "nowhere.f"}}, cfcerr.InvalidConfiguration, "No module named 'nowhere'"},
	} {
		e := r.refused(c.kind, "router.start_router_component", "cw", "bad", c.config)
		if !strings.Contains(e.Message, c.says) || strings.Contains(e.Message, "\n") {
			r.t.Errorf("%s: it says %q, expected %q in a line", name, e.Message, c.says)
		}
	}
	v, err := r.callWithin(2*time.Second, owner, "router.start_router_component", "cw", "bad", ofClass("Never"))
	r.wantKind(cfcerr.Timeout, v, err, "a component that is never ready")
	ctx := context.Background()
	r.wait("what was never ready is taken back", func() bool {
		v, err := r.agent.link.Call(ctx, "worker.cw.realm.realm1.root.wamp.session.list", nil, nil)
		sessions, _ := wamp.AsList(v)
		return err == nil && len(sessions) == 1 // the test's own
	})
	r.must("router.start_router_component", "cw", "bad", ofClass("Echo"))
	r.must("router.stop_router_component", "cw", "bad")
	r.refused(cfcerr.NoSuchObject, "router.stop_router_component", "cw", "bad")
}
