package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/relay/server"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// world is a real relay in this process, and users who each have a
// configuration directory and run command lines.
type world struct {
	t          *testing.T
	relay      *server.Server
	conf       server.Config
	serializer string
	hanging    chan struct{} // one item when the node has a call that it never answers

	secrets []string // that must not stand anywhere
	seen    bytes.Buffer
}

// newWorld starts a relay, with TLS where it is asked for, until the test ends.
func newWorld(t *testing.T, serializer string, secure bool) *world {
	t.Helper()
	w := &world{t: t, serializer: serializer, hanging: make(chan struct{}, 1)}
	if err := config.Defaults(&w.conf); err != nil {
		t.Fatal(err)
	}
	w.conf.Data, w.conf.Listen, w.conf.Monitor.Listen, w.conf.Version = filepath.Join(t.TempDir(), "relay"), "127.0.0.1:0", "", "test"
	if secure {
		w.conf.TLS = certificate(t)
	}
	var err error
	if w.relay, err = server.Open(t.Context(), w.conf, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- w.relay.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, secret := range w.secrets {
			if strings.Contains(w.seen.String(), secret) {
				t.Error("a token was shown again")
			}
		}
	})
	return w
}

// certificate makes a certificate of its own signature for 127.0.0.1.
func certificate(t *testing.T) server.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	tls := server.TLS{Certificate: filepath.Join(t.TempDir(), "relay.crt"), Key: filepath.Join(t.TempDir(), "relay.key"), MinVersion: "1.3"}
	for path, block := range map[string]*pem.Block{tls.Certificate: {Type: "CERTIFICATE", Bytes: der}, tls.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tls
}

// user is somebody at a shell.
type user struct {
	*world
	dir   string
	stdin string
}

func (w *world) user() *user { return &user{world: w, dir: filepath.Join(w.t.TempDir(), "cfc")} }

func (u *user) program(out, errs interface{ Write([]byte) (int, error) }) Program {
	env := map[string]string{envConfig: u.dir}
	return Program{Version: "test", Stdin: strings.NewReader(u.stdin), Stdout: out, Stderr: errs, Getenv: func(name string) string { return env[name] },
		Join: func(ctx context.Context, c session.Config) (Session, error) {
			c.Serializer = u.serializer
			return join(ctx, c)
		}}
}

func (u *user) try(line string, more ...string) (stdout, stderr string, exit int) {
	u.t.Helper()
	var out, errs bytes.Buffer
	exit = u.program(&out, &errs).Run(u.t.Context(), append(strings.Fields(line), more...))
	u.seen.WriteString(errs.String())
	return out.String(), errs.String(), exit
}

// run runs a line that must succeed.
func (u *user) run(line string, more ...string) string {
	u.t.Helper()
	out, errs, exit := u.try(line, more...)
	if exit != 0 {
		u.t.Fatalf("cfc %s: exit %d, %s", line, exit, errs)
	}
	u.seen.WriteString(out)
	return out
}

// token runs a line that prints a token, which is a secret from then on.
func (u *user) token(line string) string {
	u.t.Helper()
	out, errs, exit := u.try(line + " -q")
	if exit != 0 {
		u.t.Fatalf("cfc %s: exit %d, %s", line, exit, errs)
	}
	secret := strings.TrimSpace(out)
	u.secrets = append(u.secrets, secret)
	return secret
}

func (u *user) fails(exit int, want, line string, more ...string) {
	u.t.Helper()
	out, errs, got := u.try(line, more...)
	if got != exit || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 || out != "" {
		u.t.Errorf("cfc %s: exit %d, want %d and %q\n%s%s", line, got, exit, want, errs, out)
	}
}

func (u *user) has(want, line string, more ...string) {
	u.t.Helper()
	if out := u.run(line, more...); !strings.Contains(out, want) {
		u.t.Errorf("cfc %s: no %q in\n%s", line, want, out)
	}
}

// owner is who claimed the first owner's token, with a realm demo.
func (w *world) owner() *user {
	w.t.Helper()
	u := w.user()
	secret, err := os.ReadFile(w.conf.OwnerTokenFile())
	if err != nil {
		w.t.Fatal(err)
	}
	w.secrets = append(w.secrets, strings.TrimSpace(string(secret)))
	line := "login " + w.relay.URL() + " --token-file " + w.conf.OwnerTokenFile()
	if pin := w.relay.Pin(); pin != "" {
		line += " --pin " + pin
	}
	u.run(line)
	u.run("realm create demo")
	return u
}

