package crossbar

import (
	"context"
	"sync"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
)

// answerWait is how long a worker may take to say anything at all, before the
// others are looked into without it.
const answerWait = 2 * time.Second

// answering are those of the workers that can be looked into: one that is
// frozen must keep nobody from hearing of the others. One that was silent is
// asked again only after a while, since each time costs the whole wait.
func (n *Node) answering(ctx context.Context, workers []ops.Worker) map[string]bool {
	var mu sync.Mutex
	var wg sync.WaitGroup
	answering := map[string]bool{}
	for _, seen := range workers {
		w := workerSeen(n, seen)
		key := w.silent()
		if !seen.Ready || len(ops.KindsOf(seen.Type)) == 0 || !n.due(key) {
			continue
		}
		wg.Go(func() {
			if _, err := n.call(ctx, answerWait, ops.WorkerProcedure(w.id, "utcnow")); unfinished(err) || cfcerr.KindOf(err) == cfcerr.Busy {
				n.notBefore(key)
				return
			}
			n.answers(key)
			mu.Lock()
			defer mu.Unlock()
			answering[w.id] = true
		})
	}
	wg.Wait()
	return answering
}

// silent is where it is kept when a worker is asked again.
func (w *worker) silent() nameKey { return nameKey{place: place{worker: w.id, life: w.life}} }

// answers forgets that a worker was silent.
func (n *Node) answers(k nameKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.tries, k)
}
