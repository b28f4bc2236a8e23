package peer

import (
	"errors"
	"fmt"
	"io"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

var errTooBig = errors.New("message over the limit")

// read is the reader's goroutine. When the connection is to end it says so, and
// reads on, so that our last words are not taken back.
func (c *Conn) read() {
	defer close(c.readDone)
	defer c.ends()
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return
		}
		if c.ending() {
			c.ends()
			continue
		}
		buf := buffers.get(0)
		buf, err = c.readAll(buf, r)
		switch {
		case err == nil:
			if err := c.deliver(kind, *buf); err != nil {
				c.violated(err)
				c.ends()
			}
		case errors.Is(err, errTooBig):
			c.tooBig()
			c.ends()
		default:
			buffers.put(buf)
			return
		}
		buffers.put(buf)
	}
}

// readAll reads one message, up to the limit that holds now.
func (c *Conn) readAll(buf *[]byte, r io.Reader) (*[]byte, error) {
	for {
		buf = buffers.grow(buf, 1)
		b := *buf
		n, err := r.Read(b[len(b):cap(b)])
		*buf = b[:len(b)+n]
		switch {
		case len(*buf) > c.maxMessage():
			return buf, errTooBig
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

func (c *Conn) maxMessage() int {
	if c.welcomed.Load() {
		return MaxMessage
	}
	return MaxHandshake
}

func (c *Conn) maxNesting() int {
	if c.welcomed.Load() {
		return MaxNesting
	}
	return MaxHandshakeNesting
}

// deliver decodes one message and hands it on.
func (c *Conn) deliver(kind int, b []byte) error {
	if want := int(c.opcode()); kind != want {
		return fmt.Errorf("a frame of type %d where %s has type %d", kind, c.format.name, want)
	}
	h := c.hooks.Load()
	hooked := h != nil && h.in != nil
	m, err := c.format.decode(b, c.maxNesting(), hooked && h.raw, &c.raw)
	var r *refusal
	if errors.As(err, &r) {
		if m, err = c.refuse(r); m == nil && err == nil {
			return nil
		}
	}
	if err != nil {
		return err
	}
	to, late := c.in, (<-chan struct{})(nil)
	if !hooked {
		to, late = c.hs, c.hooked
	} else if m = h.in(m); m == nil {
		return nil
	}
	if m, err = expanded(m); err != nil {
		return err
	}
	c.batch.Flush()
	select {
	case to <- m:
	case <-c.closing:
	case <-late:
		return errors.New("a message before the session was established")
	}
	return nil
}

func (c *Conn) ending() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// violated tells the far side what was wrong and ends the connection.
func (c *Conn) violated(err error) {
	c.finish(&wamp.Abort{Reason: wamp.ErrProtocolViolation, Details: wamp.Dict{"message": err.Error()}}, ReasonViolation)
}

func (c *Conn) tooBig() {
	c.mu.Lock()
	c.code = websocket.CloseMessageTooBig
	c.mu.Unlock()
	c.end(ReasonViolation, finishing)
}

func (c *Conn) closeCode() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return orDefault(c.code, websocket.CloseNormalClosure)
}

// ends tells everybody who waits for this reader, once.
func (c *Conn) ends() {
	c.batch.Flush()
	c.end(ReasonClosed, finishing)
	c.mu.Lock()
	told, f, reason := c.told, c.onEnd, c.reason
	c.told = true
	c.mu.Unlock()
	if told {
		return
	}
	if f != nil {
		f(reason)
		c.batch.Flush()
	}
	close(c.hs)
	close(c.in)
}
