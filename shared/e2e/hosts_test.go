package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// place is a host of its own: an agent with a real node, beside those of the
// stage.
type place struct {
	realm, id string
	agent     *fleet.Agent
}

// settle pairs and starts one more host.
func settle(t *testing.T, users *session.Session, name, realm, id string) place {
	t.Helper()
	node, err := fleet.FindNode()
	if err != nil {
		t.Fatal(err)
	}
	a, err := fleet.NewAgent(t.Context(), stage.Tools, node, stage.Home, fleet.AgentOptions{Name: name, NodeDir: filepath.Join(stage.Home, name+"-node")})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := wamp.AsDict(must(t, users, catalog.CreateToken.Op, string(wire.ForNode), wamp.Dict{"realm": realm, "node_id": id}))
	token, _ := wamp.AsString(d["token"])
	stage.secrets["the token of "+name] = token
	if err := a.Pair(within(t, time.Minute), stage.Relay.URL(), token); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	return place{realm, id, a}
}

// attached waits until the relay knows that the node of the host is there.
func (p place) attached(t *testing.T, s *session.Session) {
	t.Helper()
	err := fleet.Poll(within(t, 2*time.Minute), func() error {
		r, err := s.Call(t.Context(), catalog.NodeGetStatus.URI(), wamp.List{p.id}, nil, session.CallOptions{Timeout: 5 * time.Second})
		if err != nil {
			return err
		}
		d, _ := wamp.AsDict(r.Arguments[0])
		told, _ := wamp.AsInt64(d["controller_pid"])
		if pid, err := p.agent.NodePID(); err != nil || int(told) != pid {
			return fmt.Errorf("%s/%s answers with node %d, its agent's is %d, %w", p.realm, p.id, told, pid, err)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s\n%s", err, p.agent.Tail(20))
	}
}

// started are the events of workers that started, by node and worker.
type started struct {
	mu   sync.Mutex
	list []string
}

func (s *started) subscribe(t *testing.T, in *session.Session) {
	t.Helper()
	_, err := in.Subscribe(within(t, 10*time.Second), catalog.OnWorkerStarted.URI(), "", func(e *wamp.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.list = append(s.list, fmt.Sprintf("%v %v", e.Arguments[0], e.Arguments[1]))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *started) sorted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.list))
}

// TestSeveralHosts steers three real nodes at once: two of one realm, and one
// of another realm that has the same id as one of those. Each call and event
// finds its own, and what happens to one host is nothing to the others.
func TestSeveralHosts(t *testing.T) {
	const other = "elsewhere"
	users, here := join(t, wire.UsersRealm), owner(t)
	must(t, users, catalog.CreateManagementRealm.Op, other)
	defer func() {
		users := join(t, wire.UsersRealm) // the first one ends with the relay
		for _, n := range []string{realm + "/n2", other + "/n1"} {
			must(t, users, catalog.UnpairNode.Op, n)
		}
		must(t, users, catalog.DeleteManagementRealm.Op, other)
	}()
	there := join(t, other)
	first := place{realm, "n1", stage.Agent}
	second, third := settle(t, users, "second", realm, "n2"), settle(t, users, "third", other, "n1")
	first.attached(t, here)
	second.attached(t, here)
	third.attached(t, there)
	if nodes := must(t, here, catalog.RealmGetNodes.Op); fmt.Sprint(nodes) != "[n1 n2]" {
		t.Errorf("nodes of %s: %v", realm, nodes)
	}
	if _, err := call(t, there, catalog.NodeGetStatus.Op, "n2"); cfcerr.KindOf(err) != cfcerr.NoSuchNode {
		t.Errorf("the other realm's owner calls n2: %v", err)
	}

	// The same worker on all, at once.
	var heardHere, heardThere started
	heardHere.subscribe(t, here)
	heardThere.subscribe(t, there)
	var wg sync.WaitGroup
	pids := make([]int64, 3)
	for i, of := range []struct {
		s  *session.Session
		id string
	}{{here, "n1"}, {here, "n2"}, {there, "n1"}} {
		wg.Go(func() {
			v, err := call(t, of.s, catalog.NodeStartWorker.Op, of.id, "same", wamp.Dict{"type": "router"})
			if err != nil {
				t.Errorf("start_worker of host %d: %v", i, err)
			}
			d, _ := wamp.AsDict(v)
			pids[i], _ = wamp.AsInt64(d["pid"])
		})
	}
	wg.Wait()
	if slices.Contains(pids, 0) || len(slices.Compact(slices.Sorted(slices.Values(pids)))) != 3 {
		t.Errorf("the workers are %v", pids)
	}
	err := fleet.Poll(within(t, 10*time.Second), func() error {
		if h, e := heardHere.sorted(), heardThere.sorted(); !slices.Equal(h, []string{"n1 same", "n2 same"}) || !slices.Equal(e, []string{"n1 same"}) {
			return fmt.Errorf("heard in %s %v, in %s %v", realm, h, other, e)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	// One agent dies: calls to its node tell it, all others go on.
	hit, unhurt, far := fly(t, here, catalog.NodeGetWorker.Op, "n2", "same"), fly(t, here, catalog.NodeGetWorker.Op, "n1", "same"), fly(t, there, catalog.NodeGetWorker.Op, "n1", "same")
	if err := second.agent.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Poll(within(t, 10*time.Second), func() error {
		if _, err := call(t, here, catalog.NodeGetStatus.Op, "n2"); cfcerr.KindOf(err) != cfcerr.NodeOffline {
			return fmt.Errorf("not offline: %w", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	hit.land(t, cfcerr.ConnectionLost, cfcerr.NodeOffline)
	unhurt.land(t)
	far.land(t)
	if err := second.agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	second.attached(t, here)

	// The relay dies: all are back, with all that they had.
	if err := stage.Relay.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := stage.Relay.Start(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	here, there = owner(t), join(t, other)
	for i, of := range []struct {
		s *session.Session
		place
	}{{here, first}, {here, second}, {there, third}} {
		of.attached(t, of.s)
		d, _ := wamp.AsDict(must(t, of.s, catalog.NodeGetWorker.Op, of.id, "same"))
		if pid, _ := wamp.AsInt64(d["pid"]); pid != pids[i] {
			t.Errorf("the worker of host %d did not go on: pid %d became %v", i, pids[i], d["pid"])
		}
		must(t, of.s, catalog.NodeStopWorker.Op, of.id, "same")
	}
}
