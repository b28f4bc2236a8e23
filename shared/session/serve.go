package session

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// Invocation is one call of a registered procedure.
type Invocation struct {
	Args    wamp.List
	Kwargs  wamp.Dict
	Details wamp.Dict
	// Caller is who called, where the relay discloses it.
	Caller catalog.Caller

	progress func(wamp.List, wamp.Dict) error
}

// Handler carries an invocation out. Its context ends by INTERRUPT, by the
// caller's deadline and with the session. A Result is answered as it is, any
// other value as args[0]; an error as cfcerr.Public says.
type Handler func(ctx context.Context, inv *Invocation) (any, error)

// Result is an answer that is more, or less, than one value.
type Result struct {
	Args   wamp.List
	Kwargs wamp.Dict
}

type progressKey struct{}

// Progress sends a progressive result of the invocation that ctx belongs to;
// where the caller wants none it does nothing.
func Progress(ctx context.Context, args wamp.List, kwargs wamp.Dict) error {
	inv, _ := ctx.Value(progressKey{}).(*Invocation)
	if inv == nil || inv.progress == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return inv.progress(args, kwargs)
}

// WithProgress has what Progress sends taken by tell: for whoever carries
// something out that no invocation asked for.
func WithProgress(ctx context.Context, tell func(wamp.List, wamp.Dict) error) context.Context {
	return context.WithValue(ctx, progressKey{}, &Invocation{progress: tell})
}

// Register registers a procedure.
func (s *Session) Register(ctx context.Context, procedure string, options wamp.Dict, h Handler) error {
	if options == nil {
		options = wamp.Dict{}
	}
	id := s.ids.Next()
	m, err := s.request(ctx, id, &wamp.Register{Request: id, Options: options, Procedure: wamp.URI(procedure)}, "registering "+procedure, func(m wamp.Message) {
		if m, ok := m.(*wamp.Registered); ok {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.procs[m.Registration] = h
		}
	})
	if err != nil {
		return err
	}
	if _, ok := m.(*wamp.Registered); !ok {
		return cfcerr.New(cfcerr.Internal, "cannot register %s: the relay answered %v", procedure, m.MessageType())
	}
	return nil
}

func (s *Session) onInvocation(life context.Context, m *wamp.Invocation) {
	s.mu.Lock()
	h, known := s.procs[m.Registration]
	_, twice := s.running[m.Request]
	full := len(s.running) >= s.max
	var ctx context.Context
	var cancel context.CancelCauseFunc
	if known && !twice && !full {
		ctx, cancel = context.WithCancelCause(life)
		s.running[m.Request] = cancel
	}
	s.mu.Unlock()
	switch {
	case twice: // a further piece of a progressive call, which nothing here takes
	case !known:
		s.refuse(m.Request, cfcerr.New(cfcerr.NoSuchProcedure, "cannot carry this out: nothing is registered under %d", m.Registration))
	case full:
		s.refuse(m.Request, cfcerr.New(cfcerr.Busy, "cannot carry this out: %d calls are being carried out already", s.max).With("limit", s.max))
	default:
		s.wg.Go(func() {
			defer cancel(nil)
			v, err := s.invoke(ctx, m, h)
			s.answer(life, m.Request, v, err)
		})
	}
}

// refuse answers from the reader, which must not wait.
func (s *Session) refuse(id wamp.ID, e *cfcerr.Error) {
	if err := s.send(e.Wamp(wamp.INVOCATION, id)); err != nil {
		s.log.Debug("refusal could not be sent", zap.Error(err))
	}
}

func (s *Session) invoke(ctx context.Context, m *wamp.Invocation, h Handler) (any, error) {
	if ms, ok := wamp.AsInt64(m.Details[wamp.OptTimeout]); ok && ms > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer stop()
	}
	inv := &Invocation{Args: m.Arguments, Kwargs: m.ArgumentsKw, Details: m.Details, Caller: callerOf(m.Details)}
	if wanted, _ := m.Details[wamp.OptReceiveProgress].(bool); wanted {
		inv.progress = func(args wamp.List, kwargs wamp.Dict) error {
			return s.sendPaced(ctx, &wamp.Yield{Request: m.Request, Options: wamp.Dict{wamp.OptProgress: true}, Arguments: args, ArgumentsKw: kwargs}, Size(args)+Size(kwargs))
		}
	}
	v, err := protect(context.WithValue(ctx, progressKey{}, inv), h, inv)
	s.mu.Lock() // free before the relay, knowing of the answer, can send the next
	delete(s.running, m.Request)
	s.mu.Unlock()
	return v, err
}

// protect makes a panic of a handler an error: one bad call must not take the
// agent down.
func protect(ctx context.Context, h Handler, inv *Invocation) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h(ctx, inv)
}

// answer is sent even when the invocation's own context has ended.
func (s *Session) answer(life context.Context, id wamp.ID, v any, err error) {
	if err == nil {
		y := &wamp.Yield{Request: id, Options: wamp.Dict{}, Arguments: wamp.List{v}}
		if r, ok := v.(Result); ok {
			y.Arguments, y.ArgumentsKw = r.Args, r.Kwargs
		}
		if err = s.sendPaced(life, y, Size(y.Arguments)+Size(y.ArgumentsKw)); err == nil || s.isOver() {
			return
		}
		// What does not encode, or is too big, is answered by that.
		err = fmt.Errorf("cannot send the result: %w", err)
	}
	public, logged := cfcerr.Public(err)
	if logged != "" {
		s.log.Error("call failed by a defect", zap.String("id", logged), zap.Error(err))
	}
	if err := s.sendPaced(life, public.Wamp(wamp.INVOCATION, id), Size(public.Details)); err != nil && !s.isOver() {
		s.log.Warn("answer could not be sent", zap.Error(err))
	}
}

func (s *Session) onInterrupt(m *wamp.Interrupt) {
	s.mu.Lock()
	cancel := s.running[m.Request]
	s.mu.Unlock()
	if cancel != nil {
		cancel(context.Canceled)
	}
}

func callerOf(d wamp.Dict) catalog.Caller {
	id, _ := wamp.AsID(d["caller"])
	authid, _ := wamp.AsString(d["caller_authid"])
	role, _ := wamp.AsString(d["caller_authrole"])
	procedure, _ := wamp.AsString(d["procedure"])
	return catalog.Caller{Session: id, AuthID: authid, Role: wire.Role(role), Procedure: procedure}
}
