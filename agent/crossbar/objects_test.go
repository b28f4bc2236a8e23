package crossbar

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
)

func TestEveryKindIsHandled(t *testing.T) {
	keys := map[string]bool{}
	for i, k := range ops.Kinds {
		if handlingOf(k).probe() == "" || keys[k.Key] {
			t.Errorf("kind %s has no procedure, or its key twice", k.Key)
		}
		keys[k.Key] = true
		known := k.Parent == nil
		for _, before := range ops.Kinds[:i] {
			known = known || before == k.Parent
		}
		if !known {
			t.Errorf("kind %s comes before what it belongs to", k.Key)
		}
	}
}

func role(realm, id string) ops.Ref {
	return ops.Ref{Kind: ops.RealmRole, Worker: "w", Parent: realm, ID: id}
}

func TestObjectsOfARealmWhoseIDIsBurnt(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	r.stop("a")
	r.start("a", named("com.a")) // r_a_1 on the node
	config := dict{"name": "guest", "permissions": []any{}}
	d, err := r.Start(r.within(time.Second), "alice", role("a", "x"), config)
	if err != nil || d["id"] != "x" {
		t.Fatalf("start a role: %v, %v", d, err)
	}
	all, err := r.Objects(r.within(time.Second), ops.RealmRole, "w", "a")
	if err != nil || len(all) != 1 || all[0] != (ops.Object{Kind: ops.RealmRole, Parent: "a", ID: "x", Name: "guest"}) {
		t.Errorf("roles are %v, %v", all, err)
	}
	for range 2 { // its id can be used again
		if _, err := r.Stop(r.within(time.Second), "alice", role("a", "x"), ops.StopOptions{}); err != nil {
			t.Fatalf("stop the role: %v", err)
		}
		if _, err := r.Object(r.within(time.Second), role("a", "x")); cfcerr.KindOf(err) != cfcerr.NoSuchObject {
			t.Errorf("a stopped role shows: %v", err)
		}
		if _, err := r.Start(r.within(time.Second), "alice", role("a", "x"), config); err != nil {
			t.Fatalf("start it again: %v", err)
		}
	}
	_, err = r.Objects(r.within(time.Second), ops.RealmRole, "w", "gone")
	if cfcerr.KindOf(err) != cfcerr.NoSuchObject || !strings.Contains(err.Error(), "cannot find realm gone: worker w has no such realm") {
		t.Errorf("roles of a realm that is not there: %v", err)
	}
}

// What belongs to an object is forgotten with it.
func TestMemoryOfPartsGoesWithTheWhole(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	release := r.fake.Hang("worker.w.start_router_realm_role")
	if _, err := r.Start(r.fake.Asked(r.ctx, "worker.w.start_router_realm_role"), "alice", role("a", "x"), dict{"name": "x", "permissions": []any{}}); cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Fatalf("a start that is not answered: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(r.state, memoryFile))
	if err != nil || !strings.Contains(string(b), "router_realm_role/a") {
		t.Errorf("the start is not remembered: %v\n%s", err, b)
	}
	release()
	r.until("the role is taken back", func() bool { return r.fake.Calls("worker.w.stop_router_realm_role") == 2 })
	r.stop("a")
	b, err = os.ReadFile(filepath.Join(r.state, memoryFile))
	if err != nil || strings.Contains(string(b), "router_realm_role/") {
		t.Errorf("it is remembered after the realm's end: %v\n%s", err, b)
	}
}
