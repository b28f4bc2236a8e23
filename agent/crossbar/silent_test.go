package crossbar

import (
	"slices"
	"testing"

	"fabric.center/cfc/agent/ops"
)

// A frozen worker hides neither the ends nor the starts of others, nor does
// what runs in it count as ended meanwhile.
func TestOthersAreSeenBesideAFrozenWorker(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.fake.Boot("w2", "router")
	r.start("a", map[string]any{"name": "realm1"})
	r.until("all are seen", func() bool { return r.seen.all() == "w router a=realm1; w2 router" })
	for _, procedure := range []string{"utcnow", "get_router_realms", "get_router_transports", "get_router_components"} {
		defer r.fake.Hang(ops.WorkerProcedure("w", procedure))()
	}
	r.fake.Die("w2")
	r.fake.Boot("w3", "router")
	r.until("the change is seen", func() bool { return r.seen.all() == "w router; w3 router" })
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	i := slices.IndexFunc(r.seen.workers, func(w ops.Worker) bool { return w.ID == "w" })
	if unseen := r.seen.workers[i].Unseen; !slices.Contains(unseen, ops.RouterRealm) {
		t.Errorf("of the frozen one was not seen %v", unseen)
	}
}
