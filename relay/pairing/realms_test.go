package pairing_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/pairing"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store/storetest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/google/uuid"
)

func newOID() string { return uuid.NewString() }

const begin = "2026-03-01T12:00:00.000Z"

func TestEveryRowIsBound(t *testing.T) {
	table := catalog.NewTable()
	pairing.New(pairing.Config{}).Bind(table)
	if missing := table.Missing(catalog.Users, catalog.Management); len(missing) > 0 {
		t.Fatalf("not bound: %v", missing)
	}
}

func TestRealms(t *testing.T) {
	r := newRig(t)
	info := r.must("eve", "create_management_realm", "ab.c").(catalog.RealmInfo)
	if info.Name != "ab.c" || !wire.ValidOID(info.OID) || info.Created != begin || info.Owner != "eve" || !reflect.DeepEqual(info.Members, map[string]string{"eve": "owner"}) || info.Nodes.Total != 0 {
		t.Errorf("created %+v", info)
	}
	r.did("add realm ab.c")
	r.audited(audit.RealmCreated, "eve", "ab.c")
	if got := r.must("eve", "get_management_realm", "ab.c"); !reflect.DeepEqual(got, info) {
		t.Errorf("got %+v", got)
	}
	r.must("ann", "add_member", "r1", "eve", "operator")
	if got := r.must("eve", "get_management_realms"); !reflect.DeepEqual(got, []string{"ab.c", "r1"}) {
		t.Errorf("realms %v", got)
	}
	if got := r.must("root", "get_management_realms"); !reflect.DeepEqual(got, []string{}) {
		t.Errorf("realms of the relay's owner: %v", got)
	}
	r.refuse(cfcerr.AlreadyExists, "bob", "create_management_realm", "ab.c")
	r.refuse(cfcerr.InvalidArgument, "bob", "create_management_realm", wire.UsersRealm)
	r.refuse(cfcerr.InvalidArgument, "bob", "create_management_realm", "x")
	if e := r.refuse(cfcerr.InvalidArgument, "bob", "create_management_realm", "r3", map[string]any{"z": 1, "a": 2}); e.Details["argument"] != "config.a" {
		t.Errorf("details %v", e.Details)
	}
	r.refuse(cfcerr.NoSuchUser, "ghost", "create_management_realm", "r3")
	hidden := r.refuse(cfcerr.NoSuchRealm, "root", "get_management_realm", "r1")
	absent := r.refuse(cfcerr.NoSuchRealm, "root", "get_management_realm", "r2")
	if len(hidden.Message) != len(absent.Message) {
		t.Errorf("a realm that is not the caller's to see shows: %q, %q", hidden.Message, absent.Message)
	}
}

func TestCreateRealmThatDoesNotStart(t *testing.T) {
	r := newRig(t)
	r.hub.fail = errors.New("no")
	if _, err := r.call("ann", "create_management_realm", "r2"); err == nil {
		t.Fatal("created")
	}
	r.hub.fail = nil
	r.must("bob", "create_management_realm", "r2")
}

func TestDeleteRealm(t *testing.T) {
	r := newRig(t)
	b := r.must("ann", "pair_node", storetest.Key(t), "r1", "b").(catalog.NodeInfo)
	a := r.must("ann", "pair_node", storetest.Key(t), "r1", "a").(catalog.NodeInfo)
	r.refuse(cfcerr.NotEmpty, "ann", "delete_management_realm", "r1")
	r.refuse(cfcerr.NotAuthorized, "bob", "delete_management_realm", "r1", true)
	r.refuse(cfcerr.NoSuchRealm, "eve", "delete_management_realm", "r1", true)
	r.refuse(cfcerr.NoSuchRealm, "root", "delete_management_realm", "r1", true)
	r.hub.did()
	got := r.must("ann", "delete_management_realm", "r1", true).(catalog.RealmDeleted)
	want := []string{a.OID, b.OID}
	if want[0] > want[1] {
		want[0], want[1] = want[1], want[0]
	}
	if got.Name != "r1" || got.Deleted != begin || !reflect.DeepEqual(got.Unpaired, want) {
		t.Errorf("deleted %+v", got)
	}
	r.did("remove realm r1: cfc.close.realm_deleted")
	r.audited(audit.RealmDeleted, "ann", "r1")
	r.refuse(cfcerr.NoSuchRealm, "ann", "get_management_realm", "r1")
	r.must("eve", "create_management_realm", "r1")
	r.must("eve", "pair_node", a.Pubkey, "r1", "a")
	if got := r.must("ann", "get_management_realms"); !reflect.DeepEqual(got, []string{}) {
		t.Errorf("realms %v", got)
	}
}

