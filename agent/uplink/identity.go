package uplink

import (
	"context"
	"errors"

	"fabric.center/cfc/shared/identity"
)

// Identity is what a paired agent logs in with.
type Identity struct {
	URL     string
	Realm   string
	NodeID  string // as of the last log-in; the relay's word counts
	OID     string
	Key     identity.Key
	Pin     string
	CAFile  string
	Unbound bool
}

// claim is a first log-in, with its token, and who waits for its outcome.
type claim struct {
	token, nodeID string
	outcome       chan error // holds one
}

// Use makes the uplink log in with id from now on; nil for none. A session of
// another identity ends, and events that were to go there are forgotten.
func (u *Uplink) Use(id *Identity) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id != nil && u.identity != nil && u.claim == nil && id.place() == u.identity.place() {
		return
	}
	u.change(id, nil)
}

// Claim logs in with a key that the relay does not know yet, or may not: with
// a one-time token, and the node id that is wished where it leaves that open.
// When the relay has let the agent in, that session goes on; when it has not,
// the uplink goes back to the identity that it had.
func (u *Uplink) Claim(ctx context.Context, id Identity, token, nodeID string) (Identity, error) {
	c := &claim{token: token, nodeID: nodeID, outcome: make(chan error, 1)}
	u.mu.Lock()
	before := u.identity
	u.change(&id, c)
	u.mu.Unlock()
	var err error
	select {
	case err = <-c.outcome:
	case <-ctx.Done():
		err = ctx.Err()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.claim == c {
		u.claim = nil
	}
	if err != nil {
		u.change(before, nil)
		return Identity{}, asError(err)
	}
	if u.identity == nil {
		return Identity{}, errors.New("the pairing was given up meanwhile")
	}
	return *u.identity, nil
}

// change is Use, with the lock held.
func (u *Uplink) change(id *Identity, c *claim) {
	if id == nil || u.identity == nil || id.OID != u.identity.OID {
		u.ring.clear()
	}
	u.identity, u.claim = id, c
	if u.abandon != nil {
		u.abandon()
	}
}

// place is what makes an identity another one for the purposes of a session.
func (id Identity) place() [4]string { return [4]string{id.URL, id.Key.Public(), id.Pin, id.CAFile} }

// NodeID is this node's id in its realm, empty where it is not paired.
func (u *Uplink) NodeID() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.identity == nil {
		return ""
	}
	return u.identity.NodeID
}

// Realm is the management realm, empty where it is not paired.
func (u *Uplink) Realm() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.identity == nil {
		return ""
	}
	return u.identity.Realm
}

// tell tells the outcome, the first one alone.
func (c *claim) tell(err error) {
	if c == nil {
		return
	}
	select {
	case c.outcome <- err:
	default:
	}
}
