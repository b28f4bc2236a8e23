package pairing

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/google/uuid"
)

func (s *Service) usersNodes(ctx context.Context, c catalog.Caller, in catalog.UsersNodesIn) ([]string, error) {
	mine, err := s.Store.Memberships(ctx, c.AuthID)
	if err != nil {
		return nil, err
	}
	if in.Realm != nil {
		role, ok := mine[string(*in.Realm)]
		if !ok {
			return nil, noRealm(string(*in.Realm))
		}
		mine = map[string]wire.Role{string(*in.Realm): role}
	}
	oids := []string{}
	for realm := range mine {
		ids, err := s.Store.NodeIDs(ctx, realm)
		if err != nil {
			return nil, err
		}
		for id, oid := range ids {
			if s.hasStatus(realm, id, in.Status) {
				oids = append(oids, oid)
			}
		}
	}
	slices.Sort(oids)
	return oids, nil
}

func (s *Service) hasStatus(realm, id string, status *catalog.NodeStatus) bool {
	if status == nil {
		return true
	}
	p, _ := s.Hub.Presence(realm, id)
	return string(*status) == statusName(p)
}

func statusName(p route.Presence) string {
	if p.Online {
		return "online"
	}
	return "offline"
}

func (s *Service) realmNodes(ctx context.Context, c catalog.Caller, in catalog.NodesIn) ([]string, error) {
	ids, err := s.Store.NodeIDs(ctx, c.Realm)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if s.hasStatus(c.Realm, id, in.Status) {
			out = append(out, id)
		}
	}
	return out, nil
}

func (s *Service) realmNode(ctx context.Context, c catalog.Caller, in catalog.NodeIn) (catalog.NodeInfo, error) {
	n, err := s.nodeIn(ctx, c.Realm, string(in.Node))
	if err != nil {
		return catalog.NodeInfo{}, err
	}
	return s.nodeInfo(n), nil
}

// nodeIn finds a node of one realm by id or oid.
func (s *Service) nodeIn(ctx context.Context, realm, ref string) (store.Node, error) {
	var n store.Node
	var err error
	if wire.ValidOID(ref) {
		n, err = s.Store.Node(ctx, ref)
	} else {
		n, err = s.Store.NodeNamed(ctx, realm, ref)
	}
	if errors.Is(err, cfcerr.Of(cfcerr.NoSuchNode)) || err == nil && n.Realm != realm {
		return store.Node{}, noNode(ref)
	}
	return n, err
}

// visible finds a node that the caller may see, of whichever realm, and his
// role there.
func (s *Service) visible(ctx context.Context, c catalog.Caller, ref catalog.UserNodeRef) (store.Node, wire.Role, error) {
	n, err := s.anyNode(ctx, ref)
	if errors.Is(err, cfcerr.Of(cfcerr.NoSuchNode)) {
		return n, "", noNode(string(ref))
	}
	if err != nil {
		return n, "", err
	}
	role, err := s.Store.Role(ctx, n.Realm, c.AuthID)
	if err == nil && role == "" {
		err = noNode(string(ref))
	}
	return n, role, err
}

func (s *Service) anyNode(ctx context.Context, ref catalog.UserNodeRef) (store.Node, error) {
	text := string(ref)
	if strings.Contains(text, "/") {
		realm, id, _ := ref.Split()
		return s.Store.NodeNamed(ctx, realm, id)
	}
	if wire.ValidPubkey(text) {
		h, err := s.Store.Holder(ctx, text)
		if err != nil {
			return store.Node{}, err
		}
		if h.Node == "" {
			return store.Node{}, noNode(text)
		}
		text = h.Node
	}
	return s.Store.Node(ctx, text)
}

func (s *Service) usersNode(ctx context.Context, c catalog.Caller, in catalog.UserNodeIn) (catalog.NodeInfo, error) {
	n, _, err := s.visible(ctx, c, in.Node)
	if err != nil {
		return catalog.NodeInfo{}, err
	}
	return s.nodeInfo(n), nil
}

func (s *Service) nodeInfo(n store.Node) catalog.NodeInfo {
	p, ok := s.Hub.Presence(n.Realm, n.ID)
	if !ok {
		p = lastPresence(n.Last)
	}
	if !p.Online {
		p.Node.Attached = false
	}
	labels := map[string]string{}
	maps.Copy(labels, n.Labels)
	return catalog.NodeInfo{ID: n.ID, OID: n.OID, Realm: n.Realm, Pubkey: n.Pubkey, Labels: labels, Paired: wire.Time(n.Paired), PairedBy: n.PairedBy,
		Status: statusName(p), Since: wire.OptionalTime(p.Since), Reason: p.Reason, Agent: p.Agent, Node: p.Node}
}

func (s *Service) pairNode(ctx context.Context, c catalog.Caller, in catalog.PairNodeIn) (catalog.NodeInfo, error) {
	labels, err := pairConfig(in.Config)
	if err != nil {
		return catalog.NodeInfo{}, err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	if err := s.owner(ctx, c, string(in.Realm), "pair a node with realm "+string(in.Realm)); err != nil {
		return catalog.NodeInfo{}, err
	}
	n := store.Node{OID: uuid.NewString(), Realm: string(in.Realm), ID: string(in.NodeID), Pubkey: string(in.Pubkey), Labels: labels, Paired: s.Now(), PairedBy: c.AuthID}
	if err := s.Store.PairNode(ctx, n); err != nil {
		return catalog.NodeInfo{}, err
	}
	if err := s.paired(n, c.AuthID, ""); err != nil {
		return catalog.NodeInfo{}, err
	}
	return s.nodeInfo(n), nil
}

// paired makes a new pairing known to those who are connected.
func (s *Service) paired(n store.Node, by, token string) error {
	if err := s.Hub.AddNode(n.Realm, n.ID, n.OID, route.Presence{}); err != nil {
		return err
	}
	s.Audit.Record(audit.Event{Event: audit.NodePaired, By: by, Realm: n.Realm, Node: n.ID, OID: n.OID, Key: n.Pubkey, Token: token})
	s.Hub.Publish(n.Realm, catalog.OnNodePaired, n.ID, map[string]any{"oid": n.OID, "reason": "paired", "by": by})
	return nil
}

func pairConfig(config map[string]any) (map[string]string, error) {
	o := options{name: "config", values: config}
	labels := o.labels()
	return labels, o.done()
}

func (s *Service) unpairNode(ctx context.Context, c catalog.Caller, in catalog.UserNodeIn) (catalog.NodeUnpaired, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	n, role, err := s.visible(ctx, c, in.Node)
	if err != nil {
		return catalog.NodeUnpaired{}, err
	}
	if role != wire.Owner {
		return catalog.NodeUnpaired{}, cfcerr.New(cfcerr.NotAuthorized, "cannot unpair node %s: only an owner of realm %s may", n.ID, n.Realm).With("realm", n.Realm)
	}
	if n, err = s.Store.UnpairNode(ctx, n.OID); err != nil {
		return catalog.NodeUnpaired{}, err
	}
	s.Hub.RemoveNode(n.Realm, n.ID)
	s.Audit.Record(audit.Event{Event: audit.NodeUnpaired, By: c.AuthID, Realm: n.Realm, Node: n.ID, OID: n.OID, Key: n.Pubkey})
	s.Hub.Publish(n.Realm, catalog.OnNodeUnpaired, n.ID, map[string]any{"oid": n.OID, "reason": "unpaired", "by": c.AuthID})
	return catalog.NodeUnpaired{OID: n.OID, ID: n.ID, Realm: n.Realm, Unpaired: wire.Time(s.Now())}, nil
}
