package pairing

import (
	"context"
	"slices"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/google/uuid"
)

const (
	online  = "online"
	offline = "offline"
	// detached is online without a node.
	detached = "detached"
)

// nodeInfo is a node with its presence, as the hub has it.
func (m *Manager) nodeInfo(n store.Node) catalog.NodeInfo {
	p, ok := m.cfg.Hub.Presence(n.Realm, n.OID)
	if !ok {
		p = m.lastPresence(n)
	}
	out := catalog.NodeInfo{ID: n.ID, OID: n.OID, Realm: n.Realm, Pubkey: n.Pubkey, Labels: n.Labels, Paired: wire.Time(n.Paired), PairedBy: n.PairedBy,
		Status: status(p), Since: wire.OptionalTime(p.Since), Reason: p.Reason, Agent: p.Agent, Node: p.Node}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if !p.Online {
		// Whether the node is at its agent is known from the agent alone.
		out.Node.Attached = false
		if out.Reason == "" {
			out.Reason = "never-connected"
		}
	}
	return out
}

func status(p route.Presence) string {
	if p.Online {
		return online
	}
	return offline
}

// has reports whether a node counts among those of a status. One that is
// detached is online too: its agent is there.
func has(p route.Presence, want catalog.NodeStatus) bool {
	if want == detached {
		return p.Online && !p.Node.Attached
	}
	return status(p) == string(want)
}

func noSuchNode(ref string) error {
	return cfcerr.New(cfcerr.NoSuchNode, "cannot find node %s: there is none, or it is not yours to see", ref).With("node", ref)
}

// anyNode finds a node by oid, realm/node-id or public key, in the realms of
// the caller.
func (m *Manager) anyNode(ctx context.Context, c catalog.Caller, ref catalog.UserNodeRef) (store.Node, wire.Role, error) {
	n, err := m.lookUp(ctx, ref)
	if err != nil {
		return n, "", hide(err, cfcerr.NoSuchNode, noSuchNode(string(ref)))
	}
	role, err := m.cfg.Store.Role(ctx, n.Realm, c.AuthID)
	if err == nil && role == "" {
		err = noSuchNode(string(ref))
	}
	return n, role, err
}

func (m *Manager) lookUp(ctx context.Context, ref catalog.UserNodeRef) (store.Node, error) {
	if realm, id, ok := ref.Split(); ok {
		return m.cfg.Store.NodeNamed(ctx, realm, id)
	}
	oid := string(ref)
	if wire.ValidPubkey(oid) {
		h, err := m.cfg.Store.Holder(ctx, oid)
		if err != nil {
			return store.Node{}, err
		}
		if oid = h.Node; oid == "" {
			return store.Node{}, noSuchNode(string(ref))
		}
	}
	return m.cfg.Store.Node(ctx, oid)
}

func (m *Manager) showAnyNode(ctx context.Context, c catalog.Caller, in catalog.UserNodeIn) (catalog.NodeInfo, error) {
	n, _, err := m.anyNode(ctx, c, in.Node)
	if err != nil {
		return catalog.NodeInfo{}, err
	}
	return m.nodeInfo(n), nil
}

func (m *Manager) listAllNodes(ctx context.Context, c catalog.Caller, in catalog.UsersNodesIn) ([]string, error) {
	realms := map[string]wire.Role{}
	if in.Realm != nil {
		if _, err := m.member(ctx, c, string(*in.Realm)); err != nil {
			return nil, err
		}
		realms[string(*in.Realm)] = ""
	} else {
		var err error
		if realms, err = m.cfg.Store.Memberships(ctx, c.AuthID); err != nil {
			return nil, err
		}
	}
	out := []string{}
	for realm := range realms {
		all, err := m.withStatus(ctx, realm, in.Status)
		if err != nil {
			return nil, err
		}
		for _, oid := range all {
			out = append(out, oid)
		}
	}
	slices.Sort(out)
	return out, nil
}

// withStatus is id to oid of a realm's nodes, of those with the status where
// one is given.
func (m *Manager) withStatus(ctx context.Context, realm string, want *catalog.NodeStatus) (map[string]string, error) {
	all, err := m.cfg.Store.NodeIDs(ctx, realm)
	if err != nil || want == nil {
		return all, err
	}
	for id := range all {
		if p, _ := m.cfg.Hub.Presence(realm, id); !has(p, *want) {
			delete(all, id)
		}
	}
	return all, nil
}

