package peer

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// netConn stands between the WebSocket library and the network. What the
// library writes by itself (pongs, close frames) joins the queue, so that it
// never falls into the middle of a frame; before the reader waits for the
// network, what it has queued for others is sent off.
type netConn struct {
	net.Conn
	sock   syscall.RawConn // nil where there is no socket of this machine
	plain  bool            // what is written goes into the socket as it is
	conn   atomic.Pointer[Conn]
	reads  atomic.Uint64 // grows with everything that comes in
	direct direct
	opened int // bytes that came before there was a Conn
}

// maxOpening bounds what a server may answer to the upgrade: its header is read
// whole.
const maxOpening = 64 << 10

var errOpening = errors.New("its answer to the upgrade is endless")

func wrapConn(nc net.Conn) *netConn {
	n := &netConn{Conn: nc, plain: true}
	if t, ok := nc.(*tls.Conn); ok {
		nc, n.plain = t.NetConn(), false
	}
	if sc, ok := nc.(syscall.Conn); ok {
		if sock, err := sc.SyscallConn(); err == nil {
			n.sock = sock
		}
	}
	n.direct.init()
	return n
}

func (n *netConn) attach(c *Conn) { n.conn.Store(c) }

// Read is called by the library when its buffer is empty.
func (n *netConn) Read(b []byte) (int, error) {
	c := n.conn.Load()
	if c != nil {
		c.batch.Flush()
	}
	i, err := n.Conn.Read(b)
	if c == nil {
		if n.opened += i; n.opened > maxOpening {
			return 0, errOpening
		}
	}
	if i > 0 {
		n.reads.Add(1)
	}
	return i, err
}

// Write takes the handshake, and later whole control frames.
func (n *netConn) Write(b []byte) (int, error) {
	c := n.conn.Load()
	if c == nil {
		return n.Conn.Write(b)
	}
	c.control(b)
	return len(b), nil
}

// SetWriteDeadline of the library is for writes that it no longer does itself.
func (n *netConn) SetWriteDeadline(t time.Time) error {
	if n.conn.Load() != nil {
		return nil
	}
	return n.Conn.SetWriteDeadline(t)
}

func (n *netConn) closeWrite() {
	if w, ok := n.Conn.(interface{ CloseWrite() error }); ok {
		_ = n.Conn.SetWriteDeadline(time.Now().Add(time.Second)) // TLS writes an alert
		_ = w.CloseWrite()
	}
}
