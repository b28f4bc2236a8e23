package storetest

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/google/uuid"
)

func testUsers(t *testing.T, w *World) {
	key := w.User("bob")
	w.User("alice@example.com")
	all, err := w.Users(w.Ctx())
	w.OK(err)
	var names []string
	for _, u := range all {
		names = append(names, u.Name)
	}
	if want := []string{"alice@example.com", "bob", "root"}; !slices.Equal(names, want) {
		t.Fatalf("users %v, want %v", names, want)
	}
	bob, err := w.Store.User(w.Ctx(), "bob")
	w.OK(err)
	if !slices.Equal(bob.Pubkeys, []string{key}) || !bob.Created.Equal(w.Now) || bob.Owner {
		t.Fatalf("bob is %+v", bob)
	}
	if root, err := w.Store.User(w.Ctx(), "root"); err != nil || !root.Owner {
		t.Fatalf("root is %+v, %v", root, err)
	}
	w.holder(key, store.Holder{User: "bob"})
	w.holder(Key(t), store.Holder{})
	_, err = w.Store.User(w.Ctx(), "nobody")
	w.Refused(err, cfcerr.NoSuchUser)
	id, err := w.RelayID(w.Ctx())
	if err != nil || !wire.ValidOID(id) {
		t.Fatalf("relay id %q, %v", id, err)
	}
	w.OK(w.Healthy())
}

func testDeleteUser(t *testing.T, w *World) {
	key := w.User("bob")
	w.User("eve")
	w.Realm("r1", "root")
	_, err := w.SetMember(w.Ctx(), "r1", "bob", wire.Operator)
	w.OK(err)
	own := w.Token(store.Token{Purpose: wire.ForTicket, User: "bob", By: "bob", Uses: 2})
	other := w.Token(store.Token{Purpose: wire.ForTicket, User: "eve", By: "eve"})
	w.OK(deleted(w, "bob"))
	_, err = w.Store.User(w.Ctx(), "bob")
	w.Refused(err, cfcerr.NoSuchUser)
	w.holder(key, store.Holder{})
	if m, err := w.Members(w.Ctx(), "r1"); err != nil || !maps.Equal(m, map[string]wire.Role{"root": wire.Owner}) {
		t.Fatalf("members %v, %v", m, err)
	}
	_, err = w.Ticket(w.Ctx(), "bob", own, w.Now)
	w.Why(err, store.ReasonUnknown)
	if _, err = w.Ticket(w.Ctx(), "eve", other, w.Now); err != nil {
		t.Fatal(err)
	}
	w.Refused(deleted(w, "bob"), cfcerr.NoSuchUser)
	w.Refused(deleted(w, "root"), cfcerr.LastOwner)
	// A user of that name later is another one.
	w.User("bob")
	if in, err := w.Memberships(w.Ctx(), "bob"); err != nil || len(in) != 0 {
		t.Fatalf("memberships %v, %v", in, err)
	}
}

func deleted(w *World, user string) error {
	_, err := w.DeleteUser(w.Ctx(), user, "")
	return err
}

