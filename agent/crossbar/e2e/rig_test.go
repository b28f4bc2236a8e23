package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/crossbar"
	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/agent/profile"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// executable is the stock node; a missing one fails the test.
func executable(t *testing.T) string {
	t.Helper()
	path := os.Getenv("CFC_CROSSBAR")
	if path == "" {
		root, err := filepath.Abs("../../..")
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(root, ".cache/venv/bin/crossbar")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no Crossbar.io node: %v (set CFC_CROSSBAR, or make venv)", err)
	}
	return path
}

// rig is a node directory, and an agent's parts that can be stopped and
// started again over it.
type rig struct {
	root, t   *testing.T
	dir       crossbar.Dir
	state     string
	pubkey    string
	log       *zap.Logger
	supervise bool
	patience  time.Duration
	nodes     []int   // pids of all its nodes
	past      []event // of agents that have ended

	agent *agent
}

// agent is one run of the parts.
type agent struct {
	link   *nodelink.Link
	ops    *ops.Ops
	sup    *crossbar.Supervisor
	events *recorder
	cancel context.CancelFunc
	done   sync.WaitGroup
}

type option func(*rig)

// unsupervised has the test start the node by itself.
func unsupervised(r *rig) { r.supervise = false }

// configured gives the node a configuration of its own, without the uplink.
func configured(config string) option {
	return func(r *rig) {
		r.t.Helper()
		if err := os.MkdirAll(r.dir.Path, 0o700); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.dir.Path, "config.json"), []byte(config), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// patience is how long a stop in order may take.
func patience(d time.Duration) option { return func(r *rig) { r.patience = d } }

func newRig(t *testing.T, options ...option) *rig {
	t.Helper()
	last := &tail{}
	r := &rig{root: t, t: t, state: t.TempDir(), log: last.logger(), supervise: true}
	if testing.Verbose() {
		r.log, _ = zap.NewDevelopment()
	}
	r.dir = crossbar.Dir{Path: filepath.Join(t.TempDir(), "node"), Executable: executable(t), WriteConfig: true}
	for _, o := range options {
		o(r)
	}
	t.Cleanup(func() {
		if t.Failed() {
			r.showLog()
			t.Logf("the agent's log ends so:\n%s", strings.Join(last.lines, ""))
		}
	})
	r.start()
	return r
}

func (r *rig) showLog() {
	b, err := os.ReadFile(filepath.Join(r.dir.Path, "node.log"))
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	r.t.Logf("the node's log ends so:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
}

// tail is the end of a log.
type tail struct{ lines []string }

// logger writes to it, one line at a time.
func (l *tail) logger() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.Lock(zapcore.AddSync(l)), zap.DebugLevel))
}

func (l *tail) Write(b []byte) (int, error) {
	const most = 100
	l.lines = append(l.lines, string(b))
	l.lines = l.lines[max(0, len(l.lines)-most):]
	return len(b), nil
}

// start runs the agent's parts and waits for the node.
func (r *rig) start() {
	r.t.Helper()
	r.startParts(true)
	if r.supervise {
		r.wait("the node attaches", func() bool { return r.agent.link.Attached().Attached })
	}
}

// startParts runs them; keep says whether the node outlives them.
func (r *rig) startParts(keep bool) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ln := r.listen(ctx)
	r.dir.Uplink = ln.Addr()
	var err error
	if r.pubkey, err = r.dir.Prepare(ctx); err != nil {
		r.t.Fatal(err)
	}
	a := &agent{cancel: cancel, events: &recorder{}}
	if a.link, err = nodelink.New(nodelink.Config{Listener: ln, Pubkey: r.pubkey, Boots: crossbar.NewBoots(r.state, r.log.Named("boots")), Log: r.log.Named("link")}); err != nil {
		r.t.Fatal(err)
	}
	config := crossbar.Config{Link: a.link, StateDir: r.state, BootDir: r.dir.Path, LogFile: filepath.Join(r.dir.Path, "node.log"), Log: r.log.Named("node")}
	if r.supervise {
		a.sup, err = crossbar.NewSupervisor(crossbar.SupervisorConfig{Executable: r.dir.Executable, Dir: r.dir.Path, StateDir: r.state,
			KeepRunning: keep, StopTimeout: r.patience, Log: r.log.Named("supervisor"), BackoffMin: 200 * time.Millisecond})
		if err != nil {
			r.t.Fatal(err)
		}
		config.Supervisor = a.sup
	}
	a.ops, err = ops.New(ops.Config{Link: a.link, Node: crossbar.New(config), StateDir: r.state, Log: r.log.Named("ops"),
		NodeID: func() string { return "n1" }, Realm: func() string { return "demo" }, Publish: a.events.publish, Sampler: profile.Beside(r.dir.Executable)})
	if err != nil {
		r.t.Fatal(err)
	}
	run := func(name string, f func(context.Context) error) {
		a.done.Go(func() {
			if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
				r.t.Errorf("%s: %v", name, err)
			}
		})
	}
	run("link", a.link.Run)
	run("ops", a.ops.Run)
	if a.sup != nil {
		run("supervisor", a.sup.Run)
	}
	r.agent = a
	r.root.Cleanup(r.stopParts)
}

