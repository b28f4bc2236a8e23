package session

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// farEnd is a relay whose log-in the test decides, over real connections.
type farEnd struct {
	*httptest.Server
	abort   *wamp.Abort // instead of WELCOME
	unbound bool        // as behind a proxy that ends TLS
	mute    bool        // answers no HELLO
	strange wamp.Message

	mu    sync.Mutex
	path  string
	hello *wamp.Hello
	err   error // of the signature or ticket
	conns sync.WaitGroup
}

func (f *farEnd) start(t *testing.T, tlsVersion uint16) *farEnd {
	t.Helper()
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	if tlsVersion == 0 {
		f.Start()
	} else {
		f.TLS = &tls.Config{MaxVersion: tlsVersion}
		f.StartTLS()
	}
	t.Cleanup(func() { f.Close(); f.conns.Wait() })
	return f
}

func (f *farEnd) serve(w http.ResponseWriter, r *http.Request) {
	f.conns.Add(1)
	defer f.conns.Done()
	c, err := peer.Upgrade(w, r, peer.Options{})
	if err != nil {
		return
	}
	defer func() { c.Close(); <-c.Done() }()
	hello, ok := (<-c.Recv()).(*wamp.Hello)
	if !ok {
		return
	}
	f.mu.Lock()
	f.path, f.hello = r.URL.Path, hello
	f.mu.Unlock()
	if f.mute {
		<-c.Recv()
		return
	}
	if f.strange != nil {
		_ = c.Write(f.strange)
		<-c.Recv()
		return
	}
	err = f.challenge(c, hello)
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	if f.abort != nil || err != nil {
		a := f.abort
		if a == nil {
			a = &wamp.Abort{Reason: wamp.ErrAuthenticationFailed, Details: wamp.Dict{"message": err.Error()}}
		}
		c.Finish(a)
		return
	}
	_ = c.Write(&wamp.Welcome{ID: 7, Details: wamp.Dict{"realm": "demo", "authid": "n1", "authrole": "node", "authextra": wamp.Dict{"node_oid": "x"},
		"roles": wamp.Dict{"broker": wamp.Dict{}, "dealer": wamp.Dict{}}}})
	for m := range c.Recv() {
		if _, bye := m.(*wamp.Goodbye); bye {
			c.Finish(&wamp.Goodbye{Reason: wamp.ErrGoodbyeAndOut, Details: wamp.Dict{}})
			return
		}
	}
}

func (f *farEnd) challenge(c *peer.Conn, h *wamp.Hello) error {
	methods, _ := wamp.AsList(h.Details["authmethods"])
	method, _ := wamp.AsString(methods[0])
	extra, _ := wamp.AsDict(h.Details["authextra"])
	ask := wamp.Dict{"challenge": identity.NewChallenge()}
	var channel []byte
	if extra["channel_binding"] == identity.Binding && !f.unbound {
		channel = identity.ChannelID(c.TLS())
		ask["channel_binding"] = identity.Binding
	}
	if err := c.Write(&wamp.Challenge{AuthMethod: method, Extra: ask}); err != nil {
		return err
	}
	a, ok := (<-c.Recv()).(*wamp.Authenticate)
	switch {
	case !ok:
		return errors.New("no AUTHENTICATE")
	case method == "ticket" && a.Signature == "cfct_ticket":
		return nil
	case method == "ticket":
		return errors.New("wrong ticket")
	}
	pubkey, _ := wamp.AsString(extra["pubkey"])
	return identity.Verify(pubkey, ask["challenge"].(string), a.Signature, channel)
}

func (f *farEnd) ws() string { return "ws" + strings.TrimPrefix(f.URL, "http") }

