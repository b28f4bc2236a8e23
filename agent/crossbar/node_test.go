package crossbar

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/nodelink/nodetest"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen keeps what a Node tells, as lines.
type seen struct {
	mu      sync.Mutex
	lines   []string
	workers []ops.Worker
}

func (s *seen) Mark() uint64 { return 0 }

func (s *seen) Seen(_ uint64, all, appeared []ops.Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = all
	for _, w := range appeared {
		s.lines = append(s.lines, "appeared "+w.ID+" "+w.Type)
	}
}

func (s *seen) NodeGone(reason, _ string)             { s.add("gone " + reason) }
func (s *seen) Attached(kind, version, _ string)      { s.add("attached " + kind + " " + version) }
func (s *seen) Detached(kind, version, reason string) { s.add("detached " + reason) }

func (s *seen) Meta(worker, realm, topic string, lost uint64, args wamp.List) {
	s.add(fmt.Sprint("meta ", worker, " ", realm, " ", topic, " ", lost, args))
}

func (s *seen) Logged(worker string, lines []catalog.LogLine, lost uint64) {
	for _, l := range lines {
		s.add(fmt.Sprint("log ", worker, " ", l.Seq, " ", l.Text, " ", lost))
	}
}

func (s *seen) Stats(worker string, stats any) { s.add(fmt.Sprint("stats ", worker, " ", stats)) }
func (s *seen) Heartbeat(beat any)             { s.add(fmt.Sprint("heartbeat ", beat)) }

func (s *seen) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func (s *seen) has(line string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.lines, line)
}

// all is what runs: "id type realm,realm".
func (s *seen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, w := range s.workers {
		line := w.ID + " " + w.Type
		for _, o := range w.Objects {
			if o.Kind == ops.RouterRealm {
				line += " " + o.ID + "=" + o.Name
			}
		}
		if !w.Ready {
			line += " not ready"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func realm(id string) ops.Ref { return ops.Ref{Kind: ops.RouterRealm, Worker: "w", ID: id} }

// rig is a Node over a fake one.
type rig struct {
	*Node
	t     *testing.T
	ctx   context.Context
	state string
	fake  *nodetest.Node
	link  *nodelink.Link
	seen  *seen
	end   func() // of Watch
}

func newRig(t *testing.T, pid int) *rig {
	t.Helper()
	key, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := nodelink.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	link, err := nodelink.New(nodelink.Config{Listener: ln, Pubkey: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, ctx: ctx, state: t.TempDir(), link: link}
	var done sync.WaitGroup
	done.Go(func() { _ = link.Run(ctx) })
	r.fake, err = nodetest.Join(ctx, nodetest.Config{Addr: ln.Addr().String(), Key: key, PID: pid, Dir: r.state})
	if err != nil {
		t.Fatal(err)
	}
	r.watch()
	t.Cleanup(func() {
		_ = r.fake.Close()
		r.end()
		cancel()
		done.Wait()
	})
	r.until("the node is attached", func() bool { return r.seen.has("attached crossbar 26.10.1") })
	return r
}

// watch runs a new Node over the same state, in place of the one before.
func (r *rig) watch() {
	if r.end != nil {
		r.end()
	}
	r.Node, r.seen = New(Config{Link: r.link, StateDir: r.state, Poll: 30 * time.Millisecond}), &seen{}
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func(n *Node, s *seen) { done <- n.Watch(ctx, s) }(r.Node, r.seen)
	r.end = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Watch: %v", err)
		}
	}
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain until %s: seen %v, running %q", what, r.seen.lines, r.seen.all())
		}
	}
}

func (r *rig) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(r.ctx, d)
	r.t.Cleanup(cancel)
	return ctx
}

func (r *rig) start(id string, config map[string]any) catalog.Dict {
	r.t.Helper()
	d, err := r.Start(r.within(20*time.Second), "alice", realm(id), config)
	if err != nil {
		r.t.Fatalf("start %s: %v", id, err)
	}
	return d
}

func (r *rig) stop(id string) {
	r.t.Helper()
	d, err := r.Stop(r.within(20*time.Second), "alice", realm(id), ops.StopOptions{})
	if err != nil || d["id"] != id || d["who"] != "alice" || d["stopped"] == nil {
		r.t.Fatalf("stop %s: %v, %v", id, d, err)
	}
}

func (r *rig) ids() string {
	r.t.Helper()
	realms, err := r.Objects(r.within(20*time.Second), ops.RouterRealm, "w", "")
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, x := range realms {
		ids = append(ids, x.ID)
	}
	return strings.Join(ids, " ")
}

