package pairing_test

import (
	"reflect"
	"slices"
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

func TestPairNode(t *testing.T) {
	r := newRig(t)
	key := storetest.Key(t)
	n := r.must("ann", "pair_node", key, "r1", "n1", map[string]any{"labels": map[string]any{"site": "a"}}).(catalog.NodeInfo)
	want := catalog.NodeInfo{ID: "n1", OID: n.OID, Realm: "r1", Pubkey: key, Labels: map[string]string{"site": "a"}, Paired: begin, PairedBy: "ann", Status: "offline", Reason: "never-connected"}
	if !wire.ValidOID(n.OID) || !reflect.DeepEqual(n, want) {
		t.Errorf("got %+v", n)
	}
	r.did("add node r1/n1", "publish on_node_paired r1/n1 reason=paired by=ann")
	r.audited(audit.NodePaired, "ann", key, "n1", n.OID)
	r.refuse(cfcerr.AlreadyExists, "ann", "pair_node", key, "r1", "n2")
	r.refuse(cfcerr.NameTaken, "ann", "pair_node", storetest.Key(t), "r1", "n1")
	r.refuse(cfcerr.NotAuthorized, "bob", "pair_node", storetest.Key(t), "r1", "n2")
	r.refuse(cfcerr.NoSuchRealm, "root", "pair_node", storetest.Key(t), "r1", "n2")
	for _, bad := range []map[string]any{{"label": map[string]any{}}, {"labels": "x"}, {"labels": map[string]any{"a": 1}}, {"labels": map[string]any{"": "x"}},
		{"labels": map[string]any{strings.Repeat("k", 64): "x"}}, {"labels": map[string]any{"k": strings.Repeat("x", 256)}}} {
		if e := r.refuse(cfcerr.InvalidArgument, "ann", "pair_node", storetest.Key(t), "r1", "n2", bad); !strings.HasPrefix(e.Details["argument"].(string), "config.") {
			t.Errorf("%v: details %v", bad, e.Details)
		}
	}
	weak := "01" + strings.Repeat("00", 31)
	if e := r.refuse(cfcerr.InvalidArgument, "ann", "pair_node", weak, "r1", "n2"); e.Details["argument"] != "pubkey" {
		t.Errorf("a key for which anybody can sign: details %v", e.Details)
	}
	r.did()
}

func TestUnpairNode(t *testing.T) {
	r := newRig(t)
	for i, by := range []func(n catalog.NodeInfo) string{
		func(n catalog.NodeInfo) string { return n.OID }, func(n catalog.NodeInfo) string { return "r1/" + n.ID }, func(n catalog.NodeInfo) string { return n.Pubkey },
	} {
		n := r.must("ann", "pair_node", storetest.Key(t), "r1", "n1").(catalog.NodeInfo)
		r.hub.did()
		r.refuse(cfcerr.NotAuthorized, "bob", "unpair_node", by(n))
		hidden := r.refuse(cfcerr.NoSuchNode, "root", "unpair_node", by(n))
		if got := r.must("ann", "unpair_node", by(n)); got != (catalog.NodeUnpaired{OID: n.OID, ID: "n1", Realm: "r1", Unpaired: begin}) {
			t.Errorf("%d: %+v", i, got)
		}
		r.did("remove node r1/n1", "publish on_node_unpaired r1/n1 reason=unpaired by=ann")
		r.audited(audit.NodeUnpaired, "ann", n.Pubkey)
		gone := r.refuse(cfcerr.NoSuchNode, "root", "unpair_node", by(n))
		if gone.Message != hidden.Message {
			t.Errorf("a node that is not the caller's to see shows: %q, %q", hidden.Message, gone.Message)
		}
	}
	r.refuse(cfcerr.NoSuchNode, "ann", "unpair_node", storetest.Key(t))
	r.refuse(cfcerr.InvalidArgument, "ann", "unpair_node", "n1")
}

func TestGetNode(t *testing.T) {
	r := newRig(t)
	n := r.must("ann", "pair_node", storetest.Key(t), "r1", "n1").(catalog.NodeInfo)
	r.must("eve", "create_management_realm", "r2")
	other := r.must("eve", "pair_node", storetest.Key(t), "r2", "n1").(catalog.NodeInfo)
	kind := "crossbar"
	r.hub.set(n.OID, route.Presence{Online: true, Since: r.now.Add(time.Minute), Agent: catalog.AgentInfo{OS: "linux"}, Node: catalog.AttachedInfo{Kind: &kind, Attached: true}})
	for _, ref := range []string{n.OID, "r1/n1", n.Pubkey} {
		got := r.must("bob", "get_node", ref).(catalog.NodeInfo)
		if got.OID != n.OID || got.Status != "online" || *got.Since != "2026-03-01T12:01:00.000Z" || got.Agent.OS != "linux" || !got.Node.Attached {
			t.Errorf("%s: %+v", ref, got)
		}
		r.refuse(cfcerr.NoSuchNode, "root", "get_node", ref)
	}
	for _, ref := range []string{n.OID, "n1"} {
		got, err := r.inRealm("r1", "bob", "get_node", ref)
		if err != nil || got.(catalog.NodeInfo).OID != n.OID {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
	r.hub.set(n.OID, route.Presence{Since: r.now, Reason: "silent", Agent: catalog.AgentInfo{OS: "linux"}, Node: catalog.AttachedInfo{Kind: &kind, Attached: true}})
	if got := r.must("bob", "get_node", n.OID).(catalog.NodeInfo); got.Status != "offline" || got.Reason != "silent" || got.Agent.OS != "linux" || got.Node.Attached || got.Node.Kind == nil {
		t.Errorf("offline: %+v", got)
	}
	for _, ref := range []string{"n2", other.OID, newOID()} {
		if got, err := r.inRealm("r1", "bob", "get_node", ref); cfcerr.KindOf(err) != cfcerr.NoSuchNode {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
	if _, err := r.inRealm("r1", "bob", "get_node", "r1/n1"); cfcerr.KindOf(err) != cfcerr.InvalidArgument {
		t.Error(err)
	}
	r.refuse(cfcerr.InvalidArgument, "bob", "get_node", "n1")
}

func TestGetNodes(t *testing.T) {
	r := newRig(t)
	r.must("bob", "create_management_realm", "r2")
	oids := map[string]string{}
	for _, id := range []string{"c", "a", "b"} {
		oids[id] = r.must("ann", "pair_node", storetest.Key(t), "r1", id).(catalog.NodeInfo).OID
	}
	oids["x"] = r.must("bob", "pair_node", storetest.Key(t), "r2", "x").(catalog.NodeInfo).OID
	r.hub.set(oids["b"], route.Presence{Online: true})
	r.hub.set(oids["c"], route.Presence{Online: true, Node: catalog.AttachedInfo{Attached: true}})
	want := func(got any, ids ...string) {
		t.Helper()
		all := []string{}
		for _, id := range ids {
			all = append(all, oids[id])
		}
		slices.Sort(all)
		if !reflect.DeepEqual(got, all) {
			t.Errorf("got %v, want %v", got, ids)
		}
	}
	want(r.must("bob", "get_nodes"), "a", "b", "c", "x")
	want(r.must("ann", "get_nodes"), "a", "b", "c")
	want(r.must("root", "get_nodes"))
	want(r.must("bob", "get_nodes", "r2"), "x")
	want(r.must("bob", "get_nodes", nil, "online"), "b", "c")
	want(r.must("bob", "get_nodes", "r1", "offline"), "a")
	want(r.must("bob", "get_nodes", "r1", "detached"), "b")
	r.refuse(cfcerr.NoSuchRealm, "ann", "get_nodes", "r2")
	r.refuse(cfcerr.InvalidArgument, "ann", "get_nodes", nil, "away")
	for status, ids := range map[any][]string{nil: {"a", "b", "c"}, "online": {"b", "c"}, "offline": {"a"}, "detached": {"b"}} {
		if got, err := r.inRealm("r1", "bob", "get_nodes", status); err != nil || !reflect.DeepEqual(got, ids) {
			t.Errorf("%v: %v, %v", status, got, err)
		}
	}
}

func TestLoad(t *testing.T) {
	r := newRig(t)
	a := r.must("ann", "pair_node", storetest.Key(t), "r1", "a").(catalog.NodeInfo)
	b := r.must("ann", "pair_node", storetest.Key(t), "r1", "b").(catalog.NodeInfo)
	r.must("bob", "create_management_realm", "r2")
	earlier := r.now.Add(-time.Hour)
	r.OK(r.SaveLastSeen(r.Ctx(), map[string]store.LastSeen{
		a.OID: {Since: earlier, Reason: "silent", Agent: catalog.AgentInfo{OS: "linux"}},
		b.OID: {Online: true, Since: earlier},
	}))
	r.hub = newHub()
	r.now = r.now.Add(time.Hour)
	r.start(r.Store)
	r.did("add realm r1", "add node r1/a", "add node r1/b", "add realm r2")
	if p, _ := r.hub.Presence("r1", "a"); p.Online || p.Reason != "silent" || !p.Since.Equal(earlier) || p.Agent.OS != "linux" {
		t.Errorf("a is %+v", p)
	}
	// It was online when the relay died: offline since now, as far as anybody knows.
	if p, _ := r.hub.Presence("r1", "b"); p.Online || p.Reason != "relay-restarted" || !p.Since.Equal(r.now) {
		t.Errorf("b is %+v", p)
	}
}
