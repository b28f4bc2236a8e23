package pairing

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/wire"
	"go.uber.org/zap"
)

// ClaimUser brings a user's key in, for package auth. address is the claimer's.
func (m *Manager) ClaimUser(ctx context.Context, c store.UserClaim, address string) (store.UserClaimed, error) {
	return changed(ctx, m, nobody, func() (store.UserClaimed, error) {
		out, err := m.cfg.Store.ClaimUser(ctx, c)
		if err != nil || !out.Claimed {
			return out, err
		}
		t, user := out.Token, out.User.Name
		event := audit.UserCreated
		switch {
		case out.Replaced:
			event = audit.UserReplaced
			m.cfg.Hub.End(wire.CloseReplaced, "the keys of user "+user+" were replaced", isUser(user, ""))
		case t.Add:
			event = audit.UserKeyAdded
		}
		m.cfg.Audit.Record(audit.Event{Event: audit.TokenClaimed, By: t.By, Address: address, Token: t.ID, User: user, Key: c.Pubkey})
		m.cfg.Audit.Record(audit.Event{Event: event, By: t.By, Address: address, User: user, Realm: t.Realm, Role: string(t.Role), Key: c.Pubkey})
		if t.First {
			if err := durable.Remove(m.cfg.OwnerTokenFile); err != nil {
				m.cfg.Log.Error("the first owner's token is used, but its file is still there", zap.Error(err))
			}
		}
		return out, nil
	})
}

// ClaimNode brings a node's key in, for package auth.
func (m *Manager) ClaimNode(ctx context.Context, c store.NodeClaim, address string) (store.NodeClaimed, error) {
	return changed(ctx, m, nobody, func() (store.NodeClaimed, error) {
		out, err := m.cfg.Store.ClaimNode(ctx, c)
		if err != nil || !out.Claimed {
			return out, err
		}
		n, event, reason := out.Node, audit.NodePaired, "paired"
		if out.Replaced != "" {
			event, reason = audit.NodeReplaced, "replaced"
			m.cfg.Hub.End(wire.CloseNodeUnpaired, "the host of node "+n.ID+" was replaced", func(id route.Identity) bool {
				return id.NodeOID == n.OID && id.Pubkey == out.Replaced
			})
		}
		m.cfg.Audit.Record(audit.Event{Event: audit.TokenClaimed, By: n.PairedBy, Address: address, Token: out.Token.ID, Realm: n.Realm, Node: n.ID, OID: n.OID, Key: n.Pubkey})
		m.cfg.Audit.Record(audit.Event{Event: event, By: n.PairedBy, Address: address, Realm: n.Realm, Node: n.ID, OID: n.OID, Key: n.Pubkey})
		return out, m.paired(n, reason)
	})
}

// FirstOwner leaves a token in OwnerTokenFile while the relay has no user, and
// returns its path; whoever claims it owns the relay. A file whose token is
// good stays as it is, so that a restart does not take it out of somebody's
// hands. With users there is none, and the path is empty.
func (m *Manager) FirstOwner(ctx context.Context) (path string, err error) {
	return changed(ctx, m, nobody, func() (string, error) {
		path := m.cfg.OwnerTokenFile
		users, err := m.cfg.Store.Users(ctx)
		if err != nil {
			return "", err
		}
		if len(users) > 0 {
			return "", durable.Remove(path)
		}
		if good, err := m.firstOwnerGood(ctx, path); err != nil || good {
			return path, err
		}
		t := store.Token{Purpose: wire.ForUser, User: m.cfg.OwnerName, Created: m.cfg.Now(), Uses: 1, Left: 1, First: true, By: "relay"}
		secret, err := m.addToken(ctx, &t)
		if err != nil {
			return "", err
		}
		m.cfg.Audit.Record(audit.Event{Event: audit.TokenMade, By: t.By, Token: t.ID, User: t.User, Reason: "first owner"})
		return path, durable.WriteFile(path, []byte(secret.Secret()+"\n"), 0o600)
	})
}

// firstOwnerGood reports whether the file has the token that the store knows.
func (m *Manager) firstOwnerGood(ctx context.Context, path string) (bool, error) {
	text, err := durable.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	secret, err := wire.ParseToken(strings.TrimSpace(string(text)))
	if err != nil {
		return false, nil
	}
	t, err := m.cfg.Store.Token(ctx, secret.ID)
	if cfcerr.KindOf(err) == cfcerr.NoSuchToken {
		return false, nil
	}
	sum := secret.Hash()
	return err == nil && t.First && !t.Ended(m.cfg.Now()) && subtle.ConstantTimeCompare([]byte(t.Hash), []byte(hex.EncodeToString(sum[:]))) == 1, err
}