// listen takes the port of the first time, or any.
func (r *rig) listen(ctx context.Context) net.Listener {
	r.t.Helper()
	address := "127.0.0.1:0"
	if r.dir.Uplink != nil {
		address = r.dir.Uplink.String()
	}
	ln, err := nodelink.Listen(ctx, address)
	if err != nil {
		r.t.Fatal(err)
	}
	return ln
}

func (r *rig) stopParts() {
	if r.agent == nil {
		return
	}
	if r.agent.sup != nil {
		r.nodePID()
	}
	r.agent.cancel()
	r.agent.done.Wait()
	r.agent = nil
}

// nodePID is the pid of the supervised node.
func (r *rig) nodePID() int {
	pid := r.agent.sup.Status().PID
	r.nodes = append(r.nodes, pid)
	return pid
}

// end stops the agent's parts and the node.
func (r *rig) end() {
	r.t.Helper()
	r.stopParts()
	r.startParts(false)
	r.wait("the node is adopted", func() bool { return r.agent.sup.Status().State == "running" })
	r.stopParts()
	// An adopted node is still a child of this process, which has forgotten it.
	for _, pid := range r.nodes {
		if pid > 0 {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

func (r *rig) wait(what string, ok func() bool) {
	r.t.Helper()
	waitFor(r.t, 30*time.Second, what, ok)
}

func waitFor(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain until %s", d, what)
		}
	}
}

var owner = catalog.Caller{Session: 1, AuthID: "alice", Role: wire.Owner, Realm: "demo"}

func as(role wire.Role) catalog.Caller {
	c := owner
	c.Role = role
	return c
}

// call is a call as the owner within a minute.
func (r *rig) call(key string, args ...any) (any, error) {
	return r.callWithin(time.Minute, owner, key, args...)
}

func (r *rig) callWithin(d time.Duration, caller catalog.Caller, key string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return r.agent.ops.Call(ctx, caller, key, wamp.List(args), nil)
}

func (r *rig) must(key string, args ...any) any {
	r.t.Helper()
	v, err := r.call(key, args...)
	if err != nil {
		r.t.Fatalf("%s%v: %v", key, args, err)
	}
	return v
}

func (r *rig) mustDict(key string, args ...any) map[string]any {
	r.t.Helper()
	switch d := r.must(key, args...).(type) {
	case catalog.Dict:
		return d
	case wamp.Dict:
		return d
	case map[string]any:
		return d
	default:
		r.t.Fatalf("%s%v gives %T", key, args, d)
		return nil
	}
}

// refused wants the call to fail with the kind.
func (r *rig) refused(kind cfcerr.Kind, key string, args ...any) *cfcerr.Error {
	r.t.Helper()
	v, err := r.call(key, args...)
	return r.wantKind(kind, v, err, fmt.Sprint(key, args))
}

func (r *rig) wantKind(kind cfcerr.Kind, v any, err error, what string) *cfcerr.Error {
	r.t.Helper()
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != kind {
		r.t.Fatalf("%s gives %v, %v; expected %s", what, v, err, kind.URI())
	}
	if !strings.HasPrefix(e.Message, "cannot ") && !strings.HasPrefix(e.Message, "invalid argument") {
		r.t.Errorf("%s: the error does not say what cannot be done: %q", what, e.Message)
	}
	return e
}

// recorder keeps the events in their order.
type recorder struct {
	mu   sync.Mutex
	list []event
	on   func(event)
}

// hook has f see the next events, before those who wait for them go on.
func (r *recorder) hook(f func(event)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = f
}

type event struct {
	name    string
	ids     []string
	details map[string]any
}

func (r *recorder) publish(e *catalog.Event, args ...any) {
	if beside(e) {
		return
	}
	ev := event{name: e.Name, details: args[len(args)-1].(map[string]any)}
	for _, id := range args[1 : len(args)-1] {
		if id, ok := id.(string); ok { // else what a router has told
			ev.ids = append(ev.ids, id)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, ev)
	if r.on != nil {
		r.on(ev)
	}
}

// of are the events of an object: "on_worker_started", in order, without those
// of its meta API.
func (r *recorder) of(ids ...string) []string {
	var names []string
	for _, e := range r.details(ids...) {
		if !strings.HasPrefix(e.name, "meta.") {
			names = append(names, e.name)
		}
	}
	return names
}

// beside reports whether an event comes whenever it likes, or says again what
// another one says: by a worker's type, or of the node.
func beside(e *catalog.Event) bool {
	for _, pair := range catalog.WorkerStarts {
		if e == pair[0] || e == pair[1] {
			return true
		}
	}
	l := catalog.NodeLife
	return slices.Contains([]*catalog.Event{catalog.OnWorkerLog, catalog.OnNodeHeartbeat, l.Starting, l.Started, l.Stopping, l.Stopped}, e)
}

func (r *recorder) details(ids ...string) []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []event
	for _, e := range r.list {
		if strings.Join(e.ids, ".") == strings.Join(ids, ".") {
			list = append(list, e)
		}
	}
	return list
}
