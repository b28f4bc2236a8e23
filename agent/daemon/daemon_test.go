package daemon

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/control"
	"fabric.center/cfc/agent/nodelink/nodetest"
	"fabric.center/cfc/agent/state"
	"fabric.center/cfc/agent/uplink"
	"fabric.center/cfc/agent/uplink/relaytest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is a daemon that runs, and what is around it.
type agent struct {
	cfg    Config
	client *control.Client
	node   identity.Key
	reload chan os.Signal
	log    *buffer
	stop   func() error
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// settings are those of a test: short paths, as a socket needs them.
func settings(t *testing.T) (Config, identity.Key) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cfc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	if err := config.Defaults(&c); err != nil {
		t.Fatal(err)
	}
	c.Data, c.Control, c.Policy = filepath.Join(dir, "data"), filepath.Join(dir, "a.sock"), filepath.Join(dir, "policy.yaml")
	c.Node.Listen, c.Node.Pubkey, c.Version = "127.0.0.1:0", k.Public(), "1.2.3"
	c.Log.Level = "debug"
	writeFile(t, c.Policy, "version: 1\n")
	return c, k
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, c Config, node identity.Key) *agent {
	t.Helper()
	a := &agent{cfg: c, client: control.NewClient(c.Control), node: node, reload: make(chan os.Signal, 1), log: &buffer{}}
	log, err := NewLog(c.Log, a.log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c, a.reload, log) }()
	a.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := a.stop(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the control socket", func() bool { _, err := a.client.Status(t.Context()); return err == nil })
	return a
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (a *agent) status(t *testing.T) control.Status {
	t.Helper()
	s, err := a.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// attach makes a node join the agent.
func (a *agent) attach(t *testing.T) *nodetest.Node {
	t.Helper()
	n, err := nodetest.Join(t.Context(), nodetest.Config{Addr: a.status(t).Agent.Listen, Key: a.node})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	eventually(t, "the node is attached", func() bool { return a.status(t).Node.Attached })
	return n
}

// pair pairs the agent as n1, and waits until the relay has it online.
func (a *agent) pair(t *testing.T, relay *relaytest.Relay) {
	t.Helper()
	if _, err := a.client.Pair(t.Context(), state.Request{URL: relay.URL(), Token: relay.Invite("n1")}); err != nil {
		t.Fatal(err)
	}
	relay.WaitOnline("n1")
}

func TestFromNothingToACallOfTheNode(t *testing.T) {
	c, k := settings(t)
	a := start(t, c, k)
	a.attach(t) // before it is paired, and without any relay
	if s := a.status(t); s.Pairing != nil || s.Uplink.State != uplink.Unpaired || s.Agent.Version != "1.2.3" || len(s.Faults) != 0 {
		t.Errorf("status %+v", s)
	}
	relay := relaytest.New(t, true)
	token := relay.Invite("n1")
	p, err := a.client.Pair(t.Context(), state.Request{URL: relay.URL(), Token: token, Pin: relay.Pin()})
	if err != nil || p.NodeID != "n1" || p.Realm != relaytest.Realm || !wire.ValidOID(p.OID) {
		t.Fatalf("pairing %+v, %v", p, err)
	}
	relay.WaitOnline("n1")
	v, err := relay.Call(t.Context(), "n1", catalog.NodeGetStatus.Key())
	if d, _ := wamp.AsDict(v); err != nil || d["title"] == nil {
		t.Errorf("get_status %v, %v", v, err)
	}
	v, err = relay.Call(t.Context(), "n1", catalog.NodeStartWorker.Key(), "w1", wamp.Dict{"type": "router"})
	if d, _ := wamp.AsDict(v); err != nil || d["id"] != "w1" {
		t.Errorf("start_worker %v, %v", v, err)
	}
	eventually(t, "the worker's events", func() bool {
		var topics []string
		for _, e := range relay.Events() {
			if e.Arguments[0] != "n1" {
				t.Fatalf("event of %v", e.Arguments)
			}
			topics = append(topics, string(e.Topic))
		}
		all := strings.Join(topics, " ")
		return strings.Contains(all, catalog.OnWorkerStarting.URI()) && strings.Contains(all, catalog.OnWorkerStarted.URI())
	})
	for i := range 3 { // reading again what is on disk breaks nothing
		a.reload <- syscall.SIGHUP
		if err := a.client.Reload(t.Context()); err != nil || len(relay.Hellos()) != 1 {
			t.Errorf("reload %d: %v, %d log-ins", i, err, len(relay.Hellos()))
		}
	}
	a.noSecrets(t, token)
}

// noSecrets looks for the token and the keys where they must not be.
func (a *agent) noSecrets(t *testing.T, token string) {
	t.Helper()
	secrets := []string{token}
	err := filepath.WalkDir(a.cfg.Data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		i, err := e.Info()
		if err != nil {
			return err
		}
		if i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %#o", path, i.Mode().Perm())
		}
		if strings.Contains(string(b), token) {
			t.Errorf("%s has the token", path)
		}
		if filepath.Ext(path) == ".key" {
			secrets = append(secrets, strings.TrimSpace(string(b)))
		}
		return nil
	})
	if err != nil || len(secrets) < 2 {
		t.Errorf("%d secrets, %v", len(secrets), err)
	}
	for _, s := range secrets {
		if strings.Contains(a.log.String(), s) {
			t.Error("the log has a secret")
		}
	}
}

