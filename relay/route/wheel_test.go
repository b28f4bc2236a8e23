package route

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
)

type deadlineFunc func()

func (f deadlineFunc) expire() { f() }

// A deadline passes at its time, up to two ticks late and never early, however
// far away it is and whatever else is on the wheel.
func TestWheel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.run(ctx)
		}()
		time.Sleep(3 * time.Hour) // asleep, for it is empty

		var mu sync.Mutex
		late := map[time.Duration]time.Duration{}
		add := func(d time.Duration) *entry {
			at, e := time.Now().Add(d), &entry{}
			w.add(e, deadlineFunc(func() {
				mu.Lock()
				defer mu.Unlock()
				late[d] = time.Since(at)
			}), at)
			return e
		}
		all := []time.Duration{-time.Second, 0, time.Millisecond, 9 * time.Millisecond, 150 * time.Millisecond, time.Second,
			40 * time.Second, 41 * time.Second, 42 * time.Second, 5 * time.Minute}
		for _, d := range all {
			add(d)
		}
		for range 1000 { // calls that end in time
			e := add(time.Duration(rand.IntN(50)) * time.Second * 2)
			w.remove(e)
			w.remove(e)
		}
		time.Sleep(6 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(late) != len(all) {
			t.Errorf("%d deadlines of %d passed", len(late), len(all))
		}
		for d, l := range late {
			if d > 0 && l < 0 || l > 2*tick && d >= 0 {
				t.Errorf("a deadline of %v passed %v late", d, l)
			}
		}
		if w.count != 0 {
			t.Errorf("%d are left", w.count)
		}
		cancel()
		<-ended
	})
}

func TestBroker(t *testing.T) {
	b := newBroker()
	a, c := &session{conn: &peer.Conn{}}, &session{conn: &peer.Conn{}}
	subscribe := func(s *session, p pattern) (id wamp.ID) {
		if err := b.subscribe(s, p, func(got wamp.ID) { id = got }); err != nil {
			t.Fatal(err)
		}
		return id
	}
	one := subscribe(a, pattern{"cfc.", "prefix"})
	if again := subscribe(c, pattern{"cfc.", "prefix"}); again != one {
		t.Errorf("subscriptions %d and %d", one, again)
	}
	two := subscribe(a, pattern{"cfc.", "wildcard"})
	switch {
	case one == two:
		t.Error("two patterns are one subscription")
	case b.unsubscribe(c, two):
		t.Error("a session left a subscription of another")
	case !b.unsubscribe(c, one) || b.unsubscribe(c, one):
		t.Error("a session left none, or twice")
	case b.unsubscribe(c, 99):
		t.Error("a session left what is not there")
	}
	b.drop(a)
	b.drop(a)
	if len(b.subs) != 0 || len(b.byID) != 0 || len(b.held) != 0 {
		t.Errorf("%v are left", b.subs)
	}
}
