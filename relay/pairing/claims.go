package pairing

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/wire"
)

// FirstOwnerFile has the token that makes its claimer the relay's owner.
const FirstOwnerFile = "first-owner.token"

// firstOwner is the name of the user who claims it.
const firstOwner = "owner"

// ClaimNode binds a key to a node by a token, and makes the node known before
// its session joins. A key that had the node before loses its session.
func (s *Service) ClaimNode(ctx context.Context, c store.NodeClaim) (store.NodeClaimed, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	out, err := s.Store.ClaimNode(ctx, c)
	if err != nil || !out.Claimed {
		return out, err
	}
	n := out.Node
	if out.Replaced != "" {
		s.Audit.Record(audit.Event{Event: audit.NodeReplaced, By: out.Token.By, Realm: n.Realm, Node: n.ID, OID: n.OID, Key: n.Pubkey, Token: out.Token.ID})
		s.Hub.End(wire.CloseReplaced, "another host has taken this node's place", func(id route.Identity) bool {
			return id.NodeOID == n.OID && id.Pubkey == out.Replaced
		})
		return out, nil
	}
	return out, s.paired(n, out.Token.By, out.Token.ID)
}

// ClaimUser binds a key to a user by a token. The first owner's file goes with
// its token.
func (s *Service) ClaimUser(ctx context.Context, c store.UserClaim) (store.UserClaimed, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	out, err := s.Store.ClaimUser(ctx, c)
	if err != nil || !out.Claimed {
		return out, err
	}
	e := audit.Event{Event: audit.UserCreated, By: out.Token.By, User: out.User.Name, Key: c.Pubkey, Token: out.Token.ID}
	switch {
	case out.Replaced:
		e.Event = audit.UserReplaced
		s.endUser(wire.CloseUserDeleted, "the user's keys were replaced", out.User.Name, "")
	case out.Token.Add:
		e.Event = audit.UserKeyAdded
	}
	s.Audit.Record(e)
	if out.Token.First {
		// The token is used up; what is left of the file is of no use to anybody.
		_ = durable.Remove(filepath.Join(s.DataDir, FirstOwnerFile))
	}
	return out, nil
}

// FirstOwner writes the token with which the first user comes and owns the
// relay, as long as there is no user. It returns the file's path, empty when
// the relay has its owner. A file that is still good stays as it is.
func (s *Service) FirstOwner(ctx context.Context) (string, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	path := filepath.Join(s.DataDir, FirstOwnerFile)
	users, err := s.Store.Users(ctx)
	if err != nil {
		return "", err
	}
	if len(users) > 0 {
		return "", durable.Remove(path)
	}
	good, err := s.firstIsGood(ctx, path)
	if err != nil || good {
		return path, err
	}
	secret, err := s.addToken(ctx, store.Token{Purpose: wire.ForUser, User: firstOwner, First: true, Created: s.Now(), Uses: 1, Left: 1, By: firstOwner})
	if err != nil {
		return "", err
	}
	return path, durable.WriteFile(path, []byte(secret.Secret()+"\n"), 0o600)
}

func (s *Service) firstIsGood(ctx context.Context, path string) (bool, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	secret, err := wire.ParseToken(strings.TrimSpace(string(b)))
	if err != nil {
		return false, nil
	}
	t, err := s.Store.Token(ctx, secret.ID)
	sum := secret.Hash()
	return err == nil && t.First && !t.Ended(s.Now()) && t.Hash == hex.EncodeToString(sum[:]), nil
}
