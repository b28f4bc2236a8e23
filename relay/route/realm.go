package route

import (
	"fmt"
	"sync"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// realm is one realm, with its nodes, sessions and subscriptions.
type realm struct {
	name   string
	broker *broker

	mu       sync.RWMutex
	closed   bool
	nodes    map[string]*node // by id
	byOID    map[string]*node
	sessions map[*session]struct{}
}

func newRealm(name string) *realm {
	return &realm{name: name, broker: newBroker(), nodes: map[string]*node{}, byOID: map[string]*node{}, sessions: map[*session]struct{}{}}
}

// node is a paired node.
type node struct {
	id, oid string
	realm   *realm
	gate    chan struct{} // held while an agent is admitted

	mu       sync.Mutex
	agent    *session // the session of its agent, registered or not
	removed  bool
	presence Presence
}

// AddRealm starts a realm. A realm that exists is an error.
func (h *Hub) AddRealm(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.realms[name]; ok {
		return fmt.Errorf("cannot start realm %s: it runs already", name)
	}
	if h.stopping {
		return errStopping
	}
	h.realms[name] = newRealm(name)
	return nil
}

// RemoveRealm ends a realm, its sessions with GOODBYE reason.
func (h *Hub) RemoveRealm(name, reason string) {
	h.mu.Lock()
	r := h.realms[name]
	delete(h.realms, name)
	h.mu.Unlock()
	if r == nil {
		return
	}
	r.mu.Lock()
	r.closed = true
	var all []*session
	for s := range r.sessions {
		all = append(all, s)
	}
	r.mu.Unlock()
	for _, s := range all {
		s.end(reason, "the realm is no more", peer.ReasonClosed)
	}
}

// AddNode makes a paired node known, offline as it was last seen. A node that
// is known already keeps what is known.
func (h *Hub) AddNode(realmName, nodeID, oid string, last Presence) error {
	r := h.realm(realmName)
	if r == nil {
		return fmt.Errorf("cannot add node %s: realm %s does not run", nodeID, realmName)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.nodes[nodeID]; ok {
		return nil
	}
	last.Online = false
	if last.Reason == "" {
		last.Reason = "never-connected"
	}
	n := &node{id: nodeID, oid: oid, realm: r, gate: make(chan struct{}, 1), presence: last}
	r.nodes[nodeID], r.byOID[oid] = n, n
	return nil
}

// RemoveNode forgets a node that is no longer paired; its agent's session ends.
func (h *Hub) RemoveNode(realmName, nodeID string) {
	r := h.realm(realmName)
	if r == nil {
		return
	}
	r.mu.Lock()
	n := r.nodes[nodeID]
	if n != nil {
		delete(r.nodes, nodeID)
		delete(r.byOID, n.oid)
	}
	r.mu.Unlock()
	if n == nil {
		return
	}
	n.mu.Lock()
	s := n.agent
	n.removed = true
	n.mu.Unlock()
	if s != nil {
		s.end(wire.CloseNodeUnpaired, "the node is no longer paired", "unpaired")
	}
}

func (h *Hub) realm(name string) *realm {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.realms[name]
}

// find takes an id or an oid.
func (r *realm) find(ref string) *node {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n := r.nodes[ref]; n != nil {
		return n
	}
	return r.byOID[ref]
}

// Presence of a node, by id or oid.
func (h *Hub) Presence(realmName, ref string) (Presence, bool) {
	r := h.realm(realmName)
	if r == nil {
		return Presence{}, false
	}
	n := r.find(ref)
	if n == nil {
		return Presence{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.presence, true
}

// Count of a realm's nodes.
func (h *Hub) Count(realmName string) (total, online int) {
	r := h.realm(realmName)
	if r == nil {
		return 0, 0
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, n := range r.nodes {
		n.mu.Lock()
		if n.presence.Online {
			online++
		}
		n.mu.Unlock()
	}
	return len(r.nodes), online
}

// Publish publishes an event of the relay: details get the time where they
// have none.
func (h *Hub) Publish(realmName string, e *catalog.Event, nodeID string, details map[string]any) {
	r := h.realm(realmName)
	if r == nil {
		return
	}
	d := wamp.Dict{"time": wire.Time(time.Now())}
	for k, v := range details {
		d[k] = v
	}
	r.tell(e, wamp.List{nodeID, d})
}

func (r *realm) tell(e *catalog.Event, args wamp.List) {
	var out peer.Batch
	r.broker.publish(&out, e, args)
	out.Flush()
}

// offline is what a caller hears of a node whose agent is not there.
func (n *node) offline(last Presence) error {
	return cfcerr.New(cfcerr.NodeOffline, "cannot reach node %s: its agent is not connected (%s)", n.id, last.Reason).
		With("node_id", n.id).With("since", wire.OptionalTime(last.Since)).With("reason", last.Reason)
}
