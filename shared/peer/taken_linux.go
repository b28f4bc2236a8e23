package peer

import (
	"crypto/tls"
	"syscall"

	"golang.org/x/sys/unix"
)

// taken is how many bytes the far side's kernel has acknowledged, and how many
// ours holds that it has not; known is false where that cannot be told.
func (n *netConn) taken() (acked uint64, left int, known bool) {
	nc := n.Conn
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return 0, 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		if left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			acked, known = info.Bytes_acked, true
		}
	})
	return acked, left, known
}
