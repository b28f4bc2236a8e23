package e2e

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// sessions joins realms: whether one runs is decided by who can.
func sessions(r *rig) {
	t := r.t
	port := freePort(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.must("router.start_router_transport", "rtr1", "ws", dict{"type": "websocket", "endpoint": dict{"type": "tcp", "port": port, "interface": "127.0.0.1"}})
	join := func() (*client.Client, error) {
		return client.ConnectNet(ctx, fmt.Sprintf("ws://127.0.0.1:%d", port), client.Config{Realm: "com.example.one", Serialization: client.CBOR})
	}
	for i := range 3 {
		r.must("router.start_router_realm", "rtr1", "realm1", realm1)
		c, err := join()
		if err != nil {
			t.Fatalf("round %d: nobody can join: %v", i, err)
		}
		defer c.Close()
		if err := c.Register("com.example.echo", echo, nil); err != nil {
			t.Errorf("round %d: the role of the configuration has no rights: %v", i, err)
		}
		left := make(chan struct{})
		go func() {
			defer close(left)
			<-c.Done()
			c.Close() // answers the GOODBYE
		}()
		began := time.Now()
		r.must("router.stop_router_realm", "rtr1", "realm1")
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("round %d: the stop took %s", i, d)
		}
		select {
		case <-left:
		case <-time.After(5 * time.Second):
			t.Errorf("round %d: the realm is stopped, its session goes on", i)
		}
		if c, err := join(); err == nil {
			c.Close()
			t.Errorf("round %d: the realm is stopped, and can be joined", i)
		}
	}
}

func echo(_ context.Context, i *wamp.Invocation) client.InvokeResult {
	return client.InvokeResult{Args: i.Arguments}
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// storm makes many changes at once, on two workers: each is done or refused as
// busy, and what the node runs afterwards is what was answered.
func storm(r *rig) {
	t := r.t
	r.must("node.start_worker", "w0", "router")
	r.must("node.start_worker", "w1", "router")
	var mu sync.Mutex
	want := map[string][]string{}
	var wg sync.WaitGroup
	for i := range 50 {
		w := fmt.Sprint("w", i%2)
		id := fmt.Sprint("realm", i)
		wg.Go(func() {
			_, err := r.call("router.start_router_realm", w, id, map[string]any{"name": "com.example." + id})
			switch {
			case cfcerr.KindOf(err) == cfcerr.Busy:
				return
			case err != nil:
				t.Errorf("start %s: %v", id, err)
				return
			}
			if i%3 == 0 {
				_, err := r.call("router.stop_router_realm", w, id)
				if err == nil {
					return
				}
				if cfcerr.KindOf(err) != cfcerr.Busy {
					t.Errorf("stop %s: %v", id, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			want[w] = append(want[w], id)
		})
	}
	wg.Wait()
	for w, ids := range want {
		slices.Sort(ids)
		if got := r.must("router.get_router_realms", w); !slices.Equal(got.([]string), ids) {
			t.Errorf("on %s run %v, expected %v", w, got, ids)
		}
		for _, id := range ids {
			events := r.agent.events.of(w, id)
			if n := len(events); n < 2 || events[1] != "on_router_realm_started" {
				t.Errorf("of %s is told %v", id, events)
			}
		}
	}
	r.must("node.stop_worker", "w0")
	r.must("node.stop_worker", "w1")
}
