package route_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Nothing that comes before WELCOME is carried out, however close it comes.
func TestNothingBeforeWelcome(t *testing.T) {
	r := newRig(t, route.Config{Table: everyRow()}, peer.Options{})
	for i := range 300 {
		c := r.dial(wire.UsersRealm, "alice", wire.RoleUser, "json")
		hello := &wamp.Hello{Realm: wire.UsersRealm, Details: wamp.Dict{"roles": wamp.Dict{"caller": wamp.Dict{}}}}
		if err := c.Write(hello); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); time.Since(began) < time.Duration(i%60)*10*time.Microsecond; {
			continue // closer than any timer
		}
		_ = c.Write(call(1, "cfc.get_management_realms"))
		first := wait(t, c.Recv(), "first message")
		err := wait(t, r.attached, "log-in")
		switch m := first.(type) {
		case *wamp.Welcome:
			// It came late enough, or was found to have come too early only now.
			next := wait(t, c.Recv(), "answer")
			a, early := next.(*wamp.Abort)
			if !strings.HasPrefix(show(next), "RESULT") && !(early && a.Reason == wamp.ErrProtocolViolation) || err != nil {
				t.Errorf("after WELCOME %s, log-in %v", show(next), err)
			}
		case *wamp.Abort:
			if m.Reason != wamp.ErrProtocolViolation || err == nil {
				t.Errorf("%v, log-in %v", m, err)
			}
		default:
			t.Errorf("first came %s", show(m))
		}
		c.Close()
	}
	r.until("no session", func() bool { return r.hub.End("x", "x", func(route.Identity) bool { return true }) == 0 })
}

// What ends a session before its WELCOME is told by ABORT, and to whoever
// serves the log-in.
func TestEndBeforeWelcome(t *testing.T) {
	var hub atomic.Pointer[route.Hub]
	r := newRig(t, route.Config{Check: func(_ context.Context, id route.Identity) error {
		switch id.AuthID {
		case "n1":
			hub.Load().RemoveNode(realmName, "n1")
		case "alice":
			hub.Load().End(wire.CloseRoleChanged, "your role is another", func(o route.Identity) bool { return o.AuthID == "alice" })
		case "bob":
			hub.Load().RemoveRealm(realmName, wire.CloseRealmDeleted)
		}
		return nil
	}}, peer.Options{})
	hub.Store(r.hub)
	r.addNode("n1", oid1)
	for _, tt := range []struct{ authid, role, reason string }{
		{"n1", wire.RoleNode, wire.CloseNodeUnpaired},
		{"alice", "viewer", wire.CloseRoleChanged},
		{"bob", "owner", wire.CloseRealmDeleted},
	} {
		c := r.dial(realmName, tt.authid, tt.role, "cbor")
		c.Send() <- &wamp.Hello{Realm: realmName, Details: callee()}
		if m, ok := wait(t, c.Recv(), "ABORT").(*wamp.Abort); !ok || string(m.Reason) != tt.reason {
			t.Errorf("%s got %v", tt.authid, m)
		}
		var e *cfcerr.Error
		if err := wait(t, r.attached, "log-in"); !errors.As(err, &e) || e.URI() != tt.reason {
			t.Errorf("the log-in of %s came to %v", tt.authid, err)
		}
		if n := metric(t, r, "cfc_relay_sessions"); n != "" && n != "0" {
			t.Errorf("%s sessions", n)
		}
	}
}

// A connection that ends during its log-in is no session.
func TestConnectionThatEndsDuringLogin(t *testing.T) {
	gone := make(chan struct{})
	r := newRig(t, route.Config{Check: func(context.Context, route.Identity) error { <-gone; return nil }}, peer.Options{})
	c := r.dial(realmName, "alice", "viewer", "cbor")
	if err := c.Write(&wamp.Hello{Realm: realmName, Details: callee()}); err != nil {
		t.Fatal(err)
	}
	r.until("session", func() bool { return r.hub.End("x", "x", func(route.Identity) bool { return true }) > 0 })
	c.Close()
	wait(t, c.Done(), "end")
	close(gone)
	if err := wait(t, r.attached, "log-in"); err == nil {
		t.Error("the log-in succeeded")
	}
	if n := r.hub.End("x", "x", func(route.Identity) bool { return true }); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// An agent that says goodbye is away at once, whenever it closes.
func TestGoodbyeOfAnAgent(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "json")
	c := r.raw(realmName, "alice", "viewer", "cbor")
	c.say(call(1, status, "n1"))
	a.next()
	a.say(&wamp.Goodbye{Reason: wamp.CloseRealm, Details: wamp.Dict{}})
	if got := show(c.next()); got != "ERROR CALL 1 cfc.error.connection_lost map[node_id:n1 reason:closed]" {
		t.Errorf("its call got %s", got)
	}
	if p, _ := r.hub.Presence(realmName, "n1"); p.Online || p.Reason != peer.ReasonClosed {
		t.Errorf("presence %+v", p)
	}
	if g := a.goodbye(); g.Reason != wamp.ErrGoodbyeAndOut {
		t.Errorf("goodbye %v", g)
	}
}

// A defect ends the session that met it, and no other.
func TestDefectEndsOneSession(t *testing.T) {
	var met atomic.Bool
	r := newRig(t, route.Config{OnPresence: func(oid string, _ route.Presence) {
		if oid == oid1 && !met.Swap(true) {
			panic("a defect")
		}
	}}, peer.Options{})
	r.addNode("n1", oid1)
	r.addNode("n2", "22222222-2222-4222-8222-222222222222")
	r.agent("n2", "cbor", echo)
	a := r.raw(realmName, "n1", wire.RoleNode, "cbor")
	a.say(&wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: "cfc.node.n1"})
	if g := a.goodbye(); g.Reason != "cfc.error.internal" || strings.Contains(g.Details["message"].(string), "a defect") {
		t.Errorf("goodbye %v", g)
	}
	c := r.raw(realmName, "alice", "viewer", "cbor")
	if got := show(c.ask(call(1, "cfc.remote.node.get_status", "n2"))); !strings.HasPrefix(got, "RESULT") {
		t.Errorf("others get %s", got)
	}
	r.rawAgent("n1", "cbor") // and it may come back
}
