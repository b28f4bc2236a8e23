package observe

import (
	"context"
	"sync"
	"time"
)

// Bounds are what a ring holds at most.
type Bounds struct{ Records, Bytes int }

// Entry is one thing that was seen.
type Entry[T any] struct {
	Seq   uint64
	Time  time.Time
	Value T
}

// Page is what one reading gives.
type Page[T any] struct {
	Entries []Entry[T]
	// Next is from where to read on.
	Next uint64
	// Lost is how many records, from the number asked for, had been dropped.
	Lost uint64
	// End says that the ring is closed and nothing follows this page.
	End bool
}

// Ring keeps the newest of what was seen, each with its number: 1 for the first,
// one up for each further one, never given twice. A reader has no state here:
// he says from which number on he wants to read and gets the number to go on
// from. Its methods may be called from anywhere, and but for Await none waits.
type Ring[T any] struct {
	bounds Bounds
	size   func(T) int

	mu      sync.Mutex
	entries []Entry[T] // without gaps: the last one's number is next - 1
	bytes   int
	next    uint64
	closed  bool
	news    chan struct{} // closed at the next change; nil while nobody waits
}

// NewRing makes an empty ring; size tells what a record counts for in bytes.
func NewRing[T any](bounds Bounds, size func(T) int) *Ring[T] {
	return &Ring[T]{bounds: bounds, size: size, next: 1}
}

// Add appends a record and gives its number. One that is larger than the ring
// is lost at once. What comes after Close is not taken: its number is 0.
func (r *Ring[T]) Add(v T) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0
	}
	rec := Entry[T]{Seq: r.next, Time: time.Now(), Value: v}
	r.next++
	r.entries = append(r.entries, rec)
	r.bytes += r.size(v)
	for len(r.entries) > 0 && (len(r.entries) > r.bounds.Records || r.bytes > r.bounds.Bytes) {
		r.bytes -= r.size(r.entries[0].Value)
		r.entries[0] = Entry[T]{} // the array behind the slice lives on
		r.entries = r.entries[1:]
	}
	r.tell()
	return rec.Seq
}

// Close says that nothing will be added any more. What is there stays readable.
func (r *Ring[T]) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.tell()
}

func (r *Ring[T]) tell() {
	if r.news != nil {
		close(r.news)
		r.news = nil
	}
}

// Read gives the records from a number on, as many as are there and fit the
// limits, but one at least: a page is for one message, which has its bounds.
// Numbers below 1 mean the oldest record. So does one that has not been
// reached yet: it is from another ring, before the agent's last start.
func (r *Ring[T]) Read(from uint64, limit Bounds) Page[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read(from, limit)
}

// Last gives the newest records that fit the limits, one at least, in their
// order.
func (r *Ring[T]) Last(limit Bounds) Page[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, bytes := 0, 0
	for n < len(r.entries) && n < limit.Records {
		if bytes += r.size(r.entries[len(r.entries)-1-n].Value); n > 0 && bytes > limit.Bytes {
			break
		}
		n++
	}
	p := r.read(r.next-uint64(n), Bounds{Records: n, Bytes: limit.Bytes})
	p.Lost = 0 // nobody asked for what is older
	return p
}

func (r *Ring[T]) read(from uint64, limit Bounds) Page[T] {
	if from == 0 || from > r.next {
		from = 1
	}
	p := Page[T]{Entries: []Entry[T]{}, Next: from}
	oldest := r.next - uint64(len(r.entries))
	if from < oldest {
		p.Lost, p.Next = oldest-from, oldest
	}
	bytes := 0
	for _, rec := range r.entries[p.Next-oldest:] {
		if bytes += r.size(rec.Value); len(p.Entries) > 0 && (len(p.Entries) >= limit.Records || bytes > limit.Bytes) {
			break
		}
		p.Entries, p.Next = append(p.Entries, rec), rec.Seq+1
	}
	p.End = r.closed && p.Next == r.next
	return p
}

// Await is Read, but where there is nothing to read yet it waits for it: until
// a record comes, the ring is closed, or the time has passed, which gives an
// empty page. Its error is that of ctx.
func (r *Ring[T]) Await(ctx context.Context, from uint64, limit Bounds, wait time.Duration) (Page[T], error) {
	patience := time.NewTimer(wait)
	defer patience.Stop()
	for {
		r.mu.Lock()
		p := r.read(from, limit)
		if len(p.Entries) > 0 || p.End || p.Lost > 0 {
			r.mu.Unlock()
			return p, nil
		}
		if r.news == nil {
			r.news = make(chan struct{})
		}
		news := r.news
		r.mu.Unlock()
		select {
		case <-news:
		case <-patience.C:
			return p, nil
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}
