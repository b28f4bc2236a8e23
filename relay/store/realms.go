package store

import (
	"context"
	"maps"
	"slices"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// Realm implements Store.
func (b *Bolt) Realm(ctx context.Context, name string) (r Realm, err error) {
	err = b.view(ctx, func(tx *txn) error { r, err = realmOf(tx, name, "show"); return err })
	return r, err
}

func realmOf(tx *txn, name, what string) (Realm, error) {
	r, ok, err := realms.get(tx, name)
	if err == nil && !ok {
		err = cfcerr.New(cfcerr.NoSuchRealm, "cannot %s realm %s: there is no such realm", what, name).With("realm", name)
	}
	return r, err
}

// Realms implements Store.
func (b *Bolt) Realms(ctx context.Context) ([]Realm, error) {
	var all []Realm
	err := b.view(ctx, func(tx *txn) error {
		return realms.scan(tx, "", func(_ string, r Realm) error { all = append(all, r); return nil })
	})
	return all, err
}

// CreateRealm implements Store.
func (b *Bolt) CreateRealm(ctx context.Context, r Realm) error {
	return b.update(ctx, func(tx *txn) error {
		if _, err := userOf(tx, r.Owner, "make owner"); err != nil {
			return err
		}
		if _, ok, err := realms.get(tx, r.Name); err != nil {
			return err
		} else if ok {
			return cfcerr.New(cfcerr.AlreadyExists, "cannot create realm %s: there is one already", r.Name).With("realm", r.Name)
		}
		if err := members.put(tx, pair(r.Name, r.Owner), member{string(wire.Owner)}); err != nil {
			return err
		}
		return realms.put(tx, r.Name, r)
	})
}

// DeleteRealm implements Store.
func (b *Bolt) DeleteRealm(ctx context.Context, name string, cascade bool) (freed []Node, err error) {
	err = b.update(ctx, func(tx *txn) error {
		if _, err := realmOf(tx, name, "delete"); err != nil {
			return err
		}
		if freed, err = nodesOf(tx, name); err != nil {
			return err
		}
		if len(freed) > 0 && !cascade {
			return cfcerr.New(cfcerr.NotEmpty, "cannot delete realm %s: %d nodes are paired with it", name, len(freed)).
				With("realm", name).With("nodes", len(freed))
		}
		for _, n := range freed {
			if err := freeNode(tx, n); err != nil {
				return err
			}
		}
		var gone []string
		err := members.scan(tx, pair(name, ""), func(user string, _ member) error { gone = append(gone, user); return nil })
		if err != nil {
			return err
		}
		for _, user := range gone {
			if err := members.del(tx, pair(name, user)); err != nil {
				return err
			}
		}
		if err := dropTokens(tx, func(t Token) bool { return t.Realm == name }); err != nil {
			return err
		}
		return realms.del(tx, name)
	})
	if err != nil {
		return nil, err
	}
	return freed, nil
}

// Node implements Store.
func (b *Bolt) Node(ctx context.Context, oid string) (n Node, err error) {
	err = b.view(ctx, func(tx *txn) error { n, err = nodeOf(tx, oid, "show"); return err })
	return n, err
}

func nodeOf(tx *txn, oid, what string) (Node, error) {
	n, ok, err := nodes.get(tx, oid)
	if err != nil {
		return n, err
	}
	if !ok {
		return n, cfcerr.New(cfcerr.NoSuchNode, "cannot %s node %s: there is no such node", what, oid).With("node", oid)
	}
	n.Last, _, err = seen.get(tx, oid)
	return n, err
}

// NodeNamed implements Store.
func (b *Bolt) NodeNamed(ctx context.Context, realm, id string) (n Node, err error) {
	err = b.view(ctx, func(tx *txn) error {
		oid, ok, err := nodeIDs.get(tx, pair(realm, id))
		if err != nil {
			return err
		}
		if !ok {
			return cfcerr.New(cfcerr.NoSuchNode, "cannot show node %s: realm %s has no such node", id, realm).With("node", id).With("realm", realm)
		}
		n, err = nodeOf(tx, oid, "show")
		return err
	})
	return n, err
}

// Nodes implements Store.
func (b *Bolt) Nodes(ctx context.Context, realm string) (all []Node, err error) {
	err = b.view(ctx, func(tx *txn) error { all, err = nodesOf(tx, realm); return err })
	return all, err
}

func nodesOf(tx *txn, realm string) ([]Node, error) {
	var all []Node
	err := nodeIDs.scan(tx, pair(realm, ""), func(_, oid string) error {
		n, err := nodeOf(tx, oid, "show")
		all = append(all, n)
		return err
	})
	return all, err
}

// NodeIDs implements Store.
func (b *Bolt) NodeIDs(ctx context.Context, realm string) (map[string]string, error) {
	all := map[string]string{}
	err := b.view(ctx, func(tx *txn) error {
		return nodeIDs.scan(tx, pair(realm, ""), func(id, oid string) error { all[id] = oid; return nil })
	})
	return all, err
}

// PairNode implements Store.
func (b *Bolt) PairNode(ctx context.Context, n Node) error {
	return b.update(ctx, func(tx *txn) error {
		if _, err := realmOf(tx, n.Realm, "pair a node with"); err != nil {
			return err
		}
		if h, ok, err := keys.get(tx, n.Pubkey); err != nil {
			return err
		} else if ok {
			return keyInUse(n.Pubkey, h)
		}
		if _, ok, err := nodeIDs.get(tx, pair(n.Realm, n.ID)); err != nil {
			return err
		} else if ok {
			return nodeTaken(n.Realm, n.ID)
		}
		return putNode(tx, n)
	})
}

func keyInUse(pubkey string, h Holder) error {
	whose := "a user already"
	if h.Node != "" {
		whose = "a node already, and a host keeps its key: an owner has to remove that node (cfc node rm) before the host can have another name"
	}
	return cfcerr.New(cfcerr.AlreadyExists, "cannot use key %s: it belongs to %s", pubkey, whose).With("pubkey", pubkey)
}

func nodeTaken(realm, id string) error {
	return cfcerr.New(cfcerr.NameTaken, "cannot pair node %s in realm %s: the id belongs to a node with another key", id, realm).
		With("realm", realm).With("node_id", id)
}

// putNode writes a node with its key and its id.
func putNode(tx *txn, n Node) error {
	if err := keys.put(tx, n.Pubkey, Holder{Node: n.OID}); err != nil {
		return err
	}
	if err := nodeIDs.put(tx, pair(n.Realm, n.ID), n.OID); err != nil {
		return err
	}
	return nodes.put(tx, n.OID, n)
}

// freeNode removes all that belongs to a node.
func freeNode(tx *txn, n Node) error {
	if err := keys.del(tx, n.Pubkey); err != nil {
		return err
	}
	if err := nodeIDs.del(tx, pair(n.Realm, n.ID)); err != nil {
		return err
	}
	if err := seen.del(tx, n.OID); err != nil {
		return err
	}
	return nodes.del(tx, n.OID)
}

// UnpairNode implements Store.
func (b *Bolt) UnpairNode(ctx context.Context, oid string) (n Node, err error) {
	err = b.update(ctx, func(tx *txn) error {
		if n, err = nodeOf(tx, oid, "unpair"); err != nil {
			return err
		}
		return freeNode(tx, n)
	})
	return n, err
}

// SaveLastSeen implements Store.
func (b *Bolt) SaveLastSeen(ctx context.Context, batch map[string]LastSeen) error {
	return b.update(ctx, func(tx *txn) error {
		wrote := false
		for _, oid := range slices.Sorted(maps.Keys(batch)) {
			if _, ok, err := nodes.get(tx, oid); err != nil {
				return err
			} else if !ok {
				continue
			}
			if err := seen.put(tx, oid, batch[oid]); err != nil {
				return err
			}
			wrote = true
		}
		if !wrote {
			return errUnchanged
		}
		return nil
	})
}
