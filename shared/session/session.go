package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// goodbyeTimeout is how long Close waits for the relay's GOODBYE.
const goodbyeTimeout = 2 * time.Second

// eventQueue is how many events wait for a handler before the connection is
// held back.
const eventQueue = 256

type writer interface{ Write(wamp.Message) error }

// Session is a joined session. Its methods may be called from any goroutine;
// Close must be called once it is no longer needed, however it ended, and not
// from a handler, which it waits for.
type Session struct {
	peer    wamp.Peer
	log     *zap.Logger
	welcome *wamp.Welcome
	ids     wamp.SyncIDGen
	max     int

	cancel context.CancelFunc
	over   <-chan struct{} // closed when the session ends, or is to end

	mu      sync.Mutex
	waiting map[wamp.ID]*request
	topics  map[wamp.ID]EventHandler
	procs   map[wamp.ID]Handler
	running map[wamp.ID]context.CancelCauseFunc
	dropped string // why this side dropped it

	pacing  sync.Mutex
	unpaced int // bytes sent since it was last known that all had arrived

	events  chan func()
	sending sync.RWMutex // held for writing while the peer is closed
	closing chan struct{}
	done    chan struct{}
	end     *Ended
	goodbye sync.Once
	closed  sync.Once
	wg      sync.WaitGroup
}

// Ended is why a session is over.
type Ended struct {
	// Reason is the GOODBYE's URI, "closed" by this side or, without a
	// GOODBYE, what the transport saw: "closed", "silent", "error: …".
	Reason  string
	Message string
}

// Error is the reason in a sentence.
func (e *Ended) Error() string {
	if e.Message != "" {
		return fmt.Sprintf("the session ended: %s (%s)", e.Message, e.Reason)
	}
	return "the session ended: " + e.Reason
}

// Refusal is the end as an error of this product, where the relay said why.
func (e *Ended) Refusal() *cfcerr.Error {
	return cfcerr.FromWamp(e.Reason, wamp.List{e.Error()}, nil)
}

func start(ctx context.Context, p wamp.Peer, w *wamp.Welcome, c Config) *Session {
	s := &Session{
		peer: p, log: c.Log, welcome: w, max: c.MaxInvocations,
		waiting: map[wamp.ID]*request{}, topics: map[wamp.ID]EventHandler{},
		procs: map[wamp.ID]Handler{}, running: map[wamp.ID]context.CancelCauseFunc{},
		events: make(chan func(), eventQueue), closing: make(chan struct{}), done: make(chan struct{}),
	}
	// The session outlives the joining: it ends by Close or by the relay.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel, s.over = cancel, life.Done()
	s.wg.Go(func() { s.read(life) })
	s.wg.Go(s.dispatch)
	return s
}

// ID is the session's id at the relay.
func (s *Session) ID() wamp.ID { return s.welcome.ID }

// Welcome are WELCOME's details: realm, authid, authrole, authextra, …
func (s *Session) Welcome() wamp.Dict { return s.welcome.Details }

// Realm is the realm that was joined.
func (s *Session) Realm() string { return s.detail("realm") }

// AuthID is the name under which the relay knows this side.
func (s *Session) AuthID() string { return s.detail("authid") }

// AuthRole is the role in the realm.
func (s *Session) AuthRole() string { return s.detail("authrole") }

// Extra is WELCOME's authextra.
func (s *Session) Extra() wamp.Dict {
	d, _ := wamp.AsDict(s.welcome.Details["authextra"])
	return d
}

func (s *Session) detail(name string) string {
	v, _ := wamp.AsString(s.welcome.Details[name])
	return v
}

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Ended is why the session is over, nil while it lives.
func (s *Session) Ended() *Ended {
	select {
	case <-s.done:
		return s.end
	default:
		return nil
	}
}

// Err is Ended as an error.
func (s *Session) Err() error {
	if e := s.Ended(); e != nil {
		return e
	}
	return nil
}

// Close is Leave, and waits for what runs here.
func (s *Session) Close() error {
	s.Leave()
	s.wg.Wait()
	if p, ok := s.peer.(interface{ Done() <-chan struct{} }); ok {
		<-p.Done() // its own bounds hold: at most some seconds
	}
	return nil
}

