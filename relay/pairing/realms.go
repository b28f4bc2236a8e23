package pairing

import (
	"context"
	"maps"
	"slices"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/google/uuid"
	"go.uber.org/zap"
)

func (m *Manager) usersStatus(ctx context.Context, c catalog.Caller, _ catalog.None) (catalog.UsersStatus, error) {
	in, err := m.cfg.Store.Memberships(ctx, c.AuthID)
	if err != nil {
		return catalog.UsersStatus{}, err
	}
	s := catalog.UsersStatus{Realm: wire.UsersRealm, Now: wire.Time(m.cfg.Now()), Realms: len(in),
		Relay: catalog.RelayInfo{ID: m.cfg.RelayID, Version: m.cfg.Version, Started: wire.Time(m.started)}}
	for realm := range in {
		total, online := m.cfg.Hub.Count(realm)
		s.Nodes.Total += total
		s.Nodes.Online += online
	}
	return s, nil
}

func (m *Manager) listRealms(ctx context.Context, c catalog.Caller, in catalog.RealmsIn) ([]string, error) {
	names, err := m.cfg.Store.Memberships(ctx, c.AuthID)
	if err != nil || c.WantsNames(in.ReturnNames) {
		return sortedKeys(names), err
	}
	oids := map[string]bool{}
	for name := range names {
		r, err := m.cfg.Store.Realm(ctx, name)
		if cfcerr.KindOf(err) == cfcerr.NoSuchRealm {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		oids[r.OID] = true
	}
	return sortedKeys(oids), nil
}

// sortedKeys is never null on the wire.
func sortedKeys[V any](all map[string]V) []string {
	out := slices.AppendSeq(make([]string, 0, len(all)), maps.Keys(all))
	slices.Sort(out)
	return out
}

func (m *Manager) showRealm(ctx context.Context, c catalog.Caller, in catalog.RealmIn) (catalog.RealmInfo, error) {
	if _, err := m.member(ctx, c, string(in.Name)); err != nil {
		return catalog.RealmInfo{}, err
	}
	return m.realmInfo(ctx, string(in.Name))
}

func (m *Manager) realmInfo(ctx context.Context, name string) (catalog.RealmInfo, error) {
	r, err := m.cfg.Store.Realm(ctx, name)
	if err != nil {
		return catalog.RealmInfo{}, hide(err, cfcerr.NoSuchRealm, noSuchRealm(name))
	}
	members, err := m.members(ctx, name)
	if err != nil {
		return catalog.RealmInfo{}, err
	}
	out := catalog.RealmInfo{Name: r.Name, OID: r.OID, Created: wire.Time(r.Created), Owner: r.Owner, Members: members}
	out.Nodes.Total, out.Nodes.Online = m.cfg.Hub.Count(name)
	return out, nil
}

func (m *Manager) createRealm(ctx context.Context, c catalog.Caller, in catalog.CreateRealmIn) (catalog.RealmInfo, error) {
	if len(in.Config) > 0 {
		return catalog.RealmInfo{}, cfcerr.Argument("config."+sortedKeys(in.Config)[0], "nothing: config is reserved and must be empty")
	}
	return changed(ctx, m, c.AuthID, func() (catalog.RealmInfo, error) {
		if err := m.roomForRealm(ctx, c.AuthID, "create realm "+string(in.Name)); err != nil {
			return catalog.RealmInfo{}, err
		}
		r := store.Realm{Name: string(in.Name), OID: uuid.NewString(), Created: m.cfg.Now(), Owner: c.AuthID}
		if err := m.cfg.Store.CreateRealm(ctx, r); err != nil {
			return catalog.RealmInfo{}, err
		}
		if err := m.cfg.Hub.AddRealm(r.Name); err != nil {
			if _, undo := m.cfg.Store.DeleteRealm(context.WithoutCancel(ctx), r.Name, false); undo != nil {
				m.cfg.Log.Error("realm neither started nor taken back; it starts with the relay", zap.String("realm", r.Name), zap.Error(undo))
			}
			return catalog.RealmInfo{}, err
		}
		m.record(c, audit.Event{Event: audit.RealmCreated, Realm: r.Name, OID: r.OID})
		return m.realmInfo(ctx, r.Name)
	})
}

const defaultRealms = 100

// roomForRealm refuses one who owns as many realms as one may. Whoever was made
// an owner counts as the one who created the realm does: else realms could be
// had without limit by giving them away.
func (m *Manager) roomForRealm(ctx context.Context, user, what string) error {
	in, err := m.cfg.Store.Memberships(ctx, user)
	if err != nil {
		return err
	}
	n := 0
	for _, role := range in {
		if role == wire.Owner {
			n++
		}
	}
	if n >= m.cfg.Realms {
		return cfcerr.New(cfcerr.LimitExceeded, "cannot %s: %s owns %d realms", what, user, n).With("limit", m.cfg.Realms)
	}
	return nil
}

func (m *Manager) deleteRealm(ctx context.Context, c catalog.Caller, in catalog.DeleteRealmIn) (catalog.RealmDeleted, error) {
	name := string(in.Name)
	return changed(ctx, m, c.AuthID, func() (catalog.RealmDeleted, error) {
		if err := m.owns(ctx, c, name, "delete the realm"); err != nil {
			return catalog.RealmDeleted{}, err
		}
		freed, err := m.cfg.Store.DeleteRealm(ctx, name, in.Cascade)
		if err != nil {
			return catalog.RealmDeleted{}, err
		}
		m.cfg.Hub.RemoveRealm(name, wire.CloseRealmDeleted)
		out := catalog.RealmDeleted{Name: name, Deleted: wire.Time(m.cfg.Now()), Unpaired: []string{}}
		for _, n := range freed {
			out.Unpaired = append(out.Unpaired, n.OID)
			m.record(c, audit.Event{Event: audit.NodeUnpaired, Realm: name, Node: n.ID, OID: n.OID, Key: n.Pubkey, Reason: "realm deleted"})
		}
		slices.Sort(out.Unpaired)
		m.record(c, audit.Event{Event: audit.RealmDeleted, Realm: name})
		return out, nil
	})
}

func (m *Manager) realmStatus(ctx context.Context, c catalog.Caller, _ catalog.None) (catalog.RealmStatus, error) {
	r, err := m.cfg.Store.Realm(ctx, c.Realm)
	if err != nil {
		return catalog.RealmStatus{}, err
	}
	s := catalog.RealmStatus{Realm: r.Name, OID: r.OID, Created: wire.Time(r.Created), Now: wire.Time(m.cfg.Now())}
	s.Nodes.Total, s.Nodes.Online = m.cfg.Hub.Count(r.Name)
	s.Nodes.Offline = s.Nodes.Total - s.Nodes.Online
	return s, nil
}
