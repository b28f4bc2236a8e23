package pairing

import (
	"context"
	"errors"
	"slices"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

func (s *Service) members(ctx context.Context, c catalog.Caller, in catalog.RealmOf) (map[string]string, error) {
	if _, err := s.member(ctx, c, string(in.Realm)); err != nil {
		return nil, err
	}
	members, err := s.Store.Members(ctx, string(in.Realm))
	return roleNames(members), err
}

func (s *Service) addMember(ctx context.Context, c catalog.Caller, in catalog.AddMemberIn) (catalog.MemberInfo, error) {
	realm, name, role := string(in.Realm), string(in.User), wire.Role(in.Role)
	s.changes.Lock()
	defer s.changes.Unlock()
	if err := s.owner(ctx, c, realm, "add "+name+" to realm "+realm); err != nil {
		return catalog.MemberInfo{}, err
	}
	before, err := s.Store.SetMember(ctx, realm, name, role)
	if err != nil {
		return catalog.MemberInfo{}, err
	}
	if before != role {
		s.Audit.Record(audit.Event{Event: audit.MemberSet, By: c.AuthID, Realm: realm, User: name, Role: string(role)})
	}
	if before != "" && before != role {
		s.endUser(wire.CloseRoleChanged, "your role in this realm is now "+string(role), name, realm)
	}
	return catalog.MemberInfo{Realm: realm, User: name, Role: string(role)}, nil
}

func (s *Service) removeMember(ctx context.Context, c catalog.Caller, in catalog.MemberIn) (catalog.MemberRemoved, error) {
	realm, name := string(in.Realm), string(in.User)
	s.changes.Lock()
	defer s.changes.Unlock()
	if c.AuthID == name {
		if _, err := s.member(ctx, c, realm); err != nil {
			return catalog.MemberRemoved{}, err
		}
	} else if err := s.owner(ctx, c, realm, "remove "+name+" from realm "+realm); err != nil {
		return catalog.MemberRemoved{}, err
	}
	if err := s.Store.RemoveMember(ctx, realm, name); err != nil {
		return catalog.MemberRemoved{}, err
	}
	s.Audit.Record(audit.Event{Event: audit.MemberRemoved, By: c.AuthID, Realm: realm, User: name})
	s.endUser(wire.CloseMemberRemoved, "you are no longer a member of this realm", name, realm)
	return catalog.MemberRemoved{Realm: realm, User: name, Removed: wire.Time(s.Now())}, nil
}

// endUser ends a user's sessions in one realm, or in all with an empty one.
func (s *Service) endUser(reason, message, name, realm string) {
	s.Hub.End(reason, message, func(id route.Identity) bool {
		return user(id) && id.AuthID == name && (realm == "" || id.Realm == realm)
	})
}

func (s *Service) users(ctx context.Context, c catalog.Caller, _ catalog.None) ([]catalog.UserInfo, error) {
	if err := s.relayOwner(ctx, c, "list users"); err != nil {
		return nil, err
	}
	all, err := s.Store.Users(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]catalog.UserInfo, len(all))
	for i, u := range all {
		out[i] = catalog.UserInfo{Name: u.Name, Pubkeys: append([]string{}, u.Pubkeys...), Created: wire.Time(u.Created)}
	}
	return out, nil
}

func (s *Service) deleteUser(ctx context.Context, c catalog.Caller, in catalog.UserIn) (catalog.UserDeleted, error) {
	name := string(in.User)
	s.changes.Lock()
	defer s.changes.Unlock()
	if err := s.relayOwner(ctx, c, "delete user "+name); err != nil {
		return catalog.UserDeleted{}, err
	}
	if err := s.Store.DeleteUser(ctx, name); err != nil {
		return catalog.UserDeleted{}, err
	}
	s.Audit.Record(audit.Event{Event: audit.UserDeleted, By: c.AuthID, User: name})
	s.endUser(wire.CloseUserDeleted, "the user is no more", name, "")
	return catalog.UserDeleted{User: name, Deleted: wire.Time(s.Now())}, nil
}

// Check is asked again by the hub once a session can be ended: whoever lost a
// right between his log-in and that moment is refused. The error says why.
func (s *Service) Check(ctx context.Context, id route.Identity) error {
	if id.Role == wire.RoleNode {
		return s.checkNode(ctx, id)
	}
	u, err := s.Store.User(ctx, id.AuthID)
	if errors.Is(err, cfcerr.Of(cfcerr.NoSuchUser)) {
		return cfcerr.New(cfcerr.AuthenticationFailed, "cannot log in: the user is no more")
	}
	if err != nil {
		return err
	}
	if id.Method == "cryptosign" && !slices.Contains(u.Pubkeys, id.Pubkey) {
		return cfcerr.New(cfcerr.AuthenticationFailed, "cannot log in: the key is not known")
	}
	if id.TokenID != "" && id.Method == "ticket" {
		t, err := s.Store.Token(ctx, id.TokenID)
		if err != nil || !t.Revoked.IsZero() {
			return cfcerr.New(cfcerr.AuthenticationFailed, "cannot log in: the ticket is not known")
		}
	}
	if id.Realm == wire.UsersRealm {
		return nil
	}
	role, err := s.Store.Role(ctx, id.Realm, id.AuthID)
	if err != nil {
		return err
	}
	if role == "" || wire.Role(id.Role).Rank() > role.Rank() {
		return cfcerr.New(cfcerr.NotAuthorized, "cannot join realm %s: it does not exist, or you have no right in it", id.Realm)
	}
	return nil
}

func (s *Service) checkNode(ctx context.Context, id route.Identity) error {
	n, err := s.Store.Node(ctx, id.NodeOID)
	if errors.Is(err, cfcerr.Of(cfcerr.NoSuchNode)) {
		return cfcerr.New(cfcerr.NodeUnpaired, "cannot log in: the node is not paired")
	}
	if err != nil {
		return err
	}
	if n.Pubkey != id.Pubkey || n.Realm != id.Realm || n.ID != id.AuthID {
		return cfcerr.New(cfcerr.NodeUnpaired, "cannot log in: the node is paired with another key")
	}
	return nil
}
