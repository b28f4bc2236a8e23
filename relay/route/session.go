package route

import (
	"strings"
	"sync"
	"sync/atomic"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// kind of a session decides what it may say at all.
type kind uint8

const (
	user    kind = iota // of the users realm
	member_             // of a management realm
	agent               // of a node
)

var kindNames = [...]string{"user", "member", "agent"}

const (
	reasonStopped      = "relay-stopped"
	reasonUnregistered = "unregistered"
	// refusedLimit is how many refused PUBLISHes without acknowledge end a session.
	refusedLimit = 10
)

// session is one session after its log-in.
type session struct {
	hub    *Hub
	realm  *realm
	conn   *peer.Conn
	id     Identity
	kind   kind
	node   *node // of an agent
	sid    wamp.ID
	caller catalog.Caller

	// What the reader's goroutine alone touches.
	refused int
	aliases aliasSubs

	mu          sync.Mutex
	ended       bool
	counted     bool              // in the metrics
	calls       map[wamp.ID]*call // that it made, by its request ids
	running     int               // handlers still at work on calls that have their answer
	registered  wamp.ID           // the agent's registration, 0 for none
	invocations map[wamp.ID]*call // that the agent has in hand
	lastInv     wamp.ID
}

func newSession(h *Hub, r *realm, c *peer.Conn, id Identity) *session {
	s := &session{hub: h, realm: r, conn: c, id: id, kind: member_}
	switch id.Role {
	case wire.RoleUser:
		s.kind = user
	case wire.RoleNode:
		s.kind = agent
		s.invocations = map[wamp.ID]*call{}
	}
	if s.kind != agent {
		s.calls = map[wamp.ID]*call{}
	}
	s.aliases.count = &r.aliases
	return s
}

// established is called by nexus, before WELCOME goes out.
func (s *session) established(sid wamp.ID) {
	s.sid = sid
	s.caller = catalog.Caller{Session: sid, AuthID: s.id.AuthID, Realm: s.realm.name}
	if s.kind == member_ {
		s.caller.Role = wire.Role(s.id.Role)
	}
}

// receive is the edge: it sees every message of the session first. What it
// returns goes on to nexus.
func (s *session) receive(m wamp.Message) wamp.Message {
	if s.over() {
		return nil
	}
	switch m := m.(type) {
	case *peer.Call:
		s.call(m)
	case *wamp.Cancel:
		s.cancel(m)
	case *peer.Yield:
		if s.kind == agent {
			s.yield(m)
			return nil
		}
		return s.violation(m)
	case *peer.Error:
		if s.kind == agent && m.Type == wamp.INVOCATION {
			s.failed(m)
			return nil
		}
		return s.violation(m)
	case *wamp.Register:
		s.register(m)
	case *wamp.Unregister:
		s.unregister(m)
	case *wamp.Publish:
		return s.publish(m)
	case *wamp.Subscribe:
		return s.subscribe(m)
	case *wamp.Unsubscribe:
		if s.kind != member_ {
			s.refuse(wamp.UNSUBSCRIBE, m.Request)
			return nil
		}
		s.aliases.unsubscribe(m)
		return m
	case *wamp.Goodbye:
		return m
	default:
		return s.violation(m)
	}
	return nil
}

// outbound sees what nexus sends.
func (s *session) outbound(m wamp.Message) wamp.Message {
	switch m := m.(type) {
	case *wamp.Welcome:
		return s.welcome(m)
	case *wamp.Subscribed, *wamp.Unsubscribed, *wamp.Error:
		s.aliases.answered(m)
	}
	return m
}

// welcome announces what holds here, which is not all that nexus can do.
func (s *session) welcome(m *wamp.Welcome) *wamp.Welcome {
	roles := wamp.Dict{"broker": wamp.Dict{"features": wamp.Dict{
		wamp.FeaturePatternSub: true,
	}}, "dealer": wamp.Dict{"features": wamp.Dict{
		wamp.FeatureCallCanceling: true, wamp.FeatureCallTimeout: true, wamp.FeatureCallerIdent: true, wamp.FeatureProgCallResults: true,
	}}}
	d := wamp.Dict{"realm": s.realm.name, "authid": s.id.AuthID, "authrole": s.id.Role, "authmethod": s.id.Method,
		"authprovider": wire.AuthProvider, "roles": roles}
	if s.id.Extra != nil {
		d["authextra"] = s.id.Extra
	}
	return &wamp.Welcome{ID: m.ID, Details: d}
}

func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// answer writes to the session in the goroutine of its own reader.
func (s *session) answer(m wamp.Message) { _ = s.conn.WriteFor(s.conn, m) }

// fail answers a request of the session.
func (s *session) fail(t wamp.MessageType, request wamp.ID, err error) {
	e, id := cfcerr.Public(err)
	if id != "" {
		s.hub.log.Error("request failed", zap.String("id", id), zap.Uint64("session", uint64(s.sid)), zap.Error(err))
	}
	s.answer(e.Wamp(t, request))
}

var errNotAuthorized = cfcerr.New(cfcerr.NotAuthorized, "cannot do this: your role does not allow it")

func (s *session) refuse(t wamp.MessageType, request wamp.ID) { s.fail(t, request, errNotAuthorized) }

// violation ends the session: this message has no place here.
func (s *session) violation(m wamp.Message) wamp.Message {
	s.conn.Finish(&wamp.Abort{Reason: wamp.ErrProtocolViolation,
		Details: wamp.Dict{"message": "unexpected " + m.MessageType().String()}})
	s.detach(peer.ReasonViolation)
	return nil
}

// end ends the session with GOODBYE; offline is the reason that its node
// shows, if it is an agent's.
func (s *session) end(reason, message, offline string) {
	s.detach(offline)
	s.conn.Finish(&wamp.Goodbye{Reason: wamp.URI(reason), Details: wamp.Dict{"message": message}})
}

// detach takes the session out of everything, once. Its calls end, and calls
// that it had in hand are answered.
func (s *session) detach(reason string) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	counted := s.counted
	calls, invocations := s.calls, s.invocations
	s.calls, s.invocations = nil, nil
	s.mu.Unlock()

	s.realm.mu.Lock()
	delete(s.realm.sessions, s)
	s.realm.mu.Unlock()
	s.aliases.drop()
	if s.node != nil {
		s.node.setOffline(s.hub, s, reason, true)
	}
	for _, c := range calls {
		c.abandoned()
	}
	for _, c := range invocations {
		c.lost(reason)
	}
	if counted {
		s.hub.met.left(s.kind, reason)
		s.hub.log.Info("session left", zap.String("realm", s.realm.name), zap.String("authid", s.id.AuthID),
			zap.Uint64("session", uint64(s.sid)), zap.String("reason", reason))
	}
}

// member is the session as nexus sees it: a peer whose HELLO is made here.
type member struct {
	s     *session
	asked atomic.Bool
}

// Recv gives the HELLO first, then what the edge lets through.
func (m *member) Recv() <-chan wamp.Message {
	if m.asked.Swap(true) {
		return m.s.conn.Recv()
	}
	roles, _ := wamp.AsDict(m.s.id.Hello["roles"])
	hello := make(chan wamp.Message, 1)
	hello <- &wamp.Hello{Realm: wamp.URI(m.s.realm.name),
		Details: wamp.Dict{"roles": roles, "authmethods": wamp.List{methodVerified}}}
	return hello
}

// Send, Close and IsLocal are the connection's.
func (m *member) Send() chan<- wamp.Message { return m.s.conn.Send() }
func (m *member) Close()                    { m.s.conn.Close() }
func (m *member) IsLocal() bool             { return false }

// below reports whether a URI stands under one of the product's prefixes.
func below(uri string) bool {
	return strings.HasPrefix(uri, wire.Prefix) || strings.HasPrefix(uri, wire.AliasPrefix)
}
