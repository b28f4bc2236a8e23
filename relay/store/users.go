package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// User implements Store.
func (b *Bolt) User(ctx context.Context, name string) (u User, err error) {
	err = b.view(ctx, func(tx *txn) error { u, err = userOf(tx, name, "show"); return err })
	return u, err
}

func userOf(tx *txn, name, what string) (User, error) {
	u, ok, err := users.get(tx, name)
	if err == nil && !ok {
		err = cfcerr.New(cfcerr.NoSuchUser, "cannot %s user %s: there is no such user", what, name).With("user", name)
	}
	return u, err
}

// Users implements Store.
func (b *Bolt) Users(ctx context.Context) ([]User, error) {
	var all []User
	err := b.view(ctx, func(tx *txn) error {
		return users.scan(tx, "", func(_ string, u User) error { all = append(all, u); return nil })
	})
	return all, err
}

// Holder implements Store.
func (b *Bolt) Holder(ctx context.Context, pubkey string) (h Holder, err error) {
	err = b.view(ctx, func(tx *txn) error { h, _, err = keys.get(tx, pubkey); return err })
	return h, err
}

// DeleteUser implements Store.
func (b *Bolt) DeleteUser(ctx context.Context, name, heir string) (inherited map[string]wire.Role, err error) {
	inherited = map[string]wire.Role{}
	err = b.update(ctx, func(tx *txn) error {
		u, err := userOf(tx, name, "delete")
		if err != nil {
			return err
		}
		if u.Owner {
			return cfcerr.New(cfcerr.LastOwner, "cannot delete user %s: the relay's owner", name).With("user", name)
		}
		in, err := membershipsOf(tx, name)
		if err != nil {
			return err
		}
		if heir != "" {
			if err := inherit(tx, in, name, heir, inherited); err != nil {
				return err
			}
		}
		for realm := range in {
			if err := leave(tx, realm, name, "delete user "+name+" without an heir"); err != nil {
				return err
			}
		}
		for _, k := range u.Pubkeys {
			if err := keys.del(tx, k); err != nil {
				return err
			}
		}
		if err := dropTokens(tx, func(t Token) bool { return t.By == name || t.User == name }); err != nil {
			return err
		}
		return users.del(tx, name)
	})
	return inherited, err
}

// inherit makes the heir an owner of the realms whose last owner the user is;
// inherited gets the roles that he had there before.
func inherit(tx *txn, in map[string]wire.Role, user, heir string, inherited map[string]wire.Role) error {
	if _, err := userOf(tx, heir, "make owner"); err != nil {
		return err
	}
	if heir == user {
		return cfcerr.Argument("heir", "another user than the one to be deleted")
	}
	for realm, role := range in {
		if role != wire.Owner {
			continue
		}
		other, err := otherOwner(tx, realm, user)
		if err != nil {
			return err
		}
		if other != "" {
			continue
		}
		if inherited[realm], err = roleOf(tx, realm, heir); err != nil {
			return err
		}
		if err := members.put(tx, pair(realm, heir), member{string(wire.Owner)}); err != nil {
			return err
		}
	}
	return nil
}

// bindUserKey makes a free key the user's and writes the user.
func bindUserKey(tx *txn, u User, pubkey string) (User, error) {
	u.Pubkeys = append(slices.Clone(u.Pubkeys), pubkey)
	slices.Sort(u.Pubkeys)
	if err := keys.put(tx, pubkey, Holder{User: u.Name}); err != nil {
		return u, err
	}
	return u, users.put(tx, u.Name, u)
}

// Members implements Store.
func (b *Bolt) Members(ctx context.Context, realm string) (map[string]wire.Role, error) {
	all := map[string]wire.Role{}
	err := b.view(ctx, func(tx *txn) error {
		if _, err := realmOf(tx, realm, "list the members of"); err != nil {
			return err
		}
		return members.scan(tx, pair(realm, ""), func(user string, m member) error { all[user] = wire.Role(m.Role); return nil })
	})
	return all, err
}

