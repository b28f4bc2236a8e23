package uplink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/google/uuid"
	"go.uber.org/zap"
)

const (
	registerTimeout = 10 * time.Second
	maxCalls        = 1024
)

// Handler carries out one operation; key is "area.op".
type Handler func(ctx context.Context, caller catalog.Caller, key string, args wamp.List, kwargs wamp.Dict) (any, error)

// Config is what an Uplink needs.
type Config struct {
	Handler  Handler
	Attached func() catalog.AttachedInfo
	// Joined is told the realm, node id and oid that the relay gave; it must
	// not block.
	Joined func(realm, nodeID, oid string)
	// Agent is what the agent tells about itself, see Describe.
	Agent wamp.Dict
	// Ping is how often the relay is pinged; 8 s. Two misses end the session.
	Ping time.Duration
	Log  *zap.Logger

	join func(context.Context, session.Config) (link, error) // replaced in tests
}

// link is what this package needs of a session.
type link interface {
	Realm() string
	AuthID() string
	Extra() wamp.Dict
	Register(ctx context.Context, procedure string, options wamp.Dict, h session.Handler) error
	PublishAsync(ctx context.Context, topic string, args wamp.List, kwargs wamp.Dict, taken func(error)) error
	Ping(ctx context.Context) error
	Drop(reason string)
	Leave()
	Done() <-chan struct{}
	Err() error
	Close() error
}

// Uplink is the session with the relay and its events.
type Uplink struct {
	cfg   Config
	log   *zap.Logger
	boot  string
	index catalog.Index
	ring  *ring
	wake  chan struct{} // holds one: try now

	mu       sync.Mutex
	identity *Identity
	claim    *claim
	abandon  context.CancelFunc // ends what is done for the identity of before
	status   Status
	live     link
	seq      uint64
	tseq     map[*catalog.Event]uint64
}

// New makes an uplink without an identity; nothing runs before Run.
func New(c Config) *Uplink {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Ping == 0 {
		c.Ping = 8 * time.Second
	}
	if c.join == nil {
		c.join = func(ctx context.Context, sc session.Config) (link, error) {
			s, err := session.Join(ctx, sc)
			if err != nil {
				return nil, err
			}
			return s, nil
		}
	}
	return &Uplink{cfg: c, log: c.Log, boot: uuid.NewString(), index: catalog.NewIndex(), ring: newRing(), wake: make(chan struct{}, 1),
		tseq: map[*catalog.Event]uint64{}, status: Status{State: Unpaired, Since: time.Now()}}
}

// Boot is the id of this run, which every event carries.
func (u *Uplink) Boot() string { return u.boot }

// Run keeps the session until ctx ends.
func (u *Uplink) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { u.watchSleep(ctx) })
	for ctx.Err() == nil {
		span, cancel := context.WithCancel(ctx)
		u.mu.Lock()
		u.abandon = cancel
		id, claim := u.identity, u.claim
		u.mu.Unlock()
		if id == nil {
			u.set(func(s *Status) { *s = Status{State: Unpaired, Since: time.Now()} })
			<-span.Done()
		} else {
			u.keep(span, *id, claim, &wg)
		}
		cancel()
	}
	u.set(func(s *Status) { s.State, s.Since = Stopped, time.Now() })
	return nil
}

