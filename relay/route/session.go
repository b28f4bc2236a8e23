package route

import (
	"strings"
	"sync"

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
	user   kind = iota // of the users realm
	member             // of a management realm
	agent              // of a node
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

	refused int // PUBLISHes; of the reader alone

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
	s := &session{hub: h, realm: r, conn: c, id: id, kind: member, sid: wamp.GlobalID()}
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
	s.caller = catalog.Caller{Session: s.sid, AuthID: id.AuthID, Realm: r.name, Method: id.Method}
	if s.kind == member {
		s.caller.Role = wire.Role(id.Role)
	}
	return s
}

// receive is the edge: it sees every message of the session, in its reader's
// goroutine, and leaves nothing for anybody else.
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
		if s.kind != agent {
			s.violation(m)
			break
		}
		s.yield(m)
	case *peer.Error:
		if s.kind != agent || m.Type != wamp.INVOCATION {
			s.violation(m)
			break
		}
		s.failed(m)
	case *wamp.Register:
		s.register(m)
	case *wamp.Unregister:
		s.unregister(m)
	case *wamp.Publish:
		s.publish(m)
	case *wamp.Subscribe:
		s.subscribe(m)
	case *wamp.Unsubscribe:
		s.unsubscribe(m)
	case *wamp.Goodbye:
		s.detach(peer.ReasonClosed)
		s.conn.Finish(&wamp.Goodbye{Reason: wamp.ErrGoodbyeAndOut, Details: wamp.Dict{}})
	default:
		s.violation(m)
	}
	return nil
}

// welcome announces what holds here.
func (s *session) welcome() *wamp.Welcome {
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
	return &wamp.Welcome{ID: s.sid, Details: d}
}

func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// answer writes to the session in the goroutine of its own reader. An agent
// does not pay for the calls that others have queued for it.
func (s *session) answer(m wamp.Message) {
	if s.kind == agent {
		_ = s.conn.Batch().Insist(s.conn, m)
		return
	}
	_ = s.conn.Batch().Write(s.conn, m)
}

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
func (s *session) violation(m wamp.Message) {
	s.detach(peer.ReasonViolation)
	s.conn.Finish(&wamp.Abort{Reason: wamp.ErrProtocolViolation,
		Details: wamp.Dict{"message": "unexpected " + m.MessageType().String()}})
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
	s.realm.broker.drop(s)
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

// below reports whether a URI stands under one of the product's prefixes.
func below(uri string) bool {
	return strings.HasPrefix(uri, wire.Prefix) || strings.HasPrefix(uri, wire.AliasPrefix)
}
