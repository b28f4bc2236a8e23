package relaytest

import (
	"net/http"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/google/uuid"
)

func (r *Relay) serve(w http.ResponseWriter, req *http.Request) {
	r.wg.Add(1)
	defer r.wg.Done()
	p, err := peer.Upgrade(w, req, peer.Options{})
	if err != nil {
		return
	}
	c := &conn{Conn: p, calls: map[wamp.ID]chan wamp.Message{}}
	defer func() { c.Close(); <-c.Done() }()
	n, refused := r.logIn(c, req.URL.Path)
	if refused != nil {
		details := wamp.Dict{"message": refused.Message}
		for k, v := range refused.Details {
			details[k] = v
		}
		c.Finish(&wamp.Abort{Reason: wamp.URI(refused.URI()), Details: details})
		return
	}
	r.mu.Lock()
	cut := r.cut || r.srv == nil
	if !cut {
		r.live[n.ID] = c
	}
	r.mu.Unlock()
	if cut {
		return
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.live[n.ID] == c {
			delete(r.live, n.ID)
		}
	}()
	c.Welcomed()
	_ = c.Write(&wamp.Welcome{ID: 1, Details: wamp.Dict{"realm": Realm, "authid": n.ID, "authrole": "node", "authprovider": "cfc",
		"authextra": wamp.Dict{"node_oid": n.OID}, "roles": wamp.Dict{"broker": wamp.Dict{}, "dealer": wamp.Dict{}}}})
	for m := range c.Recv() {
		if !r.handle(c, n, m) {
			return
		}
	}
}

// logIn is the relay's half of the handshake.
func (r *Relay) logIn(c *conn, path string) (Node, *cfcerr.Error) {
	nobody := cfcerr.New(cfcerr.AuthenticationFailed, "cannot log in: unknown")
	h, ok := (<-c.Recv()).(*wamp.Hello)
	if !ok || path != wire.AgentPath || h.Details["authrole"] != wire.RoleNode {
		return Node{}, nobody
	}
	r.mu.Lock()
	r.hellos = append(r.hellos, h.Details)
	refuse := r.refuse
	r.mu.Unlock()
	extra, _ := wamp.AsDict(h.Details["authextra"])
	pubkey, _ := wamp.AsString(extra["pubkey"])
	ask := wamp.Dict{"challenge": identity.NewChallenge()}
	var channel []byte
	if extra["channel_binding"] == identity.Binding {
		channel = identity.ChannelID(c.TLS())
		ask["channel_binding"] = identity.Binding
	}
	_ = c.Write(&wamp.Challenge{AuthMethod: "cryptosign", Extra: ask})
	a, ok := (<-c.Recv()).(*wamp.Authenticate)
	if !ok || identity.Verify(pubkey, ask["challenge"].(string), a.Signature, channel) != nil {
		return Node{}, nobody
	}
	if refuse != nil {
		return Node{}, refuse
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, known := r.nodes[pubkey]; known {
		return n, nil
	}
	token, _ := wamp.AsString(extra["activation_code"])
	id, good := r.tokens[token]
	switch {
	case token == "":
		return Node{}, cfcerr.New(cfcerr.NodeUnpaired, "cannot join: this node is not paired")
	case !good:
		return Node{}, cfcerr.New(cfcerr.TokenInvalid, "cannot join: the token is not valid")
	}
	delete(r.tokens, token)
	if wish, _ := wamp.AsString(extra["node_id"]); id == "" {
		id = wish
	}
	r.nodes[pubkey] = Node{id, uuid.NewString()}
	return r.nodes[pubkey], nil
}

// handle answers one message; false ends the session.
func (r *Relay) handle(c *conn, n Node, m wamp.Message) bool {
	switch m := m.(type) {
	case *wamp.Register:
		if m.Procedure != wamp.URI(wire.NodeProcedure(n.ID)) || m.Options["match"] != "exact" {
			_ = c.Write(&wamp.Error{Type: wamp.REGISTER, Request: m.Request, Details: wamp.Dict{}, Error: wamp.ErrNotAuthorized})
			return true
		}
		c.mu.Lock()
		c.served = m.Procedure
		c.mu.Unlock()
		_ = c.Write(&wamp.Registered{Request: m.Request, Registration: 1})
	case *wamp.Publish:
		r.mu.Lock()
		r.events = append(r.events, m)
		r.mu.Unlock()
		if m.Options["acknowledge"] == true {
			_ = c.Write(&wamp.Published{Request: m.Request, Publication: wamp.ID(time.Now().UnixNano() % (1 << 53))})
		}
	case *wamp.Yield:
		c.reply(m.Request, m)
	case *wamp.Error:
		c.reply(m.Request, m)
	case *wamp.Goodbye:
		c.Finish(&wamp.Goodbye{Reason: wamp.ErrGoodbyeAndOut, Details: wamp.Dict{}})
		return false
	}
	return true
}

func (c *conn) reply(id wamp.ID, m wamp.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reply := c.calls[id]; reply != nil {
		reply <- m
		delete(c.calls, id)
	}
}
