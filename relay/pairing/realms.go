package pairing

import (
	"context"
	"errors"
	"maps"
	"slices"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/google/uuid"
)

func (s *Service) usersStatus(ctx context.Context, c catalog.Caller, _ catalog.None) (catalog.UsersStatus, error) {
	mine, err := s.Store.Memberships(ctx, c.AuthID)
	if err != nil {
		return catalog.UsersStatus{}, err
	}
	out := catalog.UsersStatus{Realm: wire.UsersRealm, Relay: s.Relay, Now: wire.Time(s.Now()), Realms: len(mine)}
	for realm := range mine {
		total, online := s.Hub.Count(realm)
		out.Nodes.Total += total
		out.Nodes.Online += online
	}
	return out, nil
}

func (s *Service) realms(ctx context.Context, c catalog.Caller, _ catalog.None) ([]string, error) {
	mine, err := s.Store.Memberships(ctx, c.AuthID)
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(mine)))), err
}

func (s *Service) realm(ctx context.Context, c catalog.Caller, in catalog.RealmIn) (catalog.RealmInfo, error) {
	if _, err := s.member(ctx, c, string(in.Name)); err != nil {
		return catalog.RealmInfo{}, err
	}
	return s.realmInfo(ctx, string(in.Name))
}

func (s *Service) realmInfo(ctx context.Context, name string) (catalog.RealmInfo, error) {
	r, err := s.Store.Realm(ctx, name)
	if err != nil {
		return catalog.RealmInfo{}, err
	}
	members, err := s.Store.Members(ctx, name)
	if err != nil {
		return catalog.RealmInfo{}, err
	}
	out := catalog.RealmInfo{Name: r.Name, OID: r.OID, Created: wire.Time(r.Created), Owner: r.Owner, Members: roleNames(members)}
	out.Nodes.Total, out.Nodes.Online = s.Hub.Count(name)
	return out, nil
}

func roleNames(members map[string]wire.Role) map[string]string {
	out := map[string]string{}
	for user, role := range members {
		out[user] = string(role)
	}
	return out
}

func (s *Service) createRealm(ctx context.Context, c catalog.Caller, in catalog.CreateRealmIn) (catalog.RealmInfo, error) {
	if len(in.Config) > 0 {
		return catalog.RealmInfo{}, cfcerr.Argument("config", "an empty dict: a realm has no options")
	}
	name := string(in.Name)
	s.changes.Lock()
	defer s.changes.Unlock()
	r := store.Realm{Name: name, OID: uuid.NewString(), Created: s.Now(), Owner: c.AuthID}
	if err := s.Store.CreateRealm(ctx, r); err != nil {
		return catalog.RealmInfo{}, err
	}
	if err := s.Hub.AddRealm(name); err != nil {
		_, undo := s.Store.DeleteRealm(context.WithoutCancel(ctx), name, true)
		return catalog.RealmInfo{}, errors.Join(err, undo)
	}
	s.Audit.Record(audit.Event{Event: audit.RealmCreated, By: c.AuthID, Realm: name, OID: r.OID})
	return s.realmInfo(ctx, name)
}

func (s *Service) deleteRealm(ctx context.Context, c catalog.Caller, in catalog.DeleteRealmIn) (catalog.RealmDeleted, error) {
	name := string(in.Name)
	s.changes.Lock()
	defer s.changes.Unlock()
	if err := s.owner(ctx, c, name, "delete realm "+name); err != nil {
		return catalog.RealmDeleted{}, err
	}
	nodes, err := s.Store.DeleteRealm(ctx, name, in.Cascade)
	if err != nil {
		return catalog.RealmDeleted{}, err
	}
	s.Hub.RemoveRealm(name, wire.CloseRealmDeleted)
	s.Audit.Record(audit.Event{Event: audit.RealmDeleted, By: c.AuthID, Realm: name})
	out := catalog.RealmDeleted{Name: name, Deleted: wire.Time(s.Now()), Unpaired: []string{}}
	for _, n := range nodes {
		s.Audit.Record(audit.Event{Event: audit.NodeUnpaired, By: c.AuthID, Realm: name, Node: n.ID, OID: n.OID, Key: n.Pubkey})
		out.Unpaired = append(out.Unpaired, n.OID)
	}
	slices.Sort(out.Unpaired)
	return out, nil
}

func (s *Service) realmStatus(ctx context.Context, c catalog.Caller, _ catalog.None) (catalog.RealmStatus, error) {
	r, err := s.Store.Realm(ctx, c.Realm)
	if err != nil {
		return catalog.RealmStatus{}, err
	}
	total, online := s.Hub.Count(c.Realm)
	return catalog.RealmStatus{Realm: r.Name, OID: r.OID, Created: wire.Time(r.Created), Now: wire.Time(s.Now()),
		Nodes: catalog.RealmNodeCount{Total: total, Online: online, Offline: total - online}}, nil
}
