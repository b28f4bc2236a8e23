// Package pairing is what the relay itself answers: users, management realms,
// members, pairings and tokens. It binds every row of the users realm and of
// management realms, and brings new keys in for package auth.
//
// Who may what: a user sees the realms that he is a member of, and all else does
// not exist for him (no_such_realm, no_such_node). Owners of a realm manage its
// members, pairings and node tokens; the relay's owner manages users. Being the
// relay's owner gives no right in a realm.
//
// Each change is two things, one in the store and one in the hub (a realm
// started, sessions ended, a node made known), and they must come in the same
// order everywhere: else a realm could live in one and not in the other. So
// changes are made one after another, each in its turn, which is waited for with
// the caller's deadline; the turns are such that nobody can hold up the others.
// The rights of the caller are looked up within the turn: a right that was lost
// a moment ago counts no more. Reads wait for nobody.
package pairing

import (
	"context"
	"errors"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"go.uber.org/zap"
)

// Hub is what changes do to the living.
type Hub interface {
	AddRealm(name string) error
	RemoveRealm(name, reason string)
	AddNode(realm, nodeID, oid string, last route.Presence) error
	RemoveNode(realm, nodeID string)
	End(reason, message string, match func(route.Identity) bool) int
	Presence(realm, ref string) (route.Presence, bool)
	Count(realm string) (total, online int)
	Publish(realm string, e *catalog.Event, nodeID string, details map[string]any)
}

// Auditor takes what changed and by whom.
type Auditor interface{ Record(audit.Event) }

// Config of a Manager.
type Config struct {
	Store store.Store
	Hub   Hub
	Audit Auditor
	Log   *zap.Logger
	// Version and RelayID of this relay; an empty RelayID is the store's.
	Version, RelayID string
	// Pin names the relay's certificate, empty without TLS; it goes with every
	// token, so that the claimer can tell the relay from another. May be nil.
	Pin func() string
	// OwnerTokenFile is where the first owner's token is left.
	OwnerTokenFile string
	// OwnerName is the user that it makes; "admin".
	OwnerName string
	// Waiting is how many changes of one user may wait for their turn; 16.
	Waiting int
	// Realms is how many management realms one user may own; 100.
	Realms int
	Now    func() time.Time
}

// Manager carries out the rows.
type Manager struct {
	cfg     Config
	started time.Time
	turns   *turns
}

// New makes a Manager. Bind it, then Load, then let sessions in.
func New(cfg Config) *Manager {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Pin == nil {
		cfg.Pin = func() string { return "" }
	}
	if cfg.OwnerName == "" {
		cfg.OwnerName = "admin"
	}
	if cfg.Waiting == 0 {
		cfg.Waiting = defaultWaiting
	}
	if cfg.Realms == 0 {
		cfg.Realms = defaultRealms
	}
	return &Manager{cfg: cfg, started: cfg.Now(), turns: newTurns(cfg.Waiting)}
}

// Bind binds all rows of the users realm and of management realms that the
// relay answers.
func (m *Manager) Bind(t *catalog.Table) {
	bind(m, t, catalog.UsersGetStatus, m.usersStatus)
	bind(m, t, catalog.GetManagementRealms, m.listRealms)
	catalog.BindCrossbar(t, catalog.GetManagementRealms, m.listRealms)
	bind(m, t, catalog.GetManagementRealm, m.showRealm)
	bind(m, t, catalog.CreateManagementRealm, m.createRealm)
	bind(m, t, catalog.DeleteManagementRealm, m.deleteRealm)
	bind(m, t, catalog.UsersGetNodes, m.listAllNodes)
	bind(m, t, catalog.UsersGetNode, m.showAnyNode)
	bind(m, t, catalog.PairNode, m.pairNode)
	bind(m, t, catalog.UnpairNode, m.unpairNode)
	bind(m, t, catalog.GetMembers, m.listMembers)
	bind(m, t, catalog.AddMember, m.addMember)
	bind(m, t, catalog.RemoveMember, m.removeMember)
	bind(m, t, catalog.GetUsers, m.listUsers)
	bind(m, t, catalog.DeleteUser, m.deleteUser)
	bind(m, t, catalog.CreateToken, m.createToken)
	bind(m, t, catalog.GetTokens, m.listTokens)
	bind(m, t, catalog.RevokeToken, m.revokeToken)
	bind(m, t, catalog.RealmGetStatus, m.realmStatus)
	bind(m, t, catalog.RealmGetNodes, m.listNodes)
	catalog.BindCrossbar(t, catalog.RealmGetNodes, m.listNodes)
	bind(m, t, catalog.RealmGetNode, m.showNode)
}

