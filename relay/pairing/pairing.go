// Package pairing carries out what the relay itself answers: the rows of the
// users realm and of a management realm. It decides who may do what there,
// changes the store, and then makes the change count at once for those who are
// connected.
//
// Every change takes one lock from its transaction to its effect on living
// sessions, so that the hub sees changes in the order in which the store took
// them: a realm deleted and made again never ends up running without being
// stored, or stored without running. Reads take no lock.
//
// To somebody who is no member a realm does not exist, and neither do its
// nodes: he gets the same error for both.
package pairing

import (
	"context"
	"errors"
	"sync"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// Hub is where the realms run and the sessions live.
type Hub interface {
	AddRealm(name string) error
	RemoveRealm(name, reason string)
	AddNode(realm, nodeID, oid string, last route.Presence) error
	RemoveNode(realm, nodeID string)
	End(reason, message string, match func(route.Identity) bool) int
	Presence(realm, nodeID string) (route.Presence, bool)
	Count(realm string) (total, online int)
	Publish(realm string, e *catalog.Event, nodeID string, details map[string]any)
}

// Config of a Service.
type Config struct {
	Store   store.Store
	Hub     Hub
	Audit   *audit.Log
	Relay   catalog.RelayInfo
	Pin     func() string    // pin of the relay's certificate; nil or empty without TLS
	Now     func() time.Time // nil for time.Now
	DataDir string           // where first-owner.token is written
}

// Service answers the relay's rows.
type Service struct {
	Config
	changes sync.Mutex
}

// New makes a service. Load must be called before it serves.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Pin == nil {
		cfg.Pin = func() string { return "" }
	}
	return &Service{Config: cfg}
}

// Load starts the realms of the store and makes their nodes known.
func (s *Service) Load(ctx context.Context) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	realms, err := s.Store.Realms(ctx)
	if err != nil {
		return err
	}
	for _, r := range realms {
		if err := s.Hub.AddRealm(r.Name); err != nil {
			return err
		}
		nodes, err := s.Store.Nodes(ctx, r.Name)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if err := s.Hub.AddNode(r.Name, n.ID, n.OID, lastPresence(n.Last)); err != nil {
				return err
			}
		}
	}
	return nil
}

// lastPresence is what was known when the relay stopped. A node that was
// online then is offline since then for all that is known.
func lastPresence(l store.LastSeen) route.Presence {
	if l.Online {
		l.Reason = "relay-restarted"
	}
	return route.Presence{Since: l.Since, Reason: l.Reason, Agent: l.Agent, Node: l.Node}
}

// Bind attaches the service to its rows.
func (s *Service) Bind(t *catalog.Table) {
	catalog.Bind(t, catalog.UsersGetStatus, s.usersStatus)
	catalog.Bind(t, catalog.GetManagementRealms, s.realms)
	catalog.Bind(t, catalog.GetManagementRealm, s.realm)
	catalog.Bind(t, catalog.CreateManagementRealm, s.createRealm)
	catalog.Bind(t, catalog.DeleteManagementRealm, s.deleteRealm)
	catalog.Bind(t, catalog.UsersGetNodes, s.usersNodes)
	catalog.Bind(t, catalog.UsersGetNode, s.usersNode)
	catalog.Bind(t, catalog.PairNode, s.pairNode)
	catalog.Bind(t, catalog.UnpairNode, s.unpairNode)
	catalog.Bind(t, catalog.GetMembers, s.members)
	catalog.Bind(t, catalog.AddMember, s.addMember)
	catalog.Bind(t, catalog.RemoveMember, s.removeMember)
	catalog.Bind(t, catalog.GetUsers, s.users)
	catalog.Bind(t, catalog.DeleteUser, s.deleteUser)
	catalog.Bind(t, catalog.CreateToken, s.createToken)
	catalog.Bind(t, catalog.GetTokens, s.tokens)
	catalog.Bind(t, catalog.RevokeToken, s.revokeToken)
	catalog.Bind(t, catalog.RealmGetStatus, s.realmStatus)
	catalog.Bind(t, catalog.RealmGetNodes, s.realmNodes)
	catalog.Bind(t, catalog.RealmGetNode, s.realmNode)
}

// member is the caller's role in a realm; a realm in which he has none does
// not exist for him.
func (s *Service) member(ctx context.Context, c catalog.Caller, realm string) (wire.Role, error) {
	role, err := s.Store.Role(ctx, realm, c.AuthID)
	if err == nil && role == "" {
		err = noRealm(realm)
	}
	return role, err
}

// owner refuses everybody but an owner of the realm.
func (s *Service) owner(ctx context.Context, c catalog.Caller, realm, what string) error {
	role, err := s.member(ctx, c, realm)
	if err != nil {
		return err
	}
	if role != wire.Owner {
		return cfcerr.New(cfcerr.NotAuthorized, "cannot %s: only an owner of realm %s may", what, realm).With("realm", realm)
	}
	return nil
}

func (s *Service) relayOwner(ctx context.Context, c catalog.Caller, what string) error {
	is, err := s.ownsRelay(ctx, c)
	if err == nil && !is {
		err = cfcerr.New(cfcerr.NotAuthorized, "cannot %s: only the relay's owner may", what)
	}
	return err
}

func (s *Service) ownsRelay(ctx context.Context, c catalog.Caller) (bool, error) {
	u, err := s.Store.User(ctx, c.AuthID)
	if errors.Is(err, cfcerr.Of(cfcerr.NoSuchUser)) {
		return false, nil
	}
	return u.Owner, err
}

func noRealm(name string) error {
	return cfcerr.New(cfcerr.NoSuchRealm, "cannot find realm %s: it does not exist, or you are no member of it", name).With("realm", name)
}

func noNode(ref string) error {
	return cfcerr.New(cfcerr.NoSuchNode, "cannot find node %s: it does not exist, or you may not see it", ref).With("node", ref)
}

// user is a session of a user, not of a node.
func user(id route.Identity) bool { return id.Role != wire.RoleNode }