// Realms whose last owner is deleted go to the heir, and no others.
func testHeir(t *testing.T, w *World) {
	for _, u := range []string{"bob", "eve", "ann"} {
		w.User(u)
	}
	for _, realm := range []string{"alone", "known", "shared", "visited"} {
		w.Realm(realm, map[bool]string{true: "root", false: "bob"}[realm == "visited"])
	}
	for _, m := range []struct {
		realm, user string
		role        wire.Role
	}{{"known", "eve", wire.Viewer}, {"shared", "ann", wire.Owner}, {"visited", "bob", wire.Operator}} {
		_, err := w.SetMember(w.Ctx(), m.realm, m.user, m.role)
		w.OK(err)
	}
	for heir, want := range map[string]cfcerr.Kind{"": cfcerr.LastOwner, "nobody": cfcerr.NoSuchUser, "bob": cfcerr.InvalidArgument} {
		_, err := w.DeleteUser(w.Ctx(), "bob", heir)
		w.Refused(err, want)
	}
	if m, err := w.Members(w.Ctx(), "known"); err != nil || !maps.Equal(m, map[string]wire.Role{"bob": wire.Owner, "eve": wire.Viewer}) {
		t.Fatalf("what was refused left %v, %v", m, err)
	}
	inherited, err := w.DeleteUser(w.Ctx(), "bob", "eve")
	if err != nil || !maps.Equal(inherited, map[string]wire.Role{"alone": "", "known": wire.Viewer}) {
		t.Fatalf("inherited %v, %v", inherited, err)
	}
	for realm, want := range map[string]map[string]wire.Role{"alone": {"eve": wire.Owner}, "known": {"eve": wire.Owner}, "shared": {"ann": wire.Owner}, "visited": {"root": wire.Owner}} {
		if m, err := w.Members(w.Ctx(), realm); err != nil || !maps.Equal(m, want) {
			t.Errorf("members of %s: %v, %v", realm, m, err)
		}
		if r, err := w.Store.Realm(w.Ctx(), realm); err != nil || want[r.Owner] != wire.Owner {
			t.Errorf("realm %s is %s's, %v", realm, r.Owner, err)
		}
	}
}

func testRealms(t *testing.T, w *World) {
	w.Realm("r2", "root")
	w.Realm("r1", "root")
	all, err := w.Realms(w.Ctx())
	w.OK(err)
	if len(all) != 2 || all[0].Name != "r1" || all[1].Name != "r2" || all[0].Owner != "root" {
		t.Fatalf("realms %+v", all)
	}
	r, err := w.Store.Realm(w.Ctx(), "r1")
	w.OK(err)
	w.Refused(w.CreateRealm(w.Ctx(), r), cfcerr.AlreadyExists)
	w.Refused(w.CreateRealm(w.Ctx(), store.Realm{Name: "r3", Owner: "nobody"}), cfcerr.NoSuchUser)
	_, err = w.Store.Realm(w.Ctx(), "r3")
	w.Refused(err, cfcerr.NoSuchRealm)
}

func testDeleteRealm(t *testing.T, w *World) {
	w.User("bob")
	w.Realm("r1", "root")
	w.Realm("r10", "root")
	_, err := w.SetMember(w.Ctx(), "r1", "bob", wire.Viewer)
	w.OK(err)
	b, a := w.Paired("r1", "b"), w.Paired("r1", "a")
	keep := w.Paired("r10", "a")
	w.OK(w.SaveLastSeen(w.Ctx(), map[string]store.LastSeen{a.OID: {Reason: "closed"}}))
	tok := w.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", Uses: 3})
	_, err = w.DeleteRealm(w.Ctx(), "r1", false)
	w.Refused(err, cfcerr.NotEmpty)
	w.holder(a.Pubkey, store.Holder{Node: a.OID})
	freed, err := w.DeleteRealm(w.Ctx(), "r1", true)
	w.OK(err)
	if len(freed) != 2 || freed[0].OID != a.OID || freed[1].OID != b.OID {
		t.Fatalf("freed %+v", freed)
	}
	w.holder(a.Pubkey, store.Holder{})
	w.holder(keep.Pubkey, store.Holder{Node: keep.OID})
	_, err = w.DeleteRealm(w.Ctx(), "r1", true)
	w.Refused(err, cfcerr.NoSuchRealm)
	if role, err := w.Role(w.Ctx(), "r1", "bob"); err != nil || role != "" {
		t.Fatalf("role %q, %v", role, err)
	}
	// Neither members nor tokens of a realm come back with its name.
	w.Realm("r1", "root")
	if m, err := w.Members(w.Ctx(), "r1"); err != nil || len(m) != 1 {
		t.Fatalf("members %v, %v", m, err)
	}
	_, err = w.ByNode(tok, Key(t), "c")
	w.Why(err, store.ReasonUnknown)
	w.Paired("r1", "a")
}

