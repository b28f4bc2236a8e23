package pairing

import (
	"context"
	"encoding/hex"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

const (
	defaultTTL   = time.Hour
	maxTTL       = 30 * 24 * time.Hour
	maxTicketTTL = 365 * 24 * time.Hour
	maxUses      = 100_000
)

func (m *Manager) createToken(ctx context.Context, c catalog.Caller, in catalog.CreateTokenIn) (catalog.TokenMade, error) {
	t, err := parseToken(wire.Purpose(in.Purpose), in.Options, m.cfg.Now())
	if err != nil {
		return catalog.TokenMade{}, err
	}
	t.By = c.AuthID
	return changed(ctx, m, c.AuthID, func() (catalog.TokenMade, error) {
		if err := m.mayMake(ctx, c, &t); err != nil {
			return catalog.TokenMade{}, err
		}
		secret, err := m.addToken(ctx, &t)
		if err != nil {
			return catalog.TokenMade{}, err
		}
		m.record(c, audit.Event{Event: audit.TokenMade, Token: t.ID, Realm: t.Realm, Node: t.NodeID, User: t.User, Role: string(t.Role), Reason: string(t.Purpose)})
		return catalog.TokenMade{Token: secret.Secret(), ID: t.ID, Purpose: string(t.Purpose), Expires: wire.Time(t.Expires), Uses: t.Uses, Pin: m.cfg.Pin()}, nil
	})
}

// addToken makes the secret and keeps its hash.
func (m *Manager) addToken(ctx context.Context, t *store.Token) (wire.Token, error) {
	secret, err := wire.NewToken(t.Purpose)
	if err != nil {
		return secret, err
	}
	sum := secret.Hash()
	t.ID, t.Hash = secret.ID, hex.EncodeToString(sum[:])
	return secret, m.cfg.Store.AddToken(ctx, *t)
}

// parseToken checks the options of a token for its purpose.
func parseToken(p wire.Purpose, all map[string]any, now time.Time) (store.Token, error) {
	o := options{all, "options."}
	t := store.Token{Purpose: p, Created: now}
	known, most := []string{"realm", "role", "user", "ttl", "uses"}, maxTTL
	switch p {
	case wire.ForUser:
		known = append(known, "replace", "add")
	case wire.ForNode:
		known = []string{"realm", "node_id", "ttl", "uses", "replace", "labels"}
	case wire.ForTicket:
		most = maxTicketTTL
	}
	if err := o.only(known...); err != nil {
		return t, err
	}
	var ttl time.Duration
	for _, read := range []func() error{
		func() (err error) { t.Realm, err = o.text("realm", wire.RealmForm, wire.ValidRealm); return },
		func() (err error) { t.NodeID, err = o.text("node_id", wire.NodeIDForm, wire.ValidNodeID); return },
		func() (err error) { t.User, err = o.text("user", wire.UserForm, wire.ValidUser); return },
		func() (err error) { t.Role, err = o.role("role"); return },
		func() (err error) { t.Replace, err = o.flag("replace"); return },
		func() (err error) { t.Add, err = o.flag("add"); return },
		func() (err error) { t.Labels, err = o.labels("labels"); return },
		func() (err error) { ttl, err = o.ttl("ttl", most); return },
		func() (err error) { t.Uses, err = o.count("uses", maxUses); return },
	} {
		if err := read(); err != nil {
			return t, err
		}
	}
	t.Left, t.Expires = t.Uses, now.Add(ttl)
	return t, o.fit(t)
}

// fit checks what only makes sense together.
func (o options) fit(t store.Token) error {
	switch {
	case t.Purpose == wire.ForNode && t.Realm == "":
		return o.bad("realm", "the management realm that the node is for")
	case t.Purpose == wire.ForNode && t.Replace && t.NodeID == "":
		return o.bad("node_id", "the node that is replaced")
	case t.Purpose != wire.ForUser:
		return nil
	case t.Add && t.Replace:
		return o.bad("replace", "either add or replace")
	case !t.Add && t.User == "":
		return o.bad("user", "the name of the new user: "+wire.UserForm)
	case (t.Add || t.Replace) && t.Realm != "":
		return o.bad("realm", "nothing: only a new user begins with a realm")
	case (t.Realm == "") != (t.Role == ""):
		if t.Role == "" {
			return o.bad("role", wire.RoleForm)
		}
		return o.bad("realm", "the management realm in which the user has the role")
	}
	return nil
}

// mayMake checks the caller's right to make such a token, and names the user
// of one that is for himself.
func (m *Manager) mayMake(ctx context.Context, c catalog.Caller, t *store.Token) error {
	switch {
	case c.Method == "ticket" && t.Purpose != wire.ForNode:
		// A ticket that makes keys or tickets would not end with its time.
		return cfcerr.New(cfcerr.NotAuthorized, "cannot make a %s token: you logged in with a ticket, it takes your key", t.Purpose)
	case t.Purpose == wire.ForNode:
		return m.owns(ctx, c, t.Realm, "make a node token")
	case t.Purpose == wire.ForTicket:
		if t.Realm != "" {
			if _, err := m.member(ctx, c, t.Realm); err != nil {
				return err
			}
		}
		return m.forHimself(ctx, c, t, "make a ticket")
	case t.Add:
		return m.forHimself(ctx, c, t, "add a key")
	case t.Replace:
		if err := m.relayOwner(ctx, c, "replace a user's keys"); err != nil {
			return err
		}
		_, err := m.cfg.Store.User(ctx, t.User)
		return err
	}
	if t.Realm != "" {
		if err := m.owns(ctx, c, t.Realm, "make a user token"); err != nil {
			return err
		}
	} else if err := m.relayOwner(ctx, c, "make a user token without a realm"); err != nil {
		return err
	}
	if _, err := m.cfg.Store.User(ctx, t.User); cfcerr.KindOf(err) != cfcerr.NoSuchUser {
		if err != nil {
			return err
		}
		return cfcerr.New(cfcerr.NameTaken, "cannot make a user token: there is a user %s already", t.User).With("user", t.User)
	}
	return nil
}

func (m *Manager) forHimself(ctx context.Context, c catalog.Caller, t *store.Token, what string) error {
	if t.User == "" {
		t.User = c.AuthID
	}
	if t.User != c.AuthID {
		return cfcerr.New(cfcerr.NotAuthorized, "cannot %s: only a user himself may", what).With("user", t.User)
	}
	_, err := m.cfg.Store.User(ctx, t.User)
	return err
}

// owned reports whether the caller made or owns the token.
func (m *Manager) owned(c catalog.Caller, t store.Token, roles map[string]wire.Role, relayOwner bool) bool {
	switch {
	case t.First:
		return false
	case t.By == c.AuthID, t.Purpose != wire.ForNode && (t.Add || t.Purpose == wire.ForTicket) && t.User == c.AuthID:
		return true
	case t.Purpose == wire.ForTicket:
		return false
	case t.Realm != "" && roles[t.Realm] == wire.Owner:
		return true
	}
	return relayOwner && t.Purpose == wire.ForUser
}

func (m *Manager) listTokens(ctx context.Context, c catalog.Caller, _ catalog.None) ([]catalog.TokenInfo, error) {
	roles, err := m.cfg.Store.Memberships(ctx, c.AuthID)
	if err != nil {
		return nil, err
	}
	relayOwner, err := m.ownsRelay(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := m.cfg.Store.Tokens(ctx)
	out := []catalog.TokenInfo{}
	for _, t := range all {
		if t.Over(m.cfg.Now()) || !m.owned(c, t, roles, relayOwner) {
			continue
		}
		out = append(out, catalog.TokenInfo{ID: t.ID, Purpose: string(t.Purpose), Realm: optional(t.Realm), NodeID: optional(t.NodeID), User: optional(t.User),
			Expires: wire.Time(t.Expires), Uses: t.Uses, Left: t.Left, By: t.By})
	}
	return out, err
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (m *Manager) revokeToken(ctx context.Context, c catalog.Caller, in catalog.TokenIn) (catalog.TokenRevoked, error) {
	if !wire.ValidTokenID(in.ID) { // it may be a whole token, which no error may quote
		return catalog.TokenRevoked{}, cfcerr.Argument("id", wire.TokenIDForm+", never the token itself")
	}
	none := cfcerr.New(cfcerr.NoSuchToken, "cannot revoke token %s: there is none, or it is not yours", in.ID)
	return changed(ctx, m, c.AuthID, func() (catalog.TokenRevoked, error) {
		t, err := m.cfg.Store.Token(ctx, in.ID)
		if err != nil {
			return catalog.TokenRevoked{}, hide(err, cfcerr.NoSuchToken, none)
		}
		roles, err := m.cfg.Store.Memberships(ctx, c.AuthID)
		if err != nil {
			return catalog.TokenRevoked{}, err
		}
		relayOwner, err := m.ownsRelay(ctx, c)
		if err != nil {
			return catalog.TokenRevoked{}, err
		}
		if !m.owned(c, t, roles, relayOwner) {
			return catalog.TokenRevoked{}, none
		}
		if t, err = m.cfg.Store.RevokeToken(ctx, t.ID, m.cfg.Now()); err != nil {
			return catalog.TokenRevoked{}, err
		}
		if t.Purpose == wire.ForTicket {
			m.cfg.Hub.End(wire.CloseTokenRevoked, "the ticket was revoked", func(id route.Identity) bool { return id.Method == "ticket" && id.TokenID == t.ID })
		}
		m.record(c, audit.Event{Event: audit.TokenRevoked, Token: t.ID, Realm: t.Realm, Node: t.NodeID, User: t.User})
		return catalog.TokenRevoked{ID: t.ID, Revoked: wire.Time(t.Revoked)}, nil
	})
}
