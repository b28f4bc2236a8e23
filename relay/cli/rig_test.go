package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/goccy/go-yaml"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is a CALL as the fake relay saw it.
type call struct {
	realm, uri string
	args       wamp.List
	kwargs     wamp.Dict
	options    session.CallOptions
}

// rig is a command line with a relay of its own: answers by URI. Its
// configuration directory has a context for ws://127.0.0.1:8080, realm demo.
type rig struct {
	t       *testing.T
	dir     string
	env     map[string]string
	stdin   string
	secret  func(prompt string) (string, error)
	answers map[string]any // an error, a func(call) (any, error), or the result
	refuse  error          // what Join answers
	authid  string
	role    string

	mu     sync.Mutex
	joins  []session.Config
	calls  []call
	leaves int
	opened chan *fakeSession // each session, where somebody listens
}

const rigURL = "ws://127.0.0.1:8080"

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "cfc"), authid: "anna", role: "owner", answers: map[string]any{}}
	r.env = map[string]string{envConfig: r.dir}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(r.dir, "anna.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("1f", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	r.write(&store{Version: 1, Current: "local", Contexts: []place{{Name: "local", Relay: rigURL, Realm: "demo", User: "anna", Key: key}}})
	return r
}

// write is save without its flushes to the disk, of which hundreds take long.
func (r *rig) write(s *store) {
	r.t.Helper()
	b, err := yaml.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(r.dir, storeFile), b, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	s.dir = r.dir
}

func (r *rig) read() *store {
	r.t.Helper()
	s, err := openStore(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// run runs a command line to its end.
func (r *rig) run(args ...string) (stdout, stderr string, exit int) {
	r.t.Helper()
	return r.runIn(r.t.Context(), args...)
}

func (r *rig) runIn(ctx context.Context, args ...string) (stdout, stderr string, exit int) {
	var out, errs bytes.Buffer
	exit = r.program(&out, &errs).Run(ctx, args)
	return out.String(), errs.String(), exit
}

func (r *rig) program(out, errs interface{ Write([]byte) (int, error) }) Program {
	return Program{Version: "1.2.3", Stdin: strings.NewReader(r.stdin), Stdout: out, Stderr: errs,
		Getenv: func(name string) string { return r.env[name] }, Join: r.join, ReadSecret: r.secret}
}

// good is run for a command that must succeed.
func (r *rig) good(args ...string) string {
	r.t.Helper()
	out, errs, exit := r.run(args...)
	if exit != 0 || errs != "" {
		r.t.Fatalf("cfc %s: exit %d, %s", strings.Join(args, " "), exit, errs)
	}
	return out
}

// bad is run for a command that must fail with an exit code and a text.
func (r *rig) bad(exit int, want string, args ...string) string {
	r.t.Helper()
	out, errs, got := r.run(args...)
	if got != exit || !strings.Contains(errs, want) || !strings.HasPrefix(errs, "cfc: cannot ") || strings.Count(errs, "\n") != 1 || out != "" {
		r.t.Errorf("cfc %s: exit %d, want %d and %q\nstderr: %sstdout: %s", strings.Join(args, " "), got, exit, want, errs, out)
	}
	return errs
}

func (r *rig) join(ctx context.Context, c session.Config) (Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joins = append(r.joins, c)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if r.refuse != nil {
		return nil, r.refuse
	}
	s := &fakeSession{rig: r, realm: c.Realm, done: make(chan struct{}), handlers: map[string]session.EventHandler{}}
	if r.opened != nil {
		r.opened <- s
	}
	return s, nil
}

// lastCall is the one call that was made since the last time it was asked for.
func (r *rig) lastCall() call {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) != 1 {
		r.t.Fatalf("%d calls, want 1: %v", len(r.calls), r.calls)
	}
	c := r.calls[0]
	r.calls = nil
	return c
}

// fakeSession is a session at the fake relay.
type fakeSession struct {
	rig   *rig
	realm string

	mu       sync.Mutex
	handlers map[string]session.EventHandler
	matches  []string
	done     chan struct{}
	ended    *session.Ended
}

func (s *fakeSession) Call(ctx context.Context, uri string, args wamp.List, kwargs wamp.Dict, o session.CallOptions) (*wamp.Result, error) {
	c := call{s.realm, uri, args, kwargs, o}
	s.rig.mu.Lock()
	s.rig.calls = append(s.rig.calls, c)
	answer, ok := s.rig.answers[uri]
	s.rig.mu.Unlock()
	switch answer := answer.(type) {
	case error:
		return nil, answer
	case *wamp.Result:
		return answer, nil
	case func(context.Context, call) (any, error):
		v, err := answer(ctx, c)
		if err != nil {
			return nil, err
		}
		return &wamp.Result{Arguments: wamp.List{v}}, nil
	}
	if !ok {
		return nil, cfcerr.New(cfcerr.NoSuchProcedure, "cannot call %s: there is no such procedure", uri)
	}
	return &wamp.Result{Arguments: wamp.List{answer}}, nil
}

func (s *fakeSession) Subscribe(_ context.Context, topic, match string, h session.EventHandler) error {
	if err, refused := s.rig.answers["subscribe "+topic].(error); refused {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[topic] = h
	s.matches = append(s.matches, match)
	return nil
}

// emit hands an event to the handler of the subscription.
func (s *fakeSession) emit(topic string, e *wamp.Event) {
	s.rig.t.Helper()
	s.mu.Lock()
	h := s.handlers[topic]
	s.mu.Unlock()
	if h == nil {
		s.rig.t.Errorf("nobody subscribed to %s", topic)
		return
	}
	h(e)
}

func (s *fakeSession) topics() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.handlers)
}

func (s *fakeSession) end(reason string) {
	s.ended = &session.Ended{Reason: reason}
	close(s.done)
}

func (s *fakeSession) Done() <-chan struct{} { return s.done }
func (s *fakeSession) AuthID() string        { return s.rig.authid }
func (s *fakeSession) AuthRole() string      { return s.rig.role }
func (s *fakeSession) Ended() *session.Ended {
	select {
	case <-s.done:
		return s.ended
	default:
		return nil
	}
}

func (s *fakeSession) Close() error {
	s.rig.mu.Lock()
	defer s.rig.mu.Unlock()
	s.rig.leaves++
	return nil
}

// golden compares with a file below testdata; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test -update writes it anew.\n%s", name, difference(string(want), got))
	}
}

func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d:\nwant %q\n got %q", i+1, at(w, i), at(g, i))
		}
	}
	return ""
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}
