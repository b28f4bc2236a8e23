package store

import (
	"context"
	"maps"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// NoRight is the refusal of whoever has no right in a realm. It is the same for
// a realm that is not there, so that names of realms do not leak.
func NoRight(realm string) error {
	return cfcerr.New(cfcerr.NotAuthorized, "cannot join realm %.253s: it does not exist, or you have no right in it", realm)
}

// ClaimUser implements Store.
func (b *Bolt) ClaimUser(ctx context.Context, c UserClaim) (out UserClaimed, err error) {
	err = b.update(ctx, func(tx *txn) error {
		out, err = claimUser(tx, c)
		if err == nil && !out.Claimed {
			return errUnchanged
		}
		return err
	})
	if err != nil {
		return UserClaimed{}, err
	}
	return out, nil
}

func claimUser(tx *txn, c UserClaim) (UserClaimed, error) {
	t, refused, err := check(tx, c.Token, wire.ForUser, c.Now)
	if err != nil {
		return UserClaimed{}, err
	}
	if h, ok, err := keys.get(tx, c.Pubkey); err != nil {
		return UserClaimed{}, err
	} else if ok {
		return knownUser(tx, c, h, t, refused)
	}
	if refused != nil {
		return UserClaimed{}, refused
	}
	if err := mayStillMake(tx, t); err != nil {
		return UserClaimed{}, err
	}
	u, err := claimant(tx, t, c)
	if err != nil {
		return UserClaimed{}, err
	}
	if t.Replace {
		// The holder of an old key may have made tokens to come back with.
		if err := dropTokens(tx, func(o Token) bool { return o.ID != t.ID && (o.By == u.Name || o.User == u.Name) }); err != nil {
			return UserClaimed{}, err
		}
		for _, k := range u.Pubkeys {
			if err := keys.del(tx, k); err != nil {
				return UserClaimed{}, err
			}
		}
		u.Pubkeys = nil
	}
	if u, err = bindUserKey(tx, u, c.Pubkey); err != nil {
		return UserClaimed{}, err
	}
	if t.Realm != "" {
		if _, ok, err := realms.get(tx, t.Realm); err != nil || !ok {
			return UserClaimed{}, orTarget(err, t)
		}
		if err := members.put(tx, pair(t.Realm, u.Name), member{string(t.Role)}); err != nil {
			return UserClaimed{}, err
		}
	}
	if c.Realm != "" {
		if role, err := roleOf(tx, c.Realm, u.Name); err != nil {
			return UserClaimed{}, err
		} else if role == "" {
			return UserClaimed{}, NoRight(c.Realm)
		}
	}
	t = t.use(c.Pubkey)
	return UserClaimed{User: u, Claimed: true, Replaced: t.Replace, Token: t}, putToken(tx, t)
}

// knownUser is a claim by a key that belongs to somebody. A user's own key just
// logs in, whatever became of the token, unless the token is good and for
// somebody else: then two would want to hold one key.
func knownUser(tx *txn, c UserClaim, h Holder, t Token, refused *TokenError) (UserClaimed, error) {
	if refused == nil && (h.User == "" || h.User != t.User) {
		return UserClaimed{}, keyInUse(c.Pubkey, h)
	}
	if h.User == "" {
		return UserClaimed{}, refused
	}
	u, err := userOf(tx, h.User, "find")
	return UserClaimed{User: u}, err
}

// claimant is the user whom the token brings a key to.
func claimant(tx *txn, t Token, c UserClaim) (User, error) {
	u, ok, err := users.get(tx, t.User)
	switch {
	case err != nil:
		return u, err
	case t.First && !users.empty(tx, ""):
		return u, &TokenError{t.ID, ReasonTarget}
	case t.Add || t.Replace:
		if !ok {
			return u, orTarget(nil, t)
		}
		return u, nil
	case ok:
		return u, cfcerr.New(cfcerr.NameTaken, "cannot become user %s: the name belongs to another key", t.User).With("user", t.User)
	}
	return newUser(t.User, c.Now, t.First), nil
}

// mayStillMake refuses a token whose maker has lost the right to make it: a
// right that ends must not live on in tokens.
func mayStillMake(tx *txn, t Token) error {
	if t.First {
		return nil
	}
	maker, ok, err := users.get(tx, t.By)
	if err != nil {
		return err
	}
	may := ok
	if t.Realm != "" {
		role, err := roleOf(tx, t.Realm, t.By)
		if err != nil {
			return err
		}
		may = may && role == wire.Owner
	} else if t.Purpose == wire.ForUser {
		may = may && (maker.Owner || t.Add && t.By == t.User)
	}
	if t.Replace && t.Purpose == wire.ForUser {
		may = may && maker.Owner
	}
	if !may {
		return &TokenError{t.ID, ReasonMaker}
	}
	return nil
}

// ClaimNode implements Store.
func (b *Bolt) ClaimNode(ctx context.Context, c NodeClaim) (out NodeClaimed, err error) {
	err = b.update(ctx, func(tx *txn) error {
		out, err = claimNode(tx, c)
		if err == nil && !out.Claimed {
			return errUnchanged
		}
		return err
	})
	if err != nil {
		return NodeClaimed{}, err
	}
	return out, nil
}

func claimNode(tx *txn, c NodeClaim) (NodeClaimed, error) {
	t, refused, err := check(tx, c.Token, wire.ForNode, c.Now)
	if err != nil {
		return NodeClaimed{}, err
	}
	if h, ok, err := keys.get(tx, c.Pubkey); err != nil {
		return NodeClaimed{}, err
	} else if ok {
		return knownNode(tx, c, h, t, refused)
	}
	if refused != nil {
		return NodeClaimed{}, refused
	}
	if err := mayStillMake(tx, t); err != nil {
		return NodeClaimed{}, err
	}
	if _, ok, err := realms.get(tx, t.Realm); err != nil || !ok {
		return NodeClaimed{}, orTarget(err, t)
	}
	if c.Realm != "" && c.Realm != t.Realm {
		return NodeClaimed{}, NoRight(c.Realm)
	}
	id, err := claimedID(t, c)
	if err != nil {
		return NodeClaimed{}, err
	}
	n := Node{OID: c.OID, Realm: t.Realm, ID: id, Pubkey: c.Pubkey, Labels: t.Labels, Paired: c.Now, PairedBy: t.By}
	n, old, err := replaceNode(tx, n, t.Replace)
	if err != nil {
		return NodeClaimed{}, err
	}
	if err := putNode(tx, n); err != nil {
		return NodeClaimed{}, err
	}
	t = t.use(c.Pubkey)
	return NodeClaimed{Node: n, Claimed: true, Replaced: old, Token: t}, putToken(tx, t)
}

// knownNode is knownUser for nodes.
func knownNode(tx *txn, c NodeClaim, h Holder, t Token, refused *TokenError) (NodeClaimed, error) {
	if h.Node == "" {
		if refused == nil {
			return NodeClaimed{}, keyInUse(c.Pubkey, h)
		}
		return NodeClaimed{}, refused
	}
	n, err := nodeOf(tx, h.Node, "find")
	if err != nil {
		return NodeClaimed{}, err
	}
	if refused == nil && (t.Realm != n.Realm || t.NodeID != "" && t.NodeID != n.ID) {
		return NodeClaimed{}, keyInUse(c.Pubkey, h)
	}
	if c.Realm != "" && c.Realm != n.Realm {
		return NodeClaimed{}, NoRight(c.Realm)
	}
	return NodeClaimed{Node: n}, nil
}

// claimedID is the id that the node gets: the token's, else the claimer's, else
// the fallback.
func claimedID(t Token, c NodeClaim) (string, error) {
	if t.NodeID != "" {
		if c.NodeID != "" && c.NodeID != t.NodeID {
			return "", &TokenError{t.ID, ReasonNode}
		}
		return t.NodeID, nil
	}
	id := c.NodeID
	if id == "" {
		id = c.Fallback
	}
	if !wire.ValidNodeID(id) {
		return "", cfcerr.Argument("node_id", wire.NodeIDForm)
	}
	return id, nil
}

// replaceNode looks whether the id is taken. Where the token allows it, n
// becomes the node that is there: its oid stays, its key goes out of use.
func replaceNode(tx *txn, n Node, allowed bool) (_ Node, old string, err error) {
	oid, ok, err := nodeIDs.get(tx, pair(n.Realm, n.ID))
	if err != nil || !ok {
		return n, "", err
	}
	if !allowed {
		return n, "", nodeTaken(n.Realm, n.ID)
	}
	there, err := nodeOf(tx, oid, "replace")
	if err != nil {
		return n, "", err
	}
	labels := maps.Clone(there.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, n.Labels)
	n.OID, n.Labels, n.Last = oid, labels, there.Last
	return n, there.Pubkey, keys.del(tx, there.Pubkey)
}
