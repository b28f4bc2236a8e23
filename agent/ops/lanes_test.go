package ops

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLaneIsFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lanes
		leave, err := l.enter(t.Context(), "w")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range maxWaiting {
			wg.Go(func() {
				leave, err := l.enter(t.Context(), "w")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				leave()
			})
			synctest.Wait()
		}
		if _, err := l.enter(t.Context(), "w"); cfcerr.KindOf(err) != cfcerr.Busy {
			t.Errorf("one more than may wait gets %v", err)
		}
		other, err := l.enter(t.Context(), "v")
		if err != nil {
			t.Fatalf("another lane waits: %v", err)
		}
		other()
		leave()
		wg.Wait()
		for i, n := range order {
			if i != n {
				t.Fatalf("they came as %v", order)
			}
		}
		if len(l.open) != 0 {
			t.Errorf("left open: %v", l.open)
		}
	})
}

func TestWaitingEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lanes
		leave, err := l.enter(t.Context(), "w")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.enter(ctx, "w"); cfcerr.KindOf(err) != cfcerr.Timeout {
			t.Errorf("at the deadline: %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if _, err := l.enter(ctx, "w"); cfcerr.KindOf(err) != cfcerr.Canceled {
			t.Errorf("canceled: %v", err)
		}
		leave()
		leave, err = l.enter(t.Context(), "w")
		if err != nil {
			t.Fatal(err)
		}
		leave()
	})
}
