package peer

import (
	"errors"

	"github.com/gammazero/nexus/v3/wamp"
)

// ErrFull is the refusal of Offer.
var ErrFull = errors.New("cannot send: too much is queued for the far side")

// Offer is Write for what can as well be refused: where Write drops a far side
// whose queue is over its bound, Offer says ErrFull and the connection lives
// on. So what others send to it cannot end it, however thin its line; it is
// dropped only when it takes nothing for the write time-out.
func (b *Batch) Offer(c *Conn, m wamp.Message) error { return b.OfferWithin(c, m, c.opt.QueueBytes) }

// OfferWithin is Offer with another bound of the queue than its own.
func (b *Batch) OfferWithin(c *Conn, m wamp.Message, bound int) error {
	if err := c.offer(m, bound); err != nil {
		return err
	}
	b.hold(c)
	return nil
}

// Queued is how many bytes wait to be written.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.taken + c.out.pending()
}

// Insist is Write for small messages to a connection whose queue others may
// have filled by Offer, up to its bound and one message more: there is room for
// these above that.
func (b *Batch) Insist(c *Conn, m wamp.Message) error {
	if err := c.insist(m); err != nil {
		return err
	}
	b.hold(c)
	return nil
}

// Insist is Batch.Insist, and sends it off.
func (c *Conn) Insist(m wamp.Message) error {
	if err := c.insist(m); err != nil {
		return err
	}
	c.flush()
	return nil
}

func (c *Conn) insist(m wamp.Message) error {
	err := c.offer(m, c.opt.QueueBytes+2*MaxMessage)
	if err == ErrFull {
		c.drop(ReasonSlow)
		return ErrSlow
	}
	return err
}

// offer encodes m into the queue as long as that holds no more than bound; for
// one that is over it, and stays so, nothing is encoded.
func (c *Conn) offer(m wamp.Message, bound int) error {
	if err := c.takes(bound); err != nil {
		return err
	}
	buf := buffers.get(0)
	defer buffers.put(buf)
	head, rest, err := c.encode((*buf)[:0], m)
	if err != nil {
		return err
	}
	*buf = head
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.takesLocked(bound); err != nil {
		return err
	}
	c.out.append(c.opcode(), c.client, head, rest)
	return nil
}

func (c *Conn) takes(bound int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.takesLocked(bound)
}

func (c *Conn) takesLocked(bound int) error {
	switch {
	case c.state > open:
		return ErrClosed
	case c.out.taken+c.out.pending() > bound:
		return ErrFull
	}
	return nil
}
