package catalog

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/wire"
)

// contract are the operations that WIRE.md and the reference promise, each with
// its access and call. A row may come, none may go or change its meaning.
var contract = map[Realm]map[string]string{
	Users: {
		"cfc.get_status()": "any user",
		"cfc.get_management_realms(return_names=null)":     "any user",
		"cfc.get_management_realm(name)":                   "any user",
		"cfc.create_management_realm(name, config={})":     "any user",
		"cfc.delete_management_realm(name, cascade=false)": "any user",
		"cfc.get_nodes(realm=null, status=null)":           "any user",
		"cfc.get_node(node)":                               "any user",
		"cfc.pair_node(pubkey, realm, node_id, config={})": "any user",
		"cfc.unpair_node(node)":                            "any user",
		"cfc.get_members(realm)":                           "any user",
		"cfc.add_member(realm, user, role)":                "any user",
		"cfc.remove_member(realm, user)":                   "any user",
		"cfc.get_users()":                                  "relay's owner",
		"cfc.delete_user(user, heir=null)":                 "relay's owner",
		"cfc.create_token(purpose, options={})":            "any user",
		"cfc.get_tokens()":                                 "any user",
		"cfc.revoke_token(id)":                             "any user",
	},
	Management: {
		"cfc.get_status()": "read",
		"cfc.get_nodes(status=null, return_names=null)": "read",
		"cfc.get_node(node)":                            "read",
	},
	Remote: {
		"cfc.remote.node.get_status(node_id)":                                                           "read",
		"cfc.remote.node.shutdown(node_id, restart=false)":                                              "admin",
		"cfc.remote.node.get_workers(node_id, filter_types=[])":                                         "read",
		"cfc.remote.node.get_worker(node_id, worker_id, include_stats=false)":                           "read",
		"cfc.remote.node.get_cpu_count(node_id, logical=true)":                                          "read",
		"cfc.remote.node.start_worker(node_id, worker_id, config, options={})":                          "write",
		"cfc.remote.node.stop_worker(node_id, worker_id, kill=false)":                                   "write",
		"cfc.remote.router.get_router_realms(node_id, worker_id)":                                       "read",
		"cfc.remote.router.get_router_realm(node_id, worker_id, realm_id)":                              "read",
		"cfc.remote.router.start_router_realm(node_id, worker_id, realm_id, realm_config)":              "write",
		"cfc.remote.router.stop_router_realm(node_id, worker_id, realm_id)":                             "write",
		"cfc.remote.router.get_router_realm_roles(node_id, worker_id, realm_id)":                        "read",
		"cfc.remote.router.get_router_realm_role(node_id, worker_id, realm_id, role_id)":                "read",
		"cfc.remote.router.start_router_realm_role(node_id, worker_id, realm_id, role_id, role_config)": "write",
		"cfc.remote.router.stop_router_realm_role(node_id, worker_id, realm_id, role_id)":               "write",
	},
}

func TestRowsKeepTheContract(t *testing.T) {
	rows := map[Realm]map[string]string{Users: {}, Management: {}, Remote: {}}
	for _, o := range All() {
		rows[o.Realm][o.Signature()] = o.Access.String()
	}
	for realm, calls := range contract {
		for call, access := range calls {
			if got := rows[realm][call]; got != access {
				t.Errorf("%s: access is %q, want %q", call, got, access)
			}
		}
	}
}

func TestRowsAreComplete(t *testing.T) {
	topics := map[string]bool{}
	for _, e := range Events() {
		topics[e.URI()] = true
		if !strings.HasSuffix(e.Doc, ".") || accessNames[e.Access] == "" {
			t.Errorf("%s: doc is a sentence, access one of the levels", e.URI())
		}
	}
	for _, o := range All() {
		if !strings.HasSuffix(o.Doc, ".") || o.Summary() == "" || strings.HasSuffix(o.Summary(), ".") || len(o.Summary()) > 90 {
			t.Errorf("%s: the doc is sentences, the first below 90 characters: %q", o.URI(), o.Summary())
		}
		if o.Access.String() == "" {
			t.Errorf("%s: access %d has no name", o.URI(), o.Access)
		}
		if o.Result() == reflect.TypeFor[Dict]() && o.Returns == "" {
			t.Errorf("%s: the type does not say what a Dict holds; Returns has to", o.URI())
		}
		for _, name := range o.Emits {
			e := Event{Area: o.Area, Name: name}
			if !topics[e.URI()] {
				t.Errorf("%s emits %s, which is not declared", o.URI(), e.URI())
			}
		}
		for i, k := range o.Errors {
			if !k.Known() || slices.Contains(o.Errors[:i], k) {
				t.Errorf("%s: error %d is unknown or stands twice", o.URI(), k)
			}
		}
		for _, name := range append([]string{o.Name, o.Area}, o.Aliases...) {
			if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_.") != "" {
				t.Errorf("%s: %q is no name of an operation", o.URI(), name)
			}
		}
		for _, text := range []string{o.Repair, o.Impossible} {
			if text != "" && !strings.HasSuffix(text, ".") {
				t.Errorf("%s: what the stock node does is a sentence: %q", o.URI(), text)
			}
		}
		if o.Deadline() < time.Second || o.Deadline() > time.Hour {
			t.Errorf("%s: deadline %s", o.URI(), o.Deadline())
		}
		for _, a := range o.Args() {
			if strings.HasSuffix(a.Doc, ".") || a.Expected() == "" {
				t.Errorf("%s: doc of %s is a phrase", o.URI(), a.Name)
			}
		}
	}
}