func TestMembers(t *testing.T) {
	r := newRig(t)
	r.hub.sessions = []route.Identity{
		{AuthID: "bob", Realm: "r1", Role: "viewer"}, {AuthID: "bob", Realm: "r1", Role: "viewer", Method: "ticket"},
		{AuthID: "bob", Realm: wire.UsersRealm, Role: "user"}, {AuthID: "ann", Realm: "r1", Role: "owner"},
		{AuthID: "bob", Realm: "r1", Role: wire.RoleNode, NodeOID: "x"}, // a node of that name
	}
	if got := r.must("bob", "get_members", "r1"); !reflect.DeepEqual(got, map[string]string{"ann": "owner", "bob": "viewer"}) {
		t.Errorf("members %v", got)
	}
	if got := r.must("ann", "add_member", "r1", "bob", "operator"); got != (catalog.MemberInfo{Realm: "r1", User: "bob", Role: "operator"}) {
		t.Errorf("member %+v", got)
	}
	r.did("end bob@r1: cfc.close.role_changed", "end bob@r1: cfc.close.role_changed")
	r.audited(audit.MemberSet, "ann", "bob", "operator", "r1")
	r.must("ann", "add_member", "r1", "bob", "operator")
	r.must("ann", "add_member", "r1", "eve", "viewer")
	r.did() // nothing changed, and a new member has no sessions
	r.refuse(cfcerr.NotAuthorized, "eve", "add_member", "r1", "eve", "owner")
	r.refuse(cfcerr.NotAuthorized, "bob", "remove_member", "r1", "eve")
	r.refuse(cfcerr.NoSuchUser, "ann", "add_member", "r1", "ghost", "viewer")
	r.refuse(cfcerr.NoSuchRealm, "root", "add_member", "r1", "root", "owner")
	r.refuse(cfcerr.NoSuchRealm, "root", "get_members", "r1")
	r.refuse(cfcerr.NoSuchRealm, "root", "remove_member", "r1", "root")
	r.refuse(cfcerr.InvalidArgument, "ann", "add_member", "r1", "bob", "admin")
	r.refuse(cfcerr.NoSuchUser, "ann", "remove_member", "r1", "root")
	if got := r.must("ann", "remove_member", "r1", "bob"); got != (catalog.MemberRemoved{Realm: "r1", User: "bob", Removed: begin}) {
		t.Errorf("removed %+v", got)
	}
	r.did("end bob@r1: cfc.close.member_removed", "end bob@r1: cfc.close.member_removed")
	r.audited(audit.MemberRemoved, "ann", "bob", "r1")
	r.refuse(cfcerr.NoSuchRealm, "bob", "get_members", "r1")
	r.must("eve", "remove_member", "r1", "eve") // a member himself
	r.refuse(cfcerr.LastOwner, "ann", "remove_member", "r1", "ann")
	r.refuse(cfcerr.LastOwner, "ann", "add_member", "r1", "ann", "viewer")
}

