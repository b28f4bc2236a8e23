package e2e

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// call calls a row with this product's client.
func call(t *testing.T, s *session.Session, o *catalog.Op, args ...any) (any, error) {
	t.Helper()
	r, err := s.Call(within(t, 90*time.Second), o.URI(), args, nil, session.CallOptions{Timeout: o.Deadline()})
	if err != nil {
		return nil, err
	}
	if len(r.Arguments) == 0 {
		return nil, nil
	}
	return r.Arguments[0], nil
}

func must(t *testing.T, s *session.Session, o *catalog.Op, args ...any) any {
	t.Helper()
	v, err := call(t, s, o, args...)
	if err != nil {
		t.Fatalf("%s%v: %v", o.Key(), args, err)
	}
	return v
}

// worker starts a router worker and gives its pid.
func worker(t *testing.T, s *session.Session, id string) int {
	t.Helper()
	d, _ := wamp.AsDict(must(t, s, catalog.NodeStartWorker.Op, "n1", id, wamp.Dict{"type": "router"}))
	pid, ok := wamp.AsInt64(d["pid"])
	if !ok {
		t.Fatalf("start_worker: %v", d)
	}
	return int(pid)
}

// recovered waits for the whole fleet, however the test went.
func recovered(t *testing.T) {
	t.Helper()
	if err := stage.Ready(within(t, 2*time.Minute)); err != nil {
		t.Fatal(err)
	}
}

// flight has calls in flight until stop; then it gives their errors by kind and
// how long the slowest took.
type flight struct {
	stop   context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	errors map[cfcerr.Kind]int
	good   int
	worst  time.Duration
}

