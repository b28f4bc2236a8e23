package route

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// maxTimeout is the longest deadline that a caller may ask for.
const maxTimeout = 24 * time.Hour

// call is CALL of the session. It is refused in the order of the contract:
// procedure, right, argument, node, presence, limit.
func (s *session) call(m *peer.Call) {
	if err := s.tryCall(m); err != nil {
		switch err {
		case errEnded:
			return
		case errReused:
			s.violation(m)
			return
		}
		s.hub.met.outcome(uriOf(err))
		s.fail(wamp.CALL, m.Request, err)
	}
}

func uriOf(err error) string { e, _ := cfcerr.Public(err); return e.URI() }

func (s *session) tryCall(m *peer.Call) error {
	op, key, err := s.procedure(m.Procedure)
	if err != nil {
		return err
	}
	if m.BadOption != "" {
		return cfcerr.Argument(m.BadOption, map[string]string{
			"timeout": "milliseconds, an integer of at least 0", "receive_progress": "true or false"}[m.BadOption])
	}
	c := &call{caller: s, request: m.Request, progress: m.Progress, started: time.Now(), limit: deadline(op, m.Timeout)}
	named := ""
	if op != nil && op.Crossbar != "" && strings.HasPrefix(string(m.Procedure), wire.AliasPrefix) {
		named = string(m.Procedure)
	}
	if key == "" {
		return s.run(c, op, named, m.Payload)
	}
	ref, rest, err := nodeOf(m.Payload)
	if err != nil {
		return err
	}
	n := s.realm.find(ref)
	if n == nil {
		return cfcerr.New(cfcerr.NoSuchNode, "cannot reach node %s: no such node in realm %s", ref, s.realm.name).With("node_id", ref)
	}
	return s.forward(c, n, key, named, rest)
}

func deadline(op *catalog.Op, asked int64) time.Duration {
	switch {
	case asked > int64(maxTimeout/time.Millisecond):
		return maxTimeout
	case asked > 0:
		return time.Duration(asked) * time.Millisecond
	case op != nil:
		return op.Deadline()
	}
	return catalog.DefaultTimeout
}

// procedure finds what is called and whether the session may. For a remote
// operation key is its own name, "area.op", for a row of the relay it is empty.
func (s *session) procedure(uri wamp.URI) (op *catalog.Op, key string, err error) {
	name := string(uri)
	var known bool
	switch s.kind {
	case user:
		op, known = s.hub.index.Users(name)
	case member:
		op, known = s.hub.index.Management(name)
	}
	switch {
	case known && s.kind == member && !op.Access.Allows(s.caller.Role):
		return nil, "", cfcerr.New(cfcerr.NotAuthorized, "cannot call %s: it needs role %s, and you are %s", name, op.Access.Least(), s.caller.Role)
	case known && op.Realm == catalog.Remote:
		return op, op.Key(), nil
	case known:
		return op, "", nil
	case s.kind == agent:
		return nil, "", errNotAuthorized
	case !below(name):
		return nil, "", cfcerr.New(cfcerr.NotAuthorized, "cannot call %.200s: nothing is called here but what begins with %s or %s", name, wire.Prefix, wire.AliasPrefix)
	}
	// A newer agent may know what this relay does not; owners may try.
	if key, ok := catalog.RemoteKey(name); ok && s.kind == member && s.caller.Role == wire.Owner && forwardable(key) {
		return nil, key, nil
	}
	return nil, "", cfcerr.New(cfcerr.NoSuchProcedure, "cannot call %s: no such procedure", name)
}

