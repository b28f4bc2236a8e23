package route

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
)

// call is one CALL in flight: at the agent of a node, or at a handler of the
// relay. Of all that may end it the first that takes it answers the caller.
type call struct {
	caller   *session
	request  wamp.ID
	progress bool // the caller wants progressive results
	started  time.Time
	limit    time.Duration // from then on

	// Of a remote call. The id is 0 until the agent is told, and guarded by the
	// agent's lock until the call is over.
	agent      *session
	invocation wamp.ID

	// Of a row of the relay: what stops its handler, nil for one that is to finish.
	stop context.CancelFunc
	// Guarded by the caller's lock: its handler works, and goes on although
	// the caller has his answer.
	working, zombie bool

	timer entry
	over  atomic.Bool
}

// begin enters the call among those of its caller, who may have so many.
func (c *call) begin() error {
	s := c.caller
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errEnded
	}
	if limit := s.hub.cfg.CallsPerSession; len(s.calls)+s.running >= limit {
		return cfcerr.New(cfcerr.LimitExceeded, "cannot call: %d calls of this session are in flight", limit).With("limit", limit)
	}
	if _, dup := s.calls[c.request]; dup {
		return errReused
	}
	s.calls[c.request] = c
	s.hub.met.inFlight.Inc()
	return nil
}

var (
	errEnded  = cfcerr.New(cfcerr.Canceled, "the session is over")
	errReused = cfcerr.New(cfcerr.InvalidArgument, "cannot call: this request id is in flight already")
)

// arm starts the deadline. What has ended meanwhile does not wait for it.
func (c *call) arm() {
	w := c.caller.hub.wheel
	w.add(&c.timer, c, c.started.Add(c.limit))
	if c.over.Load() {
		w.remove(&c.timer)
	}
}

// take ends the call for whoever is first. From then on neither session knows it.
func (c *call) take() bool {
	if c.over.Swap(true) {
		return false
	}
	s := c.caller
	s.hub.wheel.remove(&c.timer)
	s.mu.Lock()
	delete(s.calls, c.request)
	if c.working {
		c.zombie = true
		s.running++
	}
	s.mu.Unlock()
	if a := c.agent; a != nil {
		a.mu.Lock()
		delete(a.invocations, c.invocation)
		a.mu.Unlock()
	}
	return true
}

// fail answers the caller with an error, if nobody was first.
func (c *call) fail(err *cfcerr.Error) bool {
	if !c.take() {
		return false
	}
	c.caller.hub.met.answered(c.started, err.URI())
	_ = c.caller.conn.Insist(err.Wamp(wamp.CALL, c.request))
	return true
}

// failCalls answers all calls of the session.
func (s *session) failCalls(err *cfcerr.Error) {
	s.mu.Lock()
	calls := slices.Collect(maps.Values(s.calls))
	s.mu.Unlock()
	for _, c := range calls {
		if c.fail(err) {
			c.interrupt(wamp.ErrCanceled)
		}
	}
}

// expire is the deadline.
func (c *call) expire() {
	if c.timedOut() {
		c.interrupt(wamp.ErrTimeout)
	}
}

func (c *call) timedOut() bool {
	return c.fail(cfcerr.New(cfcerr.Timeout, "cannot finish in time: the deadline of %v passed; what was done is not known", c.limit))
}

// canceled is the caller's CANCEL; the work is stopped unless he skips that.
func (c *call) canceled(mode string) {
	if c.fail(cfcerr.New(cfcerr.Canceled, "canceled by the caller")) && mode != wamp.CancelModeSkip {
		c.interrupt(wamp.ErrCanceled)
	}
}

// abandoned is the end of the caller's session.
func (c *call) abandoned() {
	if c.take() {
		c.caller.hub.met.answered(c.started, string(wamp.ErrCanceled))
		c.interrupt(wamp.ErrCanceled)
	}
}

// lost is the end of the agent's session.
func (c *call) lost(reason string) {
	id := c.agent.id.AuthID
	c.fail(cfcerr.New(cfcerr.ConnectionLost, "cannot finish on node %s: its agent went away (%s); what was done is not known", id, reason).
		With("node_id", id).With("reason", reason))
}

// interrupt tells whoever works on the call that nobody waits for it.
func (c *call) interrupt(reason wamp.URI) {
	if c.stop != nil {
		c.stop()
	}
	if c.invocation != 0 {
		_ = c.agent.conn.Insist(&wamp.Interrupt{Request: c.invocation,
			Options: wamp.Dict{"mode": wamp.CancelModeKillNoWait, "reason": string(reason)}})
	}
}

// cancel is CANCEL of the session. One that comes too late is no error.
func (s *session) cancel(m *wamp.Cancel) {
	s.mu.Lock()
	c := s.calls[m.Request]
	s.mu.Unlock()
	if c != nil {
		mode, _ := m.Options[wamp.OptMode].(string)
		c.canceled(mode)
	}
}

// pending is the call behind an invocation of the agent, nil when it is over.
func (s *session) pending(invocation wamp.ID) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.invocations[invocation]
}

// yield carries a result of the agent to its caller. A late one is dropped.
func (s *session) yield(y *peer.Yield) {
	c := s.pending(y.Request)
	if c == nil {
		return
	}
	if y.Progress {
		if c.progress {
			c.further(s, y.Payload)
		}
		return
	}
	if !c.take() {
		return
	}
	s.hub.met.answered(c.started, "")
	c.deliver(s, &peer.Result{Request: c.request, Payload: y.Payload})
}

// further writes a progressive result, unless the call is over: clients take one
// that comes behind the answer for a breach of protocol, and end their sessions.
func (c *call) further(s *session, p peer.Payload) {
	p, err := p.For(c.caller.conn)
	if err != nil { // it cannot be said there
		return
	}
	c.caller.mu.Lock() // which take passes between the end of the call and the answer
	defer c.caller.mu.Unlock()
	if !c.over.Load() {
		_ = s.conn.Batch().Write(c.caller.conn, &peer.Result{Request: c.request, Progress: true, Payload: p})
	}
}

// failed carries an error of the agent to its caller, as it is.
func (s *session) failed(e *peer.Error) {
	c := s.pending(e.Request)
	if c == nil {
		return
	}
	if e.URI == wamp.ErrCanceled && time.Since(c.started) >= c.limit { // the agent keeps the deadline too
		c.timedOut()
		return
	}
	if !c.take() {
		return
	}
	s.hub.met.answered(c.started, string(e.URI))
	c.deliver(s, &peer.Error{Type: wamp.CALL, Request: c.request, URI: e.URI, Payload: e.Payload})
}

// deliver writes the answer of a call that is over. One that the caller's
// serializer cannot express, or that his queue has no room for because he does
// not read, is still an answer.
func (c *call) deliver(s *session, m wamp.Message) {
	err := s.conn.Batch().Offer(c.caller.conn, m)
	if err == nil || err == peer.ErrClosed {
		return
	}
	kind, reason := cfcerr.NotSupported, "serializer"
	if err == peer.ErrFull {
		kind, reason = cfcerr.LimitExceeded, "unread"
		err = errUnread
	}
	e := cfcerr.New(kind, "cannot carry the answer of node %s to this client: %v", s.id.AuthID, err).
		With("node_id", s.id.AuthID).With("reason", reason)
	_ = s.conn.Batch().Insist(c.caller.conn, e.Wamp(wamp.CALL, c.request))
}

var errUnread = errors.New("too many answers wait for it to read them; what was asked for is done")
