package nodelink

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// session is the node's one session. Its reader goroutine handles every
// message that the node sends, in order.
type session struct {
	sock *socket
	id   wamp.ID
	kind string // what the node says it is; a stock one says nothing
	// applies: it was told to boot the workers of its own configuration.
	applies bool

	mu      sync.Mutex
	procs   map[string]wamp.ID // registrations by name below the prefix
	names   map[wamp.ID]string
	pending map[wamp.ID]chan wamp.Message
	last    wamp.ID // the newest registration
	reason  string

	sending sync.Mutex // nothing comes between a look at procs and what is sent for it
	invoked wamp.ID    // the newest invocation; ids go out one up each, in order

	ending sync.Once
	done   chan struct{} // closed when the session is over
	gone   chan struct{} // closed when nothing of it is left
}

func newSession(sock *socket, kind string) *session {
	return &session{sock: sock, id: wamp.GlobalID(), kind: kind,
		procs: map[string]wamp.ID{}, names: map[wamp.ID]string{}, pending: map[wamp.ID]chan wamp.Message{},
		done: make(chan struct{}), gone: make(chan struct{})}
}

// end closes the session; the first reason counts.
func (s *session) end(reason string) {
	s.ending.Do(func() {
		s.mu.Lock()
		s.reason = reason
		s.mu.Unlock()
		close(s.done)
		// Wakes reader and writer; the connection's owner closes it again.
		_ = s.sock.conn.Close()
	})
}

func (s *session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// run serves the session until its end and returns when its goroutines have.
func (l *Link) run(ctx context.Context, s *session) {
	live, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { s.end("agent stopping") })
	wg.Go(func() {
		if err := s.sock.write(s.done); err != nil {
			s.end(reasonOf(err))
		}
	})
	for {
		m, err := s.sock.read()
		if err != nil {
			s.end(reasonOf(err))
			break
		}
		if !s.handle(l, m, func(f func(context.Context)) { wg.Go(func() { f(live) }) }) {
			break
		}
	}
	cancel()
	stop()
	wg.Wait()
	s.mu.Lock()
	reason := s.reason
	s.mu.Unlock()
	l.release(s, reason)
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "closed"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "stalled"
	}
	return "error: " + err.Error()
}

// handle deals with one message; false says that the session has ended. Work that
// calls the node goes through spawn, since the answers come through this goroutine.
func (s *session) handle(l *Link, m wamp.Message, spawn func(func(context.Context))) bool {
	switch m := m.(type) {
	case *wamp.Yield:
		s.deliver(m.Request, m)
	case *wamp.Error:
		if m.Type == wamp.INVOCATION {
			s.deliver(m.Request, m)
		}
	case *wamp.Register:
		return s.register(l, m)
	case *wamp.Unregister:
		return s.unregister(l, m)
	case *wamp.Publish:
		return s.publish(l, m)
	case *wamp.Call:
		if m.Procedure != statusProcedure {
			return s.deny(wamp.CALL, m.Request, string(m.Procedure))
		}
		ok := s.answer(&wamp.Result{Request: m.Request, Details: wamp.Dict{}, Arguments: wamp.List{l.masterStatus()}})
		spawn(func(ctx context.Context) { l.becameReady(ctx, s) })
		return ok
	case *wamp.Subscribe:
		return s.deny(wamp.SUBSCRIBE, m.Request, string(m.Topic))
	case *wamp.Unsubscribe:
		return s.deny(wamp.UNSUBSCRIBE, m.Request, "")
	case *wamp.Goodbye:
		return s.answer(&wamp.Goodbye{Reason: wamp.ErrGoodbyeAndOut, Details: wamp.Dict{}}) && s.finish()
	default:
		s.end("error: protocol violation: " + m.MessageType().String())
		return false
	}
	return true
}

// answer queues a message; a node that does not take its answers is dropped.
func (s *session) answer(m wamp.Message) bool {
	b, err := s.sock.encode(m)
	if err != nil {
		s.end("error: " + err.Error())
		return false
	}
	if !s.sock.queue(b) {
		s.end("stalled")
		return false
	}
	return true
}

// finish has the session end when all that is queued is sent.
func (s *session) finish() bool {
	if !s.sock.finish() {
		s.end("stalled")
		return false
	}
	return true
}

func (s *session) fail(t wamp.MessageType, request wamp.ID, uri wamp.URI, why string) bool {
	return s.answer(&wamp.Error{Type: t, Request: request, Details: wamp.Dict{}, Error: uri, Arguments: wamp.List{why}})
}

func (s *session) deny(t wamp.MessageType, request wamp.ID, what string) bool {
	return s.fail(t, request, wamp.ErrNotAuthorized, "a node may not "+strings.ToLower(t.String())+" "+what)
}

