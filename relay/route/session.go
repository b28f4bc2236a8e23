package route

import (
	"fmt"
	"runtime/debug"
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
	reasonInternal     = "relay-failed"
	reasonUnregistered = "unregistered"
	// refusedLimit is how many refused PUBLISHes without acknowledge end a session.
	refusedLimit = 10
)

// session is one session after its log-in.
type session struct {
	hub   *Hub
	realm *realm
	conn  *peer.Conn
	id    Identity
	kind  kind
	node  *node // of an agent
	// attached is what it told last of its node; guarded by that one's lock.
	attached catalog.AttachedInfo
	sid      wamp.ID
	caller   catalog.Caller

	refusals int // of PUBLISHes; of the reader alone

	mu          sync.Mutex
	welcomed    bool // WELCOME is on its way; before that nothing is taken
	ended       bool
	refused     error             // what it got instead of WELCOME
	why         string            // its agent cannot be called: the reason of its end, or of its registration's
	calls       map[wamp.ID]*call // that it made, by its request ids
	running     int               // handlers still at work on calls that have their answer
	registered  wamp.ID           // the agent's registration, 0 for none
	invocations map[wamp.ID]*call // that the agent has in hand
	lastInv     wamp.ID
	waiting     shares // whose calls are on the way to the agent
}

func newSession(h *Hub, r *realm, c *peer.Conn, id Identity) *session {
	s := &session{hub: h, realm: r, conn: c, id: id, kind: member, sid: wamp.GlobalID()}
	switch id.Role {
	case wire.RoleUser:
		s.kind = user
	case wire.RoleNode:
		s.kind = agent
		s.invocations = map[wamp.ID]*call{}
		s.attached = id.Node
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
	defer s.survive()
	s.mu.Lock()
	welcomed, ended := s.welcomed, s.ended
	s.mu.Unlock()
	switch {
	case ended:
		return nil
	case !welcomed:
		s.violation(m)
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

// survive keeps a defect to the session that met it.
func (s *session) survive() {
	p := recover()
	if p == nil {
		return
	}
	e, id := cfcerr.Public(fmt.Errorf("panic: %v", p))
	s.hub.log.Error("session failed", zap.String("id", id), zap.String("realm", s.realm.name), zap.String("authid", s.id.AuthID),
		zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	s.end(e.URI(), e.Message, reasonInternal)
}

// greet sends WELCOME and opens the session to what comes from then on: a
// client that answers at once is not too early, one that did not wait is. It
// fails when the session has ended already.
func (s *session) greet() error {
	var out peer.Batch
	defer out.Flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && out.Write(s.conn, s.welcome()) == nil {
		s.welcomed = true
		s.hub.met.joined(s.kind)
		return nil
	}
	return s.refusal()
}

// refusal is why a session never began; called with its lock held.
func (s *session) refusal() error {
	if s.refused == nil {
		return cfcerr.New(cfcerr.Canceled, "cannot join: the connection ended")
	}
	return s.refused
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
	message := "unexpected " + m.MessageType().String()
	s.leave(peer.ReasonViolation, cfcerr.FromWamp(string(wamp.ErrProtocolViolation), wamp.List{message}, nil))
	s.conn.Finish(&wamp.Abort{Reason: wamp.ErrProtocolViolation, Details: wamp.Dict{"message": message}})
}

// end ends the session with GOODBYE, or with ABORT before WELCOME; offline is
// the reason that its node shows, if it is an agent's.
func (s *session) end(reason, message, offline string) {
	welcomed := s.leave(offline, cfcerr.FromWamp(reason, wamp.List{message}, nil))
	details := wamp.Dict{"message": message}
	if !welcomed {
		s.conn.Finish(&wamp.Abort{Reason: wamp.URI(reason), Details: details})
		return
	}
	s.conn.Finish(&wamp.Goodbye{Reason: wamp.URI(reason), Details: details})
}

// detach is leave of one that was told already, or need not be.
func (s *session) detach(reason string) { s.leave(reason, nil) }

// leave takes the session out of everything, once. Its calls end, and calls
// that it had in hand are answered. It says whether the session ever began; if
// not, refused is what its log-in comes to.
func (s *session) leave(reason string, refused error) (welcomed bool) {
	s.mu.Lock()
	welcomed = s.welcomed
	if s.ended {
		s.mu.Unlock()
		return welcomed
	}
	s.ended, s.refused, s.why = true, refused, reason
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
	if welcomed {
		s.hub.met.left(s.kind, reason)
		s.hub.log.Info("session left", zap.String("realm", s.realm.name), zap.String("authid", s.id.AuthID),
			zap.Uint64("session", uint64(s.sid)), zap.String("reason", reason))
	}
	return welcomed
}

// below reports whether a URI stands under one of the product's prefixes.
func below(uri string) bool {
	return strings.HasPrefix(uri, wire.Prefix) || strings.HasPrefix(uri, wire.AliasPrefix)
}
