package peer

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

const (
	// pieceSize is how much is written at once.
	pieceSize = 64 << 10
	// handshakeQueue bounds what is queued before WELCOME, when anybody can be
	// on the far side.
	handshakeQueue = 64 << 10
)

// queue is what is to be written: whole frames.
type queue struct {
	pend     *[]byte
	pong     []byte // the answer to the last ping, empty when it is given
	taken    int    // bytes that are being written
	queued   uint64 // bytes that were ever queued
	flushing bool
	idle     chan struct{} // made by who waits, closed when all is written
}

// Write encodes m at once and queues it. The side that was connected to never
// waits for the far side. An error other than ErrClosed and ErrSlow is
// ErrCannotCarry: m is not sent, and the connection is as it was.
func (c *Conn) Write(m wamp.Message) error {
	if err := c.queue(m, open, open); err != nil {
		return err
	}
	c.flush()
	return nil
}

// Batch collects writes to several connections, so that each gets all that is
// meant for it in one. Who fills it flushes it; the batch of a connection's
// reader is flushed before that one waits for anything.
type Batch struct{ conns []*Conn }

// batchSize is how many connections a batch may hold up.
const batchSize = 64

// Write is Conn.Write, but for the writing itself.
func (b *Batch) Write(c *Conn, m wamp.Message) error {
	if err := c.queue(m, open, open); err != nil {
		return err
	}
	b.hold(c)
	return nil
}

func (b *Batch) hold(c *Conn) {
	for _, held := range b.conns {
		if held == c {
			return
		}
	}
	if b.conns = append(b.conns, c); len(b.conns) >= batchSize {
		b.Flush()
	}
}

// Flush sends off what was written.
func (b *Batch) Flush() {
	for i, c := range b.conns {
		c.flush()
		b.conns[i] = nil
	}
	b.conns = b.conns[:0]
}

// Batch is the batch of the reader of c, for use in its handler only.
func (c *Conn) Batch() *Batch { return &c.batch }

// queue encodes m into the queue of a connection that is in state upTo at
// most, and then is in state then at least.
func (c *Conn) queue(m wamp.Message, upTo, then state) error {
	if _, ok := m.(*wamp.Welcome); ok {
		c.Welcomed()
	}
	buf := buffers.get(0)
	defer buffers.put(buf)
	head, rest, err := c.encode((*buf)[:0], m)
	if err != nil {
		return err
	}
	*buf = head
	return c.put(c.opcode(), head, rest, upTo, then)
}

// encode appends m to b, if the far side has room for it.
func (c *Conn) encode(b []byte, m wamp.Message) ([]byte, tail, error) {
	head, rest, err := c.format.encode(b, m)
	if err != nil {
		return b, tail{}, err
	}
	if n := len(head) + rest.len(); n > MaxMessage {
		return b, tail{}, notCarried(fmt.Sprintf("it has %d bytes, at most %d are taken", n, MaxMessage))
	}
	return head, rest, nil
}

// waitForRoom is for the side that has connected, and has nobody else to talk
// to: instead of overrunning its queue it waits until there is room in it, or
// the connection is dropped because the far side takes nothing. It is called,
// and returns, with the lock held.
func (c *Conn) waitForRoom() {
	for c.state == open && c.full() {
		if c.out.flushing {
			c.room.Wait()
			continue
		}
		c.mu.Unlock()
		c.flush()
		c.mu.Lock()
	}
}

func (c *Conn) full() bool {
	most := c.opt.QueueBytes
	if !c.welcomed.Load() {
		most = min(most, handshakeQueue)
	}
	return c.out.taken+c.out.pending() > most
}

func (q *queue) pending() int {
	if q.pend == nil {
		return 0
	}
	return len(*q.pend)
}