func testMembers(t *testing.T, w *World) {
	w.User("bob")
	w.Realm("r1", "root")
	w.Realm("r10", "root")
	before, err := w.SetMember(w.Ctx(), "r1", "bob", wire.Viewer)
	if err != nil || before != "" {
		t.Fatalf("before %q, %v", before, err)
	}
	before, err = w.SetMember(w.Ctx(), "r1", "bob", wire.Operator)
	if err != nil || before != wire.Viewer {
		t.Fatalf("before %q, %v", before, err)
	}
	before, err = w.SetMember(w.Ctx(), "r1", "bob", wire.Operator)
	if err != nil || before != wire.Operator {
		t.Fatalf("before %q, %v", before, err)
	}
	if role, err := w.Role(w.Ctx(), "r1", "bob"); err != nil || role != wire.Operator {
		t.Fatalf("role %q, %v", role, err)
	}
	if in, err := w.Memberships(w.Ctx(), "bob"); err != nil || !maps.Equal(in, map[string]wire.Role{"r1": wire.Operator}) {
		t.Fatalf("memberships %v, %v", in, err)
	}
	narrowed := w.Token(store.Token{Purpose: wire.ForTicket, User: "bob", By: "bob", Realm: "r1", Uses: 2})
	w.OK(w.RemoveMember(w.Ctx(), "r1", "bob"))
	_, err = w.Ticket(w.Ctx(), "bob", narrowed, w.Now)
	w.Why(err, store.ReasonUnknown)
	w.Refused(w.RemoveMember(w.Ctx(), "r1", "bob"), cfcerr.NoSuchUser)
	w.Refused(w.RemoveMember(w.Ctx(), "none", "bob"), cfcerr.NoSuchRealm)
	_, err = w.SetMember(w.Ctx(), "none", "bob", wire.Viewer)
	w.Refused(err, cfcerr.NoSuchRealm)
	_, err = w.SetMember(w.Ctx(), "r1", "nobody", wire.Viewer)
	w.Refused(err, cfcerr.NoSuchUser)
	_, err = w.Members(w.Ctx(), "none")
	w.Refused(err, cfcerr.NoSuchRealm)
	if role, err := w.Role(w.Ctx(), "none", "bob"); err != nil || role != "" {
		t.Fatalf("role %q, %v", role, err)
	}
}

func testLastOwner(t *testing.T, w *World) {
	w.User("bob")
	w.Realm("r1", "bob")
	w.Refused(w.RemoveMember(w.Ctx(), "r1", "bob"), cfcerr.LastOwner)
	_, err := w.SetMember(w.Ctx(), "r1", "bob", wire.Viewer)
	w.Refused(err, cfcerr.LastOwner)
	w.Refused(deleted(w, "bob"), cfcerr.LastOwner)
	_, err = w.SetMember(w.Ctx(), "r1", "root", wire.Operator)
	w.OK(err)
	w.Refused(w.RemoveMember(w.Ctx(), "r1", "bob"), cfcerr.LastOwner)
	_, err = w.SetMember(w.Ctx(), "r1", "root", wire.Owner)
	w.OK(err)
	_, err = w.SetMember(w.Ctx(), "r1", "bob", wire.Viewer)
	w.OK(err)
	r, err := w.Store.Realm(w.Ctx(), "r1")
	if err != nil || r.Owner != "root" {
		t.Fatalf("owner of the realm is %q, %v", r.Owner, err)
	}
	w.OK(deleted(w, "bob"))
}

