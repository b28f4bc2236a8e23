//go:build !linux

package peer

// unsent is not known here.
func (*netConn) unsent() int { return 0 }
