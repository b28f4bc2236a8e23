package route

import "fabric.center/cfc/shared/peer"

// modest is how much a user may have waiting for an agent and always find room.
const modest = 64 << 10

// shares is whose calls wait in the queue of an agent, so that nobody can fill
// it for all others: one user gets half of it, or one message, and whoever has
// little waiting finds room above its bound. Guarded by the agent's lock.
type shares struct {
	put  int            // bytes that were ever queued
	held map[string]int // bytes that wait, by user
	line []portion      // the first to be sent first
}

// portion is what one user has queued in a row.
type portion struct {
	user     string
	size, to int // to is what put was behind it
}

// bound is how full the queue may be for the user to add size bytes, negative
// when that is too much for one.
func (q *shares) bound(user string, size int) int {
	switch held := q.held[user]; {
	case held+size <= modest:
		return peer.QueueBytes + peer.MaxMessage
	case held > 0 && held+size > peer.QueueBytes/2:
		return -1
	}
	return peer.QueueBytes
}

// add is size bytes of the user at the end.
func (q *shares) add(user string, size int) {
	if q.held == nil {
		q.held = map[string]int{}
	}
	q.put += size
	q.held[user] += size
	if n := len(q.line); n > 0 && q.line[n-1].user == user {
		q.line[n-1].size += size
		q.line[n-1].to = q.put
		return
	}
	q.line = append(q.line, portion{user, size, q.put})
}

// settle forgets what has been sent: all but the last waiting bytes. Part of a
// portion may have been.
func (q *shares) settle(waiting int) {
	sent := q.put - waiting
	for len(q.line) > 0 {
		p := &q.line[0]
		left := 0
		if waiting > 0 {
			left = min(max(p.to-sent, 0), p.size)
		}
		if q.held[p.user] -= p.size - left; q.held[p.user] <= 0 {
			delete(q.held, p.user)
		}
		if p.size = left; left > 0 {
			return
		}
		q.line = q.line[1:]
	}
	q.line = nil
}
