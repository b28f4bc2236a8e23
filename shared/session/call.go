package session

import (
	"context"
	"errors"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
)

// grace is how much longer than its deadline a call waits, so that the
// relay's own answer, which says more, comes first.
const grace = 2 * time.Second

// CallOptions are what a call may have beside its arguments.
type CallOptions struct {
	// Timeout is sent as CALL.Options.timeout. Zero is what the context leaves,
	// and catalog.DefaultTimeout where the context has no deadline.
	Timeout time.Duration
	// Progress gets progressive results, one after another, before Call
	// returns. It holds back the whole session while it runs.
	Progress func(*wamp.Result)
	// Mode is how the call is canceled: "killnowait" unless said otherwise.
	Mode string
	// Options are further options of the CALL.
	Options wamp.Dict
}

// request is one message that waits for its reply.
type request struct {
	replies chan wamp.Message // holds one; progressive results wait for the caller
	gone    chan struct{}     // closed when nobody waits any more
	first   func(wamp.Message)
}

// Call calls a procedure and returns within its deadline, always. An error of
// the far side is a *cfcerr.Error with its kind; a lost session is
// ConnectionLost, a passed deadline Timeout, an ended context Canceled.
func (s *Session) Call(ctx context.Context, procedure string, args wamp.List, kwargs wamp.Dict, o CallOptions) (*wamp.Result, error) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = catalog.DefaultTimeout
		if deadline, ok := ctx.Deadline(); ok {
			timeout = time.Until(deadline)
		}
	}
	options := wamp.Dict{}
	for k, v := range o.Options {
		options[k] = v
	}
	options[wamp.OptTimeout] = max(timeout.Milliseconds(), 1)
	if o.Progress != nil {
		options[wamp.OptReceiveProgress] = true
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+grace)
	defer cancel()

	id := s.ids.Next()
	r := s.expect(id, nil)
	defer s.forget(id, r)
	if err := s.send(&wamp.Call{Request: id, Options: options, Procedure: wamp.URI(procedure), Arguments: args, ArgumentsKw: kwargs}); err != nil {
		return nil, s.lost(procedure, err)
	}
	for {
		m, err := s.await(ctx, r)
		if err != nil {
			return nil, s.abandon(ctx, id, procedure, o.Mode, err)
		}
		switch m := m.(type) {
		case *wamp.Result:
			if more, _ := m.Details[wamp.OptProgress].(bool); !more {
				return m, nil
			}
			if o.Progress != nil {
				o.Progress(m)
			}
		case *wamp.Error:
			return nil, cfcerr.FromWamp(string(m.Error), m.Arguments, m.ArgumentsKw)
		default:
			return nil, cfcerr.New(cfcerr.Internal, "cannot call %s: the relay answered %v", procedure, m.MessageType())
		}
	}
}

// abandon gives a call up: the far side is told, but not waited for.
func (s *Session) abandon(ctx context.Context, id wamp.ID, procedure, mode string, err error) error {
	if ctx.Err() == nil {
		return s.lost(procedure, err)
	}
	if mode == "" {
		mode = wamp.CancelModeKillNoWait
	}
	// A session that is over has no call to cancel any more.
	_ = s.send(&wamp.Cancel{Request: id, Options: wamp.Dict{wamp.OptMode: mode}})
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return cfcerr.New(cfcerr.Timeout, "cannot finish %s: no answer in time; what was done is not known: %w", procedure, ctx.Err())
	}
	return cfcerr.New(cfcerr.Canceled, "cannot finish %s: canceled: %w", procedure, ctx.Err())
}

func (s *Session) lost(procedure string, err error) error {
	if errors.Is(err, peer.ErrCannotCarry) {
		return cfcerr.New(cfcerr.InvalidArgument, "cannot call %s: %w", procedure, err).With("expected", "values that JSON, MessagePack and CBOR all have, at most 16 MiB")
	}
	if e := s.Ended(); e != nil {
		err = e
	}
	return cfcerr.New(cfcerr.ConnectionLost, "cannot finish %s: the connection to the relay is lost; what was done is not known: %w", procedure, err)
}

// request sends a message that has one reply and waits for it. What first does
// with the reply, it does in the reader, before any message that comes later.
func (s *Session) request(ctx context.Context, id wamp.ID, m wamp.Message, what string, first func(wamp.Message)) (wamp.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, catalog.DefaultTimeout)
	defer cancel()
	r := s.expect(id, first)
	defer s.forget(id, r)
	if err := s.send(m); err != nil {
		return nil, s.lost(what, err)
	}
	reply, err := s.await(ctx, r)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, cfcerr.New(cfcerr.KindOf(ctx.Err()), "cannot finish %s: no answer in time: %w", what, ctx.Err())
	case err != nil:
		return nil, s.lost(what, err)
	}
	if e, ok := reply.(*wamp.Error); ok {
		return nil, cfcerr.FromWamp(string(e.Error), e.Arguments, e.ArgumentsKw)
	}
	return reply, nil
}

func (s *Session) expect(id wamp.ID, first func(wamp.Message)) *request {
	r := &request{replies: make(chan wamp.Message, 1), gone: make(chan struct{}), first: first}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[id] = r
	return r
}

// forget may come twice, when a relay answers what was not sent.
func (s *Session) forget(id wamp.ID, r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[id] == r {
		delete(s.waiting, id)
		close(r.gone)
	}
}

func (s *Session) await(ctx context.Context, r *request) (wamp.Message, error) {
	select {
	case m := <-r.replies:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.done:
	}
	select { // the answer may have come with the end
	case m := <-r.replies:
		return m, nil
	default:
		return nil, ErrOver
	}
}

// onReply hands a reply to who waits for it; one that comes too late is dropped.
func (s *Session) onReply(m wamp.Message) {
	id, ok := requestOf(m)
	if !ok {
		s.log.Debug("unexpected message", zapType(m))
		return
	}
	s.mu.Lock()
	r := s.waiting[id]
	s.mu.Unlock()
	if r == nil {
		return
	}
	if r.first != nil {
		r.first(m)
	}
	select {
	case r.replies <- m:
	case <-r.gone:
	case <-s.over:
	}
}

func requestOf(m wamp.Message) (wamp.ID, bool) {
	switch m := m.(type) {
	case *wamp.Result:
		return m.Request, true
	case *wamp.Error:
		return m.Request, true
	case *wamp.Published:
		return m.Request, true
	case *wamp.Subscribed:
		return m.Request, true
	case *wamp.Unsubscribed:
		return m.Request, true
	case *wamp.Registered:
		return m.Request, true
	case *wamp.Unregistered:
		return m.Request, true
	}
	return 0, false
}
