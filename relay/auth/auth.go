// Package auth finds out who is at the other end of a new connection, before
// anything else of the relay hears of it.
//
// Handshake plays the router's side of the log-in on the raw connection: HELLO
// within 5 s, CHALLENGE, AUTHENTICATE, all within 10 s. Users and agents sign
// the challenge (WAMP-cryptosign, bound to the TLS connection where the client
// asks for it and TLS is 1.3), scripts give a ticket. A one-time token that
// comes with HELLO (authextra.activation_code) is claimed when the signature
// has been verified, never before, and never over plain text beyond loopback.
// What comes out is a route.Identity, from which WELCOME is made by package
// route; or an ABORT, sent here:
//
//	wamp.error.authentication_failed   key or ticket not known, signature wrong
//	wamp.error.not_authorized          no right in that realm, or no such realm; wrong path
//	fabric.auth-failed.node-unpaired   an agent's key that is not, or no longer, paired
//	cfc.error.token_invalid            the token is no good; why is in the audit log
//	cfc.error.name_taken, already_exists, invalid_argument, limit_exceeded
//	wamp.close.system_shutdown         ctx was canceled: the relay is stopping
//
// Everybody is challenged, known or not, and whose a key is is looked up only
// after the signature: so neither answer nor time tells a stranger who exists.
//
// Gate bounds how many connections may be in this state; the throttle bounds
// how much the answers to failures are worth: beyond 10 a minute for one key, or
// 600 for one address, the answer is limit_exceeded with after (seconds). A good
// key is let in all the same, so nobody can lock out another.
package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// Store is what a log-in reads.
type Store interface {
	Holder(ctx context.Context, pubkey string) (store.Holder, error)
	Role(ctx context.Context, realm, user string) (wire.Role, error)
	Node(ctx context.Context, oid string) (store.Node, error)
	Token(ctx context.Context, id string) (store.Token, error)
	Ticket(ctx context.Context, user string, t wire.Token, now time.Time) (store.Token, error)
	UseTicket(ctx context.Context, user string, t wire.Token, now time.Time) (store.Token, error)
}

// Claims brings new keys in, with all that follows from it. address is the
// claimer's host.
type Claims interface {
	ClaimUser(ctx context.Context, c store.UserClaim, address string) (store.UserClaimed, error)
	ClaimNode(ctx context.Context, c store.NodeClaim, address string) (store.NodeClaimed, error)
}

// Auditor takes refusals with their true reasons.
type Auditor interface{ Record(audit.Event) }

// Config of an Auth. Zero values mean the defaults of the wire contract.
type Config struct {
	Store   Store
	Claims  Claims
	Audit   Auditor
	Log     *zap.Logger
	Version string // of the relay, told to agents

	HelloTimeout    time.Duration // 5 s
	WelcomeTimeout  time.Duration // 10 s
	KeyFailures     int           // a minute; 10
	AddressFailures int           // a minute; 600
	Now             func() time.Time
}

// Auth logs connections in.
type Auth struct {
	cfg      Config
	throttle *throttle
}

// New makes an Auth.
func New(cfg Config) *Auth {
	def(&cfg.HelloTimeout, 5*time.Second)
	def(&cfg.WelcomeTimeout, 10*time.Second)
	def(&cfg.KeyFailures, 10)
	def(&cfg.AddressFailures, 600)
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Auth{cfg, newThrottle(cfg.KeyFailures, cfg.AddressFailures)}
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Handshake logs a connection in. A refusal has been answered with ABORT, and
// the connection ended, when it returns an error.
func (a *Auth) Handshake(ctx context.Context, c *peer.Conn, agentPath bool) (route.Identity, error) {
	return a.handshake(ctx, c, agentPath)
}

// conn is what a log-in needs of a connection.
type conn interface {
	Recv() <-chan wamp.Message
	Write(m wamp.Message) error
	Finish(m wamp.Message)
	Close()
	RemoteAddr() string
	TLS() *tls.ConnectionState
}

// attempt is one log-in under way.
type attempt struct {
	*Auth
	conn
	host  string
	hello hello
	user  string // as far as it is known, for the audit log
}

func (a *Auth) handshake(outer context.Context, c conn, agentPath bool) (route.Identity, error) {
	ctx, cancel := context.WithTimeout(outer, a.cfg.WelcomeTimeout)
	defer cancel()
	at := &attempt{Auth: a, conn: c, host: host(c.RemoteAddr())}
	id, err := at.run(ctx, agentPath)
	if errors.Is(outer.Err(), context.Canceled) && cfcerr.KindOf(err) == cfcerr.Canceled {
		err = errStopping // in the midst of what the log-in reads or claims
	}
	if err != nil {
		return route.Identity{}, at.refuse(err)
	}
	return id, nil
}

func (at *attempt) run(ctx context.Context, agentPath bool) (route.Identity, error) {
	hctx, cancel := context.WithTimeout(ctx, at.cfg.HelloTimeout)
	defer cancel()
	m, err := at.receive(hctx, "HELLO")
	if err != nil {
		return route.Identity{}, err
	}
	hi, ok := m.(*wamp.Hello)
	if !ok {
		return route.Identity{}, violation(m, "HELLO")
	}
	if at.hello, err = parseHello(hi, agentPath); err != nil {
		return route.Identity{}, err
	}
	if at.hello.secret() && at.TLS() == nil && !loopback(at.host) {
		return route.Identity{}, refusal{errPlainText, "secret over plain text"}
	}
	id := route.Identity{Address: at.RemoteAddr(), Method: at.hello.method, Hello: at.hello.details}
	switch {
	case agentPath:
		err = at.agent(ctx, &id)
	case at.hello.method == methodTicket:
		err = at.script(ctx, &id)
	default:
		err = at.person(ctx, &id)
	}
	return id, err
}

func (at *attempt) receive(ctx context.Context, what string) (wamp.Message, error) {
	select {
	case m, ok := <-at.Recv():
		if !ok {
			return nil, errGone
		}
		if _, gone := m.(*wamp.Abort); gone {
			return nil, errGone
		}
		return m, nil
	case <-ctx.Done():
		return nil, tooLate(ctx, what)
	}
}

// ask sends a challenge and returns the answer.
func (at *attempt) ask(ctx context.Context, method string, extra wamp.Dict) (string, error) {
	if err := at.Write(&wamp.Challenge{AuthMethod: method, Extra: extra}); err != nil {
		return "", errGone
	}
	m, err := at.receive(ctx, "AUTHENTICATE")
	if err != nil {
		return "", err
	}
	answer, ok := m.(*wamp.Authenticate)
	if !ok {
		return "", violation(m, "AUTHENTICATE")
	}
	return answer.Signature, nil
}

var errGone = errors.New("the connection ended before the log-in did")