func TestUsers(t *testing.T) {
	r := newRig(t)
	all := r.must("root", "get_users").([]catalog.UserInfo)
	var names []string
	for _, u := range all {
		names = append(names, u.Name)
		if len(u.Pubkeys) != 1 || u.Created != begin {
			t.Errorf("user %+v", u)
		}
	}
	if !reflect.DeepEqual(names, []string{"ann", "bob", "eve", "root"}) {
		t.Errorf("users %v", names)
	}
	r.refuse(cfcerr.NotAuthorized, "ann", "get_users")
	r.refuse(cfcerr.NotAuthorized, "ghost", "get_users")
	r.refuse(cfcerr.NotAuthorized, "ann", "delete_user") // the right comes before the arguments
	r.refuse(cfcerr.InvalidArgument, "root", "delete_user")
	r.refuse(cfcerr.NotAuthorized, "ann", "delete_user", "bob")
	r.refuse(cfcerr.NotAuthorized, "bob", "delete_user", "bob")
	if e := r.refuse(cfcerr.LastOwner, "root", "delete_user", "ann"); !strings.Contains(e.Message, "without an heir") {
		t.Errorf("the way out is not told: %q", e.Message)
	}
	r.refuse(cfcerr.LastOwner, "root", "delete_user", "root")
	r.refuse(cfcerr.NoSuchUser, "root", "delete_user", "ghost")
	r.hub.sessions = []route.Identity{{AuthID: "bob", Realm: "r1"}, {AuthID: "bob", Realm: wire.UsersRealm}, {AuthID: "ann", Realm: "r1"}}
	if got, want := r.must("root", "delete_user", "bob"), (catalog.UserDeleted{User: "bob", Deleted: begin, Inherited: []string{}}); !reflect.DeepEqual(got, want) {
		t.Errorf("deleted %+v", got)
	}
	r.did("end bob@r1: cfc.close.user_deleted", "end bob@"+wire.UsersRealm+": cfc.close.user_deleted")
	r.audited(audit.UserDeleted, "root", "bob")

	// The way out for a realm whose last owner is to go.
	r.must("ann", "add_member", "r1", "eve", "viewer")
	r.refuse(cfcerr.NoSuchUser, "root", "delete_user", "ann", "ghost")
	r.refuse(cfcerr.InvalidArgument, "root", "delete_user", "ann", "ann")
	r.did()
	r.hub.sessions = []route.Identity{{AuthID: "ann", Realm: "r1"}, {AuthID: "eve", Realm: "r1"}}
	if got, want := r.must("root", "delete_user", "ann", "eve"), (catalog.UserDeleted{User: "ann", Deleted: begin, Inherited: []string{"r1"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("deleted %+v", got)
	}
	r.did("end ann@r1: cfc.close.user_deleted", "end eve@r1: cfc.close.role_changed")
	r.audited(audit.MemberSet, "root", "eve")
	r.must("eve", "get_management_realm", "r1")
}

func TestStatus(t *testing.T) {
	r := newRig(t)
	n := r.must("ann", "pair_node", storetest.Key(t), "r1", "a").(catalog.NodeInfo)
	r.must("ann", "pair_node", storetest.Key(t), "r1", "b")
	r.must("eve", "create_management_realm", "other")
	r.must("eve", "pair_node", storetest.Key(t), "other", "a")
	r.hub.set(n.OID, route.Presence{Online: true, Since: r.now})
	r.now = r.now.Add(time.Minute)
	s := r.must("bob", "get_status").(catalog.UsersStatus)
	if s.Realm != wire.UsersRealm || s.Realms != 1 || s.Nodes != (catalog.NodeCount{Total: 2, Online: 1}) || s.Relay.Version != "1.2.3" ||
		s.Relay.Started != begin || !wire.ValidOID(s.Relay.ID) || s.Now != "2026-03-01T12:01:00.000Z" {
		t.Errorf("status %+v", s)
	}
	if s := r.must("root", "get_status").(catalog.UsersStatus); s.Realms != 0 || s.Nodes.Total != 0 {
		t.Errorf("status for somebody without a realm: %+v", s)
	}
	got, err := r.inRealm("r1", "bob", "get_status")
	if err != nil {
		t.Fatal(err)
	}
	if s := got.(catalog.RealmStatus); s.Realm != "r1" || !wire.ValidOID(s.OID) || s.Created != begin || s.Nodes != (catalog.RealmNodeCount{Total: 2, Online: 1, Offline: 1}) {
		t.Errorf("status %+v", s)
	}
	for _, user := range []string{"ann", "bob", "eve", "root"} {
		if a, b := fmt.Sprint(r.must(user, "get_status")), fmt.Sprint(r.must(user, "get_status")); a != b {
			t.Errorf("two calls differ: %s, %s", a, b)
		}
	}
}

// Nobody can have realms without limit, nor give them away for more.
func TestRealmsOfOneUserAreLimited(t *testing.T) {
	r := newRig(t)
	r.limit(3)
	for _, name := range []string{"e1", "e2", "e3"} {
		r.must("eve", "create_management_realm", name)
	}
	if e := r.refuse(cfcerr.LimitExceeded, "eve", "create_management_realm", "e4"); e.Details["limit"] != 3 {
		t.Errorf("details %v", e.Details)
	}
	if _, err := r.Store.Realm(r.Ctx(), "e4"); cfcerr.KindOf(err) != cfcerr.NoSuchRealm {
		t.Errorf("the realm is there: %v", err)
	}
	// One who is made an owner counts too, and one who is none does not.
	r.refuse(cfcerr.LimitExceeded, "ann", "add_member", "r1", "eve", "owner")
	r.must("ann", "add_member", "r1", "eve", "operator")
	r.must("eve", "add_member", "e1", "eve", "owner") // is one already
	r.must("eve", "delete_management_realm", "e1")
	r.must("ann", "add_member", "r1", "eve", "owner")
	r.refuse(cfcerr.LimitExceeded, "eve", "create_management_realm", "e4")
	r.must("eve", "remove_member", "r1", "eve")
	r.must("eve", "create_management_realm", "e4")
	r.must("ann", "create_management_realm", "a2")
}
