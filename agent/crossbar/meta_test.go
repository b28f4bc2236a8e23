package crossbar

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

func (r *rig) meta(realm, procedure string, args ...any) (any, error) {
	ref := ops.Ref{Kind: ops.RouterRealm, Worker: "w", ID: realm}
	return r.Meta(r.within(20*time.Second), ref, procedure, wamp.List(args), nil)
}

// A slow disk holds up who keeps something on it, and not what the node says.
func TestASlowDiskDoesNotHoldUpTheNode(t *testing.T) {
	n := New(Config{})
	n.metas.of("w", "r")
	n.metas.of("gone", "r")
	n.memory.mu.Lock() // as while it is written
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.forgetJoined([]ops.Worker{{ID: "w"}})
	}()
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(10 * time.Second); !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*memory).hidden"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not ask the memory")
		}
	}
	if !n.mu.TryLock() {
		t.Fatal("the node's events wait for the disk")
	}
	n.metas.empty(&worker{id: "gone"}, "r") // a realm of another process of it is about to be started
	begun := n.metas.of("gone", "r")
	n.mu.Unlock()
	n.memory.mu.Unlock()
	<-done
	if n.metas.of("gone", "r") != begun {
		t.Error("it has forgotten a realm that has begun meanwhile")
	}
}

func (r *rig) publishes(realm, topic string, args ...any) {
	r.fake.Publish("worker.w.realm."+realm+".root."+strings.ReplaceAll(topic, ".", "-"), args...)
}

func (s *seen) metas() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, l := range s.lines {
		if rest, ok := strings.CutPrefix(l, "meta "); ok {
			lines = append(lines, rest)
		}
	}
	return lines
}

func TestMetaOfARealmWhoseIDIsBurnt(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	r.stop("a")
	r.start("a", named("com.a"))
	if v, err := r.meta("a", "wamp.session.list"); err != nil || len(v.([]any)) != 2 {
		t.Errorf("its sessions are %v, %v", v, err)
	}
	if _, err := r.meta("b", "wamp.session.list"); cfcerr.KindOf(err) != cfcerr.NoSuchObject {
		t.Errorf("sessions of a realm that is not there: %v", err)
	}
	r.start("dark", dict{"name": "com.dark", "options": dict{"bridge_meta_api": false}})
	if _, err := r.meta("dark", "wamp.session.list"); cfcerr.KindOf(err) != cfcerr.NotSupported || !strings.Contains(err.Error(), "bridge_meta_api") {
		t.Errorf("a realm that shows nothing: %v", err)
	}
	r.publishes("r_a_1", "wamp.session.on_join", wamp.Dict{"session": 7})
	r.publishes("a", "wamp.session.on_join", wamp.Dict{"session": 8}) // of the dead one
	r.publishes("r_a_1", "wamp.registration.on_register", 7, 1)
	r.until("they are told", func() bool { return len(r.seen.metas()) == 2 })
	if got := strings.Join(r.seen.metas(), "; "); got != "w a wamp.session.on_join 0 [map[session:7]]; w a wamp.registration.on_register 0 [7 1]" {
		t.Errorf("told is %s", got)
	}
}

// The node tells the end of some sessions twice, and that of its own.
func TestASessionLeavesOnceAndOnlyIfItJoined(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	join := func(id int) { r.publishes("a", "wamp.session.on_join", wamp.Dict{"session": id}) }
	leave := func(id int) { r.publishes("a", "wamp.session.on_leave", id) }
	join(7)
	join(7)
	leave(7)
	leave(7)
	leave(9) // the node's own
	join(7)
	leave(7)
	last := func() {
		t.Helper()
		r.publishes("a", "wamp.subscription.on_create", 1, wamp.Dict{})
		r.until("all is told", func() bool {
			all := r.seen.metas()
			return len(all) > 0 && strings.Contains(all[len(all)-1], "on_create")
		})
	}
	last()
	want := "w a wamp.session.on_join 0 [map[session:7]]; w a wamp.session.on_leave 0 [7]; w a wamp.session.on_join 0 [map[session:7]]; w a wamp.session.on_leave 0 [7]; "
	if got := strings.Join(r.seen.metas(), "; "); !strings.HasPrefix(got, want+"w a wamp.subscription.on_create") {
		t.Errorf("told is %s", got)
	}
	// Another agent finds sessions 11 and 12 there.
	r.watch()
	r.until("it has asked who is there", func() bool {
		r.Node.mu.Lock()
		defer r.Node.mu.Unlock()
		return r.Node.metas.of("w", "a").whole
	})
	leave(11)
	leave(11)
	leave(9)
	last()
	if got := strings.Join(r.seen.metas(), "; "); !strings.HasPrefix(got, "w a wamp.session.on_leave 0 [11]; w a wamp.subscription.on_create") {
		t.Errorf("after a restart told is %s", got)
	}
}

