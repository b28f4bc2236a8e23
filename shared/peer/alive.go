package peer

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// liveness is what the beat goes by. It is the beat's alone.
type liveness struct {
	sign    sign
	misses  int
	waiting bool // a ping is out
}

// sign is what a ping's far side is to show since: anything that comes in. Until
// the ping itself has arrived, that what stands before it does will do: a slow
// link is not a dead one.
type sign struct {
	reads uint64 // as of the ping
	place uint64 // where the ping ends in all that was ever queued
	moved uint64 // how much had arrived at the last look
}

// startBeat pings every interval. A ping is missed when three eighths of an
// interval later the far side has shown no sign of life.
func (c *Conn) startBeat() {
	if c.opt.PingInterval > 0 {
		c.nc.persistent(c.patience())
		c.mu.Lock()
		c.beating = time.AfterFunc(c.opt.PingInterval, c.beat)
		c.mu.Unlock()
	}
}

// patience is how long an answer may take.
func (c *Conn) patience() time.Duration { return c.opt.PingInterval * 3 / 8 }

func (c *Conn) beat() {
	l := &c.life
	if !l.waiting {
		l.waiting = true
		reads := c.nc.reads.Load()
		_, place := c.ping(nil)
		if reads != l.sign.reads || l.sign.place == 0 {
			l.sign = sign{reads: reads, place: place}
		} // else the first ping that was not answered is waited for
		c.arriving(&l.sign)
		c.beatIn(c.patience())
		return
	}
	l.waiting = false
	if came := c.nc.reads.Load() != l.sign.reads; c.arriving(&l.sign) || came {
		l.misses = 0
	} else if l.misses++; l.misses >= 2 {
		c.drop(ReasonSilent)
		return
	}
	c.beatIn(c.opt.PingInterval - c.patience())
}

func (c *Conn) beatIn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == open {
		c.beating.Reset(d)
	}
}

// arriving tells whether the ping is under way still, and more has arrived since
// the last look. What our kernel has taken says nothing of the far side; what the
// far side's kernel has acknowledged does, up to the ping: that one wants an answer
// by the far side itself, which may be frozen. Under TLS, records make our kernel
// count a little more than was queued, and the ping a little later.
func (c *Conn) arriving(s *sign) bool {
	moved, left, written := c.arrived()
	before := s.moved
	s.moved = moved
	return s.place+uint64(left) > written && moved != before
}

// arrived grows with what arrives at the far side's kernel, or where that is not
// known with what ours takes, which has been given so many bytes and still holds
// those that are left.
func (c *Conn) arrived() (moved uint64, left int, written uint64) {
	c.mu.Lock()
	written = c.out.queued - uint64(c.out.taken+c.out.pending())
	c.mu.Unlock()
	moved, left, known := c.nc.arrived()
	if !known {
		moved = written
	}
	return moved, left, written
}

// ping sends a ping that pong answers, if anybody waits for that. Pings are
// numbered in the order in which they go out; place is that of sign.
func (c *Conn) ping(pong chan struct{}) (number, place uint64) {
	c.pinging.Lock()
	defer c.pinging.Unlock()
	c.mu.Lock()
	c.pinged++
	number = c.pinged
	if pong != nil {
		c.pings[number] = pong
	}
	c.mu.Unlock()
	_ = c.ws.WriteControl(websocket.PingMessage, strconv.AppendUint(nil, number, 36), time.Time{})
	c.mu.Lock()
	defer c.mu.Unlock()
	return number, c.out.queued
}

// Ping asks the far side for an answer and waits for it: all that was written
// before has arrived then.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := c.await(ctx, func() bool { return false })
	return err
}

// Alive asks the far side for a sign of life and waits for one: an answer, or
// anything else that comes in. On a slow line the ping may not even have arrived
// when ctx ends; then it lives if what stands before the ping arrives.
func (c *Conn) Alive(ctx context.Context) error {
	reads := c.nc.reads.Load()
	arriving, err := c.await(ctx, func() bool { return c.nc.reads.Load() != reads })
	if arriving {
		return nil
	}
	return err
}

// lookEvery is how often a sign of life other than a pong is looked for.
const lookEvery = 50 * time.Millisecond

// await sends a ping and waits for its answer, or until lives. When ctx ends
// before, it tells whether the ping is under way still, and comes nearer.
func (c *Conn) await(ctx context.Context, lives func() bool) (arriving bool, err error) {
	pong := make(chan struct{})
	number, place := c.ping(pong)
	defer func() {
		c.mu.Lock()
		delete(c.pings, number)
		c.mu.Unlock()
	}()
	s := sign{place: place}
	c.arriving(&s)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-pong:
			return false, nil
		case <-c.closing:
			return false, errors.New("no answer to a ping: the connection is closed")
		case <-ctx.Done():
			return c.arriving(&s), ctx.Err()
		case <-look.C:
			if lives() {
				return false, nil
			}
		}
	}
}

// pong answers all pings up to the one that it names: of several that it has
// not answered yet, the far side may answer the last one only (RFC 6455, 5.5.3).
func (c *Conn) pong(data string) error {
	number, err := strconv.ParseUint(data, 36, 64)
	if err != nil {
		return nil // nobody asked for it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if number > c.pinged {
		return nil
	}
	for n, waits := range c.pings {
		if n <= number {
			delete(c.pings, n)
			close(waits)
		}
	}
	return nil
}
