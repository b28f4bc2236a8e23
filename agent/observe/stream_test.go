package observe

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

// counter feeds one record a second until its stream ends.
type counter struct {
	fed   chan struct{}
	every time.Duration
}

func (c *counter) Feed(ctx context.Context, p *Pipe) End {
	defer close(c.fed)
	for {
		select {
		case <-time.After(c.every):
		case <-ctx.Done():
			return End{Reason: "stopped", Details: map[string]any{"code": 7}}
		}
		if p.Put(ctx, Record{Fields: map[string]any{"data": "tick"}, Size: 4}) != nil {
			return End{Reason: "stopped"}
		}
	}
}

var (
	anna  = catalog.Caller{Session: 1, AuthID: "anna", Realm: "demo"}
	again = catalog.Caller{Session: 2, AuthID: "anna", Realm: "demo"}
	there = catalog.Caller{Session: 1, AuthID: "anna", Realm: "other"}
	bob   = catalog.Caller{Session: 3, AuthID: "bob", Realm: "demo"}
)

// running is Streams that run until the test's bubble ends.
func running(t *testing.T, l Limits) (*Streams, func()) {
	t.Helper()
	s := NewStreams(l, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	synctest.Wait()
	return s, func() { cancel(); wg.Wait() }
}

func open(t *testing.T, s *Streams, c catalog.Caller) (string, *counter) {
	t.Helper()
	src := &counter{fed: make(chan struct{}), every: time.Second}
	id, err := s.Open(t.Context(), c, "logs", func(context.Context) (Source, error) { return src, nil })
	if err != nil {
		t.Fatal(err)
	}
	return id, src
}

func wantKind(t *testing.T, err error, want cfcerr.Kind) {
	t.Helper()
	if got := cfcerr.KindOf(err); got != want {
		t.Errorf("%v (kind %d), want kind %d", err, got, want)
	}
}

func TestStreamIsReadAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := running(t, Limits{})
		defer stop()
		id, src := open(t, s, anna)
		b, err := s.Read(t.Context(), anna, "logs", id, 0, MostBytes, time.Minute)
		if err != nil || len(b.Records) != 1 || b.Next != 1 {
			t.Fatalf("%v, %v", b, err)
		}
		began := time.Now()
		if b, err = s.Read(t.Context(), anna, "logs", id, 1, MostBytes, time.Millisecond); err != nil || len(b.Records) != 0 || b.Next != 1 || time.Since(began) != time.Millisecond {
			t.Errorf("a short wait: %v, %v after %v", b, err, time.Since(began))
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = s.Read(canceled, anna, "logs", id, 1, MostBytes, time.Minute)
		wantKind(t, err, cfcerr.Canceled)
		end, err := s.Close(t.Context(), anna, "logs", id)
		if err != nil || end.Reason != ReasonClosed || end.Details["code"] != 7 {
			t.Errorf("%v, %v", end, err)
		}
		<-src.fed
		_, err = s.Read(t.Context(), anna, "logs", id, 1, MostBytes, 0)
		wantKind(t, err, cfcerr.NoSuchObject)
	})
}

func TestStreamIsOfWhoOpenedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := running(t, Limits{})
		defer stop()
		id, _ := open(t, s, anna)
		for what, c := range map[string]catalog.Caller{"another user": bob, "another realm": there} {
			_, err := s.Read(t.Context(), c, "logs", id, 0, 1, 0)
			_, unknown := s.Read(t.Context(), c, "logs", "s_none", 0, 1, 0)
			wantKind(t, err, cfcerr.NoSuchObject)
			wantKind(t, unknown, cfcerr.NoSuchObject)
			_, err = s.Close(t.Context(), c, "logs", id)
			wantKind(t, err, cfcerr.NoSuchObject)
			wantKind(t, s.With(t.Context(), c, "logs", id, func(Source) error { t.Error(what); return nil }), cfcerr.NoSuchObject)
		}
		_, err := s.Read(t.Context(), anna, "exec", id, 0, 1, 0)
		wantKind(t, err, cfcerr.NoSuchObject)
	})
}