func TestRowsAreSortedByRealmAndURI(t *testing.T) {
	all := All()
	if !slices.IsSortedFunc(all, func(a, b *Op) int {
		if a.Realm != b.Realm {
			return int(a.Realm) - int(b.Realm)
		}
		return strings.Compare(a.URI(), b.URI())
	}) || len(all) != len(ops) {
		t.Error("All is not all rows in order")
	}
}

func TestAccess(t *testing.T) {
	roles := []wire.Role{"", "admin", wire.RoleUser, wire.Viewer, wire.Operator, wire.Owner}
	for access, allowed := range map[Access][]wire.Role{
		0:          nil,
		Read:       {wire.Viewer, wire.Operator, wire.Owner},
		Write:      {wire.Operator, wire.Owner},
		Admin:      {wire.Owner},
		AnyUser:    nil,
		RelayOwner: nil,
	} {
		for _, r := range roles {
			if got := access.Allows(r); got != slices.Contains(allowed, r) {
				t.Errorf("access %q, role %q: %v", access, r, got)
			}
		}
		if least := access.Least(); len(allowed) > 0 && least != allowed[0] || len(allowed) == 0 && least != "" {
			t.Errorf("access %q: least role %q", access, least)
		}
	}
}

func TestRemoteKey(t *testing.T) {
	for uri, want := range map[string]string{
		"cfc.remote.node.get_status":                            "node.get_status",
		"crossbarfabriccenter.remote.router.start_router_realm": "router.start_router_realm",
		"cfc.remote.router.meta.wamp.session.list":              "router.meta.wamp.session.list",
		"cfc.remote.node.unheard_of":                            "node.unheard_of",
		"cfc.remote.node":                                       "",
		"cfc.remote.node.":                                      "",
		"cfc.remote..get_status":                                "",
		"cfc.remote.":                                           "",
		"cfc.get_status":                                        "",
		"crossbarfabriccenter.mrealm.get_nodes":                 "",
		"xcfc.remote.node.get_status":                           "",
		"":                                                      "",
	} {
		if key, ok := RemoteKey(uri); ok != (want != "") || ok && key != want {
			t.Errorf("%q: %q, %v", uri, key, ok)
		}
	}
}

func TestIndexFindsEveryName(t *testing.T) {
	x := NewIndex()
	for _, o := range All() {
		for _, uri := range o.URIs() {
			find := x.Management
			if o.Realm == Users {
				find = x.Users
			}
			if got, ok := find(uri); !ok || got != o {
				t.Errorf("%s does not lead to its row", uri)
			}
		}
	}
}

func TestIndex(t *testing.T) {
	x := NewIndex()
	if o, ok := x.ByKey("node.get_status"); !ok || o != NodeGetStatus.Op {
		t.Error("node.get_status is not found by its key")
	}
	for _, uri := range []string{"cfc.get_users", "cfc.remote.node.unheard_of", "cfc.node.n1", ""} {
		if _, ok := x.Management(uri); ok {
			t.Errorf("a management realm has %q", uri)
		}
	}
	if o, ok := x.Users("crossbarfabriccenter.mrealm.list_mrealms"); !ok || o != GetManagementRealms.Op {
		t.Error("list_mrealms is no alias")
	}
	if _, ok := x.Users("cfc.remote.node.get_status"); ok {
		t.Error("the users realm has remote operations")
	}
}

func TestEventsHaveTheirTopics(t *testing.T) {
	for _, tt := range []struct {
		e          *Event
		uri, alias string
	}{
		{OnNodeOnline, "cfc.on_node_online", "crossbarfabriccenter.mrealm.on_node_online"},
		{RouterRealmLife.Started, "cfc.remote.router.on_router_realm_started", "crossbarfabriccenter.remote.router.on_router_realm_started"},
		{OnMetaSessionJoin, "cfc.remote.router.meta.wamp.session.on_join", "crossbarfabriccenter.remote.router.meta.wamp.session.on_join crossbarfabriccenter.remote.realm.meta.wamp.session.on_join"},
	} {
		if aliases := strings.Join(tt.e.AliasURIs(), " "); tt.e.URI() != tt.uri || aliases != tt.alias {
			t.Errorf("%s, %s", tt.e.URI(), aliases)
		}
	}
}