func TestTooManyMetaEventsAreCounted(t *testing.T) {
	n := New(Config{})
	for i := range 3 * metaBurst {
		n.noted(nodelink.Notice{Kind: nodelink.Event, Name: "worker.w.realm.a.root.wamp-registration-on_register", Args: wamp.List{i, i}})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	kept, lost := len(n.metas.waiting), n.metas.lost
	for _, e := range n.metas.waiting {
		lost += e.lost
	}
	if kept < metaBurst || kept > 2*metaBurst || lost == 0 || uint64(kept)+lost != 3*metaBurst {
		t.Errorf("%d wait, %d are lost", kept, lost)
	}
}

func TestMetaRepairs(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	prefix := "worker.w.realm.a.root.wamp."
	broken := func(procedure, text string) {
		t.Helper()
		r.fake.Answer(prefix+procedure, nil, text)
	}
	answer := func(procedure string, v any) { r.fake.Answer(prefix+procedure, v, "") }

	broken("session.get", "'RealmStoreMemory' object has no attribute 'get_session_by_session_id'")
	if _, err := r.meta("a", "wamp.session.get", 5); err == nil || !strings.Contains(fmt.Sprint(err), "no session with this id") {
		t.Errorf("a session that is not there: %v", err)
	}
	broken("session.kill", "Already requested to close the session")
	if v, err := r.meta("a", "wamp.session.kill", 11); v != nil || err != nil {
		t.Errorf("a session that is ending: %v, %v", v, err)
	}
	broken("session.kill_by_authrole", "Already requested to close the session")
	answer("session.get", wamp.Dict{"authrole": "anonymous", "authid": "x"})
	if v, err := r.meta("a", "wamp.session.kill_by_authrole", "anonymous"); err != nil || fmt.Sprint(v) != "[11 12]" {
		t.Errorf("sessions of a role, one ending: %v, %v", v, err)
	}
	if v, err := r.meta("a", "wamp.session.kill_by_authrole", "others"); err == nil && fmt.Sprint(v) != "[]" {
		t.Errorf("sessions of a role that nobody has: %v, %v", v, err)
	}
	broken("subscription.list_subscribers", "'RealmStoreMemory' object has no attribute '_session_id'")
	answer("subscription.count_subscribers", 3)
	answer("subscription.list", wamp.Dict{"exact": wamp.List{5}, "prefix": wamp.List{}})
	for procedure, want := range map[string]string{"wamp.subscription.list_subscribers": "[11 12]", "wamp.subscription.count_subscribers": "2"} {
		if v, err := r.meta("a", procedure, 5); err != nil || fmt.Sprint(v) != want {
			t.Errorf("%s with a store: %v, %v", procedure, v, err)
		}
	}
	event := func(id int) wamp.Dict { return wamp.Dict{"publication": id} }
	answer("subscription.get_events", wamp.List{event(3), event(3), event(2), event(1)})
	if v, err := r.meta("a", "wamp.subscription.get_events", 5, 2); err != nil || fmt.Sprint(v) != "[map[publication:3] map[publication:2]]" {
		t.Errorf("history: %v, %v", v, err)
	}
	broken("registration.remove_callee", "'NoneType' object has no attribute 'forward_for'")
	answer("registration.list_callees", wamp.List{11})
	if _, err := r.meta("a", "wamp.registration.remove_callee", 5, 11); err == nil {
		t.Error("a callee that is still there was removed")
	}
	if _, err := r.meta("a", "wamp.registration.remove_callee", 5, 12); err != nil {
		t.Errorf("a callee that is gone: %v", err)
	}
	r.fake.Answer(prefix+"registration.list_callees", nil, "no such registration")
	if _, err := r.meta("a", "wamp.registration.remove_callee", 5, 12); err != nil {
		t.Errorf("the last callee: %v", err)
	}
	r.until("its end is told", func() bool { return strings.Contains(strings.Join(r.seen.metas(), " "), "on_delete 0 [12 5]") })
}

// A worker may live for years, and see any number of realms.
func TestNothingIsKeptOfRealmsThatAreDown(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	kept := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.metas.joined)
	}
	for _, id := range []string{"a", "b", "c"} {
		r.start(id, map[string]any{"name": "realm_" + id})
	}
	r.until("all realms are known", func() bool { return kept() == 3 })
	r.stop("a")
	r.stop("b")
	r.until("those that are down are forgotten", func() bool { return kept() == 1 })
}

// A node that answers with what it must not ends no agent.
func TestSessionsThatAreNone(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", map[string]any{"name": "realm1"})
	r.fake.Answer("worker.w.realm.a.root.wamp.session.list", wamp.List{wamp.Dict{"session": 1}, wamp.List{}, "x"}, "")
	r.fake.Answer("worker.w.realm.a.root.wamp.subscription.get_events", wamp.List{wamp.Dict{"publication": wamp.List{1}}, "x"}, "")
	if v, err := r.meta("a", "wamp.subscription.get_events", 5, 2); err != nil {
		t.Errorf("events are %v, %v", v, err)
	}
	r.stop("a")
}
