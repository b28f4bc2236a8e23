package peer

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// liveness is what the beat compares.
type liveness struct {
	written uint64 // grows with everything that the far side takes
	reads   uint64 // as of the last ping
	wrote   uint64
	misses  int
	waiting bool // a ping is out
}

// startBeat pings every interval. A ping is missed when three eighths of an
// interval later nothing at all has come in, and nothing of what was queued
// has gone out: a slow link is not a dead one.
func (c *Conn) startBeat() {
	if c.opt.PingInterval > 0 {
		c.mu.Lock()
		c.beating = time.AfterFunc(c.opt.PingInterval, c.beat)
		c.mu.Unlock()
	}
}

func (c *Conn) beat() {
	patience := c.opt.PingInterval * 3 / 8
	c.mu.Lock()
	if c.state != open {
		c.mu.Unlock()
		return
	}
	reads := c.nc.reads.Load()
	l := &c.life
	if l.waiting {
		l.waiting = false
		if reads != l.reads || l.written != l.wrote && c.out.flushing {
			l.misses = 0
		} else {
			l.misses++
		}
		if l.misses >= 2 {
			c.mu.Unlock()
			c.drop(ReasonSilent)
			return
		}
		c.beating.Reset(c.opt.PingInterval - patience)
		c.mu.Unlock()
		return
	}
	l.waiting, l.reads = true, reads
	c.beating.Reset(patience)
	c.mu.Unlock()
	c.ping(nil)
	c.mu.Lock()
	l.wrote = l.written
	c.mu.Unlock()
}

// ping sends a ping that pong answers, if anybody waits for that. Pings are
// numbered in the order in which they go out.
func (c *Conn) ping(pong chan struct{}) (number uint64) {
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
	return number
}

// Ping asks the far side for an answer and waits for it: all that was written
// before has arrived then.
func (c *Conn) Ping(ctx context.Context) error {
	return c.await(ctx, func() bool { return false })
}

// Alive asks the far side for a sign of life and waits for one: on a slow line a
// ping may not even have left in time. So it lives too when something comes in, or
// what waits in the queue goes out.
func (c *Conn) Alive(ctx context.Context) error {
	reads := c.nc.reads.Load()
	last := c.progress()
	return c.await(ctx, func() bool {
		before := last
		last = c.progress()
		return c.nc.reads.Load() != reads || before.stuck && last.stuck && (last.written != before.written || last.unsent < before.unsent)
	})
}

// progress is how much has gone out. What the kernel takes at once says nothing of
// the far side: that one counts only while it has taken too little.
type progress struct {
	stuck   bool
	written uint64
	unsent  int
}

func (c *Conn) progress() progress {
	unsent := c.nc.unsent()
	c.mu.Lock()
	defer c.mu.Unlock()
	return progress{c.out.flushing, c.life.written, unsent}
}

// lookEvery is how often a sign of life other than a pong is looked for.
const lookEvery = 50 * time.Millisecond

// await sends a ping and waits for its answer, or until lives.
func (c *Conn) await(ctx context.Context, lives func() bool) error {
	pong := make(chan struct{})
	number := c.ping(pong)
	defer func() {
		c.mu.Lock()
		delete(c.pings, number)
		c.mu.Unlock()
	}()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-pong:
			return nil
		case <-c.closing:
			return errors.New("no answer to a ping: the connection is closed")
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if lives() {
				return nil
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
