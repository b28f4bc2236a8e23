package pairing_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/relay/store/storetest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

type dict = map[string]any

func TestCreateToken(t *testing.T) {
	r := newRig(t)
	made, _ := r.token("ann", "node", dict{"realm": "r1"})
	if made.Purpose != "node" || made.Expires != "2026-03-01T13:00:00.000Z" || made.Uses != 1 || made.Pin != "" || !strings.HasPrefix(made.Token, "cfcn_"+made.ID) {
		t.Errorf("made %+v", made)
	}
	r.audited(audit.TokenMade, "ann", made.ID, "r1")
	r.pin = "sha256:ab"
	made, secret := r.token("ann", "node", dict{"realm": "r1", "node_id": "n1", "ttl": "7d", "uses": 3, "replace": true, "labels": dict{"a": "b"}})
	if made.Expires != "2026-03-08T12:00:00.000Z" || made.Uses != 3 || made.Pin != "sha256:ab" {
		t.Errorf("made %+v", made)
	}
	got, err := r.Store.Token(r.Ctx(), secret.ID)
	if err != nil || !got.Replace || got.Labels["a"] != "b" || got.NodeID != "n1" || strings.Contains(fmt.Sprintf("%+v", got), made.Token) {
		t.Errorf("kept %+v, %v", got, err)
	}
	for _, e := range r.audit.all {
		if strings.Contains(fmt.Sprintf("%+v", e), made.Token) {
			t.Errorf("the token is in the audit log: %+v", e)
		}
	}
	for options, want := range map[string]time.Duration{"90m": 90 * time.Minute, "12h": 12 * time.Hour, "30d": 30 * 24 * time.Hour, "45s": 45 * time.Second, "60": time.Minute} {
		made, _ := r.token("ann", "node", dict{"realm": "r1", "ttl": options})
		if made.Expires != wire.Time(r.now.Add(want)) {
			t.Errorf("ttl %s: expires %s", options, made.Expires)
		}
	}
	for _, seconds := range []any{60, int64(60), uint64(60), 60.0, float32(60)} {
		if made, _ := r.token("ann", "node", dict{"realm": "r1", "ttl": seconds, "uses": nil}); made.Expires != wire.Time(r.now.Add(time.Minute)) {
			t.Errorf("ttl %v: expires %s", seconds, made.Expires)
		}
	}
	if made, _ := r.token("bob", "ticket", dict{"ttl": "365d"}); made.Expires != "2027-03-01T12:00:00.000Z" || !strings.HasPrefix(made.Token, "cfct_") {
		t.Errorf("made %+v", made)
	}
}

func TestCreateTokenOptions(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		purpose  string
		options  dict
		argument string
	}{
		"unknown":            {"node", dict{"realm": "r1", "zone": 1}, "options.zone"},
		"of another purpose": {"node", dict{"realm": "r1", "user": "x"}, "options.user"},
		"labels for a user":  {"user", dict{"user": "x", "labels": dict{}}, "options.labels"},
		"replace a ticket":   {"ticket", dict{"replace": true}, "options.replace"},
		"no realm":           {"node", nil, "options.realm"},
		"realm a number":     {"node", dict{"realm": 1}, "options.realm"},
		"realm's form":       {"node", dict{"realm": "R1"}, "options.realm"},
		"node id's form":     {"node", dict{"realm": "r1", "node_id": "a.b"}, "options.node_id"},
		"replace open":       {"node", dict{"realm": "r1", "replace": true}, "options.node_id"},
		"replace text":       {"node", dict{"realm": "r1", "node_id": "a", "replace": "yes"}, "options.replace"},
		"labels of numbers":  {"node", dict{"realm": "r1", "labels": dict{"a": 1}}, "options.labels"},
		"labels a list":      {"node", dict{"realm": "r1", "labels": []any{"a"}}, "options.labels"},
		"uses 0":             {"node", dict{"realm": "r1", "uses": 0}, "options.uses"},
		"uses text":          {"node", dict{"realm": "r1", "uses": "1"}, "options.uses"},
		"uses half":          {"node", dict{"realm": "r1", "uses": 1.5}, "options.uses"},
		"uses many":          {"node", dict{"realm": "r1", "uses": 1000000}, "options.uses"},
		"ttl 0":              {"node", dict{"realm": "r1", "ttl": 0}, "options.ttl"},
		"ttl below 0":        {"node", dict{"realm": "r1", "ttl": -5}, "options.ttl"},
		"ttl too long":       {"node", dict{"realm": "r1", "ttl": "31d"}, "options.ttl"},
		"ttl overflow":       {"node", dict{"realm": "r1", "ttl": "1099511627775d"}, "options.ttl"},
		"ttl unit":           {"node", dict{"realm": "r1", "ttl": "1y"}, "options.ttl"},
		"ttl empty":          {"node", dict{"realm": "r1", "ttl": ""}, "options.ttl"},
		"ttl unit alone":     {"node", dict{"realm": "r1", "ttl": "h"}, "options.ttl"},
		"ttl sign":           {"node", dict{"realm": "r1", "ttl": "-1h"}, "options.ttl"},
		"ttl a bool":         {"node", dict{"realm": "r1", "ttl": true}, "options.ttl"},
		"ticket too long":    {"ticket", dict{"ttl": "366d"}, "options.ttl"},
		"ticket's role":      {"ticket", dict{"role": "admin"}, "options.role"},
		"user without name":  {"user", nil, "options.user"},
		"user's form":        {"user", dict{"user": "Bob"}, "options.user"},
		"role without realm": {"user", dict{"user": "x", "role": "viewer"}, "options.realm"},
		"realm without role": {"user", dict{"user": "x", "realm": "r1"}, "options.role"},
		"add and replace":    {"user", dict{"user": "ann", "add": true, "replace": true}, "options.replace"},
		"add with a realm":   {"user", dict{"add": true, "realm": "r1", "role": "viewer"}, "options.realm"},
		"purpose":            {"host", nil, "purpose"},
	} {
		t.Run(name, func(t *testing.T) {
			e := r.refuse(cfcerr.InvalidArgument, "ann", "create_token", c.purpose, c.options)
			if e.Details["argument"] != c.argument || e.Details["expected"] == "" {
				t.Errorf("details %v, want argument %s", e.Details, c.argument)
			}
		})
	}
}