func TestItComesUpAsItWentDown(t *testing.T) {
	c, k := settings(t)
	relay := relaytest.New(t, false)
	a := start(t, c, k)
	a.pair(t, relay)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if relay.Online("n1") {
		eventually(t, "its leaving", func() bool { return !relay.Online("n1") })
	}
	b := start(t, c, k)
	relay.WaitOnline("n1")
	if s := b.status(t); s.Pairing == nil || s.Pairing.NodeID != "n1" {
		t.Errorf("status %+v", s)
	}
	p, err := b.client.Unpair(t.Context())
	if err != nil || p == nil || p.NodeID != "n1" {
		t.Errorf("unpair %+v, %v", p, err)
	}
	eventually(t, "its leaving", func() bool { return !relay.Online("n1") && b.status(t).Uplink.State == uplink.Unpaired })
}

func TestPairingTwiceTakesAWord(t *testing.T) {
	c, k := settings(t)
	a := start(t, c, k)
	first, second := relaytest.New(t, false), relaytest.New(t, false)
	if _, err := a.client.Pair(t.Context(), state.Request{URL: first.URL(), Token: first.Invite("n1")}); err != nil {
		t.Fatal(err)
	}
	r := state.Request{URL: second.URL(), Token: second.Invite("n2")}
	if _, err := a.client.Pair(t.Context(), r); cfcerr.KindOf(err) != cfcerr.AlreadyExists {
		t.Errorf("without: %v", err)
	}
	first.WaitOnline("n1")
	bad := state.Request{URL: second.URL(), Token: first.Invite("n3"), Replace: true}
	if _, err := a.client.Pair(t.Context(), bad); cfcerr.KindOf(err) != cfcerr.TokenInvalid {
		t.Errorf("refused: %v", err)
	}
	eventually(t, "back at the first", func() bool { return first.Online("n1") && a.status(t).Pairing.NodeID == "n1" })
	r.Replace = true
	if p, err := a.client.Pair(t.Context(), r); err != nil || p.NodeID != "n2" {
		t.Errorf("with: %+v, %v", p, err)
	}
	second.WaitOnline("n2")
	if key1, key2 := pubkey(first), pubkey(second); key1 == key2 {
		t.Error("two relays know the same key")
	}
}

func pubkey(r *relaytest.Relay) any {
	extra, _ := wamp.AsDict(r.Hellos()[0]["authextra"])
	return extra["pubkey"]
}

func TestTheHostsPolicyIsObeyed(t *testing.T) {
	c, k := settings(t)
	writeFile(t, c.Policy, "version: 1\nread_only: true\n")
	a := start(t, c, k)
	a.attach(t)
	relay := relaytest.New(t, false)
	a.pair(t, relay)
	_, err := relay.Call(t.Context(), "n1", catalog.NodeStartWorker.Key(), "w1", wamp.Dict{"type": "router"})
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != cfcerr.DeniedByHost || e.Details["rule"] != "read_only" {
		t.Errorf("got %v", err)
	}
	if _, err := relay.Call(t.Context(), "n1", catalog.NodeGetStatus.Key()); err != nil {
		t.Errorf("reading: %v", err)
	}
	writeFile(t, c.Policy, "version: 1\nreadonly: false\n")
	if err := a.client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := a.status(t); len(s.Faults) != 1 || !strings.Contains(s.Faults[0], "readonly") || s.Policy.Error == "" {
		t.Errorf("faults %v", s.Faults)
	}
}

