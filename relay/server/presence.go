package server

import (
	"context"
	"maps"
	"sync"
	"time"

	"fabric.center/cfc/relay/store"
	"go.uber.org/zap"
)

// Presence is written behind the sessions: it tells an operator since when a
// node is away, and the truth about now is always the live session. So changes
// are gathered and written together, which is one flush for a fleet that comes
// back, not ten thousand.
const (
	presenceDelay  = 500 * time.Millisecond
	presenceWrite  = 10 * time.Second
	presenceFaulty = 5 * time.Second
)

// seenStore is where presence goes.
type seenStore interface {
	SaveLastSeen(ctx context.Context, seen map[string]store.LastSeen) error
}

// presenceWriter keeps the newest presence of each node that is not yet
// written; so it holds at most one entry for each node there is.
type presenceWriter struct {
	store seenStore
	log   *zap.Logger

	mu      sync.Mutex
	pending map[string]store.LastSeen
	wake    chan struct{}
}

func newPresenceWriter(s seenStore, log *zap.Logger) *presenceWriter {
	return &presenceWriter{store: s, log: log, pending: map[string]store.LastSeen{}, wake: make(chan struct{}, 1)}
}

// note takes a change. It never waits.
func (w *presenceWriter) note(oid string, seen store.LastSeen) {
	w.mu.Lock()
	w.pending[oid] = seen
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends, and then what is left. Its owner ends it after
// the sessions, whose ends are presence too.
func (w *presenceWriter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return w.last(ctx)
		case <-w.wake:
		}
		delay := presenceDelay
		for !w.pause(ctx, delay) {
			err := w.write(ctx)
			if err == nil {
				break
			}
			w.log.Error("cannot save presence; it is tried again", zap.Error(err))
			delay = presenceFaulty
		}
	}
}

func (w *presenceWriter) last(ctx context.Context) error {
	if err := w.write(context.WithoutCancel(ctx)); err != nil {
		w.log.Error("cannot save presence at the end", zap.Error(err))
	}
	return nil
}

// pause waits and reports whether ctx ended meanwhile.
func (w *presenceWriter) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-t.C:
		return false
	}
}

func (w *presenceWriter) write(ctx context.Context) error {
	w.mu.Lock()
	batch := w.pending
	w.pending = map[string]store.LastSeen{}
	w.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, presenceWrite)
	defer cancel()
	err := w.store.SaveLastSeen(ctx, batch)
	if err != nil {
		w.mu.Lock()
		maps.Copy(batch, w.pending) // what came meanwhile is newer
		w.pending = batch
		w.mu.Unlock()
	}
	return err
}
