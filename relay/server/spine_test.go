package server

import (
	"fmt"
	"path/filepath"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
)

var serializers = []string{"cbor", "msgpack", "json"}

// TestSpine is the way of a new relay, for each serializer on either side: its
// first owner, a realm, a node by a one-time token, and a call to the node.
func TestSpine(t *testing.T) {
	for _, users := range serializers {
		for _, agents := range serializers {
			t.Run(users+" to "+agents, func(t *testing.T) { spine(t, users, agents) })
		}
	}
}

func spine(t *testing.T, users, agents string) {
	r := start(t, defaults(t, t.TempDir()))
	key, owner := r.owner()
	call(t, owner, "cfc.create_management_realm", "demo")
	secret := token(t, owner, "node", wamp.Dict{"realm": "demo", "node_id": "n1"})

	k := newKey(t)
	c := r.agent(k, secret, "")
	c.Serializer = agents
	agent := r.join(c)
	if agent.AuthID() != "n1" || agent.Realm() != "demo" || agent.AuthRole() != "node" {
		t.Fatalf("the agent is %s of %s as %s", agent.AuthID(), agent.Realm(), agent.AuthRole())
	}
	c = r.as(key, "demo")
	c.Serializer = users
	member := r.join(c)
	if member.AuthRole() != "owner" {
		t.Errorf("the realm's creator is %s", member.AuthRole())
	}
	serveNode(t, agent)
	got := fmt.Sprint(call(t, member, "cfc.remote.node.get_status", "n1"))
	if want := fmt.Sprintf("[%s owner [node.get_status]]", member.AuthID()); got != want {
		t.Errorf("the node was asked %s, want %s", got, want)
	}
	if got := fmt.Sprint(call(t, member, "cfc.get_nodes", "online")); got != "[n1]" {
		t.Errorf("online: %s", got)
	}

	// The same token again brings nobody else in.
	_, err := session.Join(t.Context(), r.agent(newKey(t), secret, ""))
	if cfcerr.KindOf(err) != cfcerr.TokenInvalid {
		t.Errorf("the token was used twice: %v", err)
	}
	call(t, owner, "cfc.unpair_node", "demo/n1")
	<-agent.Done()
	if reason := agent.Ended().Reason; reason != cfcerr.NodeUnpaired.URI() {
		t.Errorf("the unpaired agent's session ended with %s", reason)
	}
	if _, err := try(t, member, "cfc.remote.node.get_status", "n1"); cfcerr.KindOf(err) != cfcerr.NoSuchNode {
		t.Errorf("unpaired: %v", err)
	}
}

// TestRestartKeepsState: all that was acknowledged is there again, and a node
// that is away is offline, not unknown.
func TestRestartKeepsState(t *testing.T) {
	t.Parallel()
	conf := defaults(t, t.TempDir())
	first := start(t, conf)
	key, owner := first.owner()
	call(t, owner, "cfc.create_management_realm", "demo")
	k := newKey(t)
	agent := first.join(first.agent(k, token(t, owner, "node", wamp.Dict{"realm": "demo"}), "edge-7"))
	serveNode(t, agent)
	ticket := token(t, owner, "ticket", wamp.Dict{"uses": 3})
	must(t, first.stop())

	second := start(t, conf)
	member := second.join(second.as(key, "demo"))
	node, _ := wamp.AsDict(call(t, member, "cfc.get_node", "edge-7"))
	if node["status"] != "offline" || node["reason"] != "relay-stopped" || node["pubkey"] != k.Public() || node["since"] == nil {
		t.Errorf("after the restart the node is %v", node)
	}
	if _, err := try(t, member, "cfc.remote.node.get_status", "edge-7"); cfcerr.KindOf(err) != cfcerr.NodeOffline {
		t.Errorf("away: %v", err)
	}
	// The token is used, but the key is known: the agent needs no new one.
	agent = second.join(second.agent(k, "", ""))
	serveNode(t, agent)
	call(t, member, "cfc.remote.node.get_status", "edge-7")

	script := second.as(key, "")
	script.Key, script.AuthID, script.Ticket = identity.Key{}, member.AuthID(), ticket
	if s := second.join(script); s.AuthID() != member.AuthID() {
		t.Errorf("the ticket's session is %s", s.AuthID())
	}
	if matches, _ := filepath.Glob(conf.OwnerTokenFile()); len(matches) > 0 {
		t.Error("a relay with an owner leaves an owner's token about")
	}
}
