package auth

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/pairing"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/relay/store/storetest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a relay's front door: a real store, the real claims behind it, and
// real connections, over TLS or not. What Handshake finds out goes to ids.
type rig struct {
	*storetest.World
	t        *testing.T
	auth     *Auth
	audited  *recorder
	mu       sync.Mutex
	now      time.Time
	url      string // plain
	secure   string // TLS
	client   *tls.Config
	ids      chan route.Identity
	failures chan error
}

type recorder struct {
	mu  sync.Mutex
	all []audit.Event
}

func (r *recorder) Record(e audit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
}

func (r *recorder) last() audit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		return audit.Event{}
	}
	return r.all[len(r.all)-1]
}

// noHub stands for a hub without sessions.
type noHub struct{}

func (*noHub) AddRealm(string) error                                  { return nil }
func (*noHub) RemoveRealm(string, string)                             {}
func (*noHub) AddNode(string, string, string, route.Presence) error   { return nil }
func (*noHub) RemoveNode(string, string)                              {}
func (*noHub) End(string, string, func(route.Identity) bool) int      { return 0 }
func (*noHub) Presence(string, string) (route.Presence, bool)         { return route.Presence{}, false }
func (*noHub) Count(string) (int, int)                                { return 0, 0 }
func (*noHub) Publish(string, *catalog.Event, string, map[string]any) {}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "data", "relay.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := &rig{World: storetest.NewWorld(t, s), t: t, audited: &recorder{}, now: storetest.Start,
		ids: make(chan route.Identity, 16), failures: make(chan error, 64)}
	m := pairing.New(pairing.Config{Store: s, Hub: &noHub{}, Audit: r.audited, Now: r.clock, OwnerTokenFile: filepath.Join(t.TempDir(), "t")})
	cfg := Config{Store: s, Claims: m, Audit: r.audited, Version: "1.2.3", Now: r.clock}
	if change != nil {
		change(&cfg)
	}
	r.auth = New(cfg)
	r.Realm("r1", "root")
	r.Realm("r2", "root")
	serve := http.HandlerFunc(r.serve)
	plain := httptest.NewServer(serve)
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(serve)
	t.Cleanup(secure.Close)
	r.url, r.secure = "ws"+strings.TrimPrefix(plain.URL, "http"), "wss"+strings.TrimPrefix(secure.URL, "https")
	r.client = secure.Client().Transport.(*http.Transport).TLSClientConfig
	return r
}

// serve logs a connection in and answers WELCOME as the hub would.
func (r *rig) serve(w http.ResponseWriter, q *http.Request) {
	c, err := peer.Upgrade(w, q, peer.Options{})
	if err != nil {
		return
	}
	id, err := r.auth.Handshake(q.Context(), c, q.URL.Path == wire.AgentPath)
	if err != nil {
		r.failures <- err
		return
	}
	r.ids <- id
	c.Finish(&wamp.Welcome{ID: 1, Details: wamp.Dict{"realm": id.Realm, "authid": id.AuthID, "authrole": id.Role, "authextra": id.Extra}})
}

// in makes failures those of a subtest, while it runs.
func (r *rig) in(t *testing.T) {
	outer := r.t
	r.t = t
	t.Cleanup(func() { r.t = outer })
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
	r.Now = r.now
}

func newKey(t testing.TB) identity.Key {
	t.Helper()
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// caller is one log-in as a client does it, with what it does differently.
type caller struct {
	key    identity.Key
	agent  bool
	path   string // other than the role's
	tls    bool
	realm  string
	extra  wamp.Dict // into authextra
	change func(*wamp.Hello)
	sign   func(challenge string, channel []byte) (string, error)
	ticket string
	format string // serializer; JSON if empty
}

func (k caller) hello() *wamp.Hello {
	extra := wamp.Dict{"pubkey": k.key.Public()}
	for n, v := range k.extra {
		extra[n] = v
	}
	d := wamp.Dict{"roles": wamp.Dict{"caller": wamp.Dict{}}, "authmethods": wamp.List{"cryptosign"}, "authextra": extra, "authid": "somebody-else"}
	if k.agent {
		d["authrole"] = wire.RoleNode
	}
	h := &wamp.Hello{Realm: wamp.URI(k.realm), Details: d}
	if k.change != nil {
		k.change(h)
	}
	return h
}

// connect opens a connection that is closed with the test.
func (r *rig) connect(k caller) *peer.Conn {
	r.t.Helper()
	url, conf := r.url, (*tls.Config)(nil)
	if k.tls {
		url, conf = r.secure, r.client
	}
	path := wire.UserPath
	if k.agent {
		path = wire.AgentPath
	}
	if k.path != "" {
		path = k.path
	}
	c, err := peer.Dial(r.t.Context(), url+path, peer.DialOptions{TLS: conf, Serializer: cmp.Or(k.format, "json")})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close(); <-c.Done() })
	return c
}

