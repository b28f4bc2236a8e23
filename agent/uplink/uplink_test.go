package uplink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const oid = "7d3ac4e0-62b1-4a9e-8a5b-6f0c8f1b2a11"

// relay is a far side whose log-ins and publications the test decides.
type relay struct {
	mu       sync.Mutex
	refuse   error // of the next log-ins
	joins    []time.Time
	live     *fakeLink
	withhold bool  // acknowledge nothing
	broken   error // of one publication
	got      []wamp.List
	oid      string
}

type fakeLink struct {
	r    *relay
	end  *session.Ended
	done chan struct{}
	once sync.Once
	dead bool // answers no ping
}

func (r *relay) join(context.Context, session.Config) (link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joins = append(r.joins, time.Now())
	if r.refuse != nil {
		return nil, r.refuse
	}
	r.live = &fakeLink{r: r, done: make(chan struct{})}
	return r.live, nil
}

func (r *relay) set(f func(*relay)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r)
}

func (r *relay) link() *fakeLink {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live
}

func (r *relay) attempts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.joins)
}

func (l *fakeLink) Realm() string  { return "demo" }
func (l *fakeLink) AuthID() string { return "node1" }
func (l *fakeLink) Extra() wamp.Dict {
	if l.r.oid != "" {
		return wamp.Dict{"node_oid": l.r.oid}
	}
	return wamp.Dict{"node_oid": oid}
}
func (l *fakeLink) Register(context.Context, string, wamp.Dict, session.Handler) error { return nil }
func (l *fakeLink) PublishAsync(_ context.Context, _ string, args wamp.List, _ wamp.Dict, taken func(error)) error {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if err := l.r.broken; err != nil {
		l.r.broken = nil
		return err
	}
	l.r.got = append(l.r.got, args)
	if !l.r.withhold {
		go taken(nil)
	}
	return nil
}
func (l *fakeLink) Ping(context.Context) error {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if l.dead {
		return errors.New("no answer")
	}
	return nil
}
func (l *fakeLink) Drop(reason string)    { l.stop(reason) }
func (l *fakeLink) Done() <-chan struct{} { return l.done }
func (l *fakeLink) Err() error {
	select {
	case <-l.done:
		return l.end
	default:
		return nil
	}
}
func (l *fakeLink) Leave()       { l.stop("closed") }
func (l *fakeLink) Close() error { l.stop("closed"); return nil }
func (l *fakeLink) stop(reason string) {
	l.once.Do(func() { l.end = &session.Ended{Reason: reason}; close(l.done) })
}

// start runs an uplink in a bubble of synctest; stop is called in it.
func start(t *testing.T, r *relay) (u *Uplink, stop func()) {
	t.Helper()
	u = New(Config{join: r.join})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	return u, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func paired(t *testing.T) *Identity {
	t.Helper()
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return &Identity{URL: "wss://relay.example/agent", Realm: "demo", NodeID: "node1", OID: oid, Key: k}
}

func TestUnpairedIsIdleUntilPaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{}
		u, stop := start(t, r)
		defer stop()
		time.Sleep(time.Hour)
		if r.attempts() != 0 || u.Status().State != Unpaired {
			t.Errorf("unpaired: %d attempts, %s", r.attempts(), u.Status().State)
		}
		before := time.Now()
		u.Use(paired(t))
		synctest.Wait()
		if s := u.Status(); s.State != Connected || s.NodeID != "node1" || !time.Now().Equal(before) {
			t.Errorf("paired: %+v", s)
		}
		u.Use(nil)
		synctest.Wait()
		if u.Status().State != Unpaired || r.link().Err() == nil {
			t.Errorf("unpaired again: %+v", u.Status())
		}
	})
}

func TestNoRefusalMakesItGiveUp(t *testing.T) {
	for _, kind := range []cfcerr.Kind{cfcerr.NodeUnpaired, cfcerr.TokenInvalid, cfcerr.DuplicateIdentity, cfcerr.AuthenticationFailed,
		cfcerr.NotAuthorized, cfcerr.NameTaken, cfcerr.LimitExceeded, cfcerr.Internal} {
		synctest.Test(t, func(t *testing.T) {
			r := &relay{refuse: cfcerr.New(kind, "cannot join: because")}
			u, stop := start(t, r)
			defer stop()
			u.Use(paired(t))
			time.Sleep(24 * time.Hour)
			s := u.Status()
			if s.State != Waiting && s.State != Connecting || s.LastError == nil || s.LastError.URI != kind.URI() || s.LastError.Text != "cannot join: because" {
				t.Errorf("%s: status %+v, last error %+v", kind.URI(), s, s.LastError)
			}
			if n := r.attempts(); n < 1000 {
				t.Errorf("%s: %d attempts in a day", kind.URI(), n)
			}
			r.set(func(r *relay) { r.refuse = nil })
			time.Sleep(refused)
			if s := u.Status(); s.State != Connected {
				t.Errorf("%s: not back within %s: %+v", kind.URI(), refused, s)
			}
		})
	}
}

func TestBackWithinSecondsAfterALongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{}
		u, stop := start(t, r)
		defer stop()
		u.Use(paired(t))
		time.Sleep(time.Minute)
		r.set(func(r *relay) { r.refuse = fmt.Errorf("connection refused"); r.live.stop("closed") })
		time.Sleep(12 * time.Hour)
		if n := r.attempts(); n < 12*3600/15 || n > 12*3600 {
			t.Errorf("%d attempts in 12 h", n)
		}
		r.set(func(r *relay) { r.refuse = nil })
		time.Sleep(unreachable)
		if s := u.Status(); s.State != Connected {
			t.Errorf("not back: %+v", s)
		}
	})
}

func TestARestartedRelayIsJoinedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{}
		u, stop := start(t, r)
		defer stop()
		u.Use(paired(t))
		for range 20 {
			time.Sleep(time.Minute)
			r.link().stop("closed")
			time.Sleep(firstWindow)
			synctest.Wait()
			if s := u.Status(); s.State != Connected || s.LastError == nil {
				t.Fatalf("not back: %+v", s)
			}
		}
	})
}

func TestARelayThatIsSilentAfterSleepIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{}
		u, stop := start(t, r)
		defer stop()
		u.Use(paired(t))
		synctest.Wait()
		u.Wake(t.Context())
		synctest.Wait()
		if r.attempts() != 1 {
			t.Error("a living session was left")
		}
		r.set(func(r *relay) { r.live.dead = true })
		u.Wake(t.Context())
		time.Sleep(firstWindow)
		synctest.Wait()
		if s := u.Status(); r.attempts() != 2 || s.State != Connected {
			t.Errorf("%d log-ins, %+v", r.attempts(), s)
		}
	})
}

// seqs are the sequence numbers of what the relay got.
func (r *relay) seqs(t *testing.T) []uint64 {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []uint64
	for _, args := range r.got {
		d, _ := wamp.AsDict(args[len(args)-1])
		n, _ := wamp.AsInt64(d["seq"])
		out = append(out, uint64(n))
	}
	return out
}

func upTo(from, to uint64) []uint64 {
	var out []uint64
	for i := from; i <= to; i++ {
		out = append(out, i)
	}
	return out
}

func TestEventsOfAnOutageComeAfterItInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{refuse: errors.New("away")}
		u, stop := start(t, r)
		defer stop()
		u.Use(paired(t))
		for range 500 {
			u.Publish(catalog.OnWorkerStarted, "w1", wamp.Dict{"type": "router"})
		}
		u.Publish(catalog.OnNodeDetached, "other-name", nil)
		happened := time.Now()
		time.Sleep(time.Minute)
		r.set(func(r *relay) { r.refuse = nil })
		time.Sleep(unreachable)
		if got := r.seqs(t); !slices.Equal(got, upTo(1, 501)) {
			t.Fatalf("got %v", got)
		}
		first, last := r.got[0], r.got[500]
		d, _ := wamp.AsDict(first[2])
		if first[0] != "node1" || first[1] != "w1" || d["type"] != "router" || d["boot"] != u.Boot() || d["tseq"] != uint64(1) {
			t.Errorf("event is %v", first)
		}
		d, _ = wamp.AsDict(last[1])
		if at, _ := time.Parse(time.RFC3339, d["time"].(string)); last[0] != "node1" || d["tseq"] != uint64(1) || at.Sub(happened).Abs() > time.Millisecond {
			t.Errorf("event is %v, expected the time of its publication %s", last, happened)
		}
		if s := u.Status(); s.EventsWaiting != 0 || s.EventsDropped != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestWhatTheRelayDidNotTakeIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{withhold: true}
		u, stop := start(t, r)
		defer stop()
		u.Use(paired(t))
		synctest.Wait()
		for range 100 {
			u.Publish(catalog.OnNodeAttached, nil)
		}
		synctest.Wait()
		if got := r.seqs(t); !slices.Equal(got, upTo(1, window)) {
			t.Errorf("on their way: %v", got)
		}
		r.set(func(r *relay) { r.withhold, r.got = false, nil; r.live.stop("closed") })
		time.Sleep(firstWindow)
		synctest.Wait()
		if got := r.seqs(t); !slices.Equal(got, upTo(1, 100)) {
			t.Errorf("after the loss: %v", got)
		}
	})
}

func TestTheRingIsBoundedAndTheGapShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{refuse: errors.New("away")}
		u, stop := start(t, r)
		defer stop()
		u.Use(paired(t))
		for range ringEvents + 5 {
			u.Publish(catalog.OnNodeAttached, nil)
		}
		if s := u.Status(); s.EventsWaiting != ringEvents || s.EventsDropped != 5 {
			t.Errorf("status %+v", s)
		}
		big := make([]byte, ringBytes/2)
		u.Publish(catalog.OnNodeAttached, wamp.Dict{"x": big})
		u.Publish(catalog.OnNodeAttached, wamp.Dict{"x": big})
		if s := u.Status(); s.EventsWaiting != 1 {
			t.Errorf("status %+v", s)
		}
		r.set(func(r *relay) { r.refuse = nil })
		time.Sleep(unreachable)
		if got := r.seqs(t); !slices.Equal(got, []uint64{ringEvents + 7}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestEventsStayWithTheirPairing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{refuse: errors.New("away")}
		u, stop := start(t, r)
		defer stop()
		u.Publish(catalog.OnNodeAttached, nil) // nobody's
		u.Use(paired(t))
		u.Publish(catalog.OnNodeAttached, nil) // the first relay's
		other := paired(t)
		other.OID = "11111111-62b1-4a9e-8a5b-6f0c8f1b2a11"
		r.set(func(r *relay) { r.refuse, r.oid = nil, other.OID })
		u.Use(other)
		u.Publish(catalog.OnNodeAttached, nil)
		synctest.Wait()
		if got := r.seqs(t); !slices.Equal(got, []uint64{3}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestARelayThatAcknowledgesNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{withhold: true}
		u, stop := start(t, r)
		defer stop()
		u.Use(paired(t))
		time.Sleep(time.Hour)
		if r.attempts() != 1 {
			t.Errorf("%d log-ins without any event", r.attempts())
		}
		u.Publish(catalog.OnNodeAttached, nil)
		time.Sleep(2*answerWithin + answerGrace + firstWindow)
		if r.attempts() != 2 {
			t.Errorf("%d log-ins", r.attempts())
		}
		r.set(func(r *relay) { r.withhold, r.got = false, nil; r.live.stop("closed") })
		time.Sleep(2 * firstWindow)
		if got := r.seqs(t); !slices.Equal(got, []uint64{1}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestAnEventThatCannotBeSentHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{broken: errors.New("cannot encode a channel")}
		u, stop := start(t, r)
		defer stop()
		u.Use(paired(t))
		for range 2 {
			u.Publish(catalog.OnNodeAttached, nil)
		}
		synctest.Wait()
		if got := r.seqs(t); !slices.Equal(got, []uint64{2}) || u.Status().EventsWaiting != 0 {
			t.Errorf("got %v, %+v", got, u.Status())
		}
		r.set(func(r *relay) { r.broken = fmt.Errorf("%w: just now", session.ErrOver); r.got = nil })
		u.Publish(catalog.OnNodeAttached, nil)
		synctest.Wait()
		r.link().stop("closed")
		time.Sleep(firstWindow)
		synctest.Wait()
		if got := r.seqs(t); !slices.Equal(got, []uint64{3}) {
			t.Errorf("what met the end of a session came as %v", got)
		}
	})
}

func TestAnEventOfTheWrongShapeIsNotSent(t *testing.T) {
	u := New(Config{})
	u.identity = &Identity{}
	for _, args := range [][]any{{}, {"w1"}, {"n1", "w1", nil, nil}} {
		u.Publish(catalog.OnWorkerStarted, args...)
	}
	if s := u.Status(); s.EventsWaiting != 0 {
		t.Errorf("%d events wait", s.EventsWaiting)
	}
}