// fly calls o from many goroutines, one call after another, each with a
// deadline of 5 s.
func fly(t *testing.T, s *session.Session, o *catalog.Op, args ...any) *flight {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &flight{stop: cancel, errors: map[cfcerr.Kind]int{}}
	for range 16 {
		f.wg.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				_, err := s.Call(context.WithoutCancel(ctx), o.URI(), args, nil, session.CallOptions{Timeout: 5 * time.Second})
				f.note(time.Since(began), err)
				if err != nil && s.Err() != nil {
					return // the session is over, and every call of it was answered
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); f.wg.Wait() })
	if err := fleet.Poll(within(t, 20*time.Second), func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.good < 50 {
			return fmt.Errorf("%d answers", f.good)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *flight) note(took time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.worst = max(f.worst, took)
	if err == nil {
		f.good++
		return
	}
	f.errors[cfcerr.KindOf(err)]++
}

// land ends the flight; calls that hang fail the test.
func (f *flight) land(t *testing.T, allowed ...cfcerr.Kind) {
	t.Helper()
	f.stop()
	f.wg.Wait()
	if f.worst > 8*time.Second {
		t.Errorf("a call with a deadline of 5 s took %s", f.worst)
	}
	for k, n := range f.errors {
		ok := false
		for _, a := range allowed {
			ok = ok || a == k
		}
		if !ok {
			t.Errorf("%d calls ended with kind %s (%d), expected one of %v", n, k.URI(), k, allowed)
		}
	}
}

// TestRelayKilled kills the relay while calls are in flight and tokens are made.
func TestRelayKilled(t *testing.T) {
	s := owner(t)
	pid, err := stage.Agent.NodePID()
	if err != nil {
		t.Fatal(err)
	}
	flight := fly(t, s, catalog.NodeGetStatus.Op, "n1")
	made := map[string]bool{}
	users := join(t, wire.UsersRealm)
	making := make(chan struct{})
	first := make(chan struct{})
	go func() {
		defer close(making)
		for {
			v, err := users.Call(t.Context(), catalog.CreateToken.URI(), wamp.List{"node", wamp.Dict{"realm": realm}}, nil, session.CallOptions{})
			if err != nil {
				return
			}
			d, _ := wamp.AsDict(v.Arguments[0])
			id, _ := wamp.AsString(d["id"])
			if made[id] = true; len(made) == 20 {
				close(first)
			}
		}
	}()
	<-first
	if err := stage.Relay.Kill(); err != nil {
		t.Fatal(err)
	}
	<-making
	flight.land(t, cfcerr.ConnectionLost)
	began := time.Now()
	if err := stage.Relay.Start(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	up := time.Since(began)
	recovered(t)
	if back := time.Since(began); back > up+10*time.Second {
		t.Errorf("the agent was back %s after the relay, expected seconds", back-up)
	}
	if now, err := stage.Agent.NodePID(); err != nil || now != pid {
		t.Errorf("the node was touched: pid %d became %d, %v", pid, now, err)
	}
	kept, _ := wamp.AsList(must(t, join(t, wire.UsersRealm), catalog.GetTokens.Op))
	have := map[string]bool{}
	for _, k := range kept {
		d, _ := wamp.AsDict(k)
		id, _ := wamp.AsString(d["id"])
		have[id] = true
	}
	for id := range made {
		if !have[id] {
			t.Errorf("token %s was acknowledged and is lost", id)
		}
	}
	must(t, owner(t), catalog.NodeGetStatus.Op, "n1")
}

// join joins as the owner.
func join(t *testing.T, realm string) *session.Session {
	t.Helper()
	key, err := identity.Load(stage.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Join(within(t, 20*time.Second), session.Config{URL: stage.Relay.URL(), Realm: realm, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestAgentKilled kills the agent; its node and the node's workers go on.
func TestAgentKilled(t *testing.T) {
	s := owner(t)
	workerPID := worker(t, s, "agentkilled")
	nodePID, err := stage.Agent.NodePID()
	if err != nil {
		t.Fatal(err)
	}
	flight := fly(t, s, catalog.NodeGetStatus.Op, "n1")
	began := time.Now()
	if err := stage.Agent.Kill(); err != nil {
		t.Fatal(err)
	}
	offline := func() error {
		_, err := s.Call(t.Context(), catalog.NodeGetStatus.URI(), wamp.List{"n1"}, nil, session.CallOptions{Timeout: time.Second})
		if cfcerr.KindOf(err) != cfcerr.NodeOffline {
			return fmt.Errorf("not offline: %w", err)
		}
		return nil
	}
	if err := fleet.Poll(within(t, 10*time.Second), offline); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the node was offline after %s, expected 1 s", took)
	}
	flight.land(t, cfcerr.ConnectionLost, cfcerr.NodeOffline)
	if flight.errors[cfcerr.ConnectionLost]+flight.errors[cfcerr.NodeOffline] == 0 {
		t.Error("no call was in flight")
	}
	if err := stage.Agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	recovered(t)
	if now, err := stage.Agent.NodePID(); err != nil || now != nodePID {
		t.Errorf("the node did not go on: pid %d became %d, %v", nodePID, now, err)
	}
	d, _ := wamp.AsDict(must(t, s, catalog.NodeGetWorker.Op, "n1", "agentkilled"))
	if pid, _ := wamp.AsInt64(d["pid"]); int(pid) != workerPID {
		t.Errorf("the worker did not go on: pid %d became %v", workerPID, d["pid"])
	}
	must(t, s, catalog.NodeStopWorker.Op, "n1", "agentkilled")
}

// TestNodeKilled kills the node's controller; the agent starts it again.
func TestNodeKilled(t *testing.T) {
	s := owner(t)
	worker(t, s, "nodekilled")
	ev := watch(t, s, catalog.OnNodeDetached, catalog.OnNodeAttached, catalog.OnWorkerStopped)
	pid, err := stage.Agent.NodePID()
	if err != nil {
		t.Fatal(err)
	}
	flight := fly(t, s, catalog.NodeGetStatus.Op, "n1")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ev.wait(t, catalog.OnNodeDetached, 10*time.Second, "n1")
	ev.wait(t, catalog.OnWorkerStopped, 10*time.Second, "n1", "nodekilled")
	ev.wait(t, catalog.OnNodeAttached, time.Minute, "n1")
	flight.land(t, cfcerr.ConnectionLost, cfcerr.NodeDetached, cfcerr.Timeout)
	if flight.errors[cfcerr.NodeDetached] == 0 {
		t.Errorf("no call was told that the node is away: %v", flight.errors)
	}
	recovered(t)
	if now, err := stage.Agent.NodePID(); err != nil || now == pid {
		t.Errorf("the node was not started again: %d, %v", now, err)
	}
	must(t, s, catalog.NodeGetStatus.Op, "n1")
	worker(t, s, "nodekilled")
	must(t, s, catalog.NodeStopWorker.Op, "n1", "nodekilled")
}

// TestWorkerKilled kills a worker; that is an event, and its id is free again.
func TestWorkerKilled(t *testing.T) {
	s := owner(t)
	ev := watch(t, s, catalog.OnWorkerStopped)
	pid := worker(t, s, "workerkilled")
	must(t, s, catalog.RouterStartRealm.Op, "n1", "workerkilled", "r1", wamp.Dict{"name": "realm1"})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e := ev.wait(t, catalog.OnWorkerStopped, 10*time.Second, "n1", "workerkilled")
	if d, _ := wamp.AsDict(e[len(e)-1]); d["reason"] == nil || d["reason"] == "" {
		t.Errorf("the event has no reason: %v", e)
	}
	if _, err := call(t, s, catalog.RouterGetRealms.Op, "n1", "workerkilled"); cfcerr.KindOf(err) != cfcerr.NoSuchWorker {
		t.Errorf("a call to the dead worker: %v", err)
	}
	worker(t, s, "workerkilled")
	must(t, s, catalog.RouterStartRealm.Op, "n1", "workerkilled", "r1", wamp.Dict{"name": "realm1"})
	must(t, s, catalog.NodeStopWorker.Op, "n1", "workerkilled")
}

// TestNodeFrozen stops the node with SIGSTOP: no call hangs, and all is well
// when it goes on.
func TestNodeFrozen(t *testing.T) {
	s := owner(t)
	pid, err := stage.Agent.NodePID()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	thaw := sync.OnceValue(func() error { return syscall.Kill(pid, syscall.SIGCONT) })
	defer func() { _ = thaw() }()
	var wg sync.WaitGroup
	for _, c := range []struct {
		o    *catalog.Op
		args []any
	}{
		{catalog.NodeGetStatus.Op, []any{"n1"}}, {catalog.NodeGetWorkers.Op, []any{"n1"}}, {catalog.NodeGetWorker.Op, []any{"n1", "w1"}},
		{catalog.NodeStartWorker.Op, []any{"n1", "frozen", wamp.Dict{"type": "router"}}}, {catalog.NodeStopWorker.Op, []any{"n1", "frozen"}},
		{catalog.RouterStartRealm.Op, []any{"n1", "w1", "r1", wamp.Dict{"name": "realm1"}}},
	} {
		wg.Go(func() {
			began := time.Now()
			_, err := s.Call(t.Context(), c.o.URI(), c.args, nil, session.CallOptions{Timeout: 2 * time.Second})
			if took := time.Since(began); took > 3*time.Second || err == nil {
				t.Errorf("%s of a frozen node: %v after %s, expected an error within its 2 s", c.o.Key(), err, took)
			}
		})
	}
	wg.Wait()
	// What the agent knows by itself needs no node.
	must(t, s, catalog.RealmGetNode.Op, "n1")
	if err := thaw(); err != nil {
		t.Fatal(err)
	}
	recovered(t)
	must(t, owner(t), catalog.NodeGetStatus.Op, "n1")
	if _, err := call(t, owner(t), catalog.NodeStopWorker.Op, "n1", "frozen"); err != nil && cfcerr.KindOf(err) != cfcerr.NoSuchWorker {
		t.Errorf("cleaning up: %v", err)
	}
}

// TestNodeShutDown shuts the node down in order, and has it started again.
func TestNodeShutDown(t *testing.T) {
	s := owner(t)
	pid, err := stage.Agent.NodePID()
	if err != nil {
		t.Fatal(err)
	}
	d, _ := wamp.AsDict(must(t, s, catalog.NodeShutdownOp.Op, "n1"))
	if d["node_id"] != "n1" || d["restarting"] != false {
		t.Errorf("shutdown: %v", d)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("shutdown returned and process %d lives", pid)
	}
	if _, err := call(t, s, catalog.NodeGetStatus.Op, "n1"); cfcerr.KindOf(err) != cfcerr.NodeDetached {
		t.Errorf("a call to a node that is down: %v", err)
	}
	must(t, s, catalog.NodeShutdownOp.Op, "n1", true)
	recovered(t)
	must(t, s, catalog.NodeGetStatus.Op, "n1")
	if d, _ = wamp.AsDict(must(t, s, catalog.NodeShutdownOp.Op, "n1", true)); d["restarting"] != true {
		t.Errorf("shutdown with restart: %v", d)
	}
	recovered(t)
}

// watched are events of some rows.
type watched struct{ ch chan watchedEvent }

type watchedEvent struct {
	topic string
	args  wamp.List
}

func watch(t *testing.T, s *session.Session, events ...*catalog.Event) watched {
	t.Helper()
	w := watched{make(chan watchedEvent, 1000)}
	for _, e := range events {
		_, err := s.Subscribe(within(t, 10*time.Second), e.URI(), "", func(ev *wamp.Event) {
			select {
			case w.ch <- watchedEvent{e.URI(), ev.Arguments}:
			default:
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// wait is the arguments of the next event that begins with these ids.
func (w watched) wait(t *testing.T, e *catalog.Event, d time.Duration, ids ...string) wamp.List {
	t.Helper()
	ctx := within(t, d)
	for {
		select {
		case ev := <-w.ch:
			fits := ev.topic == e.URI() && len(ev.args) > len(ids)
			for i, id := range ids {
				fits = fits && ev.args[i] == id
			}
			if fits {
				return ev.args
			}
		case <-ctx.Done():
			t.Fatalf("no %s%v within %s", e.Name, ids, d)
		}
	}
}