// login does the whole log-in and returns WELCOME's details or the ABORT.
func (r *rig) login(k caller) (wamp.Dict, *wamp.Abort) {
	r.t.Helper()
	return r.loginOn(r.connect(k), k)
}

func (r *rig) loginOn(c *peer.Conn, k caller) (wamp.Dict, *wamp.Abort) {
	r.t.Helper()
	if err := c.Write(k.hello()); err != nil {
		r.t.Fatal(err)
	}
	m := r.read(c)
	if ch, ok := m.(*wamp.Challenge); ok {
		answer := k.ticket
		if ch.AuthMethod == methodKey {
			answer = r.sign(c, k, ch)
		}
		if err := c.Write(&wamp.Authenticate{Signature: answer, Extra: wamp.Dict{}}); err != nil {
			r.t.Fatal(err)
		}
		m = r.read(c)
	}
	switch m := m.(type) {
	case *wamp.Welcome:
		return m.Details, nil
	case *wamp.Abort:
		return nil, m
	}
	r.t.Fatalf("got %T", m)
	return nil, nil
}

func (r *rig) sign(c *peer.Conn, k caller, ch *wamp.Challenge) string {
	r.t.Helper()
	var channel []byte
	if ch.Extra["channel_binding"] == identity.Binding {
		channel = identity.ChannelID(c.TLS())
	}
	if k.sign == nil {
		k.sign = k.key.Sign
	}
	answer, err := k.sign(ch.Extra["challenge"].(string), channel)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

func (r *rig) read(c *peer.Conn) wamp.Message {
	r.t.Helper()
	select {
	case m, ok := <-c.Recv():
		if !ok {
			r.t.Fatalf("the connection ended: %s", c.Reason())
		}
		return m
	case <-time.After(10 * time.Second):
		r.t.Fatal("no answer within 10 s")
		return nil
	}
}

// welcome wants a log-in to succeed.
func (r *rig) welcome(k caller) (wamp.Dict, route.Identity) {
	r.t.Helper()
	d, abort := r.login(k)
	if abort != nil {
		r.t.Fatalf("refused: %s %v (audit %+v)", abort.Reason, abort.Details, r.audited.last())
	}
	return d, <-r.ids
}

// refused wants a log-in to be refused with that URI, and why in the audit log.
func (r *rig) refused(k caller, uri, why string) *wamp.Abort {
	r.t.Helper()
	_, abort := r.login(k)
	if abort == nil {
		r.t.Fatalf("let in, want %s", uri)
	}
	if string(abort.Reason) != uri {
		r.t.Fatalf("got %s %v, want %s", abort.Reason, abort.Details, uri)
	}
	if s, _ := abort.Details["message"].(string); !strings.HasPrefix(s, "cannot ") && !strings.HasPrefix(s, "invalid argument") {
		r.t.Errorf("message %q", s)
	}
	if got := r.audited.last(); got.Event != audit.LoginRefused || !strings.Contains(got.Reason, why) {
		r.t.Errorf("audit has %+v, want reason %q", got, why)
	}
	<-r.failures
	return abort
}

// known makes a key a user's.
func (r *rig) known(user string) identity.Key {
	r.t.Helper()
	k := newKey(r.t)
	tok := r.Token(store.Token{Purpose: wire.ForUser, User: user})
	if _, err := r.ByUser(tok, k.Public()); err != nil {
		r.t.Fatal(err)
	}
	return k
}

// node makes a key a node's.
func (r *rig) node(realm, id string) (identity.Key, store.Node) {
	r.t.Helper()
	k := newKey(r.t)
	out, err := r.ByNode(r.Token(store.Token{Purpose: wire.ForNode, Realm: realm, NodeID: id}), k.Public(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	return k, out.Node
}

// line is a connection without a network: from any address, and with any
// message of Go values.
type line struct {
	in      chan wamp.Message
	out     []wamp.Message
	address string
	state   *tls.ConnectionState
	closed  bool
}

func (l *line) Recv() <-chan wamp.Message  { return l.in }
func (l *line) Write(m wamp.Message) error { l.out = append(l.out, m); return nil }
func (l *line) Finish(m wamp.Message)      { l.out = append(l.out, m); l.closed = true }
func (l *line) Close()                     { l.closed = true }
func (l *line) RemoteAddr() string         { return l.address }
func (l *line) TLS() *tls.ConnectionState  { return l.state }

// say plays messages to a handshake from the address and returns its last answer.
func (r *rig) say(address string, state *tls.ConnectionState, agent bool, all ...wamp.Message) (wamp.Message, error) {
	l := &line{in: make(chan wamp.Message, len(all)), address: address, state: state}
	for _, m := range all {
		l.in <- m
	}
	close(l.in)
	_, err := r.auth.handshake(context.Background(), l, agent)
	if err == nil || !l.closed {
		return nil, errors.Join(err, fmt.Errorf("neither refused nor closed: %v", l.out))
	}
	if len(l.out) == 0 {
		return nil, err
	}
	return l.out[len(l.out)-1], err
}
