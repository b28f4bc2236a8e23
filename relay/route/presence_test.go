package route_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/badline"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// events collects the topics and first arguments of what a member is told.
func events(t *testing.T, c *raw, n int) []string {
	t.Helper()
	var got []string
	for range n {
		m := c.next()
		e, ok := m.(*wamp.Event)
		if !ok {
			t.Fatalf("no EVENT but %v", show(m))
		}
		d := wamp.NormalizeDict(e.Arguments[len(e.Arguments)-1])
		if _, err := time.Parse("2006-01-02T15:04:05.000Z", fmt.Sprint(d["time"])); err != nil {
			t.Errorf("time %v", d["time"])
		}
		got = append(got, fmt.Sprintf("%v %v %v", e.Details["topic"], e.Arguments[0], d["reason"]))
	}
	return got
}

func (c *raw) subscribe(topic, match string) {
	c.t.Helper()
	if m := c.ask(&wamp.Subscribe{Request: wamp.GlobalID(), Options: wamp.Dict{"match": match}, Topic: wamp.URI(topic)}); m.MessageType() != wamp.SUBSCRIBED {
		c.t.Fatalf("not subscribed: %s", show(m))
	}
}

func (r *rig) offline(node, reason string) {
	r.t.Helper()
	r.until(node+" offline by "+reason, func() bool {
		p, ok := r.hub.Presence(realmName, node)
		return ok && !p.Online && p.Reason == reason
	})
}

func TestPresence(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	if p, ok := r.hub.Presence(realmName, oid1); !ok || p.Online || p.Reason != "never-connected" {
		t.Errorf("at first %+v", p)
	}
	if total, online := r.hub.Count(realmName); total != 1 || online != 0 {
		t.Errorf("%d nodes, %d online", total, online)
	}
	m := r.raw(realmName, "alice", "viewer", "cbor")
	m.subscribe("cfc.on_node_", "prefix")

	// A session alone is not presence, a registration is.
	a := r.raw(realmName, "n1", wire.RoleNode, "cbor")
	if got := show(m.ask(call(1, "cfc.remote.node.get_status", "n1"))); got != "ERROR CALL 1 cfc.error.node_offline map[node_id:n1 reason:never-connected since:<nil>]" {
		t.Errorf("before REGISTER: %s", got)
	}
	reg := a.ask(&wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: "cfc.node.n1"}).(*wamp.Registered)
	if got := show(a.ask(&wamp.Register{Request: 2, Options: wamp.Dict{}, Procedure: "cfc.node.n1"})); got != "ERROR REGISTER 2 wamp.error.procedure_already_exists map[]" {
		t.Errorf("again: %s", got)
	}
	if got := events(t, m, 1); fmt.Sprint(got) != "[cfc.on_node_online n1 ]" {
		t.Errorf("events %v", got)
	}
	p, _ := r.hub.Presence(realmName, "n1")
	if !p.Online || time.Since(p.Since) > 5*time.Second || p.Agent.Hostname != "h" || p.Node.Attached {
		t.Errorf("online %+v", p)
	}
	if total, online := r.hub.Count(realmName); total != 1 || online != 1 {
		t.Errorf("%d nodes, %d online", total, online)
	}

	// Its node comes and goes.
	details := wamp.Dict{"time": "2026-11-23T00:00:00.000Z", "kind": "crossbar", "version": "26.10.1", "reason": ""}
	a.say(&wamp.Publish{Request: 3, Options: wamp.Dict{}, Topic: "cfc.on_node_attached", Arguments: wamp.List{"n1", details}})
	r.until("attached", func() bool { p, _ := r.hub.Presence(realmName, "n1"); return p.Node.Attached })
	a.say(&wamp.Publish{Request: 4, Options: wamp.Dict{}, Topic: "cfc.on_node_detached", Arguments: wamp.List{"n1",
		wamp.Dict{"time": "2026-11-23T00:00:01.000Z", "reason": "exited"}}})
	r.until("detached", func() bool { p, _ := r.hub.Presence(realmName, "n1"); return !p.Node.Attached })
	p, _ = r.hub.Presence(realmName, "n1")
	if *p.Node.Kind != "crossbar" || p.Node.Version != "26.10.1" || *p.Node.Since != "2026-11-23T00:00:01.000Z" || p.Node.Reason != "exited" {
		t.Errorf("detached %+v", p.Node)
	}
	if got := events(t, m, 2); fmt.Sprint(got) != "[cfc.on_node_attached n1  cfc.on_node_detached n1 exited]" {
		t.Errorf("events %v", got)
	}

	// Without its registration it is away, with it back.
	if got := show(a.ask(&wamp.Unregister{Request: 5, Registration: reg.Registration})); got != "UNREGISTERED &{5}" {
		t.Errorf("unregister: %s", got)
	}
	r.offline("n1", "unregistered")
	a.ask(&wamp.Register{Request: 6, Options: wamp.Dict{}, Procedure: "cfc.node.n1"})
	r.online("n1", true)
	began := time.Now()
	a.Close()
	r.offline("n1", "closed")
	if took := time.Since(began); took > time.Second {
		t.Errorf("offline after %v", took)
	}
	if got := events(t, m, 3); fmt.Sprint(got) != "[cfc.on_node_offline n1 unregistered cfc.on_node_online n1  cfc.on_node_offline n1 closed]" {
		t.Errorf("events %v", got)
	}
	if p, _ := r.hub.Presence(realmName, "n1"); p.Agent.Hostname != "h" || *p.Node.Kind != "crossbar" {
		t.Errorf("what was known is lost: %+v", p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var told []bool
	for _, p := range r.presence {
		told = append(told, p.Online)
	}
	if fmt.Sprint(told) != "[true true true false true false]" {
		t.Errorf("told %v", told)
	}
}

func TestSilentAgentIsOffline(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{PingInterval: 60 * time.Millisecond})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "cbor")
	frozen := make(chan struct{})
	a.HandleOut(nil)
	a.Handle(func(wamp.Message) wamp.Message { <-frozen; return nil }) // its reader answers no ping
	defer close(frozen)
	c := r.raw(realmName, "alice", "viewer", "cbor")
	c.say(call(1, "cfc.remote.node.get_status", "n1"))
	if got := show(c.next()); got != "ERROR CALL 1 cfc.error.connection_lost map[node_id:n1 reason:silent]" {
		t.Errorf("got %s", got)
	}
	r.offline("n1", "silent")
}

