package nodelink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

const (
	// Realm and AuthID are what the node is told at WELCOME; they are constant,
	// so that pairing, unpairing and pairing again never touch the node.
	Realm  = "cfc.local"
	AuthID = "node"

	nodesPrefix     = "crossbarfabriccenter.node."
	prefix          = nodesPrefix + AuthID + "."
	statusProcedure = "crossbarfabriccenter.mrealm.get_status"

	maxQueued      = 4096
	maxQueuedBytes = 64 << 20
	maxProcedures  = 20000
	maxHalfOpen    = 16
)

var heartbeats = []string{nodesPrefix + "on_heartbeat", nodesPrefix + "on_worker_heartbeat"}

// Config is what a Link needs. Zero durations and counts take the defaults.
type Config struct {
	// Listener is where the node dials in: loopback TCP or a Unix socket. Run
	// closes it.
	Listener net.Listener
	// Pubkey is the key of the one node that is admitted, 64 hex digits.
	Pubkey string
	// Boots says when the node boots the workers of its own configuration; nil:
	// never.
	Boots Boots
	Log   *zap.Logger

	LoginTimeout time.Duration // from connection to WELCOME; 10 s
	ReplaceAfter time.Duration // silence after which a second session replaces the first; 3 s
	StallTimeout time.Duration // a node that takes no octet for so long is dropped; 30 s
	MaxCalls     int64         // calls in flight, an eighth of them at one worker, seven at all workers; 512
}

// Boots decides whether a node boots the workers of its own configuration,
// which it has to be told before it says which process it is.
type Boots interface {
	// Apply is asked when a node logs in.
	Apply(ctx context.Context) bool
	// Ready is told which node that was and whether it was told to boot. False
	// means that it was told wrongly: its session is ended, and it comes again.
	Ready(ctx context.Context, info NodeInfo, applied bool) bool
}

// NodeInfo is what an attached node says about itself.
type NodeInfo struct {
	Kind    string // "crossbar" or "builtin"
	Version string
	// PID is the controller's, in the node's own PID namespace; Started is
	// when it says that it started.
	PID     int
	Started string
}

// Link is the local management router and the way to call the node.
type Link struct {
	cfg   Config
	log   *zap.Logger
	slots *slots

	mu      sync.Mutex
	session *session // admitted, ready or not
	ready   bool
	info    NodeInfo
	since   time.Time
	reason  string
	half    []net.Conn // connections that log in, oldest first
	said    string     // the last refusal that was logged
	saidAt  time.Time

	watch watchers
}

// Listen opens a listener for the node: "127.0.0.1:port", "[::1]:port" or
// "unix:/path". Where systemd holds the socket, hand in its listener instead.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for the node: %w", err)
	}
	if err := checkLocal(ln.Addr()); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

func checkLocal(a net.Addr) error {
	if tcp, ok := a.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		return fmt.Errorf("cannot listen for the node on %s: it cannot authenticate its agent, so only a loopback address will do", a)
	}
	return nil
}

// New checks the configuration; nothing runs before Run.
func New(cfg Config) (*Link, error) {
	if cfg.Listener == nil {
		return nil, errors.New("cannot make a node link without a listener")
	}
	if err := checkLocal(cfg.Listener.Addr()); err != nil {
		return nil, err
	}
	if !wire.ValidPubkey(cfg.Pubkey) {
		return nil, fmt.Errorf("cannot make a node link: the node's public key must be %s", wire.PubkeyForm)
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	cfg.LoginTimeout = orDefault(cfg.LoginTimeout, 10*time.Second)
	cfg.ReplaceAfter = orDefault(cfg.ReplaceAfter, 3*time.Second)
	cfg.StallTimeout = orDefault(cfg.StallTimeout, 30*time.Second)
	cfg.MaxCalls = orDefault(cfg.MaxCalls, 512)
	return &Link{cfg: cfg, log: cfg.Log, slots: newSlots(cfg.MaxCalls), since: time.Now(), reason: "never-connected"}, nil
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// Addr is where the node dials in.
func (l *Link) Addr() net.Addr { return l.cfg.Listener.Addr() }

// Run admits the node, again and again, until ctx ends.
func (l *Link) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { l.cfg.Listener.Close() })
	defer stop()
	for {
		conn, err := l.cfg.Listener.Accept()
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cannot listen for the node any longer: %w", err)
		case err != nil: // out of file descriptors, for one: passes
			l.log.Warn("cannot accept a connection for the node", zap.Error(err))
			if !sleep(ctx, 100*time.Millisecond) {
				return nil
			}
			continue
		}
		l.halfOpen(conn)
		wg.Go(func() { l.serve(ctx, conn) })
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// halfOpen counts a connection that has not logged in. When there are too
// many, the oldest goes: the node needs milliseconds.
func (l *Link) halfOpen(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.half) >= maxHalfOpen {
		l.half[0].Close()
		l.half = l.half[1:]
	}
	l.half = append(l.half, c)
}

func (l *Link) known(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, h := range l.half {
		if h == c {
			l.half = append(l.half[:i:i], l.half[i+1:]...)
			return
		}
	}
}

