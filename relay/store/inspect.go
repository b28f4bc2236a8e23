package store

import (
	"fmt"
	"slices"
	"strings"

	"fabric.center/cfc/shared/wire"
)

// contents is everything in a store, decoded.
type contents struct {
	header   header
	users    map[string]User
	keys     map[string]Holder
	realms   map[string]Realm
	members  map[string]member
	nodes    map[string]Node
	nodeIDs  map[string]string
	lastSeen map[string]LastSeen
	tokens   map[string]Token
}

// inspect decodes every record of an image and checks that they fit together.
func inspect(i image) (contents, error) {
	var (
		c    contents
		head = map[string]header{}
		into = map[string]func(key string, record []byte) error{
			headers.name: collect(headers, &head),
			users.name:   collect(users, &c.users), keys.name: collect(keys, &c.keys),
			realms.name: collect(realms, &c.realms), members.name: collect(members, &c.members),
			nodes.name: collect(nodes, &c.nodes), nodeIDs.name: collect(nodeIDs, &c.nodeIDs),
			seen.name: collect(seen, &c.lastSeen), tokens.name: collect(tokens, &c.tokens),
		}
	)
	err := i.each(func(bucket, key string, record []byte) error {
		add, ok := into[bucket]
		if !ok {
			return fmt.Errorf("%w: unknown bucket %q", errNotStore, bucket)
		}
		return add(key, record)
	})
	if err != nil {
		return c, err
	}
	h, ok := head["header"]
	if !ok || len(head) != 1 || h.Product != product {
		return c, errNotStore
	}
	if h.Schema != schema {
		return c, fmt.Errorf("its schema is %d, this relay knows %d: it was written by another version", h.Schema, schema)
	}
	c.header = h
	return c, c.consistent()
}

func collect[T any](t table[T], into *map[string]T) func(string, []byte) error {
	*into = map[string]T{}
	return func(key string, record []byte) error {
		var v T
		if err := unseal(t.name, key, record, &v); err != nil {
			return err
		}
		(*into)[key] = v
		return nil
	}
}

// consistent checks the rules that hold between records.
func (c contents) consistent() error {
	for _, check := range []func() error{c.checkKeys, c.checkRealms, c.checkNodes, c.checkRest} {
		if err := check(); err != nil {
			return fmt.Errorf("its records do not fit together: %w", err)
		}
	}
	return nil
}

func (c contents) checkKeys() error {
	held := 0
	for name, u := range c.users {
		if u.Name != name {
			return fmt.Errorf("user %q is filed as %q", u.Name, name)
		}
		for _, k := range u.Pubkeys {
			if c.keys[k] != (Holder{User: name}) {
				return fmt.Errorf("key %s of user %s is not his", k, name)
			}
		}
		held += len(u.Pubkeys)
	}
	for oid, n := range c.nodes {
		if n.OID != oid || c.keys[n.Pubkey] != (Holder{Node: oid}) {
			return fmt.Errorf("key %s of node %s is not its own", n.Pubkey, oid)
		}
	}
	if held+len(c.nodes) != len(c.keys) {
		return fmt.Errorf("%d keys, of which %d belong to somebody", len(c.keys), held+len(c.nodes))
	}
	return nil
}

func (c contents) checkRealms() error {
	owners := map[string]int{}
	for key, m := range c.members {
		realm, user, _ := strings.Cut(key, "\x00")
		if _, ok := c.realms[realm]; !ok {
			return fmt.Errorf("%s is a member of realm %s, which is not there", user, realm)
		}
		if _, ok := c.users[user]; !ok {
			return fmt.Errorf("realm %s has a member %s, who is not there", realm, user)
		}
		if !wire.Role(m.Role).Valid() {
			return fmt.Errorf("role of %s in realm %s is %q", user, realm, m.Role)
		}
		if wire.Role(m.Role) == wire.Owner {
			owners[realm]++
		}
	}
	for name, r := range c.realms {
		if r.Name != name || owners[name] == 0 {
			return fmt.Errorf("realm %s has no owner", name)
		}
	}
	return nil
}

func (c contents) checkNodes() error {
	for oid, n := range c.nodes {
		if _, ok := c.realms[n.Realm]; !ok || c.nodeIDs[pair(n.Realm, n.ID)] != oid {
			return fmt.Errorf("node %s is not node %s of realm %s", oid, n.ID, n.Realm)
		}
	}
	if len(c.nodeIDs) != len(c.nodes) {
		return fmt.Errorf("%d node ids for %d nodes", len(c.nodeIDs), len(c.nodes))
	}
	return nil
}

func (c contents) checkRest() error {
	for oid := range c.lastSeen {
		if _, ok := c.nodes[oid]; !ok {
			return fmt.Errorf("node %s was seen, but is not there", oid)
		}
	}
	for id, t := range c.tokens {
		if t.ID != id || !slices.Contains([]wire.Purpose{wire.ForUser, wire.ForNode, wire.ForTicket}, t.Purpose) {
			return fmt.Errorf("token %s is filed as %s", t.ID, id)
		}
	}
	return nil
}
