package pairing

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

func (s *Service) createToken(ctx context.Context, c catalog.Caller, in catalog.CreateTokenIn) (catalog.TokenMade, error) {
	now := s.Now()
	t, err := tokenOptions(wire.Purpose(in.Purpose), in.Options, now)
	if err != nil {
		return catalog.TokenMade{}, err
	}
	t.By = c.AuthID
	s.changes.Lock()
	defer s.changes.Unlock()
	if err := s.mayMake(ctx, c, &t); err != nil {
		return catalog.TokenMade{}, err
	}
	secret, err := s.addToken(ctx, t)
	if err != nil {
		return catalog.TokenMade{}, err
	}
	s.Audit.Record(audit.Event{Event: audit.TokenMade, By: c.AuthID, Realm: t.Realm, User: t.User, Role: string(t.Role), Node: t.NodeID, Token: secret.ID, Reason: string(t.Purpose)})
	return catalog.TokenMade{Token: secret.Secret(), ID: secret.ID, Purpose: string(t.Purpose), Expires: wire.Time(t.Expires), Uses: t.Uses, Pin: s.Pin()}, nil
}

// addToken makes the secret and stores what is left of it.
func (s *Service) addToken(ctx context.Context, t store.Token) (wire.Token, error) {
	secret, err := wire.NewToken(t.Purpose)
	if err != nil {
		return secret, err
	}
	sum := secret.Hash()
	t.ID, t.Hash = secret.ID, hex.EncodeToString(sum[:])
	return secret, s.Store.AddToken(ctx, t)
}

// tokenOptions reads the options that fit the purpose; the others are refused.
func tokenOptions(p wire.Purpose, values map[string]any, now time.Time) (store.Token, error) {
	o := options{name: "options", values: values}
	t := store.Token{Purpose: p, Created: now, Realm: text[catalog.RealmName](&o, "realm")}
	most := maxTTL
	switch p {
	case wire.ForNode:
		t.NodeID = text[catalog.NodeID](&o, "node_id")
		t.Replace = o.flag("replace")
		t.Labels = o.labels()
		if t.Realm == "" {
			o.fail("realm", "the management realm that the node is for")
		}
		if t.Replace && t.NodeID == "" {
			o.fail("node_id", "the node whose host is being replaced")
		}
	case wire.ForUser:
		t.User, t.Role = text[catalog.UserName](&o, "user"), o.role()
		t.Replace, t.Add = o.flag("replace"), o.flag("add")
		if t.User == "" && !t.Add {
			o.fail("user", wire.UserForm)
		}
		if (t.Realm == "") != (t.Role == "") {
			o.fail("role", wire.RoleForm+", with a realm, or neither")
		}
		if t.Add && (t.Replace || t.Realm != "") {
			o.fail("add", "neither replace nor realm and role beside it")
		}
	case wire.ForTicket:
		most = maxTicket
		t.User, t.Role = text[catalog.UserName](&o, "user"), o.role()
	}
	t.Uses = o.uses()
	if t.Uses > 1 && (t.Replace || p == wire.ForUser && !t.Add || p == wire.ForNode && t.NodeID != "") {
		o.fail("uses", "1, for the token names who comes")
	}
	t.Left = t.Uses
	t.Expires = now.Add(o.ttl(most))
	return t, o.done()
}

// mayMake refuses a token that would give more than its maker may give.
func (s *Service) mayMake(ctx context.Context, c catalog.Caller, t *store.Token) error {
	switch t.Purpose {
	case wire.ForNode:
		return s.mayInviteNode(ctx, c, t)
	case wire.ForTicket:
		if t.User != "" && t.User != c.AuthID {
			return cfcerr.New(cfcerr.NotAuthorized, "cannot make a ticket for %s: a ticket is made by its user", t.User)
		}
		if t.User = c.AuthID; t.Realm != "" {
			_, err := s.member(ctx, c, t.Realm)
			return err
		}
		return nil
	}
	return s.mayInviteUser(ctx, c, t)
}

func (s *Service) mayInviteNode(ctx context.Context, c catalog.Caller, t *store.Token) error {
	if err := s.owner(ctx, c, t.Realm, "invite a node to realm "+t.Realm); err != nil {
		return err
	}
	if t.NodeID == "" {
		return nil
	}
	_, err := s.Store.NodeNamed(ctx, t.Realm, t.NodeID)
	switch {
	case errors.Is(err, cfcerr.Of(cfcerr.NoSuchNode)) && t.Replace:
		return noNode(t.NodeID)
	case errors.Is(err, cfcerr.Of(cfcerr.NoSuchNode)):
		return nil
	case err == nil && !t.Replace:
		return cfcerr.New(cfcerr.NameTaken, "cannot invite node %s to realm %s: the name belongs to a paired node; replace lets another host take it over", t.NodeID, t.Realm).
			With("node_id", t.NodeID)
	}
	return err
}

