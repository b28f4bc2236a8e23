package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Join dials the relay and logs in. A refusal is a *cfcerr.Error with the
// relay's kind, message and details (such as after, in seconds); all else
// could not be reached or not be trusted.
func Join(ctx context.Context, c Config) (*Session, error) {
	c = c.withDefaults()
	u, err := c.check()
	if err != nil {
		return nil, err
	}
	joining, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("no answer within %s", c.Timeout))
	defer cancel()
	conn, err := c.dial(joining, u)
	if untrusted := (x509.UnknownAuthorityError{}); errors.As(err, &untrusted) {
		return nil, fmt.Errorf("cannot trust relay %s: nobody who is trusted here has signed its certificate; give its pin, or a file with its CA: %w", u.Host, err)
	}
	if err != nil {
		return nil, why(joining, err)
	}
	s, err := c.enter(joining, ctx, conn, conn.TLS())
	if err != nil {
		conn.Close()
		var refused *cfcerr.Error
		if errors.As(err, &refused) {
			return nil, err
		}
		return nil, fmt.Errorf("cannot join relay %s: %w", u.Host, why(joining, err))
	}
	return s, nil
}

// Over logs in over a peer that is connected already. Of Config only who joins
// and the limits count.
func Over(ctx context.Context, p wamp.Peer, c Config) (*Session, error) {
	c = c.withDefaults()
	joining, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("no answer within %s", c.Timeout))
	defer cancel()
	s, err := c.enter(joining, ctx, p, nil)
	if err != nil {
		p.Close()
		return nil, why(joining, err)
	}
	return s, nil
}

func (c Config) dial(ctx context.Context, u *url.URL) (*peer.Conn, error) {
	conf, err := c.tls(u.Hostname())
	if err != nil {
		return nil, err
	}
	conn, err := peer.Dial(ctx, u.String(), peer.DialOptions{
		TLS: conf, Serializer: c.Serializer, Header: c.Header, Timeout: c.Timeout, PingInterval: c.Ping})
	if err != nil {
		return nil, err // which says where it failed
	}
	if u.Scheme == "ws" && !c.PlainText && !loopbackAddr(conn.RemoteAddr()) {
		// A name such as localhost may lead anywhere.
		conn.Close()
		return nil, fmt.Errorf("%s is %s, which is not loopback: use wss://", u.Hostname(), conn.RemoteAddr())
	}
	return conn, nil
}

