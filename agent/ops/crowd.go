package ops

import (
	"sync"

	"fabric.center/cfc/shared/cfcerr"
)

// mostReads is how many calls may look into workers at once: a little fewer than
// the session with the relay carries out.
const mostReads = 1000

// crowd is the calls that look into workers. Those of one worker may be as many as
// there is room for others: one that is frozen, and whose callers have patience,
// does not keep anybody from looking into the others.
type crowd struct {
	mu    sync.Mutex
	all   int
	reads map[string]int // by worker
}

// enter lets a call in, or answers that it is one too many; it leaves when done.
func (c *crowd) enter(worker string) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= mostReads {
		return nil, cfcerr.New(cfcerr.Busy, "cannot look into worker %s: %d calls that look into workers have no answer yet", worker, c.all).With("limit", mostReads)
	}
	if n := c.reads[worker]; n >= mostReads-c.all {
		return nil, cfcerr.New(cfcerr.Busy, "cannot look into worker %s: %d calls that do have no answer yet", worker, n).With("limit", n)
	}
	if c.reads == nil {
		c.reads = map[string]int{}
	}
	c.all++
	c.reads[worker]++
	return func() { c.leave(worker) }, nil
}

func (c *crowd) leave(worker string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.reads[worker]--; c.reads[worker] == 0 {
		delete(c.reads, worker)
	}
}
