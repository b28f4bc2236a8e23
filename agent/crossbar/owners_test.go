package crossbar

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// answers is a node that has them, by procedure, and nothing else.
type answers map[string]any

func (a answers) Call(_ context.Context, procedure string, _ wamp.List, _ wamp.Dict) (any, error) {
	return a[procedure], nil
}

func (a answers) Has(procedure string) bool { return a[procedure] != nil }

func (a answers) Watch(func(nodelink.Notice)) (stop func()) { return func() {} }

// A component is older than it is when the clock is set after its start: it may
// join all the same, and what is taken for ended is so for good.
func TestAComponentMayJoinAlthoughTheClockWasSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := answers{
			"worker.w.get_router_realm_by_name": wamp.Dict{"id": "r"},
			"worker.w.get_router_components": wamp.List{wamp.Dict{"id": "c", "created": wire.Time(time.Now().Add(-time.Hour)),
				"config": wamp.Dict{"realm": "com.a"}}},
			"worker.w.realm.r.root.wamp.session.list": wamp.List{},
		}
		s := workerSeen(New(Config{Link: node}), ops.Worker{ID: "w"}).site(ops.RouterComponent, "", "")
		there := func() bool {
			living, err := s.living(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(living) == 1
		}
		if !there() {
			t.Fatal("it has ended before it could join")
		}
		time.Sleep(joining)
		if !there() {
			t.Fatal("it has ended before its time")
		}
		time.Sleep(time.Second)
		if there() {
			t.Error("it never joins, and is said to run")
		}
	})
}
