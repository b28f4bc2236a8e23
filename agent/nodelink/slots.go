package nodelink

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"
)

// slots are the places of calls in flight. One worker has an eighth of them at
// most, so that one that answers nothing does not fill them for all others.
type slots struct {
	all *semaphore.Weighted
	one int64

	mu      sync.Mutex
	workers map[string]*workerSlots
}

type workerSlots struct {
	*semaphore.Weighted
	users int // in flight, or waiting to be; forgotten with the last
}

func newSlots(all int64) *slots {
	return &slots{all: semaphore.NewWeighted(all), one: max(1, all/8), workers: map[string]*workerSlots{}}
}

// take waits for a place until ctx ends.
func (s *slots) take(ctx context.Context, procedure string) (free func(), err error) {
	leave := func() {}
	if rest, ok := strings.CutPrefix(procedure, "worker."); ok {
		worker, _, _ := strings.Cut(rest, ".")
		w := s.enter(worker)
		if err := w.Acquire(ctx, 1); err != nil {
			s.leave(worker, w)
			return nil, err
		}
		leave = func() {
			w.Release(1)
			s.leave(worker, w)
		}
	}
	if err := s.all.Acquire(ctx, 1); err != nil {
		leave()
		return nil, err
	}
	return func() {
		s.all.Release(1)
		leave()
	}, nil
}

func (s *slots) enter(worker string) *workerSlots {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[worker]
	if w == nil {
		w = &workerSlots{Weighted: semaphore.NewWeighted(s.one)}
		s.workers[worker] = w
	}
	w.users++
	return w
}

func (s *slots) leave(worker string, w *workerSlots) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.users--; w.users == 0 {
		delete(s.workers, worker)
	}
}
