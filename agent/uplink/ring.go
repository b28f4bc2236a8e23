package uplink

import (
	"sync"

	"fabric.center/cfc/shared/catalog"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	ringEvents = 10_000
	ringBytes  = 32 << 20
	// What is of the moment waits only while little does: it never pushes out
	// what tells a change.
	passingEvents = ringEvents / 5
	passingBytes  = ringBytes / 4
)

// entry is an event that the relay has not acknowledged yet.
type entry struct {
	event *catalog.Event
	args  wamp.List // without the node id, which the session knows
	size  int
	done  bool // acknowledged or refused, while one before it is not
}

// ring holds events in the order of their publication: first those that are on
// their way, then those that wait. The bounds drop the oldest.
type ring struct {
	mu      sync.Mutex
	entries []*entry
	sent    int // how many of entries are on their way
	bytes   int
	dropped uint64
	settled uint64        // how many the relay has answered, ever
	wake    chan struct{} // holds one
}

func newRing() *ring { return &ring{wake: make(chan struct{}, 1)} }

func (r *ring) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// add appends an event; what made room for it is counted as dropped.
func (r *ring) add(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.event.Passing && (len(r.entries) >= passingEvents || r.bytes+e.size > passingBytes) {
		r.dropped++
		return
	}
	r.entries = append(r.entries, e)
	r.bytes += e.size
	for len(r.entries) > 1 && (len(r.entries) > ringEvents || r.bytes > ringBytes) {
		if !r.entries[0].done {
			r.dropped++
		}
		r.shift()
	}
	r.signal()
}

// shift removes the oldest entry.
func (r *ring) shift() {
	r.bytes -= r.entries[0].size
	r.entries[0] = nil
	r.entries = r.entries[1:]
	if r.sent > 0 {
		r.sent--
	}
}

// next hands out the oldest event that waits, while fewer than window are on
// their way; nil for none.
func (r *ring) next(window int) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sent >= window || r.sent >= len(r.entries) {
		return nil
	}
	e := r.entries[r.sent]
	r.sent++
	return e
}

// settle takes an event out that the relay has answered.
func (r *ring) settle(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.done = true
	r.settled++
	for len(r.entries) > 0 && r.entries[0].done {
		r.shift()
	}
	r.signal()
}

// again makes all that is on its way wait: the session that carried it is over.
func (r *ring) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.entries[:0:0]
	for _, e := range r.entries {
		if e.done {
			r.bytes -= e.size
			continue
		}
		kept = append(kept, e)
	}
	r.entries, r.sent = kept, 0
	r.signal()
}

// clear forgets all: what happened under one pairing is none of the next one's
// business.
func (r *ring) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries, r.sent, r.bytes = nil, 0, 0
}

// progress is how many events the relay has answered, and how many are on their
// way to it.
func (r *ring) progress() (settled uint64, underWay int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settled, r.sent
}

func (r *ring) count() (waiting int, dropped uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries), r.dropped
}