// mustPanic fails unless f panics with want in its message.
func mustPanic(t *testing.T, name, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "catalog: ") || !strings.Contains(got, want) {
			t.Errorf("%s: panic %q, want %q in it", name, got, want)
		}
	}()
	f()
}

func TestBadRowsPanic(t *testing.T) {
	before := len(ops)
	good := Op{Realm: Remote, Area: "test", Name: "do", Scope: Node, Access: Read, Doc: "Do."}
	change := func(f func(*Op)) Op { o := good; f(&o); return o }
	for name, tt := range map[string]struct {
		op   Op
		want string
	}{
		"no realm":                {change(func(o *Op) { o.Realm = 0 }), "required"},
		"no name":                 {change(func(o *Op) { o.Name = "" }), "required"},
		"no access":               {change(func(o *Op) { o.Access = 0 }), "required"},
		"no doc":                  {change(func(o *Op) { o.Doc = "" }), "required"},
		"no area":                 {change(func(o *Op) { o.Area = "" }), "area and scope"},
		"no scope":                {change(func(o *Op) { o.Scope = 0 }), "area and scope"},
		"area of a relay's row":   {change(func(o *Op) { o.Realm, o.Scope = Management, 0 }), "area and scope"},
		"scope of a relay's row":  {change(func(o *Op) { o.Realm, o.Area = Management, "" }), "area and scope"},
		"forward by the relay":    {change(func(o *Op) { o.Realm, o.Area, o.Scope, o.Forward = Management, "", 0, "x" }), "only remote rows"},
		"repair of a forward":     {change(func(o *Op) { o.Repair, o.Forward = "It hangs.", "x" }), "what is repaired"},
		"repair in vain":          {change(func(o *Op) { o.Repair, o.Impossible = "It hangs.", "It hangs." }), "what is repaired"},
		"forward of the host's":   {change(func(o *Op) { o.Host, o.Forward = true, "x" }), "the host alone"},
		"worker not embedded":     {change(func(o *Op) { o.Scope = Worker }), "embed OnWorker"},
		"access of another realm": {change(func(o *Op) { o.Access = AnyUser }), "does not fit"},
		"access of a users' row":  {change(func(o *Op) { o.Realm, o.Area, o.Scope = Users, "", 0 }), "does not fit"},
		"declared twice":          {change(func(o *Op) { o.Area, o.Name = "node", "get_status" }), "declared twice"},
	} {
		mustPanic(t, name, tt.want, func() { define[None, Dict](tt.op) })
	}
	badArgs := map[string]struct {
		define func(Op)
		want   string
	}{
		"not a struct": {func(o Op) { define[string, Dict](o) }, "are a struct"},
		"no name": {func(o Op) {
			define[struct {
				A int `doc:"a"`
			}, Dict](o)
		}, "needs a name"},
		"no doc": {func(o Op) {
			define[struct {
				A int `wamp:"a"`
			}, Dict](o)
		}, "a doc"},
		"not exported": {func(o Op) {
			define[struct {
				a int `wamp:"a" doc:"a"`
			}, Dict](o)
		}, "exported"},
		"twice": {func(o Op) {
			define[struct {
				A int `wamp:"a" doc:"a"`
				B int `wamp:"a" doc:"b"`
			}, Dict](o)
		}, "declared twice"},
		"required after optional": {func(o Op) {
			define[struct {
				A int `wamp:"a,optional" doc:"a"`
				B int `wamp:"b" doc:"b"`
			}, Dict](o)
		}, "after an optional one"},
		"type unknown": {func(o Op) {
			define[struct {
				A chan int `wamp:"a" doc:"a"`
			}, Dict](o)
		}, "cannot be decoded"},
		"dict of ints": {func(o Op) {
			define[struct {
				A map[string]int `wamp:"a" doc:"a"`
			}, Dict](o)
		}, "cannot be decoded"},
		"dict of ints as key": {func(o Op) {
			define[struct {
				A map[int]any `wamp:"a" doc:"a"`
			}, Dict](o)
		}, "cannot be decoded"},
		"interface": {func(o Op) {
			define[struct {
				A error `wamp:"a" doc:"a"`
			}, Dict](o)
		}, "cannot be decoded"},
		"list of channels": {func(o Op) {
			define[struct {
				A []chan int `wamp:"a" doc:"a"`
			}, Dict](o)
		}, "cannot be decoded"},
		"default not JSON": {func(o Op) {
			define[struct {
				A int `wamp:"a,optional" default:"x" doc:"a"`
			}, Dict](o)
		}, "bad default"},
		"default of another type": {func(o Op) {
			define[struct {
				A int `wamp:"a,optional" default:"true" doc:"a"`
			}, Dict](o)
		}, "expected an integer"},
		"default out of form": {func(o Op) {
			define[struct {
				A NodeStatus `wamp:"a,optional" default:"away" doc:"a"`
			}, Dict](o)
		}, "online, offline or detached"},
	}
	for name, tt := range badArgs {
		mustPanic(t, name, tt.want, func() { tt.define(good) })
	}
	if len(ops) != before {
		t.Errorf("%d bad rows were taken", len(ops)-before)
	}
}

