package peer

import "golang.org/x/sys/unix"

// taken is how many bytes the far side's kernel has acknowledged, and how many
// ours holds that it has not; known is false where that cannot be told.
func (n *netConn) taken() (acked uint64, left int, known bool) {
	if n.sock == nil {
		return 0, 0, false
	}
	_ = n.sock.Control(func(fd uintptr) {
		var err error
		if left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil {
			return
		}
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			acked, known = info.Bytes_acked, true
		}
	})
	return acked, left, known
}
