package ops

import (
	"context"
	"errors"
	"slices"
	"sync"

	"fabric.center/cfc/shared/cfcerr"
)

// maxWaiting is how many mutations of one object may wait for the one that is
// under way.
const maxWaiting = 16

// lanes let one mutation of each object through at a time, first come first
// served. A lane is held no longer than the deadline of the call in it, or what a
// restart takes that has begun.
type lanes struct {
	mu   sync.Mutex
	open map[string]*queue
}

type queue struct{ waiting []chan struct{} }

// enter waits for the lane; the caller leaves it when done.
func (l *lanes) enter(ctx context.Context, name string) (leave func(), err error) {
	leave = func() { l.leave(name) }
	l.mu.Lock()
	if l.open == nil {
		l.open = map[string]*queue{}
	}
	q, busy := l.open[name]
	if !busy {
		l.open[name] = &queue{}
		l.mu.Unlock()
		return leave, nil
	}
	if len(q.waiting) >= maxWaiting {
		l.mu.Unlock()
		return nil, cfcerr.New(cfcerr.Busy, "cannot begin: another change of this %s is under way and %d wait already", name, maxWaiting).With("limit", maxWaiting)
	}
	turn := make(chan struct{})
	q.waiting = append(q.waiting, turn)
	l.mu.Unlock()

	select {
	case <-turn:
		return leave, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	i := slices.Index(q.waiting, turn)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	l.mu.Unlock()
	if i < 0 { // the turn came in the same moment
		leave()
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, cfcerr.New(cfcerr.Canceled, "canceled before it was begun: another change of this %s was under way", name)
	}
	return nil, cfcerr.New(cfcerr.Timeout, "cannot finish in time: it was not begun, another change of this %s was under way until the deadline", name)
}

func (l *lanes) leave(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.open[name]
	if len(q.waiting) == 0 {
		delete(l.open, name)
		return
	}
	close(q.waiting[0])
	q.waiting = q.waiting[1:]
}