// unknownKey is what a key looks like that only a newer agent knows.
var unknownKey = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)+$`)

// forwardable excludes what never goes to a node: what would sign with its
// key, or open a shell in it.
func forwardable(key string) bool {
	if !unknownKey.MatchString(key) {
		return false
	}
	for part := range strings.SplitSeq(key, ".") {
		if part == "sign" || part == "sign_challenge" || strings.HasSuffix(part, "_manhole") {
			return false
		}
	}
	return true
}

// nodeOf takes the node out of a call's arguments: args[0], or one of the
// keywords node_id and node_oid.
func nodeOf(p peer.Payload) (ref string, rest peer.Payload, err error) {
	const form = "a node id (" + wire.NodeIDForm + ") or an oid (a UUID)"
	id, byID := p.Keyword("node_id")
	oid, byOID := p.Keyword("node_oid")
	var v any
	name := "node_id"
	switch {
	case byID+byOID > 1:
		return "", rest, cfcerr.Argument("node_id", "the node once: as first argument, as node_id or as node_oid")
	case byID == 1:
		v, rest = id, p.WithoutKeyword("node_id")
	case byOID == 1:
		v, rest, name = oid, p.WithoutKeyword("node_oid"), "node_oid"
	case p.Args() > 0:
		v, rest = p.First(), p.Rest()
	}
	ref, ok := v.(string)
	if !ok || !(wire.ValidOID(ref) || byOID == 0 && wire.ValidNodeID(ref)) {
		if byOID == 1 {
			return "", rest, cfcerr.Argument(name, "an oid (a UUID)")
		}
		return "", rest, cfcerr.Argument(name, form)
	}
	return ref, rest, nil
}

// forward writes the call to the agent of the node. Named is the name that the
// caller used, where the result depends on it.
func (s *session) forward(c *call, n *node, key, named string, p peer.Payload) error {
	n.mu.Lock()
	a, last := n.agent, n.presence
	n.mu.Unlock()
	if !last.Online {
		return n.offline(last)
	}
	c.agent = a
	if err := c.begin(); err != nil {
		return err
	}
	// Transcoding may take long: nobody else waits for it.
	p, err := p.For(a.conn)
	if err == nil {
		err = a.invoke(c, s, &peer.Invocation{Caller: s.sid, AuthID: s.id.AuthID, AuthRole: s.id.Role,
			Timeout: c.limit.Milliseconds(), Progress: c.progress, Procedure: named, Op: key, Payload: p})
	}
	switch {
	case err == nil:
		c.arm()
		return nil
	case !c.take(): // the caller has gone
		return nil
	}
	s.hub.met.inFlight.Dec()
	switch err {
	case errGone: // this moment, which is about to be told
		return n.offline(Presence{Since: time.Now(), Reason: a.gone()})
	case peer.ErrFull:
		return cfcerr.New(cfcerr.LimitExceeded, "cannot reach node %s now: its agent's line is slower than the calls for it; try again", n.id).
			With("node_id", n.id).With("reason", "queue")
	}
	return cfcerr.New(cfcerr.InvalidArgument, "cannot carry the arguments to node %s: %v", n.id, err).
		With("argument", "args").With("expected", "values that the agent's serializer can express")
}

// headSize is about what an INVOCATION takes beside its arguments.
const headSize = 128

// errGone is the end of the agent's session, or of its registration.
var errGone = errors.New("the agent has gone")

// gone is why.
func (a *session) gone() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.why
}

// invoke writes the call to the agent, if there is room for it. Its id is given
// under the same lock, because ids have to arrive in their order: clients drop
// an INVOCATION with an id below the last. An agent that ends answers all calls
// that it was given.
func (a *session) invoke(c *call, via *session, m *peer.Invocation) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.ended || a.registered == 0:
		return errGone
	case c.over.Load(): // so the agent never hears of it
		return nil
	}
	m.Request, m.Registration = a.lastInv+1, a.registered
	a.waiting.settle(a.conn.Queued())
	size := m.Size() + headSize
	bound := a.waiting.bound(via.id.AuthID, size)
	if bound < 0 {
		return peer.ErrFull
	}
	switch err := via.conn.Batch().OfferWithin(a.conn, m, bound); err {
	case nil:
		a.waiting.add(via.id.AuthID, size)
	case peer.ErrClosed:
	default:
		return err
	}
	a.lastInv++
	c.invocation = a.lastInv
	a.invocations[c.invocation] = c
	return nil
}
