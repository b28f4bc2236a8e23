package pairing

import (
	"context"
	"sync"

	"fabric.center/cfc/shared/cfcerr"
)

// turns lets changes through one after another. Before the last gate stand two,
// one of all users and one of claims, which take it in alternation; before the
// gate of users stands one for each user who has something to change. So of one
// user no more than one change at a time stands in the way of others, however
// many he asks for, and a crowd of users does not keep new nodes out, nor new
// nodes them. What one user may have waiting is bounded; claims are, by the
// number of connections that may not have logged in.
type turns struct {
	waiting       int
	users, claims gate
	last          gate

	mu  sync.Mutex
	own map[string]*queue
}

// queue is one user's, there while it is not empty.
type queue struct {
	gate
	n int // one under way and those that wait
}

const defaultWaiting = 16

// nobody is the user of claims, and of the relay itself.
const nobody = ""

// gate is held by one; those who wait for it get it in the order of their coming.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func newTurns(waiting int) *turns {
	return &turns{waiting: waiting, users: newGate(), claims: newGate(), last: newGate(), own: map[string]*queue{}}
}

// take waits for a turn, which the caller gives back. It is Busy when as many
// of the user's are waiting as may.
func (t *turns) take(ctx context.Context, user string) (back func(), err error) {
	if user == nobody {
		return pass(ctx, t.claims, t.last)
	}
	t.mu.Lock()
	q := t.own[user]
	if q == nil {
		q = &queue{gate: newGate()}
		t.own[user] = q
	}
	if q.n > t.waiting {
		t.mu.Unlock()
		return nil, cfcerr.New(cfcerr.Busy, "cannot make the change: %d others of %s wait for their turn", t.waiting, user).With("limit", t.waiting)
	}
	q.n++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if q.n--; q.n == 0 {
			delete(t.own, user)
		}
	}
	open, err := pass(ctx, q.gate, t.users, t.last)
	if err != nil {
		leave()
		return nil, err
	}
	return func() { open(); leave() }, nil
}

// pass goes through the gates, or through none; open lets the next ones pass,
// at the last gate first, so that whoever waits there comes before those behind.
func pass(ctx context.Context, gates ...gate) (open func(), err error) {
	passed := 0
	open = func() {
		for i := range passed {
			<-gates[passed-1-i]
		}
	}
	for _, g := range gates {
		select {
		case g <- struct{}{}:
			passed++
		case <-ctx.Done():
			open()
			return nil, ctx.Err()
		}
	}
	return open, nil
}

// changed makes one change in the user's turn and returns its result.
func changed[Out any](ctx context.Context, m *Manager, user string, do func() (Out, error)) (Out, error) {
	back, err := m.turns.take(ctx, user)
	if err != nil {
		var none Out
		return none, err
	}
	defer back()
	return do()
}
