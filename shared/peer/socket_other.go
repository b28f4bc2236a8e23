//go:build !linux

package peer

import "time"

// arrived is not known here.
func (*netConn) arrived() (arrived uint64, left int, known bool) { return 0, 0, false }

func (*netConn) persistent(time.Duration) {}