func (m *Manager) listNodes(ctx context.Context, c catalog.Caller, in catalog.NodesIn) ([]string, error) {
	all, err := m.withStatus(ctx, c.Realm, in.Status)
	if err != nil || c.WantsNames(in.ReturnNames) {
		return sortedKeys(all), err
	}
	oids := map[string]bool{}
	for _, oid := range all {
		oids[oid] = true
	}
	return sortedKeys(oids), nil
}

func (m *Manager) showNode(ctx context.Context, c catalog.Caller, in catalog.NodeIn) (catalog.NodeInfo, error) {
	ref := string(in.Node)
	find := func() (store.Node, error) { return m.cfg.Store.NodeNamed(ctx, c.Realm, ref) }
	if wire.ValidOID(ref) {
		find = func() (store.Node, error) { return m.cfg.Store.Node(ctx, ref) }
	}
	n, err := find()
	if err == nil && n.Realm != c.Realm {
		err = noSuchNode(ref)
	}
	if err != nil {
		return catalog.NodeInfo{}, hide(err, cfcerr.NoSuchNode, noSuchNode(ref))
	}
	return m.nodeInfo(n), nil
}

func (m *Manager) pairNode(ctx context.Context, c catalog.Caller, in catalog.PairNodeIn) (catalog.NodeInfo, error) {
	o := options{in.Config, "config."}
	labels, err := o.labels("labels")
	if err == nil {
		err = o.only("labels")
	}
	if err == nil && identity.Weak(string(in.Pubkey)) {
		err = cfcerr.Argument("pubkey", "the public half of a real key: anybody can sign for this one")
	}
	if err != nil {
		return catalog.NodeInfo{}, err
	}
	return changed(ctx, m, c.AuthID, func() (catalog.NodeInfo, error) {
		if err := m.owns(ctx, c, string(in.Realm), "pair a node"); err != nil {
			return catalog.NodeInfo{}, err
		}
		n := store.Node{OID: uuid.NewString(), Realm: string(in.Realm), ID: string(in.NodeID), Pubkey: string(in.Pubkey), Labels: labels, Paired: m.cfg.Now(), PairedBy: c.AuthID}
		if err := m.cfg.Store.PairNode(ctx, n); err != nil {
			return catalog.NodeInfo{}, err
		}
		if err := m.paired(n, "paired"); err != nil {
			return catalog.NodeInfo{}, err
		}
		m.record(c, audit.Event{Event: audit.NodePaired, Realm: n.Realm, Node: n.ID, OID: n.OID, Key: n.Pubkey})
		return m.nodeInfo(n), nil
	})
}

// paired makes a node known to the hub and tells its realm.
func (m *Manager) paired(n store.Node, reason string) error {
	if err := m.cfg.Hub.AddNode(n.Realm, n.ID, n.OID, route.Presence{}); err != nil {
		return err
	}
	m.tell(catalog.OnNodePaired, n, reason, n.PairedBy)
	return nil
}

func (m *Manager) tell(e *catalog.Event, n store.Node, reason, by string) {
	m.cfg.Hub.Publish(n.Realm, e, n.ID, map[string]any{"time": wire.Time(m.cfg.Now()), "oid": n.OID, "reason": reason, "by": by})
}

func (m *Manager) unpairNode(ctx context.Context, c catalog.Caller, in catalog.UserNodeIn) (catalog.NodeUnpaired, error) {
	return changed(ctx, m, c.AuthID, func() (catalog.NodeUnpaired, error) {
		n, _, err := m.anyNode(ctx, c, in.Node)
		if err == nil {
			err = m.owns(ctx, c, n.Realm, "unpair a node")
		}
		if err != nil {
			return catalog.NodeUnpaired{}, err
		}
		if n, err = m.cfg.Store.UnpairNode(ctx, n.OID); err != nil {
			return catalog.NodeUnpaired{}, err
		}
		m.cfg.Hub.RemoveNode(n.Realm, n.ID)
		m.tell(catalog.OnNodeUnpaired, n, "unpaired", c.AuthID)
		m.record(c, audit.Event{Event: audit.NodeUnpaired, Realm: n.Realm, Node: n.ID, OID: n.OID, Key: n.Pubkey})
		return catalog.NodeUnpaired{OID: n.OID, ID: n.ID, Realm: n.Realm, Unpaired: wire.Time(m.cfg.Now())}, nil
	})
}
