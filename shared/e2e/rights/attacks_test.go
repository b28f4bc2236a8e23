package rights

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestStrangersCannotJoin(t *testing.T) {
	ctx := within(t, 30*time.Second)
	texts := map[string]bool{}
	for _, r := range []string{realm, "no-such-realm", "wamp.x", "com.crossbario.fabric2"} {
		_, err := session.Join(ctx, session.Config{URL: w.relay.URL(), Realm: r, Key: w.keys["stranger"]})
		refused(t, "a stranger joins "+r, err, no)
		if err != nil {
			texts[strings.ReplaceAll(err.Error(), r, "REALM")] = true
		}
	}
	if len(texts) != 1 {
		t.Errorf("answers tell realms that exist from others: %v", texts)
	}
}

func TestAgentsAndUsersKeepToTheirPaths(t *testing.T) {
	ctx := within(t, 30*time.Second)
	fresh(t, "paths")
	keyFile := filepath.Join(t.TempDir(), "user.key")
	if err := w.keys["boss"].Save(keyFile); err != nil {
		t.Fatal(err)
	}
	l := driver.Login{URL: w.relay.URL() + wire.UserPath, Realm: realm, KeyFile: keyFile, Serializer: "cbor"}
	user, err := driver.Nexus(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	l.URL = w.relay.URL() + wire.AgentPath
	if user, err := driver.Nexus(ctx, l); err == nil {
		user.Close()
		t.Error("a user joined at the agents' path")
	}
	c := w.agent(w.keys[realm+"/paths"], "")
	c.Role = ""
	if _, err := session.Join(ctx, c); err == nil {
		t.Error("an agent joined as a user")
	}
	c = w.agent(w.keys["boss"], "")
	if _, err := session.Join(ctx, c); err == nil {
		t.Error("a user joined as an agent")
	}
}

func TestAnAgentRegistersItsOwnNameOnly(t *testing.T) {
	key := fresh(t, "n2")
	ctx := within(t, 30*time.Second)
	s, err := session.Join(ctx, w.agent(key, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, bad := range []struct {
		procedure string
		options   wamp.Dict
	}{
		{"cfc.node.n1", nil}, {"cfc.node.n10", nil}, {"cfc.node.n", nil}, {"cfc.node.", nil}, {"cfc.node", nil}, {"cfc.node.n20", nil}, {"cfc.node.N2", nil},
		{"cfc.node.n2.x", nil}, {"cfc.node.n2", wamp.Dict{"match": "prefix"}}, {"cfc.node.n2", wamp.Dict{"match": "wildcard"}},
		{"cfc.node.n2", wamp.Dict{"invoke": "roundrobin"}}, {"cfc.node.n2", wamp.Dict{"invoke": "first"}}, {"cfc.node.n2", wamp.Dict{"invoke": "last"}},
		{"cfc.node.n2", wamp.Dict{"invoke": "random"}}, {"cfc.node.", wamp.Dict{"match": "prefix"}}, {"cfc..n2", wamp.Dict{"match": "wildcard"}},
		{"", wamp.Dict{"match": "prefix"}}, {"cfc.remote.node.get_status", nil}, {"wamp.session.list", nil}, {"cfc.get_status", nil},
	} {
		err := s.Register(ctx, bad.procedure, bad.options, ignore)
		if err == nil {
			t.Errorf("registered %s with %v", bad.procedure, bad.options)
		}
	}
	if err := s.Register(ctx, "cfc.node.n2", wamp.Dict{"match": "exact", "invoke": "single"}, echo("n2")); err != nil {
		t.Errorf("its own: %v", err)
	}
}

func TestNodesOfTwoRealmsAreApart(t *testing.T) {
	attach(t, realm, "n1")
	mine, theirs := join(t, "boss", realm), join(t, "stranger", other)
	if _, err := mine.Call(within(t, 10*time.Second), catalog.NodeGetStatus.URI(), wamp.List{"n1"}, nil, session.CallOptions{}); err != nil {
		t.Error(err)
	}
	_, err := theirs.Call(within(t, 10*time.Second), catalog.NodeGetStatus.URI(), wamp.List{"n1"}, nil, session.CallOptions{})
	refused(t, "the n1 of the other realm, which is offline", err, cfcerr.NodeOffline)
	info, err := mine.Call(within(t, 10*time.Second), catalog.RealmGetNode.URI(), wamp.List{"n1"}, nil, session.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := wamp.AsDict(info.Arguments[0])
	oid, _ := wamp.AsString(d["oid"])
	_, err = theirs.Call(within(t, 10*time.Second), catalog.NodeGetStatus.URI(), wamp.List{oid}, nil, session.CallOptions{})
	refused(t, "by the oid of another realm's node", err, cfcerr.NoSuchNode)
	_, err = join(t, "stranger", wire.UsersRealm).Call(within(t, 10*time.Second), catalog.UsersGetNode.URI(), wamp.List{oid}, nil, session.CallOptions{})
	refused(t, "in the users realm", err, cfcerr.NoSuchNode)
	_, err = join(t, "stranger", wire.UsersRealm).Call(within(t, 10*time.Second), catalog.UnpairNode.URI(), wamp.List{oid}, nil, session.CallOptions{})
	refused(t, "unpaired by a stranger", err, cfcerr.NoSuchNode)
}

func TestTheCallersIdentityReachesTheAgent(t *testing.T) {
	attach(t, realm, "n1")
	s := join(t, "vera", realm)
	r, err := s.Call(within(t, 10*time.Second), "crossbarfabriccenter.remote.node.get_worker", wamp.List{"n1", "w1"},
		wamp.Dict{"include_stats": true}, session.CallOptions{Options: wamp.Dict{"caller_authid": "boss", "caller_authrole": "owner"}})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := wamp.AsDict(r.Arguments[0])
	args, _ := wamp.AsList(d["args"])
	if d["authid"] != "vera" || d["role"] != "viewer" || len(args) != 2 || args[0] != "node.get_worker" || args[1] != "w1" {
		t.Errorf("the agent got %v", d)
	}
}

func TestNamesOfNodesAreChecked(t *testing.T) {
	attach(t, realm, "n1")
	s := join(t, "boss", realm)
	call := func(args wamp.List, kwargs wamp.Dict) error {
		_, err := s.Call(within(t, 10*time.Second), catalog.NodeGetStatus.URI(), args, kwargs, session.CallOptions{})
		return err
	}
	for _, id := range []any{"n1.x", ".", "n1.", "N1", "Ñ1", "n\u200b1", "ｎ1", "n1\x00", "n1\n", " n1", "", "-n", "_n", strings.Repeat("n", 64),
		"../n1", "cfc.node.n1", "m1/n1", nil, 1, 1.5, true, wamp.List{"n1"}, wamp.Dict{"node_id": "n1"}, []byte("n1")} {
		err := call(wamp.List{id}, nil)
		refused(t, "node "+printable(id), err, cfcerr.InvalidArgument)
		var e *cfcerr.Error
		if errors.As(err, &e) && (e.Details["argument"] == nil || e.Details["expected"] == nil) {
			t.Errorf("node %s: the refusal names no argument: %v", printable(id), e.Details)
		}
		refused(t, "node_id "+printable(id), call(nil, wamp.Dict{"node_id": id}), cfcerr.InvalidArgument)
	}
	refused(t, "no node", call(nil, nil), cfcerr.InvalidArgument)
	refused(t, "node twice", call(nil, wamp.Dict{"node_id": "n1", "node_oid": "00000000-0000-4000-8000-000000000000"}), cfcerr.InvalidArgument)
	refused(t, "unknown", call(wamp.List{"n3"}, nil), cfcerr.NoSuchNode)
	refused(t, "unknown oid", call(wamp.List{"00000000-0000-4000-8000-000000000000"}, nil), cfcerr.NoSuchNode)
	refused(t, "offline", call(wamp.List{"n10"}, nil), cfcerr.NodeOffline)
	for _, good := range []struct {
		args   wamp.List
		kwargs wamp.Dict
	}{{wamp.List{"n1"}, nil}, {nil, wamp.Dict{"node_id": "n1"}}} {
		if err := call(good.args, good.kwargs); err != nil {
			t.Errorf("%v %v: %v", good.args, good.kwargs, err)
		}
	}
}

func printable(v any) string {
	if s, ok := v.(string); ok {
		return "\"" + strings.ToValidUTF8(s, "?") + "\""
	}
	return strings.TrimSpace(strings.ReplaceAll(typeName(v), "\n", " "))
}

// ended waits for a session's end and gives its reason.
func ended(t *testing.T, s *session.Session, d time.Duration) string {
	t.Helper()
	select {
	case <-s.Done():
		return s.Ended().Reason
	case <-within(t, d).Done():
		t.Error("the session lives on")
		return ""
	}
}

func TestLostRightsEndLivingSessions(t *testing.T) {
	boss := join(t, "boss", wire.UsersRealm)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	newUser(t, "mallory", wire.Operator)
	living := join(t, "mallory", realm)
	must(do(within(t, 10*time.Second), boss, catalog.AddMember.Op, realm, "mallory", "viewer"))
	if got := ended(t, living, 5*time.Second); got != wire.CloseRoleChanged {
		t.Errorf("role changed: ended with %s", got)
	}
	living = join(t, "mallory", realm)
	if living.AuthRole() != "viewer" {
		t.Errorf("joined as %s", living.AuthRole())
	}
	must(do(within(t, 10*time.Second), boss, catalog.RemoveMember.Op, realm, "mallory"))
	if got := ended(t, living, 5*time.Second); got != wire.CloseMemberRemoved {
		t.Errorf("member removed: ended with %s", got)
	}
	_, err := session.Join(within(t, 10*time.Second), session.Config{URL: w.relay.URL(), Realm: realm, Key: w.keys["mallory"]})
	refused(t, "the removed member joins again", err, no)
	living = join(t, "mallory", wire.UsersRealm)
	must(do(within(t, 10*time.Second), boss, catalog.DeleteUser.Op, "mallory"))
	if got := ended(t, living, 5*time.Second); got != wire.CloseUserDeleted {
		t.Errorf("user deleted: ended with %s", got)
	}
	_, err = session.Join(within(t, 10*time.Second), session.Config{URL: w.relay.URL(), Key: w.keys["mallory"]})
	refused(t, "the deleted user joins again", err, cfcerr.AuthenticationFailed)
}

func TestAnUnpairedNodesSessionEnds(t *testing.T) {
	key := fresh(t, "n5")
	s := attach(t, realm, "n5")
	boss := join(t, "boss", wire.UsersRealm)
	if err := do(within(t, 10*time.Second), boss, catalog.UnpairNode.Op, realm+"/n5"); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, s, 5*time.Second); got != wire.CloseNodeUnpaired {
		t.Errorf("ended with %s", got)
	}
	_, err := session.Join(within(t, 10*time.Second), w.agent(key, ""))
	refused(t, "the unpaired node joins again", err, cfcerr.NodeUnpaired)
}

func TestADeletedRealmsSessionsEnd(t *testing.T) {
	boss := join(t, "boss", wire.UsersRealm)
	ctx := within(t, 30*time.Second)
	if err := do(ctx, boss, catalog.CreateManagementRealm.Op, "m3"); err != nil {
		t.Fatal(err)
	}
	if err := w.pair(ctx, boss, "m3", "n1"); err != nil {
		t.Fatal(err)
	}
	user, agent := join(t, "boss", "m3"), attach(t, "m3", "n1")
	refused(t, "with a node in it", do(ctx, boss, catalog.DeleteManagementRealm.Op, "m3"), cfcerr.NotEmpty)
	if err := do(ctx, boss, catalog.DeleteManagementRealm.Op, "m3", true); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, user, 5*time.Second); got != wire.CloseRealmDeleted {
		t.Errorf("the user's session ended with %s", got)
	}
	if got := ended(t, agent, 5*time.Second); got != wire.CloseRealmDeleted && got != wire.CloseNodeUnpaired {
		t.Errorf("the agent's session ended with %s", got)
	}
}

func TestTheLastOwnerStays(t *testing.T) {
	s := join(t, "stranger", wire.UsersRealm)
	ctx := within(t, 20*time.Second)
	refused(t, "leaves", do(ctx, s, catalog.RemoveMember.Op, other, "stranger"), cfcerr.LastOwner)
	refused(t, "steps down", do(ctx, s, catalog.AddMember.Op, other, "stranger", "viewer"), cfcerr.LastOwner)
}

func TestMembersOfOneRealmDoNotSeeAnother(t *testing.T) {
	s := join(t, "vera", wire.UsersRealm)
	ctx := within(t, 20*time.Second)
	for _, o := range []*catalog.Op{catalog.GetManagementRealm.Op, catalog.GetMembers.Op, catalog.DeleteManagementRealm.Op} {
		refused(t, "vera calls "+o.URI()+" of another realm", do(ctx, s, o, other), cfcerr.NoSuchRealm)
		refused(t, "vera calls "+o.URI()+" of no realm", do(ctx, s, o, "nowhere"), cfcerr.NoSuchRealm)
	}
	refused(t, "vera adds herself", do(ctx, s, catalog.AddMember.Op, other, "vera", "owner"), cfcerr.NoSuchRealm)
	refused(t, "vera makes herself owner", do(ctx, s, catalog.AddMember.Op, realm, "vera", "owner"), no)
	refused(t, "vera deletes", do(ctx, s, catalog.DeleteManagementRealm.Op, realm), no)
	refused(t, "vera unpairs", do(ctx, s, catalog.UnpairNode.Op, realm+"/n1"), no)
	_, err := w.token(ctx, s, wire.ForNode, wamp.Dict{"realm": realm})
	refused(t, "vera invites a node", err, no)
	_, err = w.token(ctx, s, wire.ForNode, wamp.Dict{"realm": other})
	refused(t, "vera invites a node into another realm", err, cfcerr.NoSuchRealm)
	_, err = w.token(ctx, s, wire.ForUser, wamp.Dict{"user": "eve"})
	refused(t, "vera invites a user", err, no)
}
