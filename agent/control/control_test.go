package control

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/state"
	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type agent struct {
	got state.Request
	err error
}

func (a *agent) Status() Status {
	return Status{Agent: AgentStatus{Version: "1.2.3"}, Faults: []string{}}
}
func (a *agent) Pair(_ context.Context, r state.Request) (*state.Pairing, error) {
	a.got = r
	return &state.Pairing{NodeID: "node1"}, a.err
}
func (a *agent) Unpair(context.Context) (*state.Pairing, error) { return nil, a.err }
func (a *agent) Reload(context.Context) error                   { return a.err }

// serve runs a server; the path is short, as a socket's has to be.
func serve(t *testing.T, a Agent) (path string, logs *observer.ObservedLogs) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cfc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	core, logs := observer.New(zapcore.DebugLevel)
	path = filepath.Join(dir, "run", "agent.sock")
	s, err := NewServer(t.Context(), path, a, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket is still there")
		}
	})
	return path, logs
}

func TestQuestionsAreAnswered(t *testing.T) {
	a := &agent{}
	path, _ := serve(t, a)
	c := NewClient(path)
	if s, err := c.Status(t.Context()); err != nil || s.Agent.Version != "1.2.3" {
		t.Errorf("status %+v, %v", s, err)
	}
	want := state.Request{URL: "wss://relay.example", Token: "cfcn_x", NodeID: "n", Pin: "p", CAFile: "c", Unbound: true, Replace: true}
	if p, err := c.Pair(t.Context(), want); err != nil || p.NodeID != "node1" || a.got != want {
		t.Errorf("pair %+v, %v; the agent got %+v", p, err, a.got)
	}
	if p, err := c.Unpair(t.Context()); p != nil || err != nil {
		t.Errorf("unpair %+v, %v", p, err)
	}
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestErrorsComeAsTheyAre(t *testing.T) {
	a := &agent{err: cfcerr.New(cfcerr.TokenInvalid, "cannot pair: no such token").With("after", 3.0)}
	path, _ := serve(t, a)
	c := NewClient(path)
	_, err := c.Pair(t.Context(), state.Request{})
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != cfcerr.TokenInvalid || e.Message != "cannot pair: no such token" || e.Details["after"] != 3.0 {
		t.Errorf("got %#v", err)
	}
	a.err = errors.New("disk full")
	if err := c.Reload(t.Context()); err == nil || err.Error() != "disk full" {
		t.Errorf("got %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	if _, err := NewClient(filepath.Join(t.TempDir(), "none")).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}

func TestTheSocketIsPrivate(t *testing.T) {
	path, _ := serve(t, &agent{})
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
}

func TestASecondAgentDoesNotTakeTheSocket(t *testing.T) {
	path, _ := serve(t, &agent{})
	if _, err := NewServer(t.Context(), path, &agent{}, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("got %v", err)
	}
}

func TestADeadAgentsSocketIsReplaced(t *testing.T) {
	dir, err := os.MkdirTemp("", "cfc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "agent.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	s, err := NewServer(t.Context(), path, &agent{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	s.ln.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewServer(t.Context(), path, &agent{}, zap.NewNop()); err == nil {
		t.Error("a file was replaced")
	}
}

func TestBadRequests(t *testing.T) {
	path, logs := serve(t, &agent{})
	secret := "cfcn_abcdefgh_secretsecretsecretsecret1234"
	for name, body := range map[string]string{
		"no JSON":     secret,
		"unknown key": `{"url":"x","tokn":"` + secret + `"}`,
		"wrong type":  `{"url":"x","token":["` + secret + `"]}`,
		"too big":     `{"token":"` + strings.Repeat("x", maxRequest) + `"}`,
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Write([]byte("POST /v1/pair HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body))
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, "422") {
			t.Errorf("%s: answered %q, %v", name, line, err)
		}
		c.Close()
	}
	for _, l := range logs.All() {
		if strings.Contains(l.Message, "secretsecret") {
			t.Errorf("the log has the token: %s", l.Message)
		}
	}
}

func TestALongPathIsRefusedInWords(t *testing.T) {
	if _, err := NewServer(t.Context(), "/tmp/"+strings.Repeat("x", 200), &agent{}, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "characters") {
		t.Errorf("got %v", err)
	}
}

func TestWhoIsAdmitted(t *testing.T) {
	for _, c := range []struct {
		uid  uint32
		own  int
		want bool
	}{{0, 0, true}, {0, 990, true}, {990, 990, true}, {1000, 990, false}, {990, 0, false}, {1<<32 - 1, -1, false}} {
		if got := admits(c.uid, c.own); got != c.want {
			t.Errorf("user %d, agent of %d: %v", c.uid, c.own, got)
		}
	}
}

func TestTheKernelTellsWhoConnects(t *testing.T) {
	path, _ := serve(t, &agent{})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if uid, err := userOf(c.(*net.UnixConn)); err != nil || int(uid) != os.Geteuid() {
		t.Errorf("user %d, %v", uid, err)
	}
}

// Connections that say nothing hold up nobody for longer than their deadline,
// and those over the bound wait for their turn.
func TestMuteConnectionsAreEnded(t *testing.T) {
	path, _ := serve(t, &agent{})
	for range maxConnections {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	began := time.Now()
	if _, err := NewClient(path).Status(t.Context()); err != nil || time.Since(began) > 2*readTimeout {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// slow is an agent that pairs until it is told to stop.
type slow struct {
	agent
	began chan struct{}
}

func (a *slow) Pair(ctx context.Context, _ state.Request) (*state.Pairing, error) {
	close(a.began)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestTheServerEndsWithRequestsUnderWay(t *testing.T) {
	dir, err := os.MkdirTemp("", "cfc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	a := &slow{began: make(chan struct{})}
	s, err := NewServer(t.Context(), filepath.Join(dir, "s"), a, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	asked := make(chan error, 1)
	go func() {
		_, err := NewClient(filepath.Join(dir, "s")).Pair(t.Context(), state.Request{})
		asked <- err
	}()
	<-a.began
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-asked; err == nil {
		t.Error("the request succeeded")
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		body string
	}{"no JSON": {200, "x"}, "no error": {422, "{}"}, "not even that": {500, "x"}} {
		if err := read(c.code, []byte(c.body), &Status{}); err == nil || !strings.Contains(err.Error(), "understand") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
