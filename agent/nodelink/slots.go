package nodelink

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"
)

// slots are the places of calls in flight. One worker has an eighth of them at
// most, so that one that answers nothing does not fill them for all others, and
// all workers seven eighths, so that however many of them do not the node itself
// can be asked.
type slots struct {
	all, workers places
	one          int64 // of one worker

	mu      sync.Mutex
	entered map[string]*workerSlots
}

// places are for calls of one destination.
type places struct {
	*semaphore.Weighted
	most int64
	to   string
}

type workerSlots struct {
	places
	users int // in flight, or waiting to be; forgotten with the last
}

func newPlaces(most int64, to string) places {
	return places{semaphore.NewWeighted(most), most, to}
}

func newSlots(all int64) *slots {
	return &slots{all: newPlaces(all, "the node"), workers: newPlaces(max(1, all*7/8), "workers"), one: max(1, all/8), entered: map[string]*workerSlots{}}
}

// take waits for a place until ctx ends. If it does not get one, full are those of
// which there was none.
func (s *slots) take(ctx context.Context, procedure string) (free func(), full *places) {
	rest, ok := strings.CutPrefix(procedure, "worker.")
	if !ok {
		return acquire(ctx, &s.all)
	}
	worker, _, _ := strings.Cut(rest, ".")
	w := s.enter(worker)
	let, full := acquire(ctx, &w.places, &s.workers, &s.all)
	if full != nil {
		s.leave(worker, w)
		return nil, full
	}
	return func() {
		let()
		s.leave(worker, w)
	}, nil
}

// acquire takes one place of each.
func acquire(ctx context.Context, each ...*places) (free func(), full *places) {
	for i, p := range each {
		if p.Acquire(ctx, 1) != nil {
			release(each[:i])
			return nil, p
		}
	}
	return func() { release(each) }, nil
}

func release(each []*places) {
	for _, p := range each {
		p.Release(1)
	}
}

func (s *slots) enter(worker string) *workerSlots {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.entered[worker]
	if w == nil {
		w = &workerSlots{places: newPlaces(s.one, "worker "+worker)}
		s.entered[worker] = w
	}
	w.users++
	return w
}

func (s *slots) leave(worker string, w *workerSlots) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.users--; w.users == 0 {
		delete(s.entered, worker)
	}
}