func (s *session) register(l *Link, m *wamp.Register) bool {
	name, own := strings.CutPrefix(string(m.Procedure), prefix)
	match, _ := wamp.AsString(m.Options["match"])
	if !own || name == "" || match != "" && match != wamp.MatchExact {
		return s.deny(wamp.REGISTER, m.Request, string(m.Procedure))
	}
	added, alive := s.add(m, name)
	if added {
		l.notify(Notice{Kind: Registered, Name: name})
	}
	return alive
}

func (s *session) unregister(l *Link, m *wamp.Unregister) bool {
	name, alive := s.remove(m)
	if name != "" {
		l.notify(Notice{Kind: Unregistered, Name: name})
	}
	return alive
}

// add answers REGISTER. A stock node ends its session when it is invoked before
// it has this answer, or after that of remove.
func (s *session) add(m *wamp.Register, name string) (added, alive bool) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	_, dup := s.procs[name]
	full := len(s.procs) >= maxProcedures
	if !dup && !full {
		s.last++
		s.procs[name], s.names[s.last] = s.last, name
	}
	id := s.last
	s.mu.Unlock()
	switch {
	case dup:
		return false, s.fail(wamp.REGISTER, m.Request, wamp.ErrProcedureAlreadyExists, "registered already: "+string(m.Procedure))
	case full:
		return false, s.fail(wamp.REGISTER, m.Request, wamp.URI(cfcerr.LimitExceeded.URI()), "too many registrations")
	}
	return true, s.answer(&wamp.Registered{Request: m.Request, Registration: id})
}

// remove answers UNREGISTER, and names what is no more.
func (s *session) remove(m *wamp.Unregister) (name string, alive bool) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	name, ok := s.names[m.Registration]
	delete(s.names, m.Registration)
	delete(s.procs, name)
	s.mu.Unlock()
	if !ok {
		return "", s.fail(wamp.UNREGISTER, m.Request, wamp.ErrNoSuchRegistration, "no such registration")
	}
	return name, s.answer(&wamp.Unregistered{Request: m.Request})
}

func (s *session) publish(l *Link, m *wamp.Publish) bool {
	ack, _ := wamp.AsBool(m.Options[wamp.OptAcknowledge])
	name, own := strings.CutPrefix(string(m.Topic), prefix)
	args := m.Arguments
	if !own && slices.Contains(heartbeats, string(m.Topic)) && len(args) > 0 && args[0] == AuthID {
		name, own, args = strings.TrimPrefix(string(m.Topic), nodesPrefix), true, args[1:]
	}
	if !own || name == "" {
		return !ack || s.deny(wamp.PUBLISH, m.Request, string(m.Topic))
	}
	ok := !ack || s.answer(&wamp.Published{Request: m.Request, Publication: wamp.GlobalID()})
	l.notify(Notice{Kind: Event, Name: name, Args: args, Kwargs: m.ArgumentsKw})
	return ok
}

func (s *session) deliver(id wamp.ID, m wamp.Message) {
	s.mu.Lock()
	ch := s.pending[id]
	delete(s.pending, id)
	s.mu.Unlock()
	if ch != nil { // nil: whoever asked has left at the deadline
		ch <- m
	}
}

// has reports whether the node has registered a procedure.
func (s *session) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.procs[name]
	return ok
}

// call invokes a procedure of the node and waits until the answer, the
// session's end or the end of ctx. The node is never interrupted: a stock one
// cannot handle that.
func (s *session) call(ctx context.Context, name string, args wamp.List, kwargs wamp.Dict) (any, error) {
	id, ch, err := s.invoke(name, args, kwargs)
	if err != nil {
		return nil, err
	}
	defer s.forget(id)
	select {
	case m := <-ch:
		return result(name, m)
	case <-ctx.Done():
		return nil, unanswered(ctx, name)
	case <-s.done:
		select {
		case m := <-ch: // it came with the last breath
			return result(name, m)
		default:
			return nil, cfcerr.New(cfcerr.ConnectionLost, "cannot tell how %s ended: the node went away during the call", name)
		}
	}
}

// invoke sends an INVOCATION; its answer comes through the channel, if any.
func (s *session) invoke(name string, args wamp.List, kwargs wamp.Dict) (wamp.ID, chan wamp.Message, error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	registration, ok := s.procs[name]
	s.mu.Unlock()
	if !ok {
		return 0, nil, cfcerr.New(cfcerr.NoSuchProcedure, "cannot call %s: the node has no such procedure", name)
	}
	id := s.invoked + 1
	b, err := s.sock.encode(&wamp.Invocation{Request: id, Registration: registration, Details: wamp.Dict{}, Arguments: args, ArgumentsKw: kwargs})
	if err != nil {
		return 0, nil, err
	}
	ch := make(chan wamp.Message, 1)
	s.mu.Lock()
	s.pending[id] = ch
	s.mu.Unlock()
	if !s.sock.queue(b) {
		s.forget(id)
		return 0, nil, cfcerr.New(cfcerr.Busy, "cannot call %s: the node has stopped reading", name)
	}
	s.invoked = id
	return id, ch, nil
}

func (s *session) forget(id wamp.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}
