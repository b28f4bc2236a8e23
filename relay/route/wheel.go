package route

import (
	"context"
	"sync"
	"time"
)

// wheel keeps the deadlines of all calls: one goroutine, and for a call no more
// than its place in a list. A deadline passes up to two ticks late, never early.
type wheel struct {
	start time.Time
	wake  chan struct{} // told when the wheel was empty

	mu    sync.Mutex
	now   int64 // the last tick that was worked off
	count int
	slots [wheelSlots]entry // heads of rings
}

const (
	tick       = 10 * time.Millisecond
	wheelSlots = 4096 // 41 s; what lies further passes by more than once
)

// entry is a place in the wheel.
type entry struct {
	prev, next *entry
	at         int64 // tick
	of         expirer
}

// expirer is what has a deadline.
type expirer interface{ expire() }

func newWheel() *wheel {
	w := &wheel{start: time.Now(), wake: make(chan struct{}, 1)}
	for i := range w.slots {
		e := &w.slots[i]
		e.prev, e.next = e, e
	}
	return w
}

// add has something expire at the given time.
func (w *wheel) add(e *entry, of expirer, at time.Time) {
	e.of = of
	e.at = int64(at.Sub(w.start)/tick) + 1
	w.mu.Lock()
	if e.at <= w.now {
		e.at = w.now + 1
	}
	head := &w.slots[e.at%wheelSlots]
	e.prev, e.next = head.prev, head
	head.prev.next, head.prev = e, e
	w.count++
	first := w.count == 1
	w.mu.Unlock()
	if first {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// remove is for what ends before its deadline.
func (w *wheel) remove(e *entry) {
	w.mu.Lock()
	w.unlink(e)
	w.mu.Unlock()
}

func (w *wheel) unlink(e *entry) {
	if e.next == nil {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
	w.count--
}

// run turns the wheel until ctx ends. It sleeps while there is nothing on it.
func (w *wheel) run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			if w.turn(now) > 0 {
				continue
			}
		}
		t.Stop()
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			t.Reset(tick)
		}
	}
}

// turn ends what has its time come, and says how many wait.
func (w *wheel) turn(now time.Time) int {
	to := int64(now.Sub(w.start) / tick)
	var due []expirer
	w.mu.Lock()
	if to-w.now >= wheelSlots { // it slept: every slot once is enough
		w.now = to - wheelSlots
	}
	for w.now < to {
		w.now++
		head := &w.slots[w.now%wheelSlots]
		for e := head.next; e != head; {
			next := e.next
			if e.at <= to {
				w.unlink(e)
				due = append(due, e.of)
			}
			e = next
		}
	}
	left := w.count
	w.mu.Unlock()
	for _, of := range due {
		of.expire()
	}
	return left
}
