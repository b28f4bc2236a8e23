//go:build unix

package peer

import "syscall"

// direct is one write that takes what the kernel has room for and never waits.
type direct struct {
	b  []byte
	n  int
	fn func(fd uintptr) bool
}

func (d *direct) init() {
	d.fn = func(fd uintptr) bool {
		for d.n < len(d.b) {
			n, err := syscall.Write(int(fd), d.b[d.n:])
			if err == syscall.EINTR {
				continue
			}
			if err != nil || n <= 0 {
				break // a lasting error meets the flusher's own write
			}
			d.n += n
		}
		return true
	}
}

// tryWrite writes what goes out without waiting and says how much that was.
func (n *netConn) tryWrite(b []byte) int {
	if n.sock == nil || !n.plain {
		return 0
	}
	n.direct.b, n.direct.n = b, 0
	_ = n.sock.Write(n.direct.fn)
	n.direct.b = nil
	return n.direct.n
}
