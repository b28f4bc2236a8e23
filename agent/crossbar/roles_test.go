package crossbar

import (
	"testing"
	"time"

	"fabric.center/cfc/agent/ops"
	"github.com/gammazero/nexus/v3/wamp"
)

func guestRole(permissions ...any) dict {
	return dict{"name": "guest", "permissions": append([]any{}, permissions...)}
}

var mayCall = dict{"uri": "com.", "match": "prefix", "allow": dict{"call": true}, "cache": true}

// A stock node only forgets the name of a role that it stops.
func TestAStoppedRoleHasNoRights(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	for range 3 {
		if _, err := r.Start(r.within(time.Second), "alice", role("a", "x"), guestRole(mayCall)); err != nil {
			t.Fatal(err)
		}
		if rights := r.fake.Rights("w", "a", "guest"); rights["permissions"] == nil {
			t.Fatalf("the role that was started has %v", rights)
		}
		if _, err := r.Stop(r.within(time.Second), "alice", role("a", "x"), ops.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		if rights := r.fake.Rights("w", "a", "guest"); len(rights) != 1 {
			t.Fatalf("the role that was stopped still has %v", rights)
		}
	}
}

func TestARoleWhoseStopWasInterruptedHasNoRights(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	if _, err := r.Start(r.within(time.Second), "alice", role("a", "x"), guestRole(mayCall)); err != nil {
		t.Fatal(err)
	}
	// The connection is lost behind the node's own stop.
	r.fake.Fail("worker.w.start_router_realm_role", "wamp.error.canceled", "callee gone")
	if _, err := r.Stop(r.within(time.Second), "alice", role("a", "x"), ops.StopOptions{}); err == nil {
		t.Fatal("a stop that is interrupted succeeds")
	}
	r.fake.Fail("worker.w.start_router_realm_role", "", "")
	r.watch() // an agent that knows it from its memory alone
	r.until("it has no rights", func() bool { return len(r.fake.Rights("w", "a", "guest")) == 1 })
	if _, err := r.Start(r.within(time.Second), "alice", role("a", "x"), guestRole(mayCall)); err != nil {
		t.Errorf("its id cannot be used again: %v", err)
	}
}

func TestDecisionsForARoleAreNotCached(t *testing.T) {
	for name, c := range map[string]struct {
		given dict
		want  int
	}{
		"no permission":         {guestRole(), 1},
		"one for some":          {guestRole(mayCall), 2},
		"one for all":           {guestRole(dict{"uri": "", "match": "prefix", "allow": dict{"call": true}, "cache": true}), 1},
		"one for all by a star": {guestRole(mayCall, dict{"uri": "*"}), 2},
	} {
		list, _ := wamp.AsList(uncached(c.given)["permissions"])
		if len(list) != c.want {
			t.Errorf("%s becomes %v", name, list)
		}
		for _, v := range list {
			if p, _ := wamp.AsDict(v); p["cache"] != nil {
				t.Errorf("%s: %v is cached", name, p)
			}
		}
	}
	if mayCall["cache"] != true {
		t.Error("the caller's own permission has changed")
	}
	if d := uncached(dict{"name": "x", "authorizer": "com.a"}); len(d) != 2 || d["authorizer"] != "com.a" {
		t.Errorf("a role with an authorizer becomes %v", d)
	}
}
