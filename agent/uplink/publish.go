package uplink

import (
	"context"
	"errors"
	"maps"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

const (
	// window is how many events may be on their way at once.
	window = 64
	// A relay that answers pings but, for so long, no event has lost them.
	answerWithin = 20 * time.Second
	answerGrace  = 5 * time.Second
)

// Publish publishes an event of this node: the arguments that its row names,
// the last one a dict of details or nil. The node id may be left out; it is
// that of the session anyway. It never waits. The details get time, boot, seq and
// tseq; what is in them must not be changed any more. What happens while the
// agent is not paired is nobody's to hear; it counts all the same.
func (u *Uplink) Publish(e *catalog.Event, args ...any) {
	if len(args) == len(e.Args) {
		args = args[1:]
	}
	last := len(args) - 1
	if len(args) != len(e.Args)-1 {
		u.log.Error("event has the wrong number of arguments", zap.String("event", e.URI()), zap.Int("arguments", len(args)))
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock() // the order of seq is the order in the ring
	u.seq++
	u.tseq[e]++
	details, _ := wamp.AsDict(args[last])
	details = maps.Clone(details)
	if details == nil {
		details = wamp.Dict{}
	}
	details["time"], details["boot"], details["seq"], details["tseq"] = wire.Time(time.Now()), u.boot, u.seq, u.tseq[e]
	list := append(wamp.List{}, args[:last]...)
	list = append(list, details)
	if u.identity == nil {
		return
	}
	u.ring.add(&entry{event: e, args: list, size: session.Size(list)})
}

// pump sends events in their order until the session is over.
func (u *Uplink) pump(ctx context.Context, s link) {
	u.ring.again()
	tick := time.NewTicker(answerWithin)
	defer tick.Stop()
	before, _ := u.ring.progress()
	for u.send(ctx, s) {
		select {
		case <-u.ring.wake:
		case <-tick.C:
			settled, underWay := u.ring.progress()
			if underWay > 0 && settled == before && !u.answered(ctx, s, settled) {
				u.log.Warn("relay does not acknowledge events")
				s.Drop("unacknowledged")
			}
			before, _ = u.ring.progress()
		case <-s.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// send sends what waits, as far as the window allows; false when there is no
// session any more.
func (u *Uplink) send(ctx context.Context, s link) bool {
	for e := u.ring.next(window); e != nil; e = u.ring.next(window) {
		args := append(wamp.List{s.AuthID()}, e.args...)
		err := s.PublishAsync(ctx, e.event.URI(), args, nil, func(err error) {
			if err != nil {
				u.log.Warn("relay refused an event", zap.String("event", e.event.URI()), zap.Error(err))
			}
			u.ring.settle(e)
		})
		switch {
		case err == nil:
		case ctx.Err() != nil || errors.Is(err, session.ErrOver):
			return false // it stays in the ring, for the next session
		default: // it cannot be encoded, or is too big
			u.log.Error("event cannot be sent", zap.String("event", e.event.URI()), zap.Error(err))
			u.ring.settle(e)
		}
	}
	return true
}

// answered tells a slow link, over which all takes long, from a relay that has
// all and does not answer.
func (u *Uplink) answered(ctx context.Context, s link, before uint64) bool {
	if s.Ping(ctx) != nil { // what was sent has arrived then
		return true // the session's end is its own reason
	}
	timer := time.NewTimer(answerGrace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.Done():
	case <-ctx.Done():
	}
	settled, _ := u.ring.progress()
	return settled != before || ctx.Err() != nil
}
