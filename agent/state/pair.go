package state

import (
	"context"
	"fmt"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Request is what a pairing takes.
type Request struct {
	URL string `json:"url"`
	// Token is a one-time token for a node. Without one the relay must know
	// the agent's key already.
	Token string `json:"token,omitempty"`
	// NodeID is the wished name, where the token leaves it open; by default the
	// relay takes the host's.
	NodeID  string `json:"node_id,omitempty"`
	Pin     string `json:"pin,omitempty"`
	CAFile  string `json:"ca_file,omitempty"`
	Unbound bool   `json:"unbound,omitempty"`
	// Replace gives an existing pairing up.
	Replace bool `json:"replace,omitempty"`
}

// Check finds what is wrong without asking the relay: typing errors, above all.
func (r Request) Check() error {
	if _, err := session.Address(r.URL, wire.RoleNode); err != nil {
		return err
	}
	if r.NodeID != "" && !wire.ValidNodeID(r.NodeID) {
		return cfcerr.Argument("node-id", wire.NodeIDForm)
	}
	if r.Pin != "" && !session.ValidPin(r.Pin) {
		return cfcerr.Argument("pin", session.PinForm)
	}
	if r.Token == "" {
		return nil
	}
	t, err := wire.ParseToken(r.Token)
	if err != nil {
		return cfcerr.New(cfcerr.InvalidArgument, "cannot use this token: it is mistyped or incomplete (its checksum does not fit)").With("argument", "token")
	}
	if t.Purpose != wire.ForNode {
		return cfcerr.New(cfcerr.InvalidArgument, "cannot use token %s: it is for a %s, expected one for a node (cfcn_…)", t, t.Purpose).With("argument", "token")
	}
	return nil
}

// refuseReplacing keeps a pairing that nobody asked to give up.
func (d *Dir) refuseReplacing(r Request) error {
	old, err := d.Pairing()
	switch {
	case r.Replace:
		return nil
	case err != nil:
		return err
	case old != nil:
		return cfcerr.New(cfcerr.AlreadyExists, "cannot pair: this agent is node %s of realm %s on %s; run cfc-agent unpair first, or give that pairing up with --replace", old.NodeID, old.Realm, old.Relay)
	}
	return nil
}

// Granted is what the relay calls this node.
type Granted struct{ Realm, NodeID, OID string }

// Claim logs in with a key, and a token where there is one.
type Claim func(ctx context.Context, r Request, k identity.Key) (Granted, error)

// Pair claims the token and saves what the relay says. It may be repeated
// after any failure: the key is kept, and a relay that has the pairing already
// just lets it in.
func (d *Dir) Pair(ctx context.Context, r Request, claim Claim) (*Pairing, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if err := d.refuseReplacing(r); err != nil {
		return nil, err
	}
	k, err := d.Key(r.URL)
	if err != nil {
		return nil, err
	}
	g, err := claim(ctx, r, k)
	if err != nil {
		return nil, err
	}
	u, err := session.Address(r.URL, wire.RoleNode)
	if err != nil {
		return nil, err
	}
	p := Pairing{Version: version, Relay: u.String(), Realm: g.Realm, NodeID: g.NodeID, OID: g.OID, Pubkey: k.Public(), Pin: r.Pin, CAFile: r.CAFile,
		Unbound: r.Unbound, Paired: wire.Time(time.Now())}
	if err := d.Save(p); err != nil {
		return nil, fmt.Errorf("the relay has paired this node, but that cannot be kept (pair again when it can): %w", err)
	}
	return &p, nil
}

// LogIn is the Claim of a process that has no session with the relay
// otherwise: it joins and leaves again. Agent is what the agent tells of itself.
func LogIn(agent wamp.Dict) Claim {
	return func(ctx context.Context, r Request, k identity.Key) (Granted, error) {
		s, err := session.Join(ctx, session.Config{
			URL: r.URL, Role: wire.RoleNode, Key: k, Token: r.Token, NodeID: r.NodeID, Pin: r.Pin, CAFile: r.CAFile,
			Unbound: r.Unbound, Extra: wamp.Dict{"agent": agent},
		})
		if err != nil {
			return Granted{}, err
		}
		defer s.Close()
		oid, _ := wamp.AsString(s.Extra()["node_oid"])
		return Granted{s.Realm(), s.AuthID(), oid}, nil
	}
}