// agent pairs as an agent would, and answers each operation with what it was asked.
func (w *world) agent(token string) *session.Session {
	w.t.Helper()
	key, err := identity.New()
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := session.Join(w.t.Context(), session.Config{URL: w.relay.URL(), Pin: w.relay.Pin(), Key: key, Token: token, Role: wire.RoleNode, Serializer: w.serializer,
		Extra: wamp.Dict{"agent": wamp.Dict{"version": "1", "protocol": wire.Protocol, "os": "linux", "arch": "amd64", "hostname": "host-1", "started": wire.Time(time.Now()),
			"node": wamp.Dict{"kind": "crossbar", "version": "26.10.1", "attached": true}}}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	if err := s.Register(w.t.Context(), wire.NodeProcedure(s.AuthID()), nil, w.answerAsNode); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) answerAsNode(ctx context.Context, inv *session.Invocation) (any, error) {
	key, _ := inv.Args[0].(string)
	o, ok := catalog.NewIndex().ByKey(key)
	if !ok {
		return nil, cfcerr.New(cfcerr.NoSuchProcedure, "cannot call %s: there is no such operation", key)
	}
	if err := o.Check(inv.Args[1:], inv.Kwargs); err != nil {
		return nil, err
	}
	switch key {
	case catalog.NodeGetWorkers.Key():
		return []any{"w1", "w2"}, nil
	case catalog.NodeShutdownOp.Key():
		select {
		case w.hanging <- struct{}{}:
		default:
		}
		<-ctx.Done() // until canceled or too late
		return nil, ctx.Err()
	case catalog.RouterGetRealm.Key():
		return nil, cfcerr.New(cfcerr.NoSuchWorker, "cannot show realm: node has no worker %s", inv.Args[1]).With("worker_id", inv.Args[1])
	default:
		return wamp.Dict{"asked": key, "args": inv.Args[1:], "kwargs": inv.Kwargs, "by": inv.Caller.AuthID}, nil
	}
}

var serializers = []string{"cbor", "msgpack", "json"}

// The way of a new relay, all by command lines: owner, realm, node, calls.
func TestSpineByCommandLine(t *testing.T) {
	for _, serializer := range serializers {
		t.Run(serializer, func(t *testing.T) {
			w := newWorld(t, serializer, false)
			u := w.owner()
			u.has("realm", "status")
			u.has("*        demo   admin  1        0      0", "realm ls")
			agent := w.agent(u.token("node invite --node-id n1"))
			u.has("n1    online", "node ls")
			u.has("26.10.1", "node show n1")
			if out := u.run("node get-workers n1"); out != "w1\nw2\n" {
				t.Errorf("%q", out)
			}
			var got struct {
				Asked  string         `json:"asked"`
				Args   []any          `json:"args"`
				Kwargs map[string]any `json:"kwargs"`
				By     string         `json:"by"`
			}
			out := u.run("router start-router-realm n1 w1 null --json --config", `{"name": "com.example", "options": {"n": 9007199254740993, "f": 0.5, "l": [null, true]}}`)
			if err := json.Unmarshal([]byte(out), &got); err != nil || got.Asked != "router.start_router_realm" || got.By == "" || len(got.Args) != 3 || got.Args[0] != "w1" || got.Args[1] != nil {
				t.Errorf("%v, %s", err, out)
			}
			if !strings.Contains(out, "9007199254740993") {
				t.Errorf("a number changed on its way: %s", out)
			}
			u.has("asked   node.stop_worker", "node stop-worker n1 w1 --kill")
			u.has(`args    ["w1","router",{"title":"x"}]`, "node start-worker n1 w1 router --options", "{title: x}")
			refusals(t, w, u)
			if err := agent.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { _, _, exit := u.try("node get-workers n1"); return exit == 6 })
			u.fails(6, "n1", "node get-workers n1")
			u.has("n1    offline", "node ls --status offline")
			u.run("node rm n1")
			u.fails(5, "n1", "node get-workers n1")
			u.run("realm rm demo")
		})
	}
}

// refusals are calls of the owner that end badly, each with its exit code.
func refusals(t *testing.T, w *world, u *user) {
	t.Helper()
	u.fails(5, "n2", "node get-workers n2")
	u.fails(5, "node has no worker w9", "router get-router-realm n1 w9 r1")
	u.fails(3, "worker_id", "call cfc.remote.node.get_worker n1 w.1")
	u.fails(5, "there is no such operation", "call cfc.remote.node.unheard_of n1")
	u.fails(4, "", "call com.example.anything")
	u.fails(8, "", "node shutdown n1 --timeout 50ms")
	u.fails(11, "", "realm rm demo")
	u.fails(10, "demo", "realm create demo")
	u.fails(4, "", "node ls --realm other")
	select {
	case <-w.hanging: // of the call that was too late
	default:
	}
	canceled, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-w.hanging:
			cancel()
		case <-canceled.Done():
		}
	}()
	var out, errs bytes.Buffer
	if exit := u.program(&out, &errs).Run(canceled, []string{"node", "shutdown", "n1"}); exit != 8 {
		t.Errorf("interrupted: exit %d, %s", exit, errs.String())
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it has not come to that in 10 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Users, members and tokens, by command lines alone.
func TestPeopleByCommandLine(t *testing.T) {
	w := newWorld(t, "", false)
	u := w.owner()
	w.agent(u.token("node invite --node-id n1"))

	bob := w.user()
	bob.stdin = u.token("user invite bob --role viewer")
	bob.has("as bob; realm demo.", "login "+w.relay.URL())
	bob.run("node ls")
	bob.fails(4, "", "node stop-worker n1 w1")
	bob.fails(4, "", "node invite")
	bob.fails(4, "", "user ls")
	bob.run("login " + w.relay.URL()) // the key is known now
	u.has("bob    viewer", "realm member ls")
	u.run("realm member add bob operator")
	bob.run("node stop-worker n1 w1")
	u.fails(11, "", "realm member add admin viewer")
	u.run("realm member rm bob")
	bob.fails(4, "", "node ls")
	u.fails(5, "nobody", "user rm nobody")
	u.has("bob", "user ls")
	u.run("user rm bob")
	bob.fails(4, "", "status")

	secret := u.token("token create user --user carl --ttl 5m")
	tok, err := wire.ParseToken(secret)
	if err != nil {
		t.Fatal(err)
	}
	u.has(tok.ID, "token ls")
	u.fails(2, "a token is never given as an argument", "token rm "+secret)
	u.run("token rm " + tok.ID)
	carl := w.user()
	carl.stdin = secret
	carl.fails(4, "", "login "+w.relay.URL())
	u.fails(3, "ttl", "node invite --ttl soon")
}

// Over TLS the relay is known by its pin, which each invitation tells.
func TestPinByCommandLine(t *testing.T) {
	w := newWorld(t, "", true)
	u := w.owner()
	out, _, exit := u.try("node invite")
	if exit != 0 || !strings.Contains(out, "cfc-agent pair "+w.relay.URL()+" --pin "+w.relay.Pin()+"\n") {
		t.Errorf("%s", out)
	}
	bob := w.user()
	bob.stdin = u.token("user invite bob")
	bob.fails(1, "certificate", "login "+w.relay.URL())
	bob.fails(1, "not the pinned one", "login "+w.relay.URL()+" --pin sha256:"+strings.Repeat("0", 64))
	bob.run("login " + w.relay.URL() + " --pin " + w.relay.Pin())
	bob.has("bob", "status")
	u.run("login " + w.relay.URL() + " --ca " + w.conf.TLS.Certificate)
}

// lines is an output that another goroutine reads while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) has(want string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), want)
}

func TestEventsByCommandLine(t *testing.T) {
	w := newWorld(t, "", false)
	u := w.owner()
	ctx, stop := context.WithCancel(t.Context())
	var out, errs lines
	exit := make(chan int, 1)
	go func() { exit <- u.program(&out, &errs).Run(ctx, []string{"events"}) }()
	// Whether the subscriptions stand shows by an event alone.
	var agent *session.Session
	token := u.token("node invite --node-id n1 --uses 1")
	agent = w.agent(token)
	topic := catalog.OnWorkerStarted.URI()
	eventually(t, func() bool {
		if err := agent.Publish(t.Context(), topic, nil, wamp.List{"n1", "w1", wamp.Dict{"time": wire.Time(time.Now()), "type": "router"}}, nil); err != nil {
			t.Fatal(err)
		}
		return out.has("node.on_worker_started  n1  w1  type=router\n")
	})
	u.run("node rm n1")
	eventually(t, func() bool { return out.has("on_node_unpaired  n1") && out.has("on_node_offline  n1") })
	u.run("realm rm demo")
	if got := <-exit; got != 4 || !errs.has("connection lost: ") {
		t.Errorf("exit %d, %s", got, errs.b.String())
	}
	stop()
}
