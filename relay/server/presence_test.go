package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/relay/store"
	"go.uber.org/zap"
)

// seen is a store whose first writes fail.
type seen struct {
	mu     sync.Mutex
	fail   int
	writes int
	kept   map[string]store.LastSeen
}

func (s *seen) SaveLastSeen(_ context.Context, batch map[string]store.LastSeen) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.fail--; s.fail >= 0 {
		return errors.New("no space left on device")
	}
	if s.kept == nil {
		s.kept = map[string]store.LastSeen{}
	}
	maps.Copy(s.kept, batch)
	return nil
}

// TestPresenceIsWrittenTogether: a fleet that comes back is one write.
func TestPresenceIsWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seen{}
		w := newPresenceWriter(s, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		for i := range 1000 {
			w.note(fmt.Sprint(i), store.LastSeen{Online: true})
		}
		w.note("7", store.LastSeen{Reason: "closed"})
		time.Sleep(2 * presenceDelay)
		synctest.Wait()
		if s.writes != 1 || len(s.kept) != 1000 || s.kept["7"].Reason != "closed" {
			t.Errorf("%d writes of %d nodes, 7 is %+v", s.writes, len(s.kept), s.kept["7"])
		}
		// What comes last is written at the end, without delay.
		w.note("8", store.LastSeen{Reason: "stopped"})
		cancel()
		if err := <-done; err != nil || s.kept["8"].Reason != "stopped" {
			t.Errorf("%v, 8 is %+v", err, s.kept["8"])
		}
	})
}

// TestPresenceIsTriedAgain, and what came meanwhile wins.
func TestPresenceIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seen{fail: 2}
		w := newPresenceWriter(s, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		w.note("1", store.LastSeen{Reason: "closed"})
		w.note("2", store.LastSeen{Reason: "closed"})
		time.Sleep(presenceDelay + time.Millisecond)
		w.note("1", store.LastSeen{Online: true})
		time.Sleep(3 * presenceFaulty)
		synctest.Wait()
		if s.writes != 3 || !s.kept["1"].Online || s.kept["2"].Reason != "closed" {
			t.Errorf("%d writes, kept %+v", s.writes, s.kept)
		}
		cancel()
		<-done
		if s.writes != 3 {
			t.Errorf("nothing was left to write, but %d writes", s.writes)
		}
	})
}