func TestStreamIsHandedOverWhenItsSessionIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := running(t, Limits{})
		defer stop()
		quiet := &counter{fed: make(chan struct{}), every: 10 * time.Hour}
		id, err := s.Open(t.Context(), anna, "logs", func(context.Context) (Source, error) { return quiet, nil })
		if err != nil {
			t.Fatal(err)
		}
		try := func(c catalog.Caller) error {
			_, err := s.Read(t.Context(), c, "logs", id, 0, 1, 0)
			return err
		}
		wantKind(t, try(again), cfcerr.Busy)
		time.Sleep(s.limits.Handover)
		wantKind(t, try(again), 0)
		wantKind(t, try(anna), cfcerr.Busy) // it is the other session's now

		reading, cut := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = s.Read(reading, again, "logs", id, 0, 1, time.Hour) })
		time.Sleep(2 * s.limits.Handover)
		wantKind(t, try(anna), cfcerr.Busy) // which reads
		cut()
		wg.Wait()
		wantKind(t, try(anna), 0) // and was cut off
	})
}

func TestStreamThatNobodyAsksForEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := running(t, Limits{})
		defer stop()
		id, src := open(t, s, anna)
		time.Sleep(s.limits.Idle / 2)
		asked, other := open(t, s, anna)
		for range 3 * 60 { // one that waits, or asks again, is asked for
			if _, err := s.Read(t.Context(), anna, "logs", asked, 0, 1, time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		select {
		case <-src.fed:
		default:
			t.Error("a stream that nobody asks for goes on")
		}
		select {
		case <-other.fed:
			t.Error("a stream that is asked for has ended")
		default:
		}
		_, err := s.Read(t.Context(), anna, "logs", id, 0, 1, 0)
		wantKind(t, err, cfcerr.NoSuchObject)
		if n := s.Count(); n != 1 {
			t.Errorf("%d streams are left", n)
		}
	})
}

func TestStreamIdleForHoursLivesWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := running(t, Limits{})
		defer stop()
		src := &counter{fed: make(chan struct{}), every: 10 * time.Hour}
		id, err := s.Open(t.Context(), anna, "exec", func(context.Context) (Source, error) { return src, nil })
		if err != nil {
			t.Fatal(err)
		}
		var b Batch
		for began := time.Now(); err == nil && len(b.Records) == 0 && time.Since(began) < 11*time.Hour; {
			b, err = s.Read(t.Context(), anna, "exec", id, 0, 1, 30*time.Second)
		}
		if err != nil || len(b.Records) != 1 {
			t.Errorf("%v, %v", b, err)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := running(t, Limits{All: 5, PerUser: 3})
		defer stop()
		begin := func(context.Context) (Source, error) { t.Error("a source was made in vain"); return nil, nil }
		first, _ := open(t, s, anna)
		open(t, s, anna)
		open(t, s, again)
		_, err := s.Open(t.Context(), anna, "logs", begin)
		wantKind(t, err, cfcerr.LimitExceeded)
		open(t, s, there)
		open(t, s, bob)
		_, err = s.Open(t.Context(), bob, "logs", begin)
		wantKind(t, err, cfcerr.LimitExceeded)
		if _, err = s.Close(t.Context(), anna, "logs", first); err != nil {
			t.Fatal(err)
		}
		open(t, s, bob)
	})
}

func TestStreamsEndWithRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := running(t, Limits{})
		id, src := open(t, s, anna)
		var b Batch
		var wg sync.WaitGroup
		wg.Go(func() { b, _ = s.Read(t.Context(), anna, "logs", id, 0, 1, time.Hour) })
		synctest.Wait()
		stop()
		wg.Wait()
		<-src.fed
		if b.End == nil || b.End.Reason != ReasonAgent {
			t.Errorf("who was reading got %+v", b)
		}
		_, err := s.Open(t.Context(), anna, "logs", nil)
		wantKind(t, err, cfcerr.Unavailable)
	})
}

func TestStreamWhoseSourceCannotBeMadeIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := running(t, Limits{})
		defer stop()
		want := errors.New("no such container")
		if _, err := s.Open(t.Context(), anna, "logs", func(context.Context) (Source, error) { return nil, want }); err != want {
			t.Errorf("%v", err)
		}
		if n := s.Count(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
}
