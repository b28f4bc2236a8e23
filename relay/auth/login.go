package auth

import (
	"context"
	"errors"
	"strings"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/google/uuid"
)

// prove makes the other side sign a fresh challenge with the key that it named.
func (at *attempt) prove(ctx context.Context) error {
	challenge := identity.NewChallenge()
	extra := wamp.Dict{"challenge": challenge, "channel_binding": nil}
	var channel []byte
	if at.hello.bind {
		if channel = identity.ChannelID(at.TLS()); channel != nil {
			extra["channel_binding"] = identity.Binding
		}
	}
	signature, err := at.ask(ctx, methodKey, extra)
	if err != nil {
		return err
	}
	if err := identity.Verify(at.hello.pubkey, challenge, signature, channel); err != nil {
		return refusal{errAuth, err.Error()}
	}
	return nil
}

// person is a user with a key.
func (at *attempt) person(ctx context.Context, id *route.Identity) error {
	if err := at.prove(ctx); err != nil {
		return err
	}
	id.Pubkey = at.hello.pubkey
	h, err := at.cfg.Store.Holder(ctx, id.Pubkey)
	if err != nil {
		return err
	}
	at.user = h.User
	token, bad := at.token()
	switch {
	case token != nil:
		c, err := at.cfg.Claims.ClaimUser(ctx, store.UserClaim{Token: *token, Pubkey: id.Pubkey, Realm: at.hello.realm, Now: at.cfg.Now()}, at.host)
		if err != nil {
			return err
		}
		at.user, id.TokenID = c.User.Name, c.Token.ID
	case h.User != "":
	case bad != nil:
		return bad
	case h.Node != "":
		return refusal{errAuth, "the key of a node"}
	default:
		return refusal{errAuth, "unknown key"}
	}
	id.AuthID = at.user
	return at.enter(ctx, id)
}

// token is the one that came with HELLO. One that is no token at all is no
// harm to a key that is known.
func (at *attempt) token() (*wire.Token, error) {
	if at.hello.code == "" {
		return nil, nil
	}
	t, err := wire.ParseToken(at.hello.code)
	if err != nil {
		return nil, &store.TokenError{Reason: store.ReasonForm}
	}
	return &t, nil
}

// enter decides realm and role of a user.
func (at *attempt) enter(ctx context.Context, id *route.Identity) error {
	if at.hello.realm == "" {
		id.Realm, id.Role = wire.UsersRealm, wire.RoleUser
		return nil
	}
	role, err := at.cfg.Store.Role(ctx, at.hello.realm, id.AuthID)
	if err != nil {
		return err
	}
	if role == "" {
		return refusal{store.NoRight(at.hello.realm), "not a member, or no such realm"}
	}
	id.Realm, id.Role = at.hello.realm, string(role)
	return nil
}

// script is a user with a ticket.
func (at *attempt) script(ctx context.Context, id *route.Identity) error {
	secret, err := at.ask(ctx, methodTicket, wamp.Dict{})
	if err != nil {
		return err
	}
	at.user = at.hello.authid
	token, err := wire.ParseToken(secret)
	if err != nil {
		return refusal{errAuth, "no ticket"}
	}
	ticket, err := at.cfg.Store.Ticket(ctx, at.user, token, at.cfg.Now())
	if err != nil {
		return hidden(err)
	}
	id.AuthID, id.TokenID = at.user, ticket.ID
	if ticket.Realm != "" && ticket.Realm != at.hello.realm || ticket.Role != "" && at.hello.realm == "" {
		realm := at.hello.realm
		if realm == "" {
			realm = wire.UsersRealm
		}
		return refusal{store.NoRight(realm), "the ticket is narrower"}
	}
	if err := at.enter(ctx, id); err != nil {
		return err
	}
	id.Role = narrow(id.Role, ticket.Role)
	// Last, so that a refused log-in uses nothing up.
	_, err = at.cfg.Store.UseTicket(ctx, at.user, token, at.cfg.Now())
	return hidden(err)
}

// hidden tells no more of a ticket than of a key.
func hidden(err error) error {
	var token *store.TokenError
	if errors.As(err, &token) {
		return refusal{errAuth, "ticket " + token.ID + ": " + token.Reason}
	}
	return err
}