func TestTwoAgentsOfOneNode(t *testing.T) {
	r := newRig(t, route.Config{PongTimeout: 200 * time.Millisecond}, peer.Options{})
	r.addNode("n1", oid1)
	first := r.rawAgent("n1", "cbor")

	// The first lives: the second is refused.
	second := r.dial(realmName, "n1", wire.RoleNode, "cbor")
	second.Send() <- &wamp.Hello{Realm: realmName, Details: callee()}
	m := wait(t, second.Recv(), "ABORT")
	if a, ok := m.(*wamp.Abort); !ok || a.Reason != "cfc.error.duplicate_identity" || a.Details["node_id"] != "n1" {
		t.Errorf("the second got %s", show(m))
	}
	r.attachFails(cfcerr.DuplicateIdentity)
	r.online("n1", true)

	// The first is frozen: the second takes its place.
	held, frozen := make(chan struct{}, 1), make(chan struct{})
	first.Handle(func(wamp.Message) wamp.Message {
		select {
		case held <- struct{}{}:
		default:
		}
		<-frozen
		return nil
	})
	c := r.raw(realmName, "alice", "viewer", "cbor")
	c.say(call(1, "cfc.remote.node.get_status", "n1"))
	wait(t, held, "the call at the first") // from here on it answers no ping
	third := r.rawAgent("n1", "cbor")
	if got := show(c.next()); got != "ERROR CALL 1 cfc.error.connection_lost map[node_id:n1 reason:replaced]" {
		t.Errorf("the call got %s", got)
	}
	close(frozen)
	c.say(call(2, "cfc.remote.node.get_status", "n1"))
	inv := third.next().(*wamp.Invocation)
	third.say(&wamp.Yield{Request: inv.Request, Options: wamp.Dict{}})
	if got := show(c.next()); got != "RESULT &{2 map[] [] map[]}" {
		t.Errorf("then %s", got)
	}
}

