package measure

import (
	"errors"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		p50, p99, err := Latency(time.Second, func() error {
			if n++; n%50 == 0 { // two of a hundred
				time.Sleep(20 * time.Millisecond)
				return nil
			}
			time.Sleep(5 * time.Millisecond)
			return nil
		})
		if err != nil || p50 != 5*time.Millisecond || p99 != 20*time.Millisecond {
			t.Errorf("p50 %s, p99 %s, %v", p50, p99, err)
		}
	})
	failed := errors.New("no")
	if _, _, err := Latency(time.Second, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("a call that fails: %v", err)
	}
	if _, _, err := Latency(0, func() error { return nil }); err == nil {
		t.Error("figures without a call")
	}
}

func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		n, took, err := Calls(time.Second, 16, func() error {
			if c := now.Add(1); c > most.Load() {
				most.Store(c)
			}
			time.Sleep(10 * time.Millisecond)
			now.Add(-1)
			return nil
		})
		if err != nil || n != 1600 || took != time.Second || most.Load() != 16 {
			t.Errorf("%d calls in %s, %d at once, %v", n, took, most.Load(), err)
		}
	})
	failed := errors.New("no")
	if n, _, err := Calls(time.Minute, 4, func() error { return failed }); !errors.Is(err, failed) || n != 4 {
		t.Errorf("calls that fail: %d, %v", n, err)
	}
}

func TestSpreadAndRatios(t *testing.T) {
	if m, lo, hi := Spread([]float64{3, 1, 2}); m != 2 || lo != 1 || hi != 3 {
		t.Errorf("%v (%v-%v)", m, lo, hi)
	}
	if m, _, _ := Spread(nil); !math.IsNaN(m) {
		t.Errorf("a median of nothing: %v", m)
	}
	if got := Cell([]float64{1.25, 1, 1.5}, 1); got != "1.2 (1.0-1.5)" {
		t.Error(got)
	}
	if got := Ratios([]float64{1, 4, 9}, []float64{2, 2}); !slices.Equal(got, []float64{0.5, 2}) {
		t.Error(got)
	}
	if got := Machine(); !strings.Contains(got, "CPUs, go") {
		t.Error(got)
	}
}
