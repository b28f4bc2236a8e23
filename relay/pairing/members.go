package pairing

import (
	"context"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

func (m *Manager) members(ctx context.Context, realm string) (map[string]string, error) {
	all, err := m.cfg.Store.Members(ctx, realm)
	if err != nil {
		return nil, hide(err, cfcerr.NoSuchRealm, noSuchRealm(realm))
	}
	out := make(map[string]string, len(all))
	for user, role := range all {
		out[user] = string(role)
	}
	return out, nil
}

func (m *Manager) listMembers(ctx context.Context, c catalog.Caller, in catalog.RealmOf) (map[string]string, error) {
	if _, err := m.member(ctx, c, string(in.Realm)); err != nil {
		return nil, err
	}
	return m.members(ctx, string(in.Realm))
}

func (m *Manager) addMember(ctx context.Context, c catalog.Caller, in catalog.AddMemberIn) (catalog.MemberInfo, error) {
	out := catalog.MemberInfo{Realm: string(in.Realm), User: string(in.User), Role: string(in.Role)}
	return changed(ctx, m, c.AuthID, func() (catalog.MemberInfo, error) {
		if err := m.owns(ctx, c, out.Realm, "add a member"); err != nil {
			return catalog.MemberInfo{}, err
		}
		if in.Role == catalog.RoleName(wire.Owner) {
			if err := m.roomForOwner(ctx, out.Realm, out.User); err != nil {
				return catalog.MemberInfo{}, err
			}
		}
		before, err := m.cfg.Store.SetMember(ctx, out.Realm, out.User, wire.Role(in.Role))
		if err != nil {
			return catalog.MemberInfo{}, err
		}
		if before == wire.Role(in.Role) {
			return out, nil
		}
		if before != "" {
			m.cfg.Hub.End(wire.CloseRoleChanged, "your role in realm "+out.Realm+" is "+out.Role+" now", isUser(out.User, out.Realm))
		}
		m.record(c, audit.Event{Event: audit.MemberSet, Realm: out.Realm, User: out.User, Role: out.Role})
		return out, nil
	})
}

// roomForOwner is roomForRealm for one who is to own this realm too.
func (m *Manager) roomForOwner(ctx context.Context, realm, user string) error {
	role, err := m.cfg.Store.Role(ctx, realm, user)
	if err != nil || role == wire.Owner {
		return err
	}
	return m.roomForRealm(ctx, user, "make "+user+" an owner of realm "+realm)
}

func (m *Manager) removeMember(ctx context.Context, c catalog.Caller, in catalog.MemberIn) (catalog.MemberRemoved, error) {
	realm, user := string(in.Realm), string(in.User)
	return changed(ctx, m, c.AuthID, func() (catalog.MemberRemoved, error) {
		check := func() error { return m.owns(ctx, c, realm, "remove a member") }
		if user == c.AuthID {
			check = func() error { _, err := m.member(ctx, c, realm); return err }
		}
		if err := check(); err != nil {
			return catalog.MemberRemoved{}, err
		}
		if err := m.cfg.Store.RemoveMember(ctx, realm, user); err != nil {
			return catalog.MemberRemoved{}, err
		}
		m.cfg.Hub.End(wire.CloseMemberRemoved, "you are no longer a member of realm "+realm, isUser(user, realm))
		m.record(c, audit.Event{Event: audit.MemberRemoved, Realm: realm, User: user})
		return catalog.MemberRemoved{Realm: realm, User: user, Removed: wire.Time(m.cfg.Now())}, nil
	})
}

func (m *Manager) listUsers(ctx context.Context, _ catalog.Caller, _ catalog.None) ([]catalog.UserInfo, error) {
	all, err := m.cfg.Store.Users(ctx)
	out := make([]catalog.UserInfo, 0, len(all))
	for _, u := range all {
		out = append(out, catalog.UserInfo{Name: u.Name, Pubkeys: append([]string{}, u.Pubkeys...), Created: wire.Time(u.Created)})
	}
	return out, err
}

func (m *Manager) deleteUser(ctx context.Context, c catalog.Caller, in catalog.DeleteUserIn) (catalog.UserDeleted, error) {
	user, heir := string(in.User), ""
	if in.Heir != nil {
		heir = string(*in.Heir)
	}
	return changed(ctx, m, c.AuthID, func() (catalog.UserDeleted, error) {
		if err := m.relayOwner(ctx, c, "delete a user"); err != nil {
			return catalog.UserDeleted{}, err
		}
		inherited, err := m.cfg.Store.DeleteUser(ctx, user, heir)
		if err != nil {
			return catalog.UserDeleted{}, err
		}
		m.cfg.Hub.End(wire.CloseUserDeleted, "the user "+user+" is no more", isUser(user, ""))
		m.record(c, audit.Event{Event: audit.UserDeleted, User: user})
		for realm, before := range inherited {
			if before != "" {
				m.cfg.Hub.End(wire.CloseRoleChanged, "your role in realm "+realm+" is owner now", isUser(heir, realm))
			}
			m.record(c, audit.Event{Event: audit.MemberSet, Realm: realm, User: heir, Role: string(wire.Owner), Reason: "heir of " + user})
		}
		return catalog.UserDeleted{User: user, Deleted: wire.Time(m.cfg.Now()), Inherited: sortedKeys(inherited)}, nil
	})
}