func narrow(role string, to wire.Role) string {
	if to == "" {
		return role
	}
	return string(wire.Role(role).Narrow(to))
}

// agent is the agent of a node.
func (at *attempt) agent(ctx context.Context, id *route.Identity) error {
	if err := at.prove(ctx); err != nil {
		return err
	}
	id.Pubkey = at.hello.pubkey
	n, err := at.node(ctx, id)
	if err != nil {
		return err
	}
	if at.hello.realm != "" && at.hello.realm != n.Realm {
		return refusal{store.NoRight(at.hello.realm), "not the node's realm"}
	}
	id.Realm, id.AuthID, id.Role, id.NodeOID = n.Realm, n.ID, wire.RoleNode, n.OID
	id.Agent, id.Node = at.hello.agent, at.hello.node
	id.Agent.Address = at.host
	id.Extra = wamp.Dict{"node_oid": n.OID, "relay": wamp.Dict{"version": at.cfg.Version, "protocol": wire.Protocol}}
	return nil
}

func (at *attempt) node(ctx context.Context, id *route.Identity) (store.Node, error) {
	token, bad := at.token()
	if token != nil {
		c, err := at.cfg.Claims.ClaimNode(ctx, store.NodeClaim{Token: *token, Pubkey: id.Pubkey, NodeID: at.hello.nodeID,
			Fallback: firstLabel(at.hello.agent.Hostname), Realm: at.hello.realm, OID: uuid.NewString(), Now: at.cfg.Now()}, at.host)
		id.TokenID = c.Token.ID
		return c.Node, err
	}
	h, err := at.cfg.Store.Holder(ctx, id.Pubkey)
	switch {
	case err != nil:
		return store.Node{}, err
	case h.Node != "":
	case bad != nil:
		return store.Node{}, bad
	case h.User != "":
		return store.Node{}, refusal{errUnpaired, "the key of a user"}
	default:
		return store.Node{}, refusal{errUnpaired, "unknown key"}
	}
	n, err := at.cfg.Store.Node(ctx, h.Node)
	if cfcerr.KindOf(err) == cfcerr.NoSuchNode { // unpaired between two reads
		return n, refusal{errUnpaired, "unpaired meanwhile"}
	}
	return n, err
}

// firstLabel is the part of a host name that can name a node.
func firstLabel(hostname string) string {
	label, _, _ := strings.Cut(strings.ToLower(hostname), ".")
	return label
}

// Check looks again whether an identity still stands. Package route asks when
// the session can be found by those who end sessions, so that no right that is
// lost during a log-in survives in it.
func (a *Auth) Check(ctx context.Context, id route.Identity) error {
	switch h, err := a.holder(ctx, id); {
	case err != nil:
		return err
	case id.Role == wire.RoleNode:
		if h.Node != id.NodeOID || h.Nobody() {
			return errUnpaired
		}
		return nil
	case h.User != id.AuthID || h.Nobody():
		return errAuth
	case id.Realm == wire.UsersRealm:
		return nil
	}
	role, err := a.cfg.Store.Role(ctx, id.Realm, id.AuthID)
	if err != nil {
		return err
	}
	if id.Method == methodTicket {
		t, err := a.cfg.Store.Token(ctx, id.TokenID)
		if err != nil {
			return err
		}
		role = wire.Role(narrow(string(role), t.Role))
	}
	switch {
	case role == "":
		return store.NoRight(id.Realm)
	case string(role) != id.Role:
		return errStale
	}
	return nil
}

// holder is whose the key or the ticket is.
func (a *Auth) holder(ctx context.Context, id route.Identity) (store.Holder, error) {
	if id.Method != methodTicket {
		return a.cfg.Store.Holder(ctx, id.Pubkey)
	}
	t, err := a.cfg.Store.Token(ctx, id.TokenID)
	switch {
	case cfcerr.KindOf(err) == cfcerr.NoSuchToken || err == nil && !t.Revoked.IsZero():
		return store.Holder{}, nil
	case err != nil:
		return store.Holder{}, err
	}
	return store.Holder{User: t.User}, nil
}