func TestDamageIsToldAndNotFatal(t *testing.T) {
	c, k := settings(t)
	if err := os.Mkdir(c.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	pairing := filepath.Join(c.Data, "pairing.json")
	writeFile(t, pairing, "{")
	a := start(t, c, k)
	a.attach(t)
	if s := a.status(t); len(s.Faults) != 1 || !strings.Contains(s.Faults[0], pairing) || s.Uplink.State != uplink.Unpaired {
		t.Errorf("status %+v", s)
	}
	relay := relaytest.New(t, false)
	if _, err := a.client.Pair(t.Context(), state.Request{URL: relay.URL(), Token: relay.Invite("n1")}); err == nil {
		t.Error("what is damaged was replaced without a word")
	}
	if _, err := a.client.Pair(t.Context(), state.Request{URL: relay.URL(), Token: relay.Invite("n1"), Replace: true}); err != nil {
		t.Error(err)
	}
	relay.WaitOnline("n1")
	if s := a.status(t); len(s.Faults) != 0 {
		t.Errorf("faults %v", s.Faults)
	}
}

// What is wrong with the pairing's files may be put right by somebody who says
// nothing to the agent.
func TestAPairingThatIsMended(t *testing.T) {
	c, k := settings(t)
	relay := relaytest.New(t, false)
	a := start(t, c, k)
	a.pair(t, relay)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(c.Data, "keys", "*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	aside := filepath.Join(c.Data, "aside")
	if err := os.Rename(keys[0], aside); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its leaving", func() bool { return !relay.Online("n1") })
	b := start(t, c, k)
	if s := b.status(t); len(s.Faults) != 1 || !strings.Contains(s.Faults[0], keys[0]) {
		t.Errorf("faults %v", s.Faults)
	}
	if _, err := os.Stat(keys[0]); err == nil {
		t.Error("another key was made, which the relay does not know")
	}
	if err := os.Rename(aside, keys[0]); err != nil {
		t.Fatal(err)
	}
	relay.WaitOnline("n1")
	if s := b.status(t); len(s.Faults) != 0 {
		t.Errorf("faults %v", s.Faults)
	}
}

func TestANodeThatCannotBeUsedYet(t *testing.T) {
	c, k := settings(t)
	c.Node.Pubkey = ""
	a := start(t, c, k)
	relay := relaytest.New(t, false)
	a.pair(t, relay)
	eventually(t, "the fault", func() bool { return len(a.status(t).Faults) == 1 })
	_, err := relay.Call(t.Context(), "n1", catalog.NodeGetStatus.Key())
	if cfcerr.KindOf(err) != cfcerr.NodeDetached || !strings.Contains(err.Error(), "node.cbdir") {
		t.Errorf("got %v", err)
	}
}

func TestDockerNeedsNoNode(t *testing.T) {
	c, k := settings(t)
	c.Node.Pubkey, c.Docker.Socket = "", filepath.Join(c.Data, "none.sock")
	a := start(t, c, k)
	relay := relaytest.New(t, false)
	a.pair(t, relay)
	if _, err := relay.Call(t.Context(), "n1", catalog.DockerGetStatus.Key()); cfcerr.KindOf(err) != cfcerr.DeniedByHost {
		t.Errorf("without a policy: %v", err)
	}
	writeFile(t, c.Policy, "version: 1\nareas: {docker: read-only}\n")
	if err := a.client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := relay.Call(t.Context(), "n1", catalog.DockerGetStatus.Key()); cfcerr.KindOf(err) != cfcerr.Unavailable {
		t.Errorf("without an engine: %v", err)
	}
}

func TestWhatMakesARunUseless(t *testing.T) {
	c, k := settings(t)
	a := start(t, c, k)
	log := zap.NewNop()
	if err := Run(t.Context(), c, nil, log); !errors.Is(err, state.ErrLocked) {
		t.Errorf("the directory is taken: %v", err)
	}
	other := c
	other.Data = filepath.Join(filepath.Dir(c.Data), "other")
	if err := Run(t.Context(), other, nil, log); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("the socket is taken: %v", err)
	}
	other.Node.Listen = a.status(t).Agent.Listen
	if err := Run(t.Context(), other, nil, log); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the port is taken: %v", err)
	}
}

func TestLayersEndInOrder(t *testing.T) {
	var mu sync.Mutex
	var ended []string
	until := func(name string) part {
		return part{name, func(ctx context.Context) error {
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, name)
			return nil
		}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runLayers(ctx, []part{until("a")}, []part{until("b")}, []part{until("c")}); err != nil || strings.Join(ended, "") != "abc" {
		t.Errorf("ended %v, %v", ended, err)
	}
	broken := part{"broken", func(context.Context) error { return errors.New("out of order") }}
	if err := runLayers(t.Context(), []part{until("a")}, []part{broken}); err == nil || err.Error() != "broken: out of order" {
		t.Errorf("got %v", err)
	}
	early := part{"early", func(context.Context) error { return nil }}
	if err := runLayers(t.Context(), []part{early}, []part{until("b")}); err == nil || err.Error() != "early: ended by itself" {
		t.Errorf("got %v", err)
	}
}
