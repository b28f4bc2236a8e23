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
	c.writePing("")
	c.mu.Lock()
	l.wrote = l.written
	c.mu.Unlock()
}

func (c *Conn) writePing(data string) {
	_ = c.ws.WriteControl(websocket.PingMessage, []byte(data), time.Time{})
}

// Ping asks the far side for a sign of life and waits for it.
func (c *Conn) Ping(ctx context.Context) error {
	pong := make(chan struct{})
	c.mu.Lock()
	if c.pings == nil {
		c.pings = map[string]chan struct{}{}
	}
	c.pinged++
	key := strconv.FormatUint(c.pinged, 36)
	c.pings[key] = pong
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pings, key)
		c.mu.Unlock()
	}()
	c.writePing(key)
	select {
	case <-pong:
		return nil
	case <-c.closing:
		return errors.New("no answer to a ping: the connection is closed")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Conn) pong(data string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.pings[data]; ok {
		delete(c.pings, data)
		close(w)
	}
	return nil
}