// Memberships implements Store.
func (b *Bolt) Memberships(ctx context.Context, user string) (all map[string]wire.Role, err error) {
	err = b.view(ctx, func(tx *txn) error { all, err = membershipsOf(tx, user); return err })
	return all, err
}

func membershipsOf(tx *txn, user string) (map[string]wire.Role, error) {
	all := map[string]wire.Role{}
	c := tx.Bucket([]byte(members.name)).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		realm, name, _ := strings.Cut(string(k), "\x00")
		if name != user {
			continue
		}
		role, err := roleOf(tx, realm, user)
		if err != nil {
			return nil, err
		}
		all[realm] = role
	}
	return all, nil
}

// Role implements Store.
func (b *Bolt) Role(ctx context.Context, realm, user string) (role wire.Role, err error) {
	err = b.view(ctx, func(tx *txn) error { role, err = roleOf(tx, realm, user); return err })
	return role, err
}

func roleOf(tx *txn, realm, user string) (wire.Role, error) {
	m, _, err := members.get(tx, pair(realm, user))
	return wire.Role(m.Role), err
}

// SetMember implements Store.
func (b *Bolt) SetMember(ctx context.Context, realm, user string, role wire.Role) (before wire.Role, err error) {
	err = b.update(ctx, func(tx *txn) error {
		if _, err := realmOf(tx, realm, "add a member to"); err != nil {
			return err
		}
		if _, err := userOf(tx, user, "add"); err != nil {
			return err
		}
		if before, err = roleOf(tx, realm, user); err != nil {
			return err
		}
		if before == role {
			return errUnchanged
		}
		if before == wire.Owner {
			if err := succeed(tx, realm, user, "step down"); err != nil {
				return err
			}
		}
		return members.put(tx, pair(realm, user), member{string(role)})
	})
	return before, err
}

// RemoveMember implements Store.
func (b *Bolt) RemoveMember(ctx context.Context, realm, user string) error {
	return b.update(ctx, func(tx *txn) error {
		if _, err := realmOf(tx, realm, "remove a member from"); err != nil {
			return err
		}
		return leave(tx, realm, user, "leave")
	})
}

// leave ends a membership, with the tickets that were narrowed to it.
func leave(tx *txn, realm, user, what string) error {
	role, err := roleOf(tx, realm, user)
	if err != nil {
		return err
	}
	if role == "" {
		return cfcerr.New(cfcerr.NoSuchUser, "cannot remove %s from realm %s: not a member", user, realm).With("user", user).With("realm", realm)
	}
	if role == wire.Owner {
		if err := succeed(tx, realm, user, what); err != nil {
			return err
		}
	}
	if err := dropTokens(tx, func(t Token) bool { return t.Purpose == wire.ForTicket && t.Realm == realm && t.User == user }); err != nil {
		return err
	}
	return members.del(tx, pair(realm, user))
}

// succeed makes sure that the realm has an owner besides user, and makes one of
// them its owner by name where user was.
func succeed(tx *txn, realm, user, what string) error {
	other, err := otherOwner(tx, realm, user)
	if err != nil {
		return err
	}
	if other == "" {
		return cfcerr.New(cfcerr.LastOwner, "cannot %s: %s is the last owner of realm %s", what, user, realm).With("user", user).With("realm", realm)
	}
	r, err := realmOf(tx, realm, "change")
	if err != nil || r.Owner != user {
		return err
	}
	r.Owner = other
	return realms.put(tx, realm, r)
}

// otherOwner is an owner of the realm besides user, empty for none.
func otherOwner(tx *txn, realm, user string) (other string, err error) {
	err = members.scan(tx, pair(realm, ""), func(name string, m member) error {
		if other == "" && name != user && wire.Role(m.Role) == wire.Owner {
			other = name
		}
		return nil
	})
	return other, err
}

// newUser makes a user without keys.
func newUser(name string, now time.Time, owner bool) User {
	return User{Name: name, Pubkeys: []string{}, Created: now, Owner: owner}
}