func (c *Conn) opcode() byte {
	if c.format == jsonFormat {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

// put appends one frame.
func (c *Conn) put(opcode byte, head []byte, rest tail, upTo, then state) error {
	c.mu.Lock()
	if c.client {
		c.waitForRoom()
	}
	if c.state > upTo {
		c.mu.Unlock()
		return ErrClosed
	}
	if c.full() {
		c.mu.Unlock()
		c.drop(ReasonSlow)
		return ErrSlow
	}
	c.out.append(opcode, c.client, head, rest)
	c.state = max(c.state, then)
	c.mu.Unlock()
	return nil
}

// room sees to it that n bytes can be appended.
func (q *queue) room(n int) {
	if q.pend == nil {
		q.pend = buffers.get(n)
	}
	q.pend = buffers.grow(q.pend, n)
}

// maxHead is the longest head of a frame.
const maxHead = 14

func (q *queue) append(opcode byte, mask bool, head []byte, rest tail) {
	n := len(head) + rest.len()
	q.room(n + maxHead)
	b := *q.pend
	before := len(b)
	b = append(b, 0x80|opcode)
	var masked byte
	if mask {
		masked = 0x80
	}
	switch {
	case n < 126:
		b = append(b, masked|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	at := len(b)
	if mask {
		b = binary.LittleEndian.AppendUint32(b, rand.Uint32())
	}
	b = rest.appendTo(append(b, head...))
	if mask {
		xor(b[at+4:], [4]byte(b[at:]))
	}
	q.queued += uint64(len(b) - before)
	*q.pend = b
}

func xor(b []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// control queues a control frame that the library or a ping has made. Of the
// answers to pings only the last one is kept (RFC 6455, 5.5.3), so that a
// flood of pings takes no memory. Pings of ours wait behind what is queued; the
// few that there are have room above the bound of the queue.
func (c *Conn) control(frame []byte) {
	c.mu.Lock()
	switch kind := frame[0] & 0x0f; {
	case c.state == dead:
	case kind == websocket.PongMessage:
		if c.state == open {
			c.out.pong = append(c.out.pong[:0], frame...)
		}
	case kind == websocket.PingMessage && c.out.taken+c.out.pending() > c.opt.QueueBytes+MaxMessage:
	default:
		c.out.control(frame)
	}
	c.mu.Unlock()
	c.flush()
}

func (q *queue) control(frame []byte) {
	q.room(len(frame))
	*q.pend = append(*q.pend, frame...)
	q.queued += uint64(len(frame))
}

// flush writes what the kernel takes at once; for the rest it starts the
// goroutine that may wait. Whoever finds one at work leaves it to that one.
func (c *Conn) flush() {
	b := c.take(nil)
	if b == nil {
		return
	}
	n := c.nc.tryWrite(*b)
	if n < len(*b) {
		go c.flushRest(b, n)
		return
	}
	if b = c.take(b); b != nil {
		go c.flushRest(b, 0)
	}
}

// take hands out what is queued, to one at a time; done is what the caller has
// just written, nil when it begins.
func (c *Conn) take(done *[]byte) *[]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if done == nil && c.out.flushing {
		return nil
	}
	c.room.Broadcast()
	if done != nil {
		c.out.taken = 0
		buffers.put(done)
	}
	if len(c.out.pong) > 0 {
		c.out.control(c.out.pong)
		c.out.pong = c.out.pong[:0]
	}
	b := c.out.pend
	if b == nil || c.state == dead {
		c.out.flushing = false
		c.out.pend = nil
		if c.out.idle != nil {
			close(c.out.idle)
			c.out.idle = nil
		}
		return nil
	}
	c.out.flushing, c.out.pend, c.out.taken = true, nil, len(*b)
	return b
}

// flushRest writes what the kernel did not take at once, in pieces, whose taking
// makes room in the queue.
func (c *Conn) flushRest(b *[]byte, n int) {
	defer c.watch()()
	for b != nil {
		for n < len(*b) {
			k, err := c.nc.Conn.Write((*b)[n:min(n+pieceSize, len(*b))])
			n += k
			c.mu.Lock()
			c.out.taken -= k
			c.room.Broadcast()
			c.mu.Unlock()
			if err != nil {
				c.drop(ReasonClosed)
				break
			}
		}
		b, n = c.take(b), 0
	}
}

// stallLooks is how often within WriteTimeout it is looked whether anything
// arrives.
const stallLooks = 4

// watch drops the connection when for WriteTimeout nothing arrives, until stop is
// called: who takes little is slow, who takes nothing is gone. A deadline of the
// write would not do. On a slow line the kernel takes nothing for long, since it
// wants to have got rid of a third of what it has before.
func (c *Conn) watch() (stop func()) {
	moved, _, _ := c.arrived()
	still, over := 0, false
	c.mu.Lock()
	defer c.mu.Unlock()
	var look *time.Timer
	look = time.AfterFunc(c.opt.WriteTimeout/stallLooks, func() {
		now, _, _ := c.arrived()
		c.mu.Lock()
		if still++; now != moved {
			moved, still = now, 0
		}
		gone := !over && still >= stallLooks
		if !over && !gone {
			look.Reset(c.opt.WriteTimeout / stallLooks)
		}
		c.mu.Unlock()
		if gone {
			c.drop(ReasonSlow)
		}
	})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		over = true
		look.Stop()
	}
}
