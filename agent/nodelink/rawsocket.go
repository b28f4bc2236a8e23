package nodelink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	magic       = 0x7f
	maxExponent = 0xf // 2^(9+15) octets
	maxMessage  = 1<<24 - 1
	maxUnknown  = 16 << 10 // what somebody who is not known yet may send
	frameHeader = 4
	writePiece  = 64 << 10

	frameMessage = 0
	framePing    = 1
	framePong    = 2
)

var errTooLong = errors.New("message over the limit")

// socket is one RawSocket connection. Reading is for one goroutine, writing
// goes through a queue that is bounded in messages and bytes.
type socket struct {
	conn    net.Conn
	codec   serialize.Serializer
	limit   atomic.Int64 // octets of a message that may come in
	stall   time.Duration
	out     chan []byte
	queued  atomic.Int64
	maxSend int
}

// accept answers the RawSocket handshake.
func accept(conn net.Conn, stall time.Duration) (*socket, error) {
	var b [4]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if b[0] != magic {
		return nil, errors.New("handshake: not RawSocket")
	}
	refuse := func(code byte, why string) (*socket, error) {
		_, err := conn.Write([]byte{magic, code << 4, 0, 0})
		return nil, errors.Join(errors.New("handshake: "+why), err)
	}
	if b[2] != 0 || b[3] != 0 {
		return refuse(3, "reserved octets are set")
	}
	s := &socket{conn: conn, stall: stall, out: make(chan []byte, maxQueued), maxSend: min(1<<(9+b[1]>>4), maxMessage)}
	s.limit.Store(maxUnknown)
	switch b[1] & 0xf {
	case 2:
		s.codec = &serialize.MessagePackSerializer{}
	case 3:
		s.codec = newNodeCBOR()
	default:
		return refuse(1, "serializer is neither CBOR nor MessagePack")
	}
	_, err := conn.Write([]byte{magic, maxExponent<<4 | b[1]&0xf, 0, 0})
	return s, err
}

// read is the next message; pings are answered on the way.
func (s *socket) read() (wamp.Message, error) {
	for {
		var head [frameHeader]byte
		if _, err := io.ReadFull(s.conn, head[:]); err != nil {
			return nil, err
		}
		kind := head[0] & 0x07
		head[0] = 0
		size := int64(binary.BigEndian.Uint32(head[:]))
		if size > s.limit.Load() {
			return nil, fmt.Errorf("%w: %d octets", errTooLong, size)
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(s.conn, body); err != nil {
			return nil, err
		}
		switch kind {
		case frameMessage:
			return s.codec.Deserialize(body)
		case framePing:
			s.queue(frame(framePong, body))
		case framePong:
		default:
			return nil, fmt.Errorf("unknown frame type %d", kind)
		}
	}
}

// encode makes a frame of a message, or says why it cannot be sent.
func (s *socket) encode(m wamp.Message) ([]byte, error) {
	b, err := s.codec.Serialize(m)
	if err != nil {
		return nil, fmt.Errorf("cannot encode %s: %w", m.MessageType(), err)
	}
	if len(b) > s.maxSend {
		return nil, cfcerr.New(cfcerr.LimitExceeded, "cannot send this to the node: %d octets, at most %d", len(b), s.maxSend).With("limit", s.maxSend)
	}
	return frame(frameMessage, b), nil
}

func frame(kind byte, body []byte) []byte {
	b := make([]byte, frameHeader, frameHeader+len(body))
	binary.BigEndian.PutUint32(b, uint32(len(body)))
	b[0] = kind
	return append(b, body...)
}

// finish has the writer end the connection after all that is queued.
func (s *socket) finish() bool { return s.queue(nil) }

// queue hands a frame to the writer; false when the queue is full, which only
// happens when the other end has stopped reading.
func (s *socket) queue(b []byte) bool {
	if s.queued.Add(int64(len(b))) > maxQueuedBytes+int64(len(b)) {
		s.queued.Add(-int64(len(b)))
		return false
	}
	select {
	case s.out <- b:
		return true
	default:
		s.queued.Add(-int64(len(b)))
		return false
	}
}

// write sends what is queued until done is closed or the connection fails.
func (s *socket) write(done <-chan struct{}) error {
	for {
		select {
		case b := <-s.out:
			if b == nil {
				return io.EOF
			}
			s.queued.Add(-int64(len(b)))
			if err := s.send(b); err != nil {
				return err
			}
		case <-done:
			return nil
		}
	}
}

// send writes a frame piece by piece: each piece that goes out renews the
// deadline, so that slow is told from dead.
func (s *socket) send(b []byte) error {
	for len(b) > 0 {
		piece := b[:min(len(b), writePiece)]
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.stall)); err != nil {
			return err
		}
		n, err := s.conn.Write(piece)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// say writes one message past the queue: for log-in and farewell, when no
// writer runs.
func (s *socket) say(m wamp.Message) error {
	b, err := s.encode(m)
	if err != nil {
		return err
	}
	return s.send(b)
}
