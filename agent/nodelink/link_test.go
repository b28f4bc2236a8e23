package nodelink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/agent/nodelink/nodetest"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a running link and the key of its node.
type bench struct {
	*Link
	t   *testing.T
	key identity.Key
	ctx context.Context

	mu      sync.Mutex
	notices []Notice
}

func newBench(t *testing.T, adapt ...func(*Config)) *bench {
	t.Helper()
	key, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cfg := Config{Pubkey: key.Public()}
	for _, f := range adapt {
		f(&cfg)
	}
	if cfg.Listener == nil {
		if cfg.Listener, err = Listen(ctx, "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Link: l, t: t, key: key, ctx: ctx}
	l.Watch(func(n Notice) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.notices = append(b.notices, n)
	})
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

// node attaches a fake node, which leaves at the end of the test.
func (b *bench) node() *nodetest.Node {
	b.t.Helper()
	n, err := nodetest.Join(b.ctx, nodetest.Config{Addr: b.Addr().String(), Key: b.key})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := n.Close(); err != nil && !errors.Is(err, client.ErrAlreadyClosed) {
			b.t.Errorf("node: %v", err)
		}
	})
	b.until("the node is ready", func() bool { return b.Attached().Attached })
	return n
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (b *bench) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := map[NoticeKind]string{Ready: "ready", Detached: "detached", Registered: "+", Unregistered: "-", Event: "event "}
	var out []string
	for _, n := range b.notices {
		out = append(out, names[n.Kind]+n.Name+n.Reason)
	}
	return out
}

func (b *bench) within(d time.Duration, procedure string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(b.ctx, d)
	defer cancel()
	return b.Call(ctx, procedure, args, nil)
}

func wantKind(t *testing.T, err error, kind cfcerr.Kind) *cfcerr.Error {
	t.Helper()
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got %v, expected %s", err, kind.URI())
	}
	return e
}

func TestNodeAttachesAndAnswers(t *testing.T) {
	b := newBench(t)
	if a := b.Attached(); a.Attached || a.Kind != nil || a.Reason != "never-connected" || a.Since == nil {
		t.Errorf("before any node: %+v", a)
	}
	e := wantKind(t, second(b.within(time.Second, "get_status")), cfcerr.NodeDetached)
	if e.Details["reason"] != "never-connected" || e.Details["since"] == nil {
		t.Errorf("its details are %v", e.Details)
	}
	n := b.node()
	if a := b.Attached(); !a.Attached || a.Kind == nil || *a.Kind != "crossbar" || a.Version != "26.10.1" || a.Reason != "" {
		t.Errorf("attached as %+v", a)
	}
	if !b.Has("get_status") || b.Has("nothing") {
		t.Error("it has get_status and not nothing")
	}
	for _, c := range []struct {
		args []any
		want any
	}{
		{nil, nil},
		{[]any{"x"}, "x"},
		{[]any{uint64(7)}, uint64(7)},
		{[]any{[]byte{1, 2}}, []byte{1, 2}},
		{[]any{"a", "b"}, wamp.List{"a", "b"}},
	} {
		got, err := b.within(time.Second, "echo", c.args...)
		if err != nil || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", c.want) {
			t.Errorf("echo %v gives %#v, %v", c.args, got, err)
		}
	}
	wantKind(t, second(b.within(time.Second, "nothing")), cfcerr.NoSuchProcedure)

	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b.until("the node is gone", func() bool { return !b.Attached().Attached })
	if a := b.Attached(); a.Reason != "closed" || a.Version != "26.10.1" {
		t.Errorf("after its end: %+v", a)
	}
	if b.Has("get_status") {
		t.Error("a detached node has no procedures")
	}
	if err := n.Join(b.ctx); err != nil {
		t.Fatalf("it cannot come back: %v", err)
	}
	b.until("it is back", func() bool { return b.Attached().Attached })
	if err := n.Err(); err != nil {
		t.Error(err)
	}
}

func second(_ any, err error) error { return err }

func TestBuiltinNodeSaysWhatItIs(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Boots = &boots{apply: []bool{true}, right: []bool{true}} })
	n, err := nodetest.Join(b.ctx, nodetest.Config{Addr: b.Addr().String(), Key: b.key, Kind: "builtin", Serializer: client.Config{Serialization: client.MSGPACK}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	b.until("it is ready", func() bool { return b.Attached().Attached })
	if a := b.Attached(); *a.Kind != "builtin" {
		t.Errorf("attached as %s", *a.Kind)
	}
	extra, _ := wamp.AsDict(n.Client().RealmDetails()["authextra"])
	if extra["on_start_apply_config"] != true {
		t.Errorf("its WELCOME says %v", extra)
	}
}

// boots gives its answers one after the other and keeps what it was told.
type boots struct {
	mu           sync.Mutex
	apply, right []bool
	told         []bool
}

func (b *boots) Apply(context.Context) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.apply[0]
	b.apply = b.apply[1:]
	return v
}