// bind binds a row. One for the relay's owner alone refuses others before it
// looks at the arguments.
func bind[In, Out any](m *Manager, t *catalog.Table, s catalog.Spec[In, Out], h func(context.Context, catalog.Caller, In) (Out, error)) {
	if s.Access != catalog.RelayOwner {
		catalog.Bind(t, s, h)
		return
	}
	t.Set(s.Op, func(ctx context.Context, c catalog.Call) (any, error) {
		if err := m.relayOwner(ctx, c.Caller, "call "+s.URI()); err != nil {
			return nil, err
		}
		var in In
		if err := s.Decode(c.Args, c.Kwargs, &in); err != nil {
			return nil, err
		}
		return h(ctx, c.Caller, in)
	})
}

// Load gives the hub the realms and nodes of the store. It is called once, with
// the hub empty.
func (m *Manager) Load(ctx context.Context) error {
	if m.cfg.RelayID == "" {
		id, err := m.cfg.Store.RelayID(ctx)
		if err != nil {
			return err
		}
		m.cfg.RelayID = id
	}
	all, err := m.cfg.Store.Realms(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := m.cfg.Hub.AddRealm(r.Name); err != nil {
			return err
		}
		nodes, err := m.cfg.Store.Nodes(ctx, r.Name)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if err := m.cfg.Hub.AddNode(n.Realm, n.ID, n.OID, m.lastPresence(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// lastPresence is how a node is until its agent comes: as last seen. One that
// was online when the relay died has been offline since, for all that is known.
func (m *Manager) lastPresence(n store.Node) route.Presence {
	p := route.Presence{Since: n.Last.Since, Reason: n.Last.Reason, Agent: n.Last.Agent, Node: n.Last.Node}
	if n.Last.Online {
		p.Since, p.Reason = m.started, "relay-restarted"
	}
	return p
}

func noSuchRealm(realm string) *cfcerr.Error {
	return cfcerr.New(cfcerr.NoSuchRealm, "cannot find realm %s: there is none, or you are no member", realm).With("realm", realm)
}

// member is the caller's role in the realm.
func (m *Manager) member(ctx context.Context, c catalog.Caller, realm string) (wire.Role, error) {
	role, err := m.cfg.Store.Role(ctx, realm, c.AuthID)
	if err == nil && role == "" {
		err = noSuchRealm(realm)
	}
	return role, err
}

// owns refuses a caller who does not own the realm.
func (m *Manager) owns(ctx context.Context, c catalog.Caller, realm, what string) error {
	role, err := m.member(ctx, c, realm)
	if err == nil && role != wire.Owner {
		err = cfcerr.New(cfcerr.NotAuthorized, "cannot %s: only owners of realm %s may, you are %s", what, realm, role).With("realm", realm)
	}
	return err
}

// ownsRelay reports whether the caller is the relay's owner.
func (m *Manager) ownsRelay(ctx context.Context, c catalog.Caller) (bool, error) {
	u, err := m.cfg.Store.User(ctx, c.AuthID)
	if cfcerr.KindOf(err) == cfcerr.NoSuchUser {
		return false, nil
	}
	return u.Owner, err
}

func (m *Manager) relayOwner(ctx context.Context, c catalog.Caller, what string) error {
	owner, err := m.ownsRelay(ctx, c)
	if err == nil && !owner {
		err = cfcerr.New(cfcerr.NotAuthorized, "cannot %s: only the relay's owner may", what)
	}
	return err
}

// record writes a change into the audit log.
func (m *Manager) record(c catalog.Caller, e audit.Event) {
	e.By = c.AuthID
	m.cfg.Audit.Record(e)
}

// isUser matches the sessions of a user, in one realm or (empty) in all.
func isUser(user, realm string) func(route.Identity) bool {
	return func(id route.Identity) bool {
		return id.AuthID == user && id.NodeOID == "" && id.Role != wire.RoleNode && (realm == "" || id.Realm == realm)
	}
}

// hide puts another error in the place of one whose text would tell what the
// caller may not know.
func hide(err error, kind cfcerr.Kind, instead error) error {
	if errors.Is(err, cfcerr.Of(kind)) {
		return instead
	}
	return err
}