// An agent at the end of a slow line is not replaced because the ping of it waits
// behind what is on its way there.
func TestASlowAgentIsNotReplaced(t *testing.T) {
	if !badline.Within(t) {
		return
	}
	badline.Line{Rate: 200_000, Delay: 50 * time.Millisecond, Queue: 32 << 10}.Start(t)
	r := serveRig(t, func(h http.Handler) *httptest.Server { return badline.Server(t, h) }, route.Config{PongTimeout: time.Second}, peer.Options{})
	r.addNode("n1", oid1)
	near := r.url
	r.url = badline.FarURL(near)
	first := r.rawAgent("n1", "cbor")
	first.Welcomed()
	r.url = near
	c := r.raw(realmName, "alice", "owner", "cbor")
	c.say(call(1, "cfc.remote.node.get_status", "n1", strings.Repeat("x", 1<<19)))
	r.until("the call is on its way", func() bool { return metric(t, r, "cfc_relay_calls_in_flight") == "1" })
	second := r.dial(realmName, "n1", wire.RoleNode, "cbor")
	second.Send() <- &wamp.Hello{Realm: realmName, Details: callee()}
	r.attachFails(cfcerr.DuplicateIdentity)
	r.online("n1", true)
	if i, ok := first.next().(*wamp.Invocation); !ok || len(i.Arguments) != 2 {
		t.Errorf("the first got %v", i)
	}
	first.Close()
	wait(t, first.Done(), "end of the first")
}

// attachFails waits for a log-in that is refused.
func (r *rig) attachFails(k cfcerr.Kind) {
	r.t.Helper()
	for {
		if err := wait(r.t, r.attached, "log-in"); err != nil {
			if !errors.Is(err, cfcerr.Of(k)) {
				r.t.Errorf("refused with %v", err)
			}
			return
		}
	}
}

func callee() wamp.Dict { return wamp.Dict{"roles": wamp.Dict{"callee": wamp.Dict{}}} }

func TestUnpairedAgent(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "json")
	c := r.raw(realmName, "alice", "viewer", "cbor")
	c.say(call(1, "cfc.remote.node.get_status", "n1"))
	a.next()
	r.hub.RemoveNode(realmName, "n1")
	r.hub.RemoveNode(realmName, "n1")
	if g := a.goodbye(); g.Reason != wire.CloseNodeUnpaired {
		t.Errorf("goodbye %v", g)
	}
	if got := show(c.next()); got != "ERROR CALL 1 cfc.error.connection_lost map[node_id:n1 reason:unpaired]" {
		t.Errorf("the call got %s", got)
	}
	if got := show(c.ask(call(2, "cfc.remote.node.get_status", "n1"))); got != "ERROR CALL 2 cfc.error.no_such_node map[node_id:n1]" {
		t.Errorf("then %s", got)
	}
	back := r.dial(realmName, "n1", wire.RoleNode, "cbor")
	back.Send() <- &wamp.Hello{Realm: realmName, Details: callee()}
	if a, ok := wait(t, back.Recv(), "ABORT").(*wamp.Abort); !ok || a.Reason != wire.CloseNodeUnpaired {
		t.Errorf("back: %v", a)
	}
	if _, ok := r.hub.Presence(realmName, "n1"); ok {
		t.Error("it is still known")
	}
}

