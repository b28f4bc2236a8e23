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
	written uint64   // grows with everything that the kernel takes
	reads   uint64   // as of the last ping
	sent    progress // likewise
	misses  int
	waiting bool // a ping is out
}

// startBeat pings every interval. A ping is missed when three eighths of an
// interval later nothing at all has come in, and nothing of what stood before
// it has arrived: a slow link is not a dead one.
func (c *Conn) startBeat() {
	if c.opt.PingInterval > 0 {
		c.mu.Lock()
		c.beating = time.AfterFunc(c.opt.PingInterval, c.beat)
		c.mu.Unlock()
	}
}

func (c *Conn) beat() {
	reads, sent := c.nc.reads.Load(), c.progress()
	patience := c.opt.PingInterval * 3 / 8
	c.mu.Lock()
	if c.state != open {
		c.mu.Unlock()
		return
	}
	l := &c.life
	if l.waiting {
		l.waiting = false
		if reads != l.reads || sent.since(l.sent) {
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
	sent = c.progress()
	c.mu.Lock()
	l.sent = sent
	c.mu.Unlock()
}

// progress is how far that has come which was sent. What our kernel has taken
// says nothing of the far side; what the far side's kernel has taken does, as long
// as there is more to come, behind which a ping waits. (For a process that is
// frozen its kernel goes on only until its buffer is full.)
type progress struct {
	more  bool
	moved uint64
}

func (p progress) since(before progress) bool {
	return p.more && before.more && p.moved != before.moved
}

func (c *Conn) progress() progress {
	acked, left, known := c.nc.taken()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !known {
		return progress{c.out.flushing, c.life.written}
	}
	return progress{c.out.flushing || left > 0, acked}
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
// ping may not even have arrived in time. So it lives too when something comes in,
// or what was sent before arrives.
func (c *Conn) Alive(ctx context.Context) error {
	reads, sent := c.nc.reads.Load(), c.progress()
	return c.await(ctx, func() bool {
		before := sent
		sent = c.progress()
		return c.nc.reads.Load() != reads || sent.since(before)
	})
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
