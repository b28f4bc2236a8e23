package route

import (
	"fmt"
	"testing"

	"fabric.center/cfc/shared/peer"
)

func TestShares(t *testing.T) {
	const most, above = peer.QueueBytes, peer.QueueBytes + peer.MaxMessage
	var q shares
	want := func(user string, size, bound int) {
		t.Helper()
		if got := q.bound(user, size); got != bound {
			t.Errorf("%d bytes of %s: bound %d, want %d", size, user, got, bound)
		}
	}
	want("ann", 100, above)
	want("ann", peer.MaxMessage, most) // one message, however big
	for range 20 {
		q.add("ann", 100_000)
	}
	want("ann", 97_152, most)
	want("ann", 97_153, -1) // half of the queue is hers
	want("ann", 1, most)
	want("bob", modest, above)
	want("bob", modest+1, most)
	want("bob", 3<<20, most)
	q.add("bob", 50)
	q.add("ann", 1000)
	if len(q.line) != 3 {
		t.Errorf("%d portions", len(q.line))
	}
	for _, step := range []struct {
		waiting int
		held    string
	}{{1_500_050, "map[ann:1500000 bob:50]"}, {1050, "map[ann:1000 bob:50]"}, {1001, "map[ann:1000 bob:1]"},
		{1000, "map[ann:1000]"}, {5000, "map[ann:1000]"}, {0, "map[]"}} {
		if q.settle(step.waiting); fmt.Sprint(q.held) != step.held {
			t.Errorf("with %d waiting: %v, want %s", step.waiting, q.held, step.held)
		}
	}
	want("ann", peer.QueueBytes, most)
	// Whoever has had one big message finds the same rules afterwards.
	q.add("eve", peer.MaxMessage)
	want("eve", 1, -1)
	want("bob", 1, above)
	if q.settle(0); len(q.line)+len(q.held) != 0 {
		t.Errorf("left %+v", q)
	}
}
