package peer

import (
	"time"

	"golang.org/x/sys/unix"
)

// arrived grows with what the far side's kernel has told to have, also of what
// comes after something that was lost; left is how many bytes ours holds that the
// other has not told of. known is false where that cannot be said.
func (n *netConn) arrived() (arrived uint64, left int, known bool) {
	if n.sock == nil {
		return 0, 0, false
	}
	_ = n.sock.Control(func(fd uintptr) {
		var err error
		if left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil {
			return
		}
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			arrived, known = uint64(info.Delivered), true
		}
	})
	return arrived, left, known
}

// rtoMax is TCP_RTO_MAX_MS of Linux 6.15, which is tried.
const rtoMax = 44

// persistent has the kernel repeat what was lost every longest at least, and at an
// even pace where little is under way (tcp(7): thin streams). Where three of ten
// packets are lost, doubling the time from one repetition to the next makes
// silences of half a minute, in which nobody knows whether the far side lives.
func (n *netConn) persistent(longest time.Duration) {
	if n.sock == nil {
		return
	}
	_ = n.sock.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, rtoMax, int(max(longest, time.Second).Milliseconds()))
	})
}