type dict = map[string]any

func named(name string) dict { return dict{"name": name} }

func TestAStartThatEndsEarlyIsToldSo(t *testing.T) {
	r := newRig(t, 0)
	began := time.Now()
	_, err := r.StartWorker(r.within(10*time.Second), "alice", ops.WorkerSpec{ID: "w", Type: "router", Options: dict{"python": "/bin/true"}})
	if cfcerr.KindOf(err) != cfcerr.CannotStart || !strings.HasSuffix(err.Error(), "no module named crossbar") {
		t.Errorf("it says %v", err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("it took %s", d)
	}
	if len(r.tails) != 0 {
		t.Errorf("kept of it is %v", r.tails)
	}
}

func TestPinningThatFailsTakesTheWorkerBack(t *testing.T) {
	r := newRig(t, 0)
	_, err := r.StartWorker(r.within(20*time.Second), "alice", ops.WorkerSpec{ID: "w", Type: "router", Options: dict{"cpu_affinity": []any{99}}})
	if cfcerr.KindOf(err) != cfcerr.InvalidConfiguration || r.fake.Worker("w") != nil {
		t.Errorf("it says %v, and the worker is %v", err, r.fake.Worker("w"))
	}
}

func TestStopOfAWorkerThatIsNotReady(t *testing.T) {
	r := newRig(t, 0)
	go func() {
		_, _ = r.StartWorker(r.within(100*time.Millisecond), "alice", ops.WorkerSpec{ID: "w", Type: "router", Options: dict{"stuck": true}})
	}()
	r.until("it is starting", func() bool { return r.fake.Worker("w") != nil })
	_, err := r.StopWorker(r.within(time.Second), "alice", "w", true)
	if cfcerr.KindOf(err) != cfcerr.NotRunning || !strings.Contains(err.Error(), "cannot be seen from here") {
		t.Errorf("its process is not ours to end: %v", err)
	}
}

// What is taken back is the worker whose start was given up, and none that
// somebody has started under its id since.
func TestAnotherWorkerIsNotTakenBack(t *testing.T) {
	for name, looks := range map[string]int{"given up at once": 0, "given up when it was looked at": 2} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 0)
			r.end() // so that nobody else asks, and tasks wait for this test
			r.end = func() {}
			ctx, giveUp := context.WithCancel(r.ctx)
			ended := make(chan error, 1)
			go func() {
				_, err := r.StartWorker(ctx, "alice", ops.WorkerSpec{ID: "w", Type: "router", Options: dict{"stuck": true}})
				ended <- err
			}()
			r.until("it is starting", func() bool { return r.fake.Worker("w") != nil })
			seen := r.fake.Calls("get_worker")
			r.until("its start is looked at", func() bool { return r.fake.Calls("get_worker") >= seen+looks })
			giveUp()
			if err := <-ended; cfcerr.KindOf(err) != cfcerr.Canceled {
				t.Errorf("the start that was given up: %v", err)
			}
			r.fake.Die("w")
			born := wire.Time(time.Now()) // the node tells workers apart by the millisecond
			r.until("the next one is younger", func() bool { return wire.Time(time.Now()) != born })
			r.fake.Boot("w", "router")
			(<-r.tasks)(r.ctx)
			if r.fake.Worker("w") == nil {
				t.Error("another worker was taken back")
			}
		})
	}
}

func TestAStartThatWasNotBegunIsNotTakenBack(t *testing.T) {
	r := newRig(t, 0)
	r.end()
	r.end = func() {}
	ctx, giveUp := context.WithCancel(r.ctx)
	giveUp()
	if _, err := r.StartWorker(ctx, "alice", ops.WorkerSpec{ID: "w", Type: "router"}); cfcerr.KindOf(err) != cfcerr.Canceled {
		t.Errorf("the start that was given up: %v", err)
	}
	r.fake.Boot("w", "router")
	for len(r.tasks) > 0 {
		(<-r.tasks)(r.ctx)
	}
	if r.fake.Worker("w") == nil {
		t.Error("another worker was taken back")
	}
}

