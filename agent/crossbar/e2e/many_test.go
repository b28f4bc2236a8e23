package e2e

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// tenWorkers is as many as a small host bears: one takes 105 MB. For 200 see
// agent/daemon/e2e.
const tenWorkers = 10

// TestTenWorkersAtOnce starts ten router workers with a realm each, all at once,
// then has half of them die and half of them stopped, again all at once: each
// life is told whole, once and in order, by any of these ways.
func TestTenWorkersAtOnce(t *testing.T) {
	r := newRig(t)
	defer r.end()
	var ids []string
	for i := range tenWorkers {
		ids = append(ids, fmt.Sprintf("many%d", i))
	}
	all := func(f func(i int, id string) error) {
		t.Helper()
		var wg sync.WaitGroup
		for i, id := range ids {
			wg.Go(func() {
				if err := f(i, id); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		wg.Wait()
	}
	all(func(_ int, id string) error {
		if _, err := r.call("node.start_worker", id, "router"); err != nil {
			return err
		}
		_, err := r.call("router.start_router_realm", id, "realm", map[string]any{"name": "com.example." + id, "roles": realm1["roles"]})
		return err
	})
	r.agreed()
	running, err := lives(r.told(), true)
	for _, id := range ids {
		for _, key := range []string{"on_worker " + id, "on_router_realm " + id + ".realm"} {
			if !slices.Contains(running, key) {
				t.Errorf("the events do not tell that %s runs: %v, %v", key, running, err)
			}
		}
	}
	pids := make([]int, tenWorkers)
	for i, id := range ids {
		pids[i] = r.pid(id)
	}
	all(func(i int, id string) error {
		if i%2 == 0 {
			return syscall.Kill(pids[i], syscall.SIGKILL)
		}
		_, err := r.call("node.stop_worker", id)
		return err
	})
	r.wait("the node has let all go", func() bool { return len(r.must("node.get_workers").([]string)) == 0 })
	r.agreed()
	for _, id := range ids {
		want := []string{"on_worker_starting", "on_worker_started", "on_worker_stopped"}
		got := r.agent.events.of(id)
		if got = slices.DeleteFunc(got, func(s string) bool { return s == "on_worker_stopping" }); !slices.Equal(got, want) {
			t.Errorf("%s: events %v, expected %v", id, got, want)
		}
	}
}
