// Package e2e drives relay and agent as programs around a node that is no
// process: 200 workers at once would take a stock node 27 GB of memory. What
// the agent has to bear is the same: the node speaks the contract as a stock one
// does.
package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/agent/nodelink/nodetest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const many = 200

// heard are the events that a session has got, in order.
type heard struct {
	mu     sync.Mutex
	events []event
}

type event struct {
	name, worker string
	seq, tseq    int64
	boot         string
}

func (h *heard) add(topic string, args wamp.List) {
	e := event{name: topic[strings.LastIndex(topic, ".")+1:]}
	if len(args) == 3 {
		e.worker, _ = wamp.AsString(args[1])
		d, _ := wamp.AsDict(args[2])
		e.seq, _ = wamp.AsInt64(d["seq"])
		e.tseq, _ = wamp.AsInt64(d["tseq"])
		e.boot, _ = wamp.AsString(d["boot"])
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// of counts the events of a name by worker.
func (h *heard) of(name string) map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := map[string]int{}
	for _, e := range h.events {
		if e.name == name {
			n[e.worker]++
		}
	}
	return n
}

// once waits until every worker had the event, and expects that none had it twice.
func (h *heard) once(t *testing.T, name string) {
	t.Helper()
	err := fleet.Poll(within(t, time.Minute), func() error {
		if n := len(h.of(name)); n < many {
			return fmt.Errorf("%d of %d workers had %s", n, many, name)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for worker, n := range h.of(name) {
		if n != 1 {
			t.Errorf("%s of %s came %d times", name, worker, n)
		}
	}
}

// inOrder expects that the numbers of the events have neither gap nor turn.
func (h *heard) inOrder(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var seq int64
	tseq := map[string]int64{}
	for i, e := range h.events {
		if e.boot != h.events[0].boot || e.seq <= seq || tseq[e.name] != 0 && e.tseq != tseq[e.name]+1 {
			t.Fatalf("event %d of %d: %+v after seq %d, tseq %d", i, len(h.events), e, seq, tseq[e.name])
		}
		seq, tseq[e.name] = e.seq, e.tseq
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// attach starts relay and agent, and a node of many workers.
func attach(t *testing.T) (*fleet.Stage, *nodetest.Node, identity.Key) {
	t.Helper()
	home, err := os.MkdirTemp("", "cfc-many-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	ctx := within(t, 2*time.Minute)
	s, err := fleet.NewStage(ctx, home)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(s.LastWords())
		}
		for _, a := range fleet.Alarms(home) {
			t.Error(a)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Pair(ctx, fleet.AgentOptions{NodeKey: key.Public()}); err != nil {
		t.Fatal(err)
	}
	if err := s.Agent.Start(ctx); err != nil {
		t.Fatal(err)
	}
	n := join(t, s, key)
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s, n, key
}

// join attaches a node without workers.
func join(t *testing.T, s *fleet.Stage, key identity.Key) (n *nodetest.Node) {
	t.Helper()
	ctx := within(t, 30*time.Second)
	if err := fleet.Poll(ctx, func() (err error) {
		n, err = nodetest.Join(ctx, nodetest.Config{Addr: fmt.Sprintf("127.0.0.1:%d", s.Agent.Listen), Key: key, PID: os.Getpid()})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() }) // it may be closed
	return n
}

// TestManyWorkersAtOnce has 200 workers start by themselves, die, start because
// operators ask, and be lost with their node, each all at once. A viewer hears
// every event of every worker, once, in order.
func TestManyWorkersAtOnce(t *testing.T) {
	s, n, key := attach(t)
	owner, err := s.Join(within(t, 20*time.Second), fleet.Realm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { owner.Close() })
	listen := func() *heard {
		h := &heard{}
		for _, e := range []*catalog.Event{catalog.OnWorkerStarting, catalog.OnWorkerStarted, catalog.OnWorkerStopping, catalog.OnWorkerStopped} {
			if _, err := owner.Subscribe(within(t, 10*time.Second), e.URI(), "", func(ev *wamp.Event) { h.add(e.URI(), ev.Arguments) }); err != nil {
				t.Fatal(err)
			}
		}
		return h
	}
	h := listen()
	ids := make([]string, many)
	for i := range ids {
		ids[i] = fmt.Sprintf("w%03d", i)
	}
	each := func(f func(id string)) {
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Go(func() { f(id) })
		}
		wg.Wait()
	}

	each(func(id string) { n.Boot(id, "router") })
	h.once(t, catalog.OnWorkerStarting.Name)
	h.once(t, catalog.OnWorkerStarted.Name)
	workers, err := owner.Call(within(t, time.Minute), catalog.NodeGetWorkers.URI(), wamp.List{fleet.NodeID}, nil, session.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := wamp.AsList(workers.Arguments[0]); len(got) != many || got[0] != ids[0] || got[many-1] != ids[many-1] {
		t.Errorf("get_workers: %v", got)
	}
	each(n.Die)
	h.once(t, catalog.OnWorkerStopped.Name)
	h.inOrder(t)

	h.mu.Lock()
	h.events = slices.Delete(h.events, 0, len(h.events))
	h.mu.Unlock()
	each(func(id string) {
		if _, err := owner.Call(within(t, 2*time.Minute), catalog.NodeStartWorker.URI(), wamp.List{fleet.NodeID, id, wamp.Dict{"type": "router"}}, nil, session.CallOptions{Timeout: time.Minute}); err != nil {
			t.Errorf("start_worker %s: %v", id, err)
		}
	})
	h.once(t, catalog.OnWorkerStarted.Name)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	join(t, s, key) // started anew: it knows of none of them
	h.once(t, catalog.OnWorkerStopped.Name)
	h.inOrder(t)
	m, err := fleet.Memory(s.Agent.PID())
	if err != nil || m.RSS > 100 {
		t.Errorf("the agent of %d workers takes %.0f MB, %v", many, m.RSS, err)
	}
	t.Logf("the agent of %d workers took %.0f MB, %.0f of it its own", many, m.RSS, m.Anonymous)
}
