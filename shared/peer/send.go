package peer

import "github.com/gammazero/nexus/v3/wamp"

// Send is where nexus puts messages. It is never closed. Its goroutine is
// started by the first use: who only ever writes has none.
func (c *Conn) Send() chan<- wamp.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.send == nil {
		c.send = make(chan wamp.Message, c.opt.Queue)
		c.pumped = make(chan struct{})
		go c.pump(c.send)
	}
	return c.send
}

// pump moves messages from Send into the queue.
func (c *Conn) pump(send <-chan wamp.Message) {
	for {
		select {
		case m := <-send:
			c.pass(m)
			c.drain(send)
			c.flush()
		case <-c.closing:
			c.drain(send)
			close(c.pumped)
			for c.client { // nexus' client sends without looking whether anybody takes it
				select {
				case <-send:
				case <-c.released:
					return
				}
			}
			return
		}
	}
}

// drain takes what stands in Send; a connection that is past taking it drops it.
func (c *Conn) drain(send <-chan wamp.Message) {
	for {
		select {
		case m := <-send:
			c.pass(m)
		default:
			return
		}
	}
}

func (c *Conn) pass(m wamp.Message) {
	if h := c.hooks.Load(); h != nil && h.out != nil {
		if m = h.out(m); m == nil {
			return
		}
	}
	_ = c.queue(m, draining, open) // what cannot be encoded is a defect of the sender; the connection lives on
}