func (s *Service) mayInviteUser(ctx context.Context, c catalog.Caller, t *store.Token) error {
	if t.Add {
		if t.User != "" && t.User != c.AuthID {
			return cfcerr.New(cfcerr.NotAuthorized, "cannot add a key to %s: only the user may", t.User)
		}
		t.User = c.AuthID
		return nil
	}
	owns, err := s.ownsRelay(ctx, c)
	if err != nil {
		return err
	}
	if t.Realm != "" {
		if err := s.owner(ctx, c, t.Realm, "invite a user to realm "+t.Realm); err != nil {
			return err
		}
	} else if !owns {
		return cfcerr.New(cfcerr.NotAuthorized, "cannot invite a user: only the relay's owner may, or with realm and role an owner of that realm")
	}
	_, err = s.Store.User(ctx, t.User)
	switch {
	case errors.Is(err, cfcerr.Of(cfcerr.NoSuchUser)) && t.Replace:
		return err
	case errors.Is(err, cfcerr.Of(cfcerr.NoSuchUser)):
		return nil
	case err == nil && t.Replace && !owns:
		return cfcerr.New(cfcerr.NotAuthorized, "cannot replace the keys of user %s: only the relay's owner may", t.User)
	case err == nil && !t.Replace:
		return cfcerr.New(cfcerr.NameTaken, "cannot invite user %s: the name belongs to another key; for another member use add_member", t.User).With("user", t.User)
	}
	return err
}

// mine reports whether a token is the caller's to see: he made it, it is about
// him, or it is for a realm that he owns.
func mine(t store.Token, c catalog.Caller, roles map[string]wire.Role, ownsRelay bool) bool {
	return t.By == c.AuthID || t.User == c.AuthID || t.Realm != "" && t.Purpose != wire.ForTicket && roles[t.Realm] == wire.Owner ||
		ownsRelay && t.Purpose == wire.ForUser
}

func (s *Service) tokens(ctx context.Context, c catalog.Caller, _ catalog.None) ([]catalog.TokenInfo, error) {
	roles, err := s.Store.Memberships(ctx, c.AuthID)
	if err != nil {
		return nil, err
	}
	owns, err := s.ownsRelay(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := s.Store.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	out := []catalog.TokenInfo{}
	now := s.Now()
	for _, t := range all {
		if t.Ended(now) || !mine(t, c, roles, owns) {
			continue
		}
		out = append(out, catalog.TokenInfo{ID: t.ID, Purpose: string(t.Purpose), Realm: optional(t.Realm), NodeID: optional(t.NodeID), User: optional(t.User),
			Expires: wire.Time(t.Expires), Uses: t.Uses, Left: t.Left, By: t.By})
	}
	return out, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (s *Service) revokeToken(ctx context.Context, c catalog.Caller, in catalog.TokenIn) (catalog.TokenRevoked, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	unknown := cfcerr.New(cfcerr.NoSuchToken, "cannot revoke the token: there is no such id, or it is not yours").With("id", in.ID)
	if _, err := wire.ParseToken(in.ID); err == nil || len(in.ID) > 64 {
		return catalog.TokenRevoked{}, cfcerr.Argument("id", "the token's id, 8 characters, not the token itself")
	}
	t, err := s.Store.Token(ctx, in.ID)
	if errors.Is(err, cfcerr.Of(cfcerr.NoSuchToken)) {
		return catalog.TokenRevoked{}, unknown
	}
	if err != nil {
		return catalog.TokenRevoked{}, err
	}
	roles, err := s.Store.Memberships(ctx, c.AuthID)
	if err != nil {
		return catalog.TokenRevoked{}, err
	}
	owns, err := s.ownsRelay(ctx, c)
	if err != nil {
		return catalog.TokenRevoked{}, err
	}
	if !mine(t, c, roles, owns) {
		return catalog.TokenRevoked{}, unknown
	}
	if t, err = s.Store.RevokeToken(ctx, in.ID, s.Now()); err != nil {
		return catalog.TokenRevoked{}, err
	}
	s.Audit.Record(audit.Event{Event: audit.TokenRevoked, By: c.AuthID, Token: t.ID, Realm: t.Realm, User: t.User, Node: t.NodeID})
	if t.Purpose == wire.ForTicket {
		s.Hub.End(string(wire.CloseRoleChanged), "the ticket was revoked", func(id route.Identity) bool {
			return user(id) && id.Method == "ticket" && id.TokenID == t.ID
		})
	}
	return catalog.TokenRevoked{ID: t.ID, Revoked: wire.Time(t.Revoked)}, nil
}