// keep has one session after the other with one identity.
func (u *Uplink) keep(ctx context.Context, id Identity, c *claim, wg *sync.WaitGroup) {
	var b backoff
	u.set(func(s *Status) {
		*s = Status{State: Connecting, Since: time.Now(), Relay: id.URL, Realm: id.Realm, NodeID: id.NodeID, OID: id.OID}
	})
	for {
		u.set(func(s *Status) { s.State, s.NextTry = Connecting, time.Time{} })
		lived, err := u.session(ctx, id, c, wg)
		c.tell(err)
		if ctx.Err() != nil {
			return
		}
		c = nil // a token is sent once; what became of it is told
		delay := b.next(err, lived)
		u.failed(err, delay, b.failures)
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-u.wake:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// session is one session from log-in to end, and the error that ended it.
func (u *Uplink) session(ctx context.Context, id Identity, c *claim, wg *sync.WaitGroup) (lived time.Duration, err error) {
	sc := u.sessionConfig(id)
	if c != nil {
		sc.Token, sc.NodeID = c.token, c.nodeID
	}
	s, err := u.cfg.join(ctx, sc)
	if err != nil {
		return 0, err
	}
	// Closing waits for handlers, and the next session must not.
	defer wg.Go(func() {
		if err := s.Close(); err != nil {
			u.log.Warn("session did not close", zap.Error(err))
		}
	})
	began := time.Now()
	if err := u.enter(ctx, id, s); err != nil {
		return 0, err
	}
	c.tell(nil)
	pumped := make(chan struct{})
	go func() { defer close(pumped); u.pump(ctx, s) }()
	defer func() { <-pumped }()
	select {
	case <-s.Done():
	case <-ctx.Done():
		u.set(func(st *Status) { st.State, st.Since = Connecting, time.Now() })
		s.Leave() // or the next one might meet this one at the relay
	}
	u.setLive(nil)
	return time.Since(began), s.Err()
}

// enter registers the node's procedure and makes the session the live one.
func (u *Uplink) enter(ctx context.Context, id Identity, s link) error {
	nodeID, realm := s.AuthID(), s.Realm()
	oid, _ := wamp.AsString(s.Extra()["node_oid"])
	if !wire.ValidNodeID(nodeID) || !wire.ValidRealm(realm) || !wire.ValidOID(oid) {
		return fmt.Errorf("cannot use this session: the relay calls the node %q (%q) in realm %q", nodeID, oid, realm)
	}
	u.mu.Lock()
	if u.identity != nil && u.identity.place() == id.place() { // and not another one meanwhile
		if u.identity.OID != "" && u.identity.OID != oid {
			u.ring.clear()
		}
		fresh := *u.identity
		fresh.NodeID, fresh.Realm, fresh.OID = nodeID, realm, oid
		u.identity = &fresh
	}
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	options := wamp.Dict{"match": "exact", "invoke": "single", "disclose_caller": true}
	if err := s.Register(ctx, wire.NodeProcedure(nodeID), options, u.handler(realm)); err != nil {
		return err
	}
	u.setLive(s)
	select { // what was to make it try now has been met
	case <-u.wake:
	default:
	}
	u.set(func(st *Status) {
		*st = Status{State: Connected, Since: time.Now(), Relay: st.Relay, Realm: realm, NodeID: nodeID, OID: oid, LastError: st.LastError}
	})
	u.log.Info("joined relay", zap.String("realm", realm), zap.String("node", nodeID))
	if u.cfg.Joined != nil {
		u.cfg.Joined(realm, nodeID, oid)
	}
	return nil
}

func (u *Uplink) setLive(s link) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.live = s
}

func (u *Uplink) sessionConfig(id Identity) session.Config {
	info := wamp.Dict{}
	maps.Copy(info, u.cfg.Agent)
	if u.cfg.Attached != nil {
		a := u.cfg.Attached()
		info["node"] = wamp.Dict{"kind": a.Kind, "version": a.Version, "attached": a.Attached, "since": a.Since, "reason": a.Reason}
	}
	return session.Config{
		URL: id.URL, Role: wire.RoleNode, Key: id.Key, Pin: id.Pin, CAFile: id.CAFile, Unbound: id.Unbound,
		Extra: wamp.Dict{"agent": info}, Ping: u.cfg.Ping, MaxInvocations: maxCalls, Log: u.log,
	}
}

func (u *Uplink) failed(err error, delay time.Duration, failures int) {
	err = asError(err)
	again := false
	u.set(func(s *Status) {
		again = s.LastError != nil && s.LastError.Text == err.Error()
		s.State, s.Failures, s.NextTry = Waiting, failures, time.Now().Add(delay)
		if failures == 1 {
			s.Since = time.Now()
		}
		s.LastError = &Failure{Text: err.Error(), URI: uriOf(err), At: time.Now()}
	})
	log := u.log.Warn
	if again { // a relay that is away for a day is one line, not thousands
		log = u.log.Debug
	}
	log("no session with the relay", zap.Error(err), zap.Int("failures", failures), zap.Duration("retry", delay))
}

// asError gives the end of a session, which the relay may have explained by a
// URI of the table, its kind.
func asError(err error) error {
	var ended *session.Ended
	if errors.As(err, &ended) {
		return ended.Refusal()
	}
	if err == nil {
		return errors.New("the session ended")
	}
	return err
}

func uriOf(err error) string {
	var e *cfcerr.Error
	if errors.As(err, &e) {
		return e.URI()
	}
	return ""
}