func (b *boots) Ready(_ context.Context, _ NodeInfo, applied bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, applied)
	v := b.right[0]
	b.right = b.right[1:]
	return v
}

// TestANodeThatWasToldWronglyComesAgain is about a node that was taken for one
// that has booted its configuration.
func TestANodeThatWasToldWronglyComesAgain(t *testing.T) {
	judge := &boots{apply: []bool{false, true}, right: []bool{false, true}}
	b := newBench(t, func(c *Config) { c.Boots = judge })
	conf := nodetest.Config{Addr: b.Addr().String(), Key: b.key}
	first, err := nodetest.Join(b.ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	select {
	case <-first.Client().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("its session goes on")
	}
	if b.Attached().Attached || slices.Contains(b.heard(), "ready") {
		t.Error("it was attached meanwhile")
	}
	again, err := nodetest.Join(b.ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	b.until("it is ready", func() bool { return b.Attached().Attached })
	extra, _ := wamp.AsDict(again.Client().RealmDetails()["authextra"])
	if extra["on_start_apply_config"] != true || !slices.Equal(judge.told, []bool{false, true}) {
		t.Errorf("its WELCOME says %v, the judge heard %v", extra, judge.told)
	}
}

func TestUnixSocket(t *testing.T) {
	path := t.TempDir() + "/node.sock"
	ln, err := Listen(context.Background(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(c *Config) { c.Listener = ln })
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw := shake(t, conn, 3)
	raw.hello(b.key.Public())
	raw.login(b.key)
}

func TestManyCallsAtOnce(t *testing.T) {
	b := newBench(t)
	b.node()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			want := fmt.Sprint(i)
			if got, err := b.within(10*time.Second, "echo", want); err != nil || got != want {
				t.Errorf("call %d gives %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestCallsEndAtTheirDeadline(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxCalls = 3 })
	n := b.node()
	release := n.Hang("echo")
	began := time.Now()
	e := wantKind(t, second(b.within(50*time.Millisecond, "echo", 1)), cfcerr.Timeout)
	if !strings.Contains(e.Message, "may still finish") {
		t.Errorf("it says %q", e.Message)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := b.Call(ctx, "echo", nil, nil)
	wantKind(t, err, cfcerr.Canceled) // it did not even begin
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { wantKind(t, second(b.within(200*time.Millisecond, "echo", 1)), cfcerr.Timeout) })
	}
	b.until("all places are taken", func() bool { return !b.slots.all.TryAcquire(1) || letGo(b) })
	wantKind(t, second(b.within(50*time.Millisecond, "get_status")), cfcerr.Busy)
	wg.Wait()
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("it took %s", d)
	}
	release() // answers that nobody waits for
	if got, err := b.within(time.Second, "echo", "again"); err != nil || got != "again" {
		t.Errorf("afterwards echo gives %v, %v", got, err)
	}
}

// A worker that answers nothing has only a share of the places.
func TestCallsOfOneWorkerLeaveRoomForOthers(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxCalls = 16 })
	n := b.node()
	n.Boot("a", "router")
	n.Boot("b", "router")
	release := n.Hang("worker.a.utcnow")
	ctx, cancel := context.WithCancel(b.ctx)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { _, _ = b.Call(ctx, "worker.a.utcnow", nil, nil) })
	}
	b.until("it has what it gets", func() bool { return n.Calls("worker.a.utcnow") == 2 })
	for _, procedure := range []string{"worker.b.utcnow", "get_status"} {
		if _, err := b.within(5*time.Second, procedure); err != nil {
			t.Errorf("%s: %v", procedure, err)
		}
	}
	e := wantKind(t, second(b.within(50*time.Millisecond, "worker.a.utcnow")), cfcerr.Busy)
	if e.Details["limit"] != int64(2) || !strings.Contains(e.Message, "2 calls to worker a") {
		t.Errorf("it says %q, %v", e.Message, e.Details)
	}
	cancel()
	wg.Wait()
	release()
	if _, err := b.within(5*time.Second, "worker.a.utcnow"); err != nil || len(b.slots.entered) > 0 {
		t.Errorf("afterwards %v, %v is kept", err, b.slots.entered)
	}
}