func loopbackAddr(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// why prefers the reason for which a context ended to the bare "deadline
// exceeded".
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// enter does the handshake within joining; the session then lives on without it.
func (c Config) enter(joining, ctx context.Context, p wamp.Peer, cs *tls.ConnectionState) (*Session, error) {
	if err := put(joining, p, &wamp.Hello{Realm: wamp.URI(c.Realm), Details: c.hello(cs)}); err != nil {
		return nil, err
	}
	m, err := take(joining, p)
	if err != nil {
		return nil, err
	}
	if challenge, ok := m.(*wamp.Challenge); ok {
		answer, err := c.answer(challenge, cs)
		if err != nil {
			return nil, err
		}
		if err := put(joining, p, answer); err != nil {
			return nil, err
		}
		if m, err = take(joining, p); err != nil {
			return nil, err
		}
	}
	switch m := m.(type) {
	case *wamp.Welcome:
		if conn, ok := p.(interface{ Welcomed() }); ok {
			conn.Welcomed()
		}
		return start(ctx, p, m, c), nil
	case *wamp.Abort:
		return nil, refusal(m.Reason, m.Details)
	}
	return nil, fmt.Errorf("the relay answered %v, expected WELCOME", m.MessageType())
}

func (c Config) hello(cs *tls.ConnectionState) wamp.Dict {
	extra := wamp.Dict{}
	maps.Copy(extra, c.Extra)
	d := wamp.Dict{"roles": roles(c.Role), "authextra": extra}
	if c.Token != "" {
		extra["activation_code"] = c.Token
	}
	if c.NodeID != "" {
		extra["node_id"] = c.NodeID
	}
	if c.AuthID != "" {
		d["authid"] = c.AuthID
	}
	if c.Role != "" {
		d["authrole"] = c.Role
	}
	if c.Key.IsZero() {
		d["authmethods"] = wamp.List{"ticket"}
		return d
	}
	d["authmethods"] = wamp.List{"cryptosign"}
	extra["pubkey"] = c.Key.Public()
	if identity.ChannelID(cs) != nil {
		extra["channel_binding"] = identity.Binding
	}
	return d
}

func roles(role string) wamp.Dict {
	features := func(names ...string) wamp.Dict {
		f := wamp.Dict{}
		for _, n := range names {
			f[n] = true
		}
		return wamp.Dict{"features": f}
	}
	d := wamp.Dict{
		wamp.RoleCallee: features(wamp.FeatureCallCanceling, wamp.FeatureCallTimeout, wamp.FeatureCallerIdent,
			wamp.FeatureProgCallResults, wamp.FeaturePatternBasedReg),
		wamp.RolePublisher: features(wamp.FeaturePubExclusion, wamp.FeaturePubIdent),
	}
	if role != wire.RoleNode {
		d[wamp.RoleCaller] = features(wamp.FeatureCallCanceling, wamp.FeatureCallTimeout, wamp.FeatureCallerIdent, wamp.FeatureProgCallResults)
		d[wamp.RoleSubscriber] = features(wamp.FeaturePatternSub, wamp.FeaturePubIdent)
	}
	return d
}

// answer answers the challenge. What is signed over TLS is bound to this very
// connection, or else nothing is signed.
func (c Config) answer(m *wamp.Challenge, cs *tls.ConnectionState) (*wamp.Authenticate, error) {
	switch {
	case m.AuthMethod == "ticket" && c.Key.IsZero():
		return &wamp.Authenticate{Signature: c.Ticket, Extra: wamp.Dict{}}, nil
	case m.AuthMethod != "cryptosign" || c.Key.IsZero():
		return nil, fmt.Errorf("the relay asks for %q, which was not offered", m.AuthMethod)
	}
	var channel []byte
	if binding, _ := wamp.AsString(m.Extra["channel_binding"]); binding == identity.Binding {
		if channel = identity.ChannelID(cs); channel == nil {
			return nil, errors.New("the relay binds its challenge to a TLS connection that this is not")
		}
	} else if cs != nil && !c.Unbound {
		// A pin does not help: the relay that it names could pass on the
		// challenge of another one, having taken the binding out of HELLO.
		return nil, errors.New("the relay does not bind its challenge to this TLS connection, as it would if TLS 1.3 reached it: " +
			"if a proxy in front of it ends TLS, allow unbound log-ins")
	}
	challenge, _ := wamp.AsString(m.Extra["challenge"])
	signature, err := c.Key.Sign(challenge, channel)
	if err != nil {
		return nil, err
	}
	return &wamp.Authenticate{Signature: signature, Extra: wamp.Dict{}}, nil
}

// refusal makes an ABORT an error of its reason; what its details hold beside
// the message is for programs.
func refusal(reason wamp.URI, details wamp.Dict) *cfcerr.Error {
	d := maps.Clone(details)
	message, _ := wamp.AsString(d["message"])
	delete(d, "message")
	if message == "" {
		return cfcerr.FromWamp(string(reason), nil, d)
	}
	return cfcerr.FromWamp(string(reason), wamp.List{message}, d)
}

func put(ctx context.Context, p wamp.Peer, m wamp.Message) error {
	if w, ok := p.(writer); ok {
		return w.Write(m)
	}
	select {
	case p.Send() <- m:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func take(ctx context.Context, p wamp.Peer) (wamp.Message, error) {
	select {
	case m, ok := <-p.Recv():
		if !ok {
			return nil, fmt.Errorf("the connection ended before WELCOME (%s)", reasonOf(p))
		}
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func reasonOf(p wamp.Peer) string {
	if r, ok := p.(interface{ Reason() string }); ok {
		if s := r.Reason(); s != "" {
			return s
		}
	}
	return "closed"
}