// caFile has the test server's certificate.
func (f *farEnd) caFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestJoin(t *testing.T) {
	k := key(t)
	for _, ser := range []string{"", "cbor", "msgpack", "json"} {
		f := (&farEnd{}).start(t, 0)
		s, err := Join(t.Context(), Config{URL: f.ws(), Role: wire.RoleNode, Key: k, Token: "cfcn_secret", NodeID: "n1",
			Extra: wamp.Dict{"agent": wamp.Dict{"version": "1"}}, Serializer: ser, Ping: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if s.Realm() != "demo" || s.AuthID() != "n1" || s.AuthRole() != "node" || s.Extra()["node_oid"] != "x" {
			t.Errorf("%q: welcome %v", ser, s.Welcome())
		}
		d := f.hello.Details
		extra, _ := wamp.AsDict(d["authextra"])
		agent, _ := wamp.AsDict(extra["agent"])
		if f.path != wire.AgentPath || f.hello.Realm != "" || d["authrole"] != "node" || extra["pubkey"] != k.Public() ||
			extra["activation_code"] != "cfcn_secret" || extra["node_id"] != "n1" || agent["version"] != "1" {
			t.Errorf("%q: HELLO on %s: %v", ser, f.path, d)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if e := s.Ended(); e == nil || e.Reason != "closed" {
			t.Errorf("%q: ended by %v", ser, e)
		}
	}
}

func TestJoinByTicket(t *testing.T) {
	f := (&farEnd{}).start(t, 0)
	s, err := Join(t.Context(), Config{URL: f.ws(), Realm: "demo", AuthID: "alice", Ticket: "cfct_ticket"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if f.path != wire.UserPath || f.hello.Realm != "demo" || f.hello.Details["authid"] != "alice" {
		t.Errorf("HELLO on %s: %v", f.path, f.hello)
	}
}

func TestRefusalsKeepKindAndDetails(t *testing.T) {
	f := (&farEnd{abort: &wamp.Abort{Reason: wamp.URI(cfcerr.LimitExceeded.URI()), Details: wamp.Dict{"message": "cannot join: too often", "after": 7}}}).start(t, 0)
	_, err := Join(t.Context(), Config{URL: f.ws(), Key: key(t)})
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != cfcerr.LimitExceeded || e.Message != "cannot join: too often" || len(e.Details) != 1 {
		t.Fatalf("got %#v", err)
	}
	if after, ok := wamp.AsInt64(e.Details["after"]); !ok || after != 7 {
		t.Errorf("details %v", e.Details)
	}
}

func TestTrust(t *testing.T) {
	for name, c := range map[string]struct {
		version uint16
		unbound bool
		conf    func(*testing.T, *farEnd, *Config)
		want    string // part of the error; empty for none
	}{
		"trusted CA": {tls.VersionTLS13, false, func(t *testing.T, f *farEnd, c *Config) { c.CAFile = f.caFile(t) }, ""},
		"unknown CA": {tls.VersionTLS13, false, nil, "give its pin"},
		"pin":        {tls.VersionTLS13, false, func(_ *testing.T, f *farEnd, c *Config) { c.Pin = Pin(f.Certificate()) }, ""},
		"wrong pin":  {tls.VersionTLS13, false, func(_ *testing.T, _ *farEnd, c *Config) { c.Pin = "sha256:" + strings.Repeat("0", 64) }, "not the pinned one"},
		"wrong pin, right CA": {tls.VersionTLS13, false, func(t *testing.T, f *farEnd, c *Config) {
			c.CAFile, c.Pin = f.caFile(t), "sha256:"+strings.Repeat("0", 64)
		}, "not the pinned one"},
		"no binding":           {tls.VersionTLS13, true, func(t *testing.T, f *farEnd, c *Config) { c.CAFile = f.caFile(t) }, "does not bind"},
		"no binding, allowed":  {tls.VersionTLS13, true, func(t *testing.T, f *farEnd, c *Config) { c.CAFile, c.Unbound = f.caFile(t), true }, ""},
		"no binding, pinned":   {tls.VersionTLS13, true, func(_ *testing.T, f *farEnd, c *Config) { c.Pin = Pin(f.Certificate()) }, "does not bind"},
		"TLS 1.2 cannot bind":  {tls.VersionTLS12, false, func(t *testing.T, f *farEnd, c *Config) { c.CAFile = f.caFile(t) }, "does not bind"},
		"CA file is not there": {tls.VersionTLS13, false, func(_ *testing.T, _ *farEnd, c *Config) { c.CAFile = "/nonexistent" }, "/nonexistent"},
	} {
		f := &farEnd{unbound: c.unbound}
		f.start(t, c.version)
		f.Config.ErrorLog = quiet
		conf := Config{URL: f.ws(), Key: key(t)}
		if c.conf != nil {
			c.conf(t, f, &conf)
		}
		s, err := Join(t.Context(), conf)
		if s != nil {
			s.Close()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v", name, err)
		}
		if name == "wrong pin" && !errors.Is(err, ErrPin) {
			t.Errorf("%s: %v is not ErrPin", name, err)
		}
	}
}

// A challenge that one relay passes on to get at another one's answer is
// worth nothing: what is signed is bound to the connection that it came by.
func TestAChallengePassedOnDoesNotVerify(t *testing.T) {
	victim := (&farEnd{}).start(t, tls.VersionTLS13)
	k := key(t)
	evil := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := peer.Upgrade(w, r, peer.Options{})
		if err != nil {
			return
		}
		defer func() { c.Close(); <-c.Done() }()
		conf, err := Config{CAFile: victim.caFile(t)}.tls("127.0.0.1")
		if err != nil {
			t.Error(err)
			return
		}
		up, err := peer.Dial(r.Context(), victim.ws()+wire.UserPath, peer.DialOptions{TLS: conf})
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { up.Close(); <-up.Done() }()
		_ = up.Write(<-c.Recv())
		_ = c.Write(<-up.Recv())
		if m := <-c.Recv(); m != nil {
			_ = up.Write(m)
		}
		if m := <-up.Recv(); m != nil {
			_ = c.Write(m)
		}
	}))
	evil.StartTLS()
	defer evil.Close()
	s, err := Join(t.Context(), Config{URL: "ws" + strings.TrimPrefix(evil.URL, "http"), Key: k, CAFile: (&farEnd{Server: evil}).caFile(t)})
	if s != nil {
		s.Close()
	}
	if cfcerr.KindOf(err) != cfcerr.AuthenticationFailed {
		t.Errorf("got %v", err)
	}
}

func TestNothingSecretGoesInClear(t *testing.T) {
	k := key(t)
	for name, c := range map[string]struct {
		conf Config
		want string
	}{
		"token":               {Config{URL: "ws://relay.example", Key: k, Token: "x", PlainText: true}, "never sent in clear"},
		"ticket":              {Config{URL: "http://relay.example", AuthID: "a", Ticket: "x", PlainText: true}, "never sent in clear"},
		"key":                 {Config{URL: "ws://192.0.2.1:8080", Key: k}, "loopback only"},
		"pin without TLS":     {Config{URL: "ws://127.0.0.1", Key: k, Pin: "sha256:" + strings.Repeat("0", 64)}, "wss://"},
		"bad pin":             {Config{URL: "wss://127.0.0.1", Key: k, Pin: "sha256:0"}, "64 hex"},
		"nobody":              {Config{URL: "wss://127.0.0.1"}, "neither key nor ticket"},
		"ticket of nobody":    {Config{URL: "wss://127.0.0.1", Ticket: "x"}, "name"},
		"password in the URL": {Config{URL: "wss://a:secret@127.0.0.1", Key: k}, "nothing else"},
		"no URL":              {Config{URL: "cfcn_secret", Key: k}, "wss://"},
	} {
		_, err := Join(t.Context(), c.conf)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAJoinEndsInTime(t *testing.T) {
	f := (&farEnd{mute: true}).start(t, 0)
	_, err := Join(t.Context(), Config{URL: f.ws(), Key: key(t), Timeout: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("mute relay: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Join(ctx, Config{URL: f.ws(), Key: key(t)}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestStrangeAnswersAreErrors(t *testing.T) {
	for _, m := range []wamp.Message{
		&wamp.Goodbye{Reason: "x", Details: wamp.Dict{}},
		&wamp.Challenge{AuthMethod: "scram", Extra: wamp.Dict{}},
		&wamp.Challenge{AuthMethod: "cryptosign", Extra: wamp.Dict{"challenge": "xyz"}},
		&wamp.Challenge{AuthMethod: "cryptosign", Extra: wamp.Dict{"challenge": identity.NewChallenge(), "channel_binding": identity.Binding}},
	} {
		f := (&farEnd{strange: m}).start(t, 0)
		if _, err := Join(t.Context(), Config{URL: f.ws(), Key: key(t)}); err == nil || !strings.Contains(err.Error(), "cannot join") {
			t.Errorf("%v: got %v", m.MessageType(), err)
		}
	}
}

func TestAddress(t *testing.T) {
	for raw, want := range map[string][2]string{ // for users, for agents; empty: refused
		"wss://r":              {"wss://r/ws", "wss://r/agent"},
		"https://r:8443/":      {"wss://r:8443/ws", "wss://r:8443/agent"},
		"ws://127.0.0.1:1/ws":  {"ws://127.0.0.1:1/ws", "ws://127.0.0.1:1/agent"},
		"wss://r/agent":        {"wss://r/ws", "wss://r/agent"},
		"wss://r/cfc/ws":       {"wss://r/cfc/ws", "wss://r/cfc/agent"},
		"wss://r/custom":       {"wss://r/custom", "wss://r/custom"},
		"ftp://r":              {},
		"relay.example":        {},
		"wss://":               {},
		"wss://r/?token=x":     {},
		"wss://r/#x":           {},
		"wss://user@r":         {},
		"wss://r:notaport":     {},
		"ws://[::1]:8080":      {"ws://[::1]:8080/ws", "ws://[::1]:8080/agent"},
		"http://localhost:80/": {"ws://localhost:80/ws", "ws://localhost:80/agent"},
	} {
		for i, role := range []string{"", wire.RoleNode} {
			u, err := Address(raw, role)
			if want[i] == "" && err == nil || want[i] != "" && (err != nil || u.String() != want[i]) {
				t.Errorf("%s for %q: %v, %v", raw, role, u, err)
			}
		}
	}
}

// What cannot be sent is the caller's fault, and the session goes on.
func TestCallThatCannotBeCarried(t *testing.T) {
	f := (&farEnd{}).start(t, 0)
	s, err := Join(t.Context(), Config{URL: f.ws(), Realm: "demo", AuthID: "alice", Ticket: "cfct_ticket"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Call(t.Context(), "a.b", wamp.List{strings.Repeat("x", 17<<20)}, nil, CallOptions{Timeout: 10 * time.Second})
	if cfcerr.KindOf(err) != cfcerr.InvalidArgument {
		t.Errorf("17 MiB: %v", err)
	}
	if s.Ended() != nil {
		t.Errorf("the session ended: %v", s.Ended())
	}
}