// refused logs why a connection did not become the node's session: once, not
// every two seconds, which is how often a refused node comes back.
func (l *Link) refused(err error) {
	l.mu.Lock()
	again := l.said == err.Error() && time.Since(l.saidAt) < time.Minute
	if !again {
		l.said, l.saidAt = err.Error(), time.Now()
	}
	l.mu.Unlock()
	var r *refusal
	switch {
	case again:
	case errors.As(err, &r):
		l.log.Warn("connection to the node port refused", zap.String("reason", r.Error()))
	default:
		l.log.Debug("connection to the node port ended before log-in", zap.Error(err))
	}
}

// occupy makes s the session and gives nil, or gives the one that is there.
func (l *Link) occupy(s *session) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		l.session, l.ready = s, false
		return nil
	}
	return l.session
}

// release frees the place of s and tells watchers when it was ready.
func (l *Link) release(s *session, reason string) {
	l.watch.Lock() // nothing may come between the state and its notice
	defer l.watch.Unlock()
	l.mu.Lock()
	was := l.ready
	if l.session == s {
		l.session, l.ready = nil, false
		l.since, l.reason = time.Now(), reason
	}
	info := l.info
	l.mu.Unlock()
	if was {
		l.log.Info("node detached", zap.String("reason", reason))
		l.watch.tell(Notice{Kind: Detached, Node: info, Reason: reason})
	}
	close(s.gone)
}

// becameReady runs when the node has called the status procedure. A second
// call of it changes nothing. A node that is busy answers late: it is ready only
// when it has said who it is.
func (l *Link) becameReady(ctx context.Context, s *session) {
	info := NodeInfo{Kind: orDefault(s.kind, "crossbar")}
	v, err := s.call(ctx, "get_status", nil, nil)
	if err != nil {
		l.log.Warn("cannot ask the node for its version", zap.Error(err))
	}
	status, _ := wamp.AsDict(v)
	title, _ := wamp.AsString(status["title"])
	info.Version = versionOf(title)
	pid, _ := wamp.AsInt64(status["controller_pid"])
	info.PID = int(pid)
	info.Started, _ = wamp.AsString(status["started"])
	if l.cfg.Boots != nil && !l.cfg.Boots.Ready(ctx, info, s.applies) {
		l.log.Warn("another process of the node than the one that has booted its configuration; it is asked to come again")
		s.end("comes again, to boot its configuration")
		return
	}

	l.watch.Lock()
	defer l.watch.Unlock()
	l.mu.Lock()
	if l.session != s || l.ready || s.ended() {
		l.mu.Unlock()
		return
	}
	l.ready, l.info, l.since, l.reason = true, info, time.Now(), ""
	l.mu.Unlock()
	l.log.Info("node attached", zap.String("kind", info.Kind), zap.String("version", info.Version), zap.Int("pid", info.PID))
	l.watch.tell(Notice{Kind: Ready, Node: info})
}

// versionOf takes the version out of a title such as "Crossbar.io 26.10.1".
func versionOf(title string) string {
	for _, word := range strings.Fields(title) {
		if word[0] >= '0' && word[0] <= '9' {
			return word
		}
	}
	return ""
}

func (l *Link) masterStatus() wamp.Dict {
	return wamp.Dict{"type": "mrealm", "realm": Realm, "now": wire.Time(time.Now())}
}

// Attached is the node as presence shows it.
func (l *Link) Attached() catalog.AttachedInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := catalog.AttachedInfo{Version: l.info.Version, Attached: l.ready, Since: wire.OptionalTime(l.since), Reason: l.reason}
	if l.info.Kind != "" {
		kind := l.info.Kind
		a.Kind = &kind
	}
	return a
}

// Has reports whether the attached node has registered a procedure.
func (l *Link) Has(procedure string) bool {
	s, err := l.current(procedure)
	return err == nil && s.has(procedure)
}

// Call invokes a procedure of the node, named below the node's prefix
// ("get_status", "worker.rtr1.get_router_realms"), and gives its result: null,
// a value, or a list of them where there are several. Without a deadline in ctx
// it takes catalog.DefaultTimeout.
//
// Errors: node_detached with since and reason; connection_lost; wamp.error.timeout
// and wamp.error.canceled, after which the node may still finish the work;
// no_such_procedure; busy; and what the node answers.
func (l *Link) Call(ctx context.Context, procedure string, args wamp.List, kwargs wamp.Dict) (any, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, catalog.DefaultTimeout)
		defer cancel()
	}
	free, err := l.slot(ctx, procedure)
	if err != nil {
		return nil, err
	}
	defer free()
	s, err := l.current(procedure)
	if err != nil {
		return nil, err
	}
	return s.call(ctx, procedure, args, kwargs)
}

// slot takes one of the places of calls in flight.
func (l *Link) slot(ctx context.Context, procedure string) (free func(), err error) {
	if ctx.Err() != nil {
		return nil, unbegun(ctx, procedure)
	}
	free, full := l.slots.take(ctx, procedure)
	if full == nil {
		return free, nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, unbegun(ctx, procedure)
	}
	return nil, cfcerr.New(cfcerr.Busy, "cannot call %s: %d calls to %s are waiting for their answers", procedure, full.most, full.to).
		With("limit", full.most)
}

func (l *Link) current(procedure string) (*session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil && l.ready {
		return l.session, nil
	}
	reason := l.reason
	if l.session != nil {
		reason = "starting"
	}
	return nil, cfcerr.New(cfcerr.NodeDetached, "cannot call %s: the node is not connected to its agent (%s)", procedure, reason).
		With("since", wire.Time(l.since)).With("reason", reason)
}
