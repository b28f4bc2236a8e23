package route

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/router/auth"
	"github.com/gammazero/nexus/v3/transport"
	"github.com/gammazero/nexus/v3/wamp"
)

// realm is one realm of the router, with its nodes and sessions.
type realm struct {
	name string
	own  wamp.Peer     // the relay's own session, which publishes
	gone chan struct{} // closed when the realm ends

	mu       sync.RWMutex
	closed   bool
	nodes    map[string]*node // by id
	byOID    map[string]*node
	sessions map[*session]struct{}

	aliases atomic.Int32 // subscriptions under Crossbar.io's prefix
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
	err := h.router.AddRealm(&router.RealmConfig{URI: wamp.URI(name), Authenticators: []auth.Authenticator{verified{}}})
	if err != nil {
		return fmt.Errorf("cannot start realm %s: %w", name, err)
	}
	r := &realm{name: name, gone: make(chan struct{}), nodes: map[string]*node{}, byOID: map[string]*node{}, sessions: map[*session]struct{}{}}
	if r.own, err = join(h.router, name); err != nil {
		h.router.RemoveRealm(wamp.URI(name))
		return fmt.Errorf("cannot start realm %s: %w", name, err)
	}
	h.realms[name] = r
	return nil
}

// join is a session of the relay itself.
func join(r router.Router, realm string) (wamp.Peer, error) {
	own, far := transport.LinkedPeers()
	attached := make(chan error, 1)
	go func() { attached <- r.Attach(far) }()
	own.Send() <- &wamp.Hello{Realm: wamp.URI(realm), Details: wamp.Dict{"roles": wamp.Dict{wamp.RolePublisher: wamp.Dict{}}}}
	if err := <-attached; err != nil {
		return nil, err
	}
	if m := <-own.Recv(); m.MessageType() != wamp.WELCOME {
		return nil, fmt.Errorf("its router answered %s", m.MessageType())
	}
	return own, nil
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
	close(r.gone)
	h.router.RemoveRealm(wamp.URI(name))
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
	r.publish(e.URI(), wamp.List{nodeID, d})
	r.publishAlias(e, wamp.List{nodeID, d})
}

func (r *realm) publish(topic string, args wamp.List) {
	select {
	case r.own.Send() <- &wamp.Publish{Request: 1, Options: wamp.Dict{}, Topic: wamp.URI(topic), Arguments: args}:
	case <-r.gone:
	}
}

func (r *realm) publishAlias(e *catalog.Event, args wamp.List) {
	if r.aliases.Load() > 0 {
		r.publish(e.AliasURI(), args)
	}
}

func (n *node) offline() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return cfcerr.New(cfcerr.NodeOffline, "cannot reach node %s: its agent is not connected (%s)", n.id, n.presence.Reason).
		With("node_id", n.id).With("since", wire.OptionalTime(n.presence.Since)).With("reason", n.presence.Reason)
}

// verified is nexus' view of a session whose log-in is over.
type verified struct{}

const methodVerified = "cfc"

// AuthMethod is how the HELLO that nexus sees asks for it.
func (verified) AuthMethod() string { return methodVerified }

// Authenticate takes the identity of the peer.
func (verified) Authenticate(sid wamp.ID, _ wamp.Dict, client wamp.Peer) (*wamp.Welcome, error) {
	m, ok := client.(*member)
	if !ok {
		return nil, errors.New("only sessions of the hub may join")
	}
	m.s.established(sid)
	return &wamp.Welcome{Details: wamp.Dict{"authid": m.s.id.AuthID, "authrole": m.s.id.Role, "authprovider": wire.AuthProvider}}, nil
}
