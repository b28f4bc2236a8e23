package route

import (
	"errors"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// A session that ended before it could be found is not kept.
func TestEndedSessionIsNotAdded(t *testing.T) {
	h := New(Config{})
	r := h.realm(wire.UsersRealm)
	s := newSession(h, r, nil, Identity{Realm: r.name, AuthID: "n1", Role: wire.RoleNode})
	why := cfcerr.New(cfcerr.NodeUnpaired, "it was unpaired")
	if s.leave("unpaired", why) {
		t.Error("it was welcomed")
	}
	if err := r.add(h, s); !errors.Is(err, cfcerr.Of(cfcerr.NodeUnpaired)) {
		t.Errorf("added: %v", err)
	}
	if len(r.sessions) != 0 {
		t.Errorf("%d sessions are kept", len(r.sessions))
	}
	lost := newSession(h, r, nil, Identity{Realm: r.name, Role: wire.RoleUser})
	lost.detach("closed")
	if err := r.add(h, lost); !errors.Is(err, cfcerr.Of(cfcerr.Canceled)) {
		t.Errorf("added: %v", err)
	}
}

// A call that ended before its deadline was set leaves nothing on the wheel.
func TestArmedLate(t *testing.T) {
	h := New(Config{})
	s := newSession(h, h.realm(wire.UsersRealm), nil, Identity{Role: wire.RoleUser})
	c := &call{caller: s, request: 1, limit: 1 << 40}
	if err := c.begin(); err != nil {
		t.Fatal(err)
	}
	s.detach("closed")
	c.arm()
	if h.wheel.count != 0 || !c.over.Load() {
		t.Errorf("%d entries on the wheel", h.wheel.count)
	}
}

// A call that meets an agent whose session ends, before its node counts as offline,
// is told since when and why like any other.
func TestACallThatMeetsTheEndOfAnAgent(t *testing.T) {
	online := time.Now().Add(-time.Hour)
	for reason, end := range map[string]func(a *session){
		"silent":       func(a *session) { a.detach(peer.ReasonSilent) },
		"unregistered": func(a *session) { a.unregister(&wamp.Unregister{Registration: 7}) },
	} {
		h := New(Config{})
		r := h.realm(wire.UsersRealm)
		a := newSession(h, r, new(peer.Conn), Identity{Role: wire.RoleNode})
		a.registered = 7
		a.node = &node{realm: r} // not the one that is called, which has not heard of it
		end(a)
		n := &node{id: "n1", agent: a, presence: Presence{Online: true, Since: online}}
		caller := newSession(h, r, nil, Identity{Role: wire.RoleUser})
		err := caller.forward(&call{caller: caller, request: 1}, n, "node.get_status", "", peer.Payload{})
		var e *cfcerr.Error
		if !errors.As(err, &e) || e.Kind != cfcerr.NodeOffline || e.Details["reason"] != reason || *e.Details["since"].(*string) <= wire.Time(online) {
			t.Errorf("%s: got %v", reason, err)
		}
	}
}