// However many workers answer nothing, the node itself can be asked.
func TestCallsOfAllWorkersLeaveRoomForTheNode(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxCalls = 16 })
	n := b.node()
	ctx, cancel := context.WithCancel(b.ctx)
	var wg sync.WaitGroup
	for i := range 8 {
		id := fmt.Sprint("w", i)
		n.Boot(id, "router")
		defer n.Hang("worker." + id + ".utcnow")()
		for range 3 {
			wg.Go(func() { _, _ = b.Call(ctx, "worker."+id+".utcnow", nil, nil) })
		}
	}
	b.until("workers have what they get", func() bool {
		if !b.slots.workers.TryAcquire(1) {
			return true
		}
		b.slots.workers.Release(1)
		return false
	})
	if _, err := b.within(5*time.Second, "get_status"); err != nil {
		t.Error(err)
	}
	n.Boot("last", "router")
	e := wantKind(t, second(b.within(50*time.Millisecond, "worker.last.utcnow")), cfcerr.Busy)
	if e.Details["limit"] != int64(14) || !strings.Contains(e.Message, "14 calls to workers") {
		t.Errorf("it says %q, %v", e.Message, e.Details)
	}
	cancel()
	wg.Wait()
}

func letGo(b *bench) bool { b.slots.all.Release(1); return false }

func TestCanceledCall(t *testing.T) {
	b := newBench(t)
	n := b.node()
	defer n.Hang("echo")()
	ctx, cancel := context.WithCancel(b.ctx)
	got := make(chan error, 1)
	go func() {
		_, err := b.Call(ctx, "echo", nil, nil)
		got <- err
	}()
	b.until("the call is there", func() bool { return n.Calls("echo") == 1 })
	cancel()
	wantKind(t, <-got, cfcerr.Canceled)
}

func TestNodeGoesAwayDuringACall(t *testing.T) {
	b := newBench(t)
	n := b.node()
	n.Hang("echo")
	got := make(chan error, 10)
	for range cap(got) {
		go func() { got <- second(b.within(5*time.Second, "echo")) }()
	}
	b.until("the calls are there", func() bool { return n.Calls("echo") == cap(got) })
	go n.Close()
	for range cap(got) {
		// A fake node that leaves answers what it was asked as canceled.
		wantKind(t, <-got, cfcerr.ConnectionLost)
	}
	b.until("it is gone", func() bool { return !b.Attached().Attached })
}

func TestErrorsOfTheNode(t *testing.T) {
	b := newBench(t)
	n := b.node()
	for _, c := range []struct {
		uri, text string
		kind      cfcerr.Kind
		wantURI   string
	}{
		{"crossbar.error.no_such_worker", "No worker", cfcerr.NoSuchWorker, "crossbar.error.no_such_worker"},
		{"crossbar.error.worker_already_running", "x", cfcerr.AlreadyRunning, "crossbar.error.already_running"},
		{"crossbar.error.worker_not_running", "x", cfcerr.NotRunning, "crossbar.error.not_running"},
		{"crossbar.error.invalid_configuration", "x", cfcerr.InvalidConfiguration, "crossbar.error.invalid_configuration"},
		{"crossbar.error.something_new", "x", cfcerr.NodeError, "crossbar.error.something_new"},
		{"crossbar.error.feature_unavailable", "no docker", cfcerr.NotSupported, "cfc.error.not_supported"},
		{"wamp.error.canceled", "callee gone", cfcerr.ConnectionLost, "cfc.error.connection_lost"},
		{"crossbar.error.x", "boom\nTraceback (most recent call last):\n  File \"secret\"\nbuiltins.ImportError: none\n", cfcerr.NodeError, "crossbar.error.x"},
		{"wamp.error.runtime_error", "boom\nTraceback (most recent call last):\n secret", cfcerr.NodeError, "wamp.error.runtime_error"},
		{"wamp.error.runtime_error", "X.echo() missing 1 required positional argument: 'a'", cfcerr.InvalidArgument, "cfc.error.invalid_argument"},
		{"wamp.error.runtime_error", strings.Repeat("x", 5000), cfcerr.NodeError, "wamp.error.runtime_error"},
	} {
		n.Fail("echo", c.uri, c.text)
		e := wantKind(t, second(b.within(time.Second, "echo")), c.kind)
		if e.URI() != c.wantURI || strings.Contains(e.Message, "secret") || len(e.Message) > 1200 {
			t.Errorf("%s %.40q becomes %s %q", c.uri, c.text, e.URI(), e.Message)
		}
	}
	if got := brief("Failed to import class 'a.B'\nTraceback (most recent call last):\n  File \"x\"\nModuleNotFoundError: No module named 'a'\n"); got != "Failed to import class 'a.B': ModuleNotFoundError: No module named 'a'" {
		t.Errorf("a traceback becomes %q", got)
	}
}