func TestWhoMakesWhichToken(t *testing.T) {
	r := newRig(t)
	const ok = cfcerr.Kind(0)
	for name, c := range map[string]struct {
		user, purpose string
		options       dict
		want          cfcerr.Kind
	}{
		"node by an owner":               {"ann", "node", dict{"realm": "r1"}, ok},
		"node by a viewer":               {"bob", "node", dict{"realm": "r1"}, cfcerr.NotAuthorized},
		"node by a stranger":             {"eve", "node", dict{"realm": "r1"}, cfcerr.NoSuchRealm},
		"node by the relay's owner":      {"root", "node", dict{"realm": "r1"}, cfcerr.NoSuchRealm},
		"user by the relay's owner":      {"root", "user", dict{"user": "new"}, ok},
		"user by somebody":               {"ann", "user", dict{"user": "new"}, cfcerr.NotAuthorized},
		"member by an owner":             {"ann", "user", dict{"user": "new", "realm": "r1", "role": "owner"}, ok},
		"member by a viewer":             {"bob", "user", dict{"user": "new", "realm": "r1", "role": "viewer"}, cfcerr.NotAuthorized},
		"member by the relay's owner":    {"root", "user", dict{"user": "new", "realm": "r1", "role": "viewer"}, cfcerr.NoSuchRealm},
		"name taken":                     {"root", "user", dict{"user": "bob"}, cfcerr.NameTaken},
		"name taken, by an owner":        {"ann", "user", dict{"user": "bob", "realm": "r1", "role": "viewer"}, cfcerr.NameTaken},
		"replace by the relay's owner":   {"root", "user", dict{"user": "bob", "replace": true}, ok},
		"replace nobody":                 {"root", "user", dict{"user": "ghost", "replace": true}, cfcerr.NoSuchUser},
		"replace by another":             {"ann", "user", dict{"user": "bob", "replace": true}, cfcerr.NotAuthorized},
		"replace himself":                {"bob", "user", dict{"user": "bob", "replace": true}, cfcerr.NotAuthorized},
		"add for himself":                {"bob", "user", dict{"add": true}, ok},
		"add for himself by name":        {"bob", "user", dict{"add": true, "user": "bob"}, ok},
		"add for another":                {"root", "user", dict{"add": true, "user": "bob"}, cfcerr.NotAuthorized},
		"ticket":                         {"bob", "ticket", nil, ok},
		"ticket for a realm":             {"bob", "ticket", dict{"realm": "r1", "role": "owner"}, ok},
		"ticket for a realm not his":     {"eve", "ticket", dict{"realm": "r1"}, cfcerr.NoSuchRealm},
		"ticket for another":             {"root", "ticket", dict{"user": "bob"}, cfcerr.NotAuthorized},
		"ticket of somebody who is gone": {"ghost", "ticket", nil, cfcerr.NoSuchUser},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := r.call(c.user, "create_token", c.purpose, c.options)
			if cfcerr.KindOf(err) != c.want {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
}

// What ends with a ticket's time must not live on in a key or another ticket.
func TestTicketMakesNothingThatLasts(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		user, purpose string
		options       dict
		want          cfcerr.Kind
	}{
		"a key":                  {"bob", "user", dict{"add": true}, cfcerr.NotAuthorized},
		"a ticket":               {"bob", "ticket", nil, cfcerr.NotAuthorized},
		"a ticket for the realm": {"ann", "ticket", dict{"realm": "r1"}, cfcerr.NotAuthorized},
		"a user":                 {"root", "user", dict{"user": "new"}, cfcerr.NotAuthorized},
		"a member":               {"ann", "user", dict{"user": "new", "realm": "r1", "role": "owner"}, cfcerr.NotAuthorized},
		"another's keys":         {"root", "user", dict{"user": "bob", "replace": true}, cfcerr.NotAuthorized},
		"a node, by an owner":    {"ann", "node", dict{"realm": "r1"}, 0},
		"a node, by a viewer":    {"bob", "node", dict{"realm": "r1"}, cfcerr.NotAuthorized},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := r.byTicket(c.user, "create_token", c.purpose, c.options); cfcerr.KindOf(err) != c.want {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
}

func TestListAndRevokeTokens(t *testing.T) {
	r := newRig(t)
	r.must("ann", "add_member", "r1", "eve", "owner")
	node, _ := r.token("ann", "node", dict{"realm": "r1", "node_id": "n1"})
	user, _ := r.token("root", "user", dict{"user": "new"})
	member, _ := r.token("ann", "user", dict{"user": "new2", "realm": "r1", "role": "viewer"})
	ticket, _ := r.token("bob", "ticket", dict{"realm": "r1"})
	ids := func(by string) map[string]bool {
		out, last := map[string]bool{}, ""
		for _, i := range r.must(by, "get_tokens").([]catalog.TokenInfo) {
			if i.ID < last {
				t.Errorf("%s: not sorted", by)
			}
			last, out[i.ID] = i.ID, true
		}
		return out
	}
	for by, want := range map[string][]string{"ann": {node.ID, member.ID}, "eve": {node.ID, member.ID}, "bob": {ticket.ID}} {
		got := ids(by)
		if len(got) != len(want) || !got[want[0]] || !got[want[len(want)-1]] {
			t.Errorf("%s sees %v, want %v", by, got, want)
		}
	}
	if got := ids("root"); !got[user.ID] || !got[member.ID] || got[node.ID] || got[ticket.ID] {
		t.Errorf("root sees %v", got)
	}
	for _, i := range r.must("ann", "get_tokens").([]catalog.TokenInfo) {
		if want := (catalog.TokenInfo{ID: node.ID, Purpose: "node", Realm: p("r1"), NodeID: p("n1"), Expires: node.Expires, Uses: 1, Left: 1, By: "ann"}); i.ID == node.ID && !reflect.DeepEqual(i, want) {
			t.Errorf("token %+v", i)
		}
	}
	hidden := r.refuse(cfcerr.NoSuchToken, "ann", "revoke_token", ticket.ID)
	if absent := r.refuse(cfcerr.NoSuchToken, "ann", "revoke_token", "aaaaaaaa"); len(absent.Message) != len(hidden.Message) {
		t.Errorf("a token that is not the caller's shows: %q, %q", hidden.Message, absent.Message)
	}
	r.refuse(cfcerr.NoSuchToken, "bob", "revoke_token", node.ID)
	if e := r.refuse(cfcerr.InvalidArgument, "ann", "revoke_token", node.Token); strings.Contains(fmt.Sprint(e.Message, e.Details), node.Token) {
		t.Errorf("the error quotes the token: %v", e)
	}
	r.hub.did()
	r.hub.sessions = []route.Identity{{AuthID: "bob", Realm: "r1", Method: "ticket", TokenID: ticket.ID}, {AuthID: "bob", Realm: "r1", Method: "cryptosign"},
		{AuthID: "n1", Realm: "r1", Method: "cryptosign", TokenID: node.ID}}
	if got := r.must("eve", "revoke_token", node.ID); got != (catalog.TokenRevoked{ID: node.ID, Revoked: begin}) {
		t.Errorf("revoked %+v", got)
	}
	r.did() // whoever came in by it stays
	r.audited(audit.TokenRevoked, "eve", node.ID)
	r.must("bob", "revoke_token", ticket.ID)
	r.did("end bob@r1: cfc.close.token_revoked")
	if got := ids("ann"); got[node.ID] || !got[member.ID] {
		t.Errorf("after one was revoked: %v", got)
	}
	_, secret := r.token("ann", "node", dict{"realm": "r1", "node_id": "n9"})
	_, err := r.claimNode(secret, storetest.Key(t), "")
	r.OK(err)
	if got := ids("ann"); !got[secret.ID] {
		t.Error("a used token is no longer listed before it expires")
	}
	r.now = r.now.Add(2 * time.Hour)
	if got := ids("ann"); len(got) != 0 {
		t.Errorf("expired tokens are listed: %v", got)
	}
}

func p(s string) *string { return &s }

func TestClaims(t *testing.T) {
	r := newRig(t)
	_, tok := r.token("ann", "node", dict{"realm": "r1", "uses": 2})
	key := storetest.Key(t)
	got, err := r.claimNode(tok, key, "n1")
	r.OK(err)
	r.did("add node r1/n1", "publish on_node_paired r1/n1 reason=paired by=ann")
	r.audited(audit.NodePaired, key, "ann", "10.0.0.9")
	again, err := r.claimNode(tok, key, "n1")
	if err != nil || again.Node.OID != got.Node.OID {
		t.Errorf("again %+v, %v", again, err)
	}
	r.did()
	_, replace := r.token("ann", "node", dict{"realm": "r1", "node_id": "n1", "replace": true})
	r.hub.sessions = []route.Identity{{AuthID: "n1", Realm: "r1", Role: wire.RoleNode, NodeOID: got.Node.OID, Pubkey: key}}
	_, err = r.claimNode(replace, storetest.Key(t), "")
	r.OK(err)
	r.did("end n1@r1: fabric.auth-failed.node-unpaired", "add node r1/n1", "publish on_node_paired r1/n1 reason=replaced by=ann")
	r.audited(audit.NodeReplaced, "n1")

	_, user := r.token("ann", "user", dict{"user": "new", "realm": "r1", "role": "operator"})
	_, err = r.claimUser(user, storetest.Key(t))
	r.OK(err)
	r.did()
	r.audited(audit.UserCreated, "new", "operator")
	_, add := r.token("bob", "user", dict{"add": true})
	_, err = r.claimUser(add, storetest.Key(t))
	r.OK(err)
	r.did()
	r.audited(audit.UserKeyAdded, "bob")
	_, over := r.token("root", "user", dict{"user": "bob", "replace": true})
	r.hub.sessions = []route.Identity{{AuthID: "bob", Realm: "r1"}, {AuthID: "bob", Realm: wire.UsersRealm}, {AuthID: "ann", Realm: "r1"}}
	_, err = r.claimUser(over, storetest.Key(t))
	r.OK(err)
	r.did("end bob@r1: cfc.close.replaced", "end bob@"+wire.UsersRealm+": cfc.close.replaced")
	r.audited(audit.UserReplaced, "bob", "root")
	if _, err := r.claimUser(over, storetest.Key(t)); cfcerr.KindOf(err) != cfcerr.TokenInvalid {
		t.Error(err)
	}
	r.did()
}

func TestFirstOwner(t *testing.T) {
	r, s := emptyRig(t)
	path, err := r.m.FirstOwner(t.Context())
	if err != nil || path != r.owner {
		t.Fatalf("path %q, %v", path, err)
	}
	read := func() wire.Token {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := wire.ParseToken(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	first := read()
	// A restart leaves a good token in peace, and replaces one that is no good.
	r.now = r.now.Add(90 * 24 * time.Hour)
	if _, err := r.m.FirstOwner(t.Context()); err != nil || read() != first {
		t.Errorf("another token after a restart, %v", err)
	}
	for _, bad := range []string{"", "rubbish", mustToken(t).Secret()} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := r.m.FirstOwner(t.Context()); err != nil || read() == first {
			t.Errorf("the file with %q was kept, %v", bad, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := r.m.FirstOwner(t.Context()); err != nil {
		t.Fatal(err)
	}
	claim := func(tok wire.Token) (store.UserClaimed, error) {
		return r.m.ClaimUser(t.Context(), store.UserClaim{Token: tok, Pubkey: storetest.Key(t), Now: r.now}, "127.0.0.1")
	}
	if _, err := claim(first); cfcerr.KindOf(err) != cfcerr.TokenInvalid {
		t.Errorf("a token that was replaced is still good: %v", err)
	}
	got, err := claim(read())
	if err != nil || got.User.Name != "admin" || !got.User.Owner {
		t.Fatalf("claimed %+v, %v", got, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	// One that a crash has left goes at the next start.
	if err := os.WriteFile(path, []byte(first.Secret()), 0o600); err != nil {
		t.Fatal(err)
	}
	if left, err := r.m.FirstOwner(t.Context()); err != nil || left != "" {
		t.Errorf("path %q, %v", left, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if u, err := s.User(t.Context(), "admin"); err != nil || !u.Owner {
		t.Errorf("admin is %+v, %v", u, err)
	}
	for _, e := range r.audit.all {
		if strings.Contains(fmt.Sprintf("%+v", e), first.Secret()) {
			t.Errorf("the token is in the audit log: %+v", e)
		}
	}
}

func mustToken(t *testing.T) wire.Token {
	tok, err := wire.NewToken(wire.ForUser)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}
