package uplink

import (
	"errors"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/session"
)

func TestBackoffWindows(t *testing.T) {
	s := time.Second
	gone := errors.New("connection refused")
	for name, c := range map[string]struct {
		err  error
		want []time.Duration
	}{
		"unreachable":   {gone, []time.Duration{s, s, 2 * s, 4 * s, 8 * s, 15 * s, 15 * s}},
		"refused":       {cfcerr.New(cfcerr.NodeUnpaired, "x"), []time.Duration{s, s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s}},
		"goodbye":       {&session.Ended{Reason: cfcerr.NodeUnpaired.URI()}, []time.Duration{s, s, 2 * s, 4 * s, 8 * s, 16 * s}},
		"told":          {cfcerr.New(cfcerr.LimitExceeded, "x").With("after", 7), []time.Duration{8 * s, 8 * s, 9 * s}},
		"told nonsense": {cfcerr.New(cfcerr.LimitExceeded, "x").With("after", 1e12), []time.Duration{longestAfter + s}},
		"told in text":  {cfcerr.New(cfcerr.LimitExceeded, "x").With("after", "7"), []time.Duration{s}},
		"told before":   {cfcerr.New(cfcerr.LimitExceeded, "x").With("after", -7), []time.Duration{s}},
	} {
		b := backoff{random: func() float64 { return 1 }}
		for i, want := range c.want {
			if got := b.next(c.err, 0); got != want {
				t.Errorf("%s: failure %d waits %s, expected %s", name, i+1, got, want)
			}
		}
	}
}

func TestBackoffForgetsAfterASessionThatLasted(t *testing.T) {
	b := backoff{random: func() float64 { return 1 }}
	gone := errors.New("closed")
	for range 6 {
		b.next(gone, time.Second)
	}
	if got := b.next(gone, time.Second); got != unreachable {
		t.Errorf("sessions that end at once are failures: waits %s", got)
	}
	if got := b.next(gone, stableSession); got != firstWindow {
		t.Errorf("after a session that lasted it waits %s", got)
	}
}

func TestBackoffIsSpreadOverTheWholeWindow(t *testing.T) {
	var low, high bool
	for range 1000 {
		var b backoff
		d := b.next(errors.New("x"), 0)
		if d < 0 || d > firstWindow {
			t.Fatalf("waits %s", d)
		}
		low, high = low || d < firstWindow/4, high || d > firstWindow*3/4
	}
	if !low || !high {
		t.Error("there is no jitter")
	}
}
