// Package measure is what the benchmarks have in common: how long a call takes,
// how many a second go through, and what a median over rounds is worth.
package measure

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Latency makes calls one after the other for about d, and gives the median and
// the 99th percentile of what they took.
func Latency(d time.Duration, call func() error) (p50, p99 time.Duration, err error) {
	var took []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		began := time.Now()
		if err := call(); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(began))
	}
	if len(took) == 0 {
		return 0, 0, errors.New("cannot measure: there was no time for a call")
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100], nil
}

// Calls keeps so many calls in flight for about d, and gives how many were made
// and how long that took. The first that fails ends its own strand only.
func Calls(d time.Duration, inFlight int, call func() error) (n int, took time.Duration, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	end := began.Add(d)
	for range inFlight {
		wg.Go(func() {
			mine := 0
			var failed error
			for failed == nil && time.Now().Before(end) {
				failed = call()
				mine++
			}
			mu.Lock()
			defer mu.Unlock()
			n += mine
			if failed != nil {
				err = failed
			}
		})
	}
	wg.Wait()
	return n, time.Since(began), err
}

// Spread is the median of the rounds, and their range.
func Spread(rounds []float64) (median, low, high float64) {
	if len(rounds) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	v := slices.Sorted(slices.Values(rounds))
	return v[len(v)/2], v[0], v[len(v)-1]
}

// Cell is Spread as a cell of a table.
func Cell(rounds []float64, digits int) string {
	median, low, high := Spread(rounds)
	return fmt.Sprintf("%.*f (%.*f-%.*f)", digits, median, digits, low, digits, high)
}

// Ratios divides round by round: what disturbed a whole round disturbed both.
func Ratios(ours, theirs []float64) []float64 {
	var r []float64
	for i := range min(len(ours), len(theirs)) {
		r = append(r, ours[i]/theirs[i])
	}
	return r
}

// Machine says where and when figures were taken.
func Machine() string {
	var u unix.Utsname
	kernel := "?"
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%d CPUs, %s, %s %s, %s", runtime.NumCPU(), runtime.Version(), runtime.GOOS, kernel, time.Now().UTC().Format(time.DateOnly))
}