func TestBadEventsPanic(t *testing.T) {
	before := len(events)
	good := Event{Area: "test", Name: "on_x", Args: nodeArgs, By: ByAgent, Access: Read, Doc: "X."}
	for name, tt := range map[string]struct {
		change func(*Event)
		want   string
	}{
		"no name":        {func(e *Event) { e.Name = "" }, "required"},
		"no publisher":   {func(e *Event) { e.By = 0 }, "required"},
		"no access":      {func(e *Event) { e.Access = 0 }, "required"},
		"no doc":         {func(e *Event) { e.Doc = "" }, "required"},
		"no arguments":   {func(e *Event) { e.Args = nil }, "begin with node_id"},
		"no node":        {func(e *Event) { e.Args = []string{"worker_id", "details"} }, "begin with node_id"},
		"no details":     {func(e *Event) { e.Args = []string{"node_id", "worker_id"} }, "end with details"},
		"declared twice": {func(e *Event) { e.Area, e.Name = "node", "on_worker_started" }, "declared twice"},
	} {
		e := good
		tt.change(&e)
		mustPanic(t, name, tt.want, func() { event(e) })
	}
	if len(events) != before {
		t.Errorf("%d bad events were taken", len(events)-before)
	}
}

func TestTable(t *testing.T) {
	table := NewTable()
	var got StopWorkerIn
	var by Caller
	Bind(table, NodeStopWorker, func(_ context.Context, c Caller, in StopWorkerIn) (Dict, error) {
		by, got = c, in
		return Dict{"id": "w1"}, nil
	})
	h, ok := table.Handler(NodeStopWorker.Op)
	if !ok {
		t.Fatal("the handler is not there")
	}
	caller := Caller{AuthID: "anna", Role: wire.Operator}
	res, err := h(t.Context(), Call{Op: NodeStopWorker.Op, Caller: caller, Args: []any{"w1"}, Kwargs: map[string]any{"kill": true}})
	if err != nil || res.(Dict)["id"] != "w1" || by != caller || got != (StopWorkerIn{"w1", true}) {
		t.Errorf("%v, %v: %+v by %+v", res, err, got, by)
	}
	got = StopWorkerIn{}
	if _, err := h(t.Context(), Call{Op: NodeStopWorker.Op, Args: []any{7}}); err == nil || got != (StopWorkerIn{}) {
		t.Errorf("a bad call ran: %v", err)
	}
	mustPanic(t, "bound twice", "cfc.remote.node.stop_worker is bound twice", func() { table.Set(NodeStopWorker.Op, h) })
	if _, ok := table.Handler(NodeGetStatus.Op); ok {
		t.Error("an unbound row has a handler")
	}
	BindCrossbar(table, RealmGetRoles, func(context.Context, Caller, OnRealm) (string, error) { return "whole", nil })
	Bind(table, RealmGetRoles, func(context.Context, Caller, OnRealm) ([]string, error) { return []string{"ids"}, nil })
	for procedure, want := range map[string]string{"": "[ids]", "crossbarfabriccenter.remote.router.get_router_realm_roles": "whole"} {
		h, _ := table.HandlerFor(RealmGetRoles.Op, Caller{Procedure: procedure})
		if v, err := h(t.Context(), Call{Args: []any{"w1", "r1"}}); fmt.Sprint(v) != want {
			t.Errorf("called as %q: %v, %v", procedure, v, err)
		}
	}
	mustPanic(t, "no second shape", "has one shape under all its names", func() {
		BindCrossbar(table, NodeStopWorker, func(context.Context, Caller, StopWorkerIn) (string, error) { return "", nil })
	})
	missing := table.Missing(Remote)
	if slices.Contains(missing, "cfc.remote.node.stop_worker") || !slices.Contains(missing, "cfc.remote.node.get_status") || slices.Contains(missing, "cfc.get_users") {
		t.Errorf("missing: %v", missing)
	}
}