// Leave says GOODBYE, waits 2 s at most for the relay's, and ends the session:
// handlers are canceled, calls that wait get ConnectionLost.
func (s *Session) Leave() {
	s.goodbye.Do(func() {
		close(s.closing)
		if s.send(&wamp.Goodbye{Reason: wamp.CloseRealm, Details: wamp.Dict{}}) == nil {
			timer := time.NewTimer(goodbyeTimeout)
			select {
			case <-s.done:
			case <-timer.C:
			}
			timer.Stop()
		}
		s.shut()
	})
}

// Drop ends the session at once, without GOODBYE, and waits for nothing. The
// reason is what is told to who asks why it ended.
func (s *Session) Drop(reason string) {
	s.mu.Lock()
	if s.dropped == "" {
		s.dropped = reason
	}
	s.mu.Unlock()
	s.shut()
}

// shut closes the peer, which ends the reader; nobody is sending meanwhile.
func (s *Session) shut() {
	s.cancel()
	s.closed.Do(func() {
		s.sending.Lock()
		defer s.sending.Unlock()
		s.peer.Close()
	})
}

// send hands a message to the peer. A peer of this product takes or refuses it
// at once; another may block until the session ends.
func (s *Session) send(m wamp.Message) error {
	s.sending.RLock()
	defer s.sending.RUnlock()
	if s.isOver() {
		return ErrOver
	}
	if w, ok := s.peer.(writer); ok {
		err := w.Write(m)
		if errors.Is(err, peer.ErrClosed) || errors.Is(err, peer.ErrSlow) {
			return fmt.Errorf("%w: %w", ErrOver, err)
		}
		return err
	}
	select {
	case s.peer.Send() <- m:
		return nil
	case <-s.over:
		return ErrOver
	}
}

func (s *Session) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// ErrOver is in the chain when something could not be sent since the session is
// over, or about to be.
var ErrOver = errors.New("the session is over")

// read is the one goroutine that reads; it ends the session when it ends.
// Handlers run under life.
func (s *Session) read(life context.Context) {
	end := &Ended{}
	for end.Reason == "" {
		select {
		case m, ok := <-s.peer.Recv():
			if ok {
				s.receive(life, m, end)
			} else {
				end.Reason = reasonOf(s.peer)
			}
		case <-s.over:
			end.Reason = "closed"
		}
	}
	s.mu.Lock()
	if s.dropped != "" {
		end = &Ended{Reason: s.dropped}
	}
	s.mu.Unlock()
	s.end = end
	close(s.done)
	s.shut()
}

func (s *Session) receive(life context.Context, m wamp.Message, end *Ended) {
	switch m := m.(type) {
	case *wamp.Event:
		s.onEvent(m)
	case *wamp.Invocation:
		s.onInvocation(life, m)
	case *wamp.Interrupt:
		s.onInterrupt(m)
	case *wamp.Goodbye:
		s.onGoodbye(m, end)
	case *wamp.Abort:
		end.Reason = cmp.Or(string(m.Reason), "aborted")
		end.Message, _ = wamp.AsString(m.Details["message"])
	default:
		s.onReply(m)
	}
}

func (s *Session) onGoodbye(m *wamp.Goodbye, end *Ended) {
	select {
	case <-s.closing:
		end.Reason = "closed"
		return
	default:
	}
	end.Reason = cmp.Or(string(m.Reason), "closed")
	end.Message, _ = wamp.AsString(m.Details["message"])
	if err := s.send(&wamp.Goodbye{Reason: wamp.ErrGoodbyeAndOut, Details: wamp.Dict{}}); err != nil {
		s.log.Debug("GOODBYE could not be answered", zap.Error(err))
	}
}

// Ping asks the relay for a sign of life and waits for it: all that was sent
// before has then arrived.
func (s *Session) Ping(ctx context.Context) error {
	p, ok := s.peer.(interface{ Ping(context.Context) error })
	if !ok {
		return nil
	}
	return p.Ping(ctx)
}
