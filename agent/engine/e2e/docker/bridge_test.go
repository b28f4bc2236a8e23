package docker

import (
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
)

// bridge is a socket behind which an engine's is, that can be cut while the
// engine goes on.
type bridge struct {
	t          *testing.T
	socket, to string

	mu    sync.Mutex
	ln    net.Listener
	conns []net.Conn
	wg    sync.WaitGroup
}

func newBridge(t *testing.T, to string) *bridge {
	t.Helper()
	b := &bridge{t: t, socket: filepath.Join(filepath.Dir(to), "bridge.sock"), to: to}
	b.join()
	t.Cleanup(b.cut)
	return b
}

func (b *bridge) join() {
	b.t.Helper()
	ln, err := net.Listen("unix", b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.ln = ln
	b.mu.Unlock()
	b.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { b.carry(c) })
		}
	})
}

func (b *bridge) carry(c net.Conn) {
	defer c.Close()
	far, err := net.Dial("unix", b.to)
	if err != nil {
		return
	}
	defer far.Close()
	b.mu.Lock()
	if b.ln == nil { // it was cut meanwhile
		b.mu.Unlock()
		return
	}
	b.conns = append(b.conns, c, far)
	b.mu.Unlock()
	b.wg.Go(func() { _, _ = io.Copy(far, c); far.Close() })
	_, _ = io.Copy(c, far)
}

func (b *bridge) cut() {
	b.mu.Lock()
	if b.ln != nil {
		b.ln.Close()
	}
	for _, c := range b.conns {
		c.Close()
	}
	b.ln, b.conns = nil, nil
	b.mu.Unlock()
	b.wg.Wait()
}