func TestSessionsEndWithTheirReason(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "cbor")
	alice := r.raw(realmName, "alice", "viewer", "msgpack")
	bob := r.raw(realmName, "bob", "owner", "json")
	alice.say(call(1, "cfc.remote.node.get_status", "n1"))
	inv := a.next().(*wamp.Invocation)
	n := r.hub.End(wire.CloseRoleChanged, "your role is another", func(id route.Identity) bool { return id.AuthID == "alice" })
	if g := alice.goodbye(); n != 1 || g.Reason != wire.CloseRoleChanged || g.Details["message"] != "your role is another" {
		t.Errorf("%d ended, %v", n, g)
	}
	if m := alice.next(); m != nil {
		t.Errorf("after GOODBYE %s", show(m))
	}
	if i, ok := a.next().(*wamp.Interrupt); !ok || i.Request != inv.Request {
		t.Errorf("no INTERRUPT: %v", i)
	}
	if err := r.hub.AddRealm(realmName); err == nil {
		t.Error("a realm was added twice")
	}
	r.hub.RemoveRealm(realmName, wire.CloseRealmDeleted)
	r.hub.RemoveRealm(realmName, wire.CloseRealmDeleted)
	for _, c := range []*raw{bob, a} {
		if g := c.goodbye(); g.Reason != wire.CloseRealmDeleted {
			t.Errorf("goodbye %v", g)
		}
		if m := c.next(); m != nil {
			t.Errorf("after GOODBYE %s", show(m))
		}
	}
	late := r.dial(realmName, "bob", "owner", "cbor")
	late.Send() <- &wamp.Hello{Realm: realmName, Details: wamp.Dict{}}
	if m, ok := wait(t, late.Recv(), "ABORT").(*wamp.Abort); !ok || m.Reason != wamp.ErrNotAuthorized {
		t.Errorf("late: %v", m)
	}
	if err := r.hub.AddNode(realmName, "n2", oid1, route.Presence{}); err == nil {
		t.Error("a node was added to no realm")
	}
	r.hub.Publish(realmName, catalog.OnNodePaired, "n1", nil) // nobody hears it, nobody minds
	if err := r.hub.AddRealm(realmName); err != nil {
		t.Errorf("it cannot come back: %v", err)
	}
	r.raw(realmName, "bob", "owner", "cbor")
}

// A right that is lost while the session is being made counts.
func TestCheckIsAskedAgain(t *testing.T) {
	denied := cfcerr.New(cfcerr.NotAuthorized, "cannot join: no longer a member")
	r := newRig(t, route.Config{Check: func(_ context.Context, id route.Identity) error {
		if id.AuthID == "mallory" {
			return denied
		}
		return nil
	}}, peer.Options{})
	c := r.dial(realmName, "mallory", "owner", "cbor")
	c.Send() <- &wamp.Hello{Realm: realmName, Details: wamp.Dict{"roles": wamp.Dict{"caller": wamp.Dict{}}}}
	if m, ok := wait(t, c.Recv(), "ABORT").(*wamp.Abort); !ok || m.Reason != wamp.ErrNotAuthorized || m.Details["message"] != denied.Message {
		t.Errorf("got %v", m)
	}
	r.attachFails(cfcerr.NotAuthorized)
	r.raw(realmName, "alice", "owner", "cbor")
}

func TestWelcome(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	c := r.raw(realmName, "alice", "viewer", "json")
	d := c.welcome.Details
	roles := fmt.Sprint(wamp.NormalizeDict(d["roles"]))
	delete(d, "roles")
	if fmt.Sprint(d) != "map[authextra:map[x:1] authid:alice authmethod:cryptosign authprovider:cfc authrole:viewer realm:demo]" {
		t.Errorf("details %v", d)
	}
	if want := "map[broker:map[features:map[pattern_based_subscription:true]] dealer:map[features:map[call_canceling:true call_timeout:true " +
		"caller_identification:true progressive_call_results:true]]]"; roles != want {
		t.Errorf("roles %v", roles)
	}
	none := r.dial(realmName, "alice", "viewer", "cbor")
	none.Send() <- &wamp.Hello{Realm: realmName, Details: wamp.Dict{}}
	if m, ok := wait(t, none.Recv(), "ABORT").(*wamp.Abort); !ok || m.Reason != wamp.ErrNoSuchRole {
		t.Errorf("without roles: %v", m)
	}
}
