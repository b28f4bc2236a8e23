package nodelink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// refusal is why a connection was not admitted. The far side learns reason and
// text; detail is for the log. The reasons are those that make a stock node try
// again: others would shut it down.
type refusal struct {
	reason wamp.URI
	text   string
	detail string
}

func (r *refusal) Error() string {
	if r.detail == "" {
		return r.text
	}
	return r.text + ": " + r.detail
}

// serve takes one connection from handshake to end.
func (l *Link) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s, err := l.login(ctx, conn)
	l.known(conn)
	if err != nil {
		l.refused(err)
		return
	}
	stop()
	l.run(ctx, s)
}

// login admits the node or refuses whoever it is.
func (l *Link) login(ctx context.Context, conn net.Conn) (*session, error) {
	if err := conn.SetDeadline(time.Now().Add(l.cfg.LoginTimeout)); err != nil {
		return nil, err
	}
	sock, err := accept(conn, l.cfg.StallTimeout)
	if err != nil {
		return nil, err
	}
	hello, err := expect[*wamp.Hello](sock)
	if err != nil {
		return nil, abort(sock, err)
	}
	s, err := l.authenticate(sock, hello)
	if err != nil {
		return nil, abort(sock, err)
	}
	if err = l.admit(ctx, s); err != nil {
		return nil, abort(sock, err)
	}
	s.applies = l.cfg.Boots != nil && l.cfg.Boots.Apply(ctx)
	if err = conn.SetDeadline(time.Time{}); err == nil {
		err = sock.say(l.welcome(s))
	}
	if err != nil {
		l.release(s, "closed")
		return nil, err
	}
	sock.limit.Store(maxMessage)
	return s, nil
}

func (l *Link) authenticate(sock *socket, hello *wamp.Hello) (*session, error) {
	details := wamp.NormalizeDict(hello.Details)
	role, _ := wamp.AsString(details["authrole"])
	methods, _ := wamp.AsList(details["authmethods"])
	extra, _ := wamp.AsDict(details["authextra"])
	pubkey, _ := wamp.AsString(extra["pubkey"])
	switch {
	case role != wire.RoleNode:
		return nil, &refusal{wamp.ErrAuthenticationFailed, "only a node may join here", fmt.Sprintf("authrole %.40q", role)}
	case !slices.Contains(methods, any("cryptosign")):
		return nil, &refusal{wamp.ErrAuthenticationFailed, "expected authmethod cryptosign", ""}
	case !wire.ValidPubkey(pubkey) || pubkey != l.cfg.Pubkey:
		return nil, &refusal{wamp.ErrAuthenticationFailed, "this is not the node of this agent", fmt.Sprintf("its key is %.64q, expected %s", pubkey, l.cfg.Pubkey)}
	}
	challenge := identity.NewChallenge()
	if err := sock.say(&wamp.Challenge{AuthMethod: "cryptosign", Extra: wamp.Dict{"challenge": challenge, "channel_binding": nil}}); err != nil {
		return nil, err
	}
	answer, err := expect[*wamp.Authenticate](sock)
	if err != nil {
		return nil, err
	}
	if err = identity.Verify(pubkey, challenge, answer.Signature, nil); err != nil {
		return nil, &refusal{wamp.ErrAuthenticationFailed, "the signature does not verify", err.Error()}
	}
	kind, _ := wamp.AsString(extra["kind"])
	return newSession(sock, kind), nil
}

// admit makes s the one session. A living one is not displaced; one that does
// not answer is ended first.
func (l *Link) admit(ctx context.Context, s *session) error {
	for {
		old := l.occupy(s)
		if old == nil {
			return nil
		}
		ping, cancel := context.WithTimeout(ctx, l.cfg.ReplaceAfter)
		_, err := old.call(ping, "utcnow", nil, nil)
		cancel()
		if cfcerr.KindOf(err) != cfcerr.Timeout && !old.ended() {
			return &refusal{wamp.URI(cfcerr.DuplicateIdentity.URI()), "a node with this key is connected already", ""}
		}
		old.end("replaced")
		l.log.Warn("node session does not answer, replaced by a new one", zap.Duration("after", l.cfg.ReplaceAfter))
		<-old.gone
	}
}

func (l *Link) welcome(s *session) *wamp.Welcome {
	none := func() wamp.Dict { return wamp.Dict{"features": wamp.Dict{}} }
	return &wamp.Welcome{ID: s.id, Details: wamp.Dict{
		"roles": wamp.Dict{"broker": none(), "dealer": none()},
		"realm": Realm, "authid": AuthID, "authrole": wire.RoleNode, "authmethod": "cryptosign", "authprovider": wire.AuthProvider,
		// An empty authextra would mean the same as false to the node.
		"authextra": wamp.Dict{"on_start_apply_config": s.applies},
	}}
}

// expect reads one message of the given type.
func expect[M wamp.Message](sock *socket) (M, error) {
	var none M
	m, err := sock.read()
	if err != nil {
		return none, err
	}
	if want, ok := m.(M); ok {
		return want, nil
	}
	return none, &refusal{wamp.ErrProtocolViolation, "protocol violation", fmt.Sprintf("expected %s, got %s", none.MessageType(), m.MessageType())}
}

// abort tells the far side why it was refused, and gives the error back.
func abort(sock *socket, err error) error {
	var r *refusal
	if errors.As(err, &r) {
		// The connection is closed next; whether this arrives changes nothing.
		_ = sock.say(&wamp.Abort{Reason: r.reason, Details: wamp.Dict{"message": r.text}})
	}
	return err
}
