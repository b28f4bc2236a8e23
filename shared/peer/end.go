package peer

import (
	"crypto/tls"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// What bounds an orderly end.
const (
	lingerFlush = 2 * time.Second // for what is queued
	lingerRead  = time.Second     // for the far side's own close frame
)

// Close ends the connection after what is queued and what stands in Send, as
// far as the far side takes it within 2 s. It does not wait; see Done.
func (c *Conn) Close() {
	c.end(ReasonClosed, draining)
	c.release.Do(func() { close(c.released) })
}

// Finish queues m, an ABORT or GOODBYE, as the last message and ends the
// connection as Close does. What stands in Send is dropped.
func (c *Conn) Finish(m wamp.Message) { c.finish(m, ReasonClosed) }

func (c *Conn) finish(m wamp.Message, reason string) {
	_ = c.queue(m, draining, finishing)
	c.end(reason, finishing)
	c.release.Do(func() { close(c.released) })
}

// drop ends the connection at once.
func (c *Conn) drop(reason string) { c.end(reason, dead) }

func (c *Conn) end(reason string, s state) {
	c.mu.Lock()
	cut := s == dead && c.state != dead
	if !c.ended {
		c.ended, c.reason = true, reason
		if c.beating != nil {
			c.beating.Stop()
		}
		close(c.closing)
		go c.linger(c.pumped)
	}
	c.state = max(c.state, s)
	if s == dead {
		c.out.pend = nil
	}
	c.room.Broadcast()
	c.mu.Unlock()
	if cut {
		c.cut()
	}
}

// cut closes the network connection without a word, which under TLS could wait.
func (c *Conn) cut() {
	if t, ok := c.nc.Conn.(*tls.Conn); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.nc.Conn.Close()
}

// linger waits for what stands in Send and is queued, sends the close frame, and
// gives the far side time to read it all: a connection that is closed with
// unread input takes back what was sent. It ends with Done.
func (c *Conn) linger(pumped <-chan struct{}) {
	if pumped != nil {
		<-pumped
	}
	c.mu.Lock()
	s := c.state
	c.mu.Unlock()
	if s != dead {
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(c.closeCode(), ""), time.Time{})
		c.waitFlushed(lingerFlush)
		c.nc.closeWrite()
		_ = c.nc.Conn.SetReadDeadline(time.Now().Add(lingerRead))
		<-c.readDone
	}
	c.end("", dead)
	<-c.readDone
	c.waitFlushed(0)
	close(c.done)
}

// waitFlushed waits until nobody writes; limit 0 is for a connection that is
// cut, where that cannot take long.
func (c *Conn) waitFlushed(limit time.Duration) {
	c.mu.Lock()
	if !c.out.flushing {
		c.mu.Unlock()
		return
	}
	if c.out.idle == nil {
		c.out.idle = make(chan struct{})
	}
	idle := c.out.idle
	c.mu.Unlock()
	if limit == 0 {
		<-idle
		return
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	}
}