func TestWhatRunsIsSeen(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.fake.BootRealm("w", "a", "com.a")
	r.fake.Boot("g", "guest")
	r.until("all is seen", func() bool { return r.seen.all() == "g guest; w router a=com.a" })
	if !r.seen.has("appeared w router") || !r.seen.has("appeared g guest") {
		t.Errorf("seen is %v", r.seen.lines)
	}
	r.fake.Die("g") // which the node tells nobody
	r.until("a guest's end is seen", func() bool { return r.seen.all() == "w router a=com.a" })
	r.fake.Die("w")
	r.until("a worker's end is seen", func() bool { return r.seen.all() == "" })
	r.fake.Boot("brief", "guest")
	r.fake.Die("brief")
	r.until("a brief one is not missed", func() bool { return r.seen.has("appeared brief guest") })
}

func TestTheNodeIsGoneWhenItsProcessIs(t *testing.T) {
	controller := exec.Command("sleep", "60")
	if err := controller.Start(); err != nil {
		t.Fatal(err)
	}
	ended := sync.OnceFunc(func() {
		_ = controller.Process.Kill()
		_ = controller.Wait()
	})
	defer ended()
	r := newRig(t, controller.Process.Pid)
	if err := r.fake.Close(); err != nil {
		t.Fatal(err)
	}
	r.until("the end of the connection is told", func() bool { return r.seen.has("detached closed") })
	if r.seen.has("gone node gone") {
		t.Error("the node is called gone for a lost connection")
	}
	ended()
	r.until("the end of the process is told", func() bool { return r.seen.has("gone node gone") })
}

func TestAnswersOfNoUse(t *testing.T) {
	r := newRig(t, 0)
	for _, p := range []string{"get_workers", "get_worker"} {
		r.fake.Fail(p, "crossbar.error.whatever", "no")
	}
	if _, err := r.Workers(r.within(time.Second), nil); cfcerr.KindOf(err) != cfcerr.NodeError {
		t.Errorf("get_workers: %v", err)
	}
	for _, v := range []any{nil, "x", []any{1}, dict{}} {
		if _, err := stringList("p", v); v != nil && cfcerr.KindOf(err) != cfcerr.NotSupported {
			t.Errorf("%v is taken for a list of ids: %v", v, err)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                            "plain",
		"\x1b[31mred\x1b[0m and \x1b[1;4m": "red and",
		"cut \x1b[":                        "cut",
		"cut \x1b":                         "cut",
		"bell \a, null \x00, bad \xff":     "bell , null , bad \uFFFD",
		"a \x1b]0;title\atitle":            "a title",
		strings.Repeat("ä", 200):           strings.Repeat("ä", 150),
	} {
		if got := plain(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

// What is done on a node waits until it has been told that the node is there.
func TestChangesWaitForTheNodesTurn(t *testing.T) {
	r := newRig(t, 0)
	if err := r.Settle(r.within(time.Second)); err != nil {
		t.Errorf("nothing to wait for: %v", err)
	}
	r.noted(nodelink.Notice{Kind: nodelink.Detached, Reason: "test"})
	r.until("it is told", func() bool { return r.seen.has("detached test") })
	r.end() // nobody tells anything any more
	r.noted(nodelink.Notice{Kind: nodelink.Ready})
	if err := r.Settle(r.within(20 * time.Millisecond)); cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Errorf("not told yet: %v", err)
	}
	gone, cancel := context.WithCancel(r.ctx)
	cancel()
	if err := r.Settle(gone); cfcerr.KindOf(err) != cfcerr.Canceled {
		t.Errorf("not told yet, and nobody waits: %v", err)
	}
	r.noted(nodelink.Notice{Kind: nodelink.Detached})
	if err := r.Settle(r.within(time.Second)); err != nil {
		t.Errorf("a node that is away again is not waited for: %v", err)
	}
	r.noted(nodelink.Notice{Kind: nodelink.Ready})
	settled, done := make(chan error, 1), make(chan error, 1)
	go func() { settled <- r.Settle(r.within(5 * time.Second)) }()
	ctx, stop := context.WithCancel(r.ctx)
	go func() { done <- r.Watch(ctx, r.seen) }()
	r.end = func() { stop(); <-done }
	err := <-settled
	want := []string{"attached crossbar 26.10.1", "detached test", "attached  ", "detached ", "attached  "}
	if told := r.seen.told("attached", "detached"); err != nil || len(told) < len(want) || !slices.Equal(told[:len(want)], want) {
		t.Errorf("it went on with %v, when told was %q", err, told)
	}
}

// told are the lines that begin so.
func (s *seen) told(begins ...string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, line := range s.lines {
		if slices.ContainsFunc(begins, func(b string) bool { return strings.HasPrefix(line, b) }) {
			lines = append(lines, line)
		}
	}
	return lines
}