func TestNoticesComeInOrder(t *testing.T) {
	b := newBench(t)
	n := b.node()
	n.Boot("w1", "guest")
	n.Register("worker.w1.late", nil)
	n.Publish("one", 1)
	if err := n.Client().Unregister("crossbarfabriccenter.node.node.worker.w1.late"); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"on_heartbeat", "on_worker_heartbeat"} {
		if err := n.Client().Publish("crossbarfabriccenter.node."+topic, wamp.Dict{"acknowledge": true}, wamp.List{"node", "x"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"ready", "event on_guest_starting", "event on_guest_started", "+worker.w1.late", "event one", "-worker.w1.late", "event on_heartbeat", "event on_worker_heartbeat", "detachedclosed"}
	b.until("all is heard", func() bool { return slices.Contains(b.heard(), "detachedclosed") })
	heard := b.heard()
	if got := heard[slices.Index(heard, "ready"):]; !slices.Equal(got, want) {
		t.Errorf("heard\n%v, expected\n%v", got, want)
	}
	if i := slices.Index(heard, "+get_status"); i < 0 || i > slices.Index(heard, "ready") {
		t.Errorf("the registrations of a node that attaches come before ready: %v", heard)
	}
}

// TestNothingIsInvokedThatIsNotRegistered, as the node sees it: one that gets an
// INVOCATION before REGISTERED or after UNREGISTERED ends its session.
func TestNothingIsInvokedThatIsNotRegistered(t *testing.T) {
	b := newBench(t)
	sock := &socket{codec: newNodeCBOR(), out: make(chan []byte, maxQueued), maxSend: maxMessage}
	s := newSession(sock, "")
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if id, _, err := s.invoke("get_status", nil, nil); err == nil {
					s.forget(id)
				}
			}
		})
	}
	defer func() { close(stop); callers.Wait() }()
	seen := 0
	for round := wamp.ID(1); round < 5000 && seen < 500; round++ {
		s.register(b.Link, &wamp.Register{Request: round, Options: wamp.Dict{}, Procedure: prefix + "get_status"})
		if round%2 == 0 { // some are used, and others hardly
			runtime.Gosched()
		}
		s.unregister(b.Link, &wamp.Unregister{Request: round, Registration: s.last})
		registered, over := wamp.ID(0), false
		for !over {
			f := <-sock.out
			sock.queued.Add(-int64(len(f)))
			m, err := sock.codec.Deserialize(f[frameHeader:])
			if err != nil {
				t.Fatal(err)
			}
			switch m := m.(type) {
			case *wamp.Registered:
				registered = m.Registration
			case *wamp.Unregistered:
				over = true
			case *wamp.Invocation:
				if seen++; m.Registration != registered {
					t.Fatalf("round %d: %d is invoked, and %d is registered", round, m.Registration, registered)
				}
			}
		}
		if len(sock.out) > 0 {
			t.Fatalf("round %d: something is said of what is not registered any more", round)
		}
	}
	if seen == 0 {
		t.Error("nothing was invoked: this has shown nothing")
	}
}

func TestLateWatcherHearsOfAReadyNode(t *testing.T) {
	b := newBench(t)
	b.node()
	var got []Notice
	stop := b.Watch(func(n Notice) { got = append(got, n) })
	stop()
	if len(got) != 1 || got[0].Kind != Ready || got[0].Node.Version != "26.10.1" {
		t.Errorf("it heard %v", got)
	}
}

func TestBigMessages(t *testing.T) {
	b := newBench(t)
	b.node()
	for _, size := range []int{3 << 20, 15 << 20} {
		big := strings.Repeat("x", size)
		if got, err := b.within(10*time.Second, "echo", big); err != nil || got != big {
			t.Errorf("%d octets: %v", size, err)
		}
	}
	e := wantKind(t, second(b.within(time.Second, "echo", strings.Repeat("x", 17<<20))), cfcerr.LimitExceeded)
	if e.Details["limit"] == nil {
		t.Errorf("it does not say which limit: %v", e.Details)
	}
	if _, err := b.within(time.Second, "get_status"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	key, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	open, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	local, err := Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for name, cfg := range map[string]Config{
		"no listener":         {Pubkey: key.Public()},
		"not on loopback":     {Pubkey: key.Public(), Listener: open},
		"no key":              {Listener: local},
		"a key that is none":  {Listener: local, Pubkey: "abc"},
		"upper case in a key": {Listener: local, Pubkey: strings.Repeat("AB", 32)},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if ln, err := Listen(context.Background(), "0.0.0.0:0"); err == nil {
		ln.Close()
		t.Error("it listens for everybody")
	}
}
