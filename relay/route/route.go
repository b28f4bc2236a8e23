// Package route is the relay's edge and its switch: who is connected, who may
// say what, and how a call comes to the agent of a node and its answer back.
//
// Every message of every session passes here, in the goroutine that read it,
// before anything else sees it. What the table "who may what" of the wire
// contract does not allow ends here. A CALL of a remote operation is checked
// (access, argument, node, presence, limit, in this order) and written straight
// to the connection of the node's agent as an INVOCATION of its one
// registration cfc.node.<node_id>, the operation in args[0]; the YIELD or ERROR
// goes straight back to the caller's. Payloads stay as they came where both
// sides speak the same serializer. A CALL of a row of the relay itself runs its
// handler. Events go to all that have subscribed, encoded once.
//
// nexus' router is not behind this. Its dealer has one goroutine for a whole
// realm, lets a caller that stops reading hold up an agent, and drops what does
// not fit a queue; its broker shares the details of an event between sessions
// that encode them while it still writes to them. What is left without these
// two, WELCOME and GOODBYE, is simpler here.
//
// No call hangs: one wheel keeps all deadlines, CANCEL is answered at once, the
// end of a caller is told to the agent, the end of an agent to its callers.
//
// A node is online while its agent has a session that has registered.
package route

import (
	"cmp"
	"context"
	"sync"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// Identity is who a session is, as the log-in has verified it.
type Identity struct {
	Realm   string // the actual realm
	AuthID  string // user name, or the node's id
	Role    string // wire.RoleUser on the users realm, a wire.Role in a management realm, wire.RoleNode for an agent
	Method  string // authmethod of WELCOME: cryptosign or ticket
	Pubkey  string
	NodeOID string // of an agent
	Address string // host:port
	TokenID string // of the ticket or token that let it in, if any
	Agent   catalog.AgentInfo
	Node    catalog.AttachedInfo
	Hello   wamp.Dict // HELLO.Details, tokens taken out
	Extra   wamp.Dict // authextra of WELCOME
}

// Presence is how a node is now.
type Presence struct {
	Online bool
	Since  time.Time
	Reason string // why it is offline: closed, silent, replaced, never-connected, …; empty while online
	Agent  catalog.AgentInfo
	Node   catalog.AttachedInfo
}

// Config of a hub. Zero limits mean their defaults.
type Config struct {
	Log *zap.Logger
	// Table has the handlers of the rows of the users and management realms.
	Table *catalog.Table
	// OnPresence is told every change of a node. It must not block, nor call
	// the hub.
	OnPresence func(oid string, p Presence)
	// Check is asked again once a session can be found by End, so that a right
	// that is lost between the log-in and that moment counts. May be nil.
	Check func(ctx context.Context, id Identity) error
	// CallsPerSession is how many calls one session may have in flight; 256.
	CallsPerSession int
	// PongTimeout is how long the first of two agents of one node has to show
	// that it lives; 3 s.
	PongTimeout time.Duration
	// StopTimeout bounds the graceful end; 5 s.
	StopTimeout time.Duration
}

// Hub is the switch.
type Hub struct {
	cfg    Config
	log    *zap.Logger
	index  catalog.Index
	topics topics
	wheel  *wheel
	met    *metrics

	started chan struct{}   // closed by Run
	base    context.Context // of handlers, set by Run

	mu       sync.RWMutex
	realms   map[string]*realm
	stopping bool

	handlers sync.WaitGroup
}

// New makes a hub with the users realm. Run must be called: it ends what New
// has started.
func New(cfg Config) *Hub {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Table == nil {
		cfg.Table = catalog.NewTable()
	}
	cfg.CallsPerSession = cmp.Or(cfg.CallsPerSession, 256)
	cfg.PongTimeout = cmp.Or(cfg.PongTimeout, 3*time.Second)
	cfg.StopTimeout = cmp.Or(cfg.StopTimeout, 5*time.Second)
	h := &Hub{cfg: cfg, log: cfg.Log, index: catalog.NewIndex(), topics: newTopics(), wheel: newWheel(), met: newMetrics(),
		started: make(chan struct{}), realms: map[string]*realm{}}
	h.realms[wire.UsersRealm] = newRealm(wire.UsersRealm)
	return h
}

// Run serves until ctx ends. Then every call in flight is answered, every
// session gets GOODBYE wamp.close.system_shutdown, and all goroutines end,
// within the stop timeout where the far sides and the handlers let them.
func (h *Hub) Run(ctx context.Context) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h.base = base
	var wheel sync.WaitGroup
	wheel.Go(func() { h.wheel.run(base) })
	close(h.started)
	<-ctx.Done()

	deadline := time.NewTimer(h.cfg.StopTimeout)
	defer deadline.Stop()
	idle := make(chan struct{})
	h.mu.Lock()
	h.stopping = true // no handler starts from here on
	h.mu.Unlock()
	go func() {
		h.handlers.Wait()
		close(idle)
	}()
	h.stop(deadline.C, idle)
	cancel()
	wheel.Wait()
	<-idle
	return nil
}

// stop ends all sessions, agents first, so that their callers have an answer
// before they are told goodbye themselves.
func (h *Hub) stop(deadline <-chan time.Time, idle <-chan struct{}) {
	all := h.sessions(func(*session) bool { return true })
	for _, s := range all {
		if s.kind == agent {
			s.detach(reasonStopped)
		}
	}
	for _, s := range all {
		s.failCalls(errStopped)
	}
	for _, s := range all {
		s.end(string(wamp.CloseSystemShutdown), "the relay is stopping", reasonStopped)
	}
	for _, s := range all {
		select {
		case <-s.conn.Done():
		case <-deadline:
			h.log.Warn("stopped before all sessions had read their goodbye", zap.Duration("after", h.cfg.StopTimeout))
			return
		}
	}
	select {
	case <-idle:
	case <-deadline:
		h.log.Warn("stopped before all changes were done", zap.Duration("after", h.cfg.StopTimeout))
	}
}

// sessions are those of all realms that match.
func (h *Hub) sessions(match func(*session) bool) []*session {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var out []*session
	for _, r := range h.realms {
		r.mu.RLock()
		for s := range r.sessions {
			if match(s) {
				out = append(out, s)
			}
		}
		r.mu.RUnlock()
	}
	return out
}

// End ends the sessions that match with GOODBYE reason and says how many they
// were. Whatever they have sent and is not yet carried out is dropped.
func (h *Hub) End(reason, message string, match func(Identity) bool) int {
	all := h.sessions(func(s *session) bool { return match(s.id) })
	for _, s := range all {
		s.end(reason, message, peer.ReasonClosed)
	}
	return len(all)
}

// handle runs f in a goroutine that Run waits for.
func (h *Hub) handle(f func()) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.stopping {
		return errStopping
	}
	h.handlers.Go(f)
	return nil
}

var errStopped = cfcerr.New(cfcerr.ConnectionLost, "cannot finish: the relay is stopping; what was done is not known").With("reason", reasonStopped)

var errStopping = cfcerr.New(cfcerr.Unavailable, "cannot join: the relay is stopping").With("part", "relay").With("reason", "stopping")