func testNodes(t *testing.T, w *World) {
	w.Realm("r1", "root")
	w.Realm("r2", "root")
	b, a := w.Paired("r1", "b"), w.Paired("r1", "a")
	w.Paired("r2", "a")
	all, err := w.Nodes(w.Ctx(), "r1")
	w.OK(err)
	if len(all) != 2 || all[0].ID != "a" || all[1].ID != "b" || all[0].Labels["site"] != "a" || !all[0].Last.Since.IsZero() {
		t.Fatalf("nodes %+v", all)
	}
	if ids, err := w.NodeIDs(w.Ctx(), "r1"); err != nil || !maps.Equal(ids, map[string]string{"a": a.OID, "b": b.OID}) {
		t.Fatalf("node ids %v, %v", ids, err)
	}
	named, err := w.NodeNamed(w.Ctx(), "r1", "b")
	if err != nil || named.OID != b.OID {
		t.Fatalf("node %+v, %v", named, err)
	}
	again := a
	again.OID, again.ID = uuid.NewString(), "c"
	w.Refused(w.PairNode(w.Ctx(), again), cfcerr.AlreadyExists)
	again.Pubkey, again.ID = Key(t), "a"
	w.Refused(w.PairNode(w.Ctx(), again), cfcerr.NameTaken)
	again.Realm = "none"
	w.Refused(w.PairNode(w.Ctx(), again), cfcerr.NoSuchRealm)
	w.holder(again.Pubkey, store.Holder{})
	gone, err := w.UnpairNode(w.Ctx(), a.OID)
	if err != nil || gone.Pubkey != a.Pubkey {
		t.Fatalf("unpaired %+v, %v", gone, err)
	}
	_, err = w.UnpairNode(w.Ctx(), a.OID)
	w.Refused(err, cfcerr.NoSuchNode)
	_, err = w.Node(w.Ctx(), a.OID)
	w.Refused(err, cfcerr.NoSuchNode)
	_, err = w.NodeNamed(w.Ctx(), "r1", "a")
	w.Refused(err, cfcerr.NoSuchNode)
	again.Realm, again.Pubkey = "r1", a.Pubkey
	w.OK(w.PairNode(w.Ctx(), again))
	if all, err := w.Nodes(w.Ctx(), "none"); err != nil || len(all) != 0 {
		t.Fatalf("nodes %v, %v", all, err)
	}
}

func testLastSeen(t *testing.T, w *World) {
	w.Realm("r1", "root")
	a := w.Paired("r1", "a")
	kind := "crossbar"
	seen := store.LastSeen{Since: w.Now.Add(time.Minute), Reason: "silent", Agent: catalog.AgentInfo{Hostname: "h"}, Node: catalog.AttachedInfo{Kind: &kind}}
	w.OK(w.SaveLastSeen(w.Ctx(), map[string]store.LastSeen{a.OID: seen, uuid.NewString(): seen}))
	w.OK(w.SaveLastSeen(w.Ctx(), map[string]store.LastSeen{uuid.NewString(): seen}))
	w.OK(w.SaveLastSeen(w.Ctx(), nil))
	n, err := w.Node(w.Ctx(), a.OID)
	w.OK(err)
	if n.Last.Reason != "silent" || !n.Last.Since.Equal(seen.Since) || n.Last.Agent.Hostname != "h" || *n.Last.Node.Kind != kind {
		t.Fatalf("last seen %+v", n.Last)
	}
	_, err = w.UnpairNode(w.Ctx(), a.OID)
	w.OK(err)
	w.OK(w.SaveLastSeen(w.Ctx(), map[string]store.LastSeen{a.OID: seen}))
	_, err = w.Node(w.Ctx(), a.OID)
	w.Refused(err, cfcerr.NoSuchNode)
}

func testContext(t *testing.T, w *World) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Users(ctx); err == nil {
		t.Error("a read went on after its context had ended")
	}
	if err := w.CreateRealm(ctx, store.Realm{Name: "r1", Owner: "root"}); err == nil {
		t.Error("a write went on after its context had ended")
	}
	_, err := w.Store.Realm(w.Ctx(), "r1")
	w.Refused(err, cfcerr.NoSuchRealm)
}
