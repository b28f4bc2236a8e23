package session

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// Defaults of Config.
const (
	DefaultTimeout        = 15 * time.Second
	DefaultMaxInvocations = 1024
)

// Config says whom to join and as whom.
type Config struct {
	// URL of the relay, ws or wss (http and https are taken for them). Without
	// a path it is the users' or, for Role "node", the agents' path.
	URL string
	// Realm to join; empty for null, which leaves the choice to the relay.
	Realm string
	// Key logs in by cryptosign; without one, Ticket and AuthID by ticket.
	Key    identity.Key
	AuthID string
	Ticket string
	// Token is a one-time token that makes Key known (authextra activation_code).
	Token string
	// Role is asked for: "node" for agents, else empty.
	Role string
	// NodeID is the name that an agent wishes, where its token leaves it open.
	NodeID string
	// Extra goes into HELLO.authextra, for example "agent".
	Extra wamp.Dict

	// Pin is "sha256:<hex>" of the relay's public key (see Pin); it replaces
	// the usual check of the certificate chain.
	Pin string
	// CAFile has certificates (PEM) that are trusted in place of the system's.
	CAFile string
	// Unbound accepts a relay that cannot see this TLS connection, because a
	// proxy in front of it ends TLS.
	Unbound bool
	// PlainText allows ws:// beyond loopback, for keys only: a token or ticket
	// is never sent so.
	PlainText bool

	// Serializer is "cbor", "msgpack" or "json"; empty offers all.
	Serializer string
	// Header goes into the WebSocket's opening request.
	Header http.Header
	// Timeout is how long dialing and logging in may take together.
	Timeout time.Duration
	// Ping is how often the relay is pinged; two misses end the session.
	// Zero leaves it to the relay.
	Ping time.Duration
	// MaxInvocations bounds what runs at once; beyond it callers get Busy.
	MaxInvocations int
	Log            *zap.Logger
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxInvocations == 0 {
		c.MaxInvocations = DefaultMaxInvocations
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

// Address is the address that a relay's URL stands for: scheme ws or wss, and
// the path of users or, for role "node", of agents.
func Address(raw, role string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's error quotes its input, which may hold a password.
		return nil, cfcerr.Argument("url", "a URL such as wss://relay.example.com")
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return nil, cfcerr.Argument("url", "a URL that begins with wss:// (or ws:// on loopback)")
	}
	if u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, cfcerr.Argument("url", "scheme, host, perhaps port and path, and nothing else")
	}
	path, other := wire.UserPath, wire.AgentPath
	if role == wire.RoleNode {
		path, other = other, path
	}
	base, isOther := strings.CutSuffix(strings.TrimSuffix(u.Path, "/"), other)
	if isOther || u.Path == "" || u.Path == "/" {
		u.Path = base + path
	}
	return u, nil
}

// Authority is what tells one relay from another: host and port, the port
// always given.
func Authority(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "wss":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// check refuses what must not be tried.
func (c Config) check() (*url.URL, error) {
	u, err := Address(c.URL, c.Role)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Key.IsZero() && c.Ticket == "":
		return nil, errors.New("cannot join: neither key nor ticket given")
	case c.Ticket != "" && c.AuthID == "":
		return nil, errors.New("cannot join: a ticket needs the name of its user")
	case c.Pin != "" && !validPin(c.Pin):
		return nil, cfcerr.Argument("pin", PinForm)
	case c.Pin != "" && u.Scheme != "wss":
		return nil, cfcerr.Argument("pin", "a wss:// URL with it: there is no certificate on "+u.Scheme+"://")
	case u.Scheme == "wss" || loopback(u.Hostname()):
	case c.Token != "" || c.Ticket != "":
		return nil, fmt.Errorf("cannot join %s: a token or ticket is never sent in clear; use wss://", u.Host)
	case !c.PlainText:
		return nil, fmt.Errorf("cannot join %s: ws:// without TLS is for loopback only; use wss://", u.Host)
	}
	return u, nil
}
