package route

import (
	"context"
	"maps"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// Attach makes a session of a connection whose log-in is over: WELCOME, and
// from then on every message passes the edge. It returns when the session is
// established, or refused with ABORT and the same *cfcerr.Error. Either way
// the connection needs no more care of the caller.
func (h *Hub) Attach(ctx context.Context, c *peer.Conn, id Identity) error {
	err := h.attach(ctx, c, id)
	if err == nil {
		return nil
	}
	e, ref := cfcerr.Public(err)
	if ref != "" {
		h.log.Error("session not attached", zap.String("id", ref), zap.Error(err))
	}
	details := wamp.Dict{"message": e.Message}
	maps.Copy(details, e.Details)
	c.Finish(&wamp.Abort{Reason: wamp.URI(e.URI()), Details: details})
	return e
}

func (h *Hub) attach(ctx context.Context, c *peer.Conn, id Identity) error {
	select {
	case <-h.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	r := h.realm(id.Realm)
	if r == nil {
		return refusedRealm(id.Realm)
	}
	if !hasRole(id.Hello) {
		return cfcerr.FromWamp(string(wamp.ErrNoSuchRole), wamp.List{"cannot join: HELLO announces none of the roles of a client"}, nil)
	}
	s := newSession(h, r, c, id)
	if s.kind == agent {
		if err := h.admit(ctx, s); err != nil {
			return err
		}
	}
	if err := r.add(h, s); err != nil {
		s.detach(peer.ReasonClosed)
		return err
	}
	if h.cfg.Check != nil {
		if err := h.cfg.Check(ctx, id); err != nil {
			s.detach(peer.ReasonClosed)
			return err
		}
	}
	c.OnEnd(s.detach)
	c.HandleRaw(s.receive)
	if err := s.greet(); err != nil {
		s.detach(peer.ReasonClosed)
		return err
	}
	h.log.Info("session joined", zap.String("realm", id.Realm), zap.String("authid", id.AuthID), zap.String("authrole", id.Role),
		zap.Uint64("session", uint64(s.sid)), zap.String("address", id.Address))
	return nil
}

// hasRole reports whether a client announces what it is, as it must.
func hasRole(hello wamp.Dict) bool {
	roles, _ := wamp.AsDict(hello["roles"])
	for _, r := range []string{wamp.RoleCaller, wamp.RoleCallee, wamp.RolePublisher, wamp.RoleSubscriber} {
		if _, ok := roles[r]; ok {
			return true
		}
	}
	return false
}

// refusedRealm is the same whether the realm is not there or not the caller's.
func refusedRealm(name string) error {
	return cfcerr.New(cfcerr.NotAuthorized, "cannot join realm %s: it does not exist, or you have no right in it", name)
}

// add makes the session one that can be found. Whoever ends it before, the
// stop of the hub or of the realm or the removal of its node, is seen here;
// whoever comes later finds it.
func (r *realm) add(h *Hub, s *session) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case h.stopping:
		return errStopping
	case r.closed:
		return refusedRealm(r.name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return s.refusal()
	}
	r.sessions[s] = struct{}{}
	return nil
}

// admit makes s the session of its node's agent. Of two sessions of one node
// the first stays, when it still shows life.
func (h *Hub) admit(ctx context.Context, s *session) error {
	r := s.realm
	r.mu.RLock()
	n := r.nodes[s.id.AuthID]
	r.mu.RUnlock()
	unpaired := cfcerr.New(cfcerr.NodeUnpaired, "cannot join as node %s: it is not paired in realm %s", s.id.AuthID, r.name)
	if n == nil {
		return unpaired
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.PongTimeout*5/3)
	defer cancel()
	select {
	case n.gate <- struct{}{}:
		defer func() { <-n.gate }()
	case <-ctx.Done():
		return duplicate(n)
	}
	n.mu.Lock()
	first := n.agent
	n.mu.Unlock()
	if first != nil {
		ping, stop := context.WithTimeout(ctx, h.cfg.PongTimeout)
		err := first.conn.Alive(ping)
		stop()
		if err == nil {
			h.log.Warn("two hosts with one identity", zap.String("realm", r.name), zap.String("node", n.id),
				zap.String("first", first.id.Address), zap.String("second", s.id.Address))
			return duplicate(n)
		}
		first.end(wire.CloseReplaced, "another session of this node has come and this one did not answer", "replaced")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.removed {
		return unpaired
	}
	n.agent, s.node = s, n
	return nil
}

func duplicate(n *node) error {
	return cfcerr.New(cfcerr.DuplicateIdentity, "cannot join as node %s: another host with the same key is connected and answers", n.id).
		With("node_id", n.id)
}

// setOnline and setOffline change the presence of a node and tell it.
func (n *node) setOnline(h *Hub, s *session) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent != s || n.presence.Online {
		return
	}
	last := n.presence.Node
	n.presence = Presence{Online: true, Since: now, Agent: s.id.Agent, Node: s.attached}
	if at := &n.presence.Node; at.Since == nil {
		if at.Since = last.Since; last.Attached != at.Attached || last.Since == nil {
			at.Since = wire.OptionalTime(now)
		}
	}
	h.met.online.Inc()
	n.changed(h)
	n.tell(catalog.OnNodeOnline, now, "")
}

func (n *node) setOffline(h *Hub, s *session, reason string, left bool) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent != s {
		return
	}
	if left {
		n.agent = nil
	}
	if n.presence.Online {
		n.presence.Online, n.presence.Since, n.presence.Reason = false, now, reason
		h.met.online.Dec()
		n.changed(h)
		n.tell(catalog.OnNodeOffline, now, reason)
	}
}

// changed and tell are called with the lock held, so that all is told in the
// order in which it happened.
func (n *node) tell(e *catalog.Event, at time.Time, reason string) {
	n.realm.tell(e, wamp.List{n.id, wamp.Dict{"time": wire.Time(at), "reason": reason, "by": nil}})
}

func (n *node) changed(h *Hub) {
	if h.cfg.OnPresence != nil {
		h.cfg.OnPresence(n.oid, n.presence)
	}
}
