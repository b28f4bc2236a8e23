package uplink

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	lookEvery   = 5 * time.Second
	sleptAtLast = 10 * time.Second
	wakeTimeout = 3 * time.Second
)

// watchSleep notices that the host was suspended: its clock went on while this
// process did not. What was connected then is most likely gone, and what waits
// has waited long enough.
func (u *Uplink) watchSleep(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if slept := now.Round(0).Sub(last.Round(0)) - now.Sub(last); slept > sleptAtLast {
			u.log.Info("host was suspended", zap.Duration("for", slept))
			u.Wake(ctx)
		}
		last = now
	}
}

// Wake makes the uplink try now instead of waiting, and a session that does
// not answer a ping end.
func (u *Uplink) Wake(ctx context.Context) {
	select {
	case u.wake <- struct{}{}:
	default:
	}
	u.mu.Lock()
	s := u.live
	u.mu.Unlock()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	if err := s.Ping(ctx); err != nil {
		s.Drop("silent")
	}
}
