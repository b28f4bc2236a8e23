package ops_test

import (
	"reflect"
	"testing"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

// The realm a of the worker w is another one to the node: its id is burnt.
func realmRig(t *testing.T) *rig {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.must("router.start_router_realm", "w", "a", dict{"name": "com.a"})
	r.must("router.stop_router_realm", "w", "a")
	r.must("router.start_router_realm", "w", "a", dict{"name": "com.a"})
	return r
}

func TestRealmsByName(t *testing.T) {
	r := realmRig(t)
	if d := r.must("router.get_router_realm_by_name", "w", "com.a").(catalog.Dict); d["id"] != "a" {
		t.Errorf("it shows as %v", d)
	}
	r.must("router.stop_router_realm", "w", "a")
	r.refused(cfcerr.NoSuchObject, "router.get_router_realm_by_name", "w", "com.a")
	r.refused(cfcerr.NoSuchWorker, "router.get_router_realm_by_name", "v", "com.a")
}

func TestRealmStats(t *testing.T) {
	r := realmRig(t)
	r.must("router.start_router_realm", "w", "b", dict{"name": "com.b"})
	all := r.must("router.get_router_realm_stats", "w").(catalog.Dict)
	if len(all) != 2 || all["a"] == nil || all["b"] == nil {
		t.Errorf("of all there are %v", all)
	}
	one := r.must("router.get_router_realm_stats", "w", "a").(catalog.Dict)
	if len(one) != 1 || one["a"] == nil {
		t.Errorf("of one there are %v", one)
	}
	r.refused(cfcerr.NoSuchObject, "router.get_router_realm_stats", "w", "c")
	r.refused(cfcerr.NoSuchWorker, "router.get_router_realm_stats", "v")
}

func TestKillByAuthID(t *testing.T) {
	r := realmRig(t)
	if got := r.must("router.kill_by_authid", "w", "a", "jim"); !reflect.DeepEqual(got, []int64{}) {
		t.Errorf("of nobody: %v", got)
	}
	if got := r.must("router.kill_by_authid", "w", "a", "joe"); !reflect.DeepEqual(got, []int64{11, 12}) {
		t.Errorf("of joe: %v", got)
	}
	r.refused(cfcerr.NoSuchObject, "router.kill_by_authid", "w", "b", "joe")
}

func TestRealmLinks(t *testing.T) {
	r := realmRig(t)
	if got := r.must("router.get_router_realm_links", "w", "a"); !reflect.DeepEqual(got, []string{"down", "up"}) {
		t.Errorf("links are %v", got)
	}
	if d := r.must("router.get_router_realm_link", "w", "a", "up").(catalog.Dict); d["connected"] != true {
		t.Errorf("it shows as %v", d)
	}
	config := dict{"realm": "com.b", "transport": dict{}}
	if e := r.refused(cfcerr.NotSupported, "router.start_router_realm_link", "w", "a", nil, config); e.Details["reason"] == nil {
		t.Errorf("a start: %v", e)
	}
	r.refused(cfcerr.NoSuchObject, "router.start_router_realm_link", "w", "b", nil, config)
	r.refused(cfcerr.NotSupported, "router.stop_router_realm_link", "w", "a", "up")
	e := r.refused(cfcerr.NoSuchObject, "router.get_router_realm_link", "w", "a", "sideways")
	if e.Details["link_id"] != "sideways" {
		t.Errorf("one that is not there: %v %v", e, e.Details)
	}
}
