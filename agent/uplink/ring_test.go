package uplink

import (
	"testing"

	"fabric.center/cfc/shared/catalog"
)

// However much is told of the moment, what tells a change is kept.
func TestWhatIsPassingPushesNothingOut(t *testing.T) {
	change, passing := &catalog.Event{}, &catalog.Event{Passing: true}
	for what, c := range map[string]struct{ size, waiting int }{
		"many":  {1, passingEvents},
		"large": {passingBytes / 10, 1 + 10},
	} {
		r := newRing()
		r.add(&entry{event: change, size: 1})
		for range ringEvents + 1 {
			r.add(&entry{event: passing, size: c.size})
		}
		for range 10 {
			r.add(&entry{event: change, size: 1})
		}
		waiting, dropped := r.count()
		if waiting != c.waiting+10 || int(dropped) != 1+ringEvents+1-c.waiting {
			t.Errorf("%s: %d wait, %d are dropped", what, waiting, dropped)
		}
		if first := r.next(1); first == nil || first.event != change {
			t.Errorf("%s: first comes %+v", what, first)
		}
	}
}
