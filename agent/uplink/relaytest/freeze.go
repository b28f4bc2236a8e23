package relaytest

import (
	"net"
	"sync"
)

// gate holds back what is read from connections, so that the relay is silent
// as a frozen process or a dead network is.
type gate struct {
	mu   sync.Mutex
	cond *sync.Cond
	shut bool
}

func newGate() *gate {
	g := &gate{}
	g.cond = sync.NewCond(&g.mu)
	return g
}

func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut {
		g.cond.Wait()
	}
}

// Freeze makes the relay silent, or lets it go on.
func (r *Relay) Freeze(frozen bool) {
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	r.gate.shut = frozen
	r.gate.cond.Broadcast()
}

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l gatedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return gatedConn{c, l.gate}, nil
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.pass()
	return n, err
}
