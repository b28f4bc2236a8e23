package e2e

import (
	"fmt"
	"reflect"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// moreOfRealms are the rows of realms that Crossbar.io has beyond the
// reference, on a realm whose id on the node is another one.
func moreOfRealms(r *rig) {
	t := r.t
	r.served("mw", nil)
	r.must("router.stop_router_realm", "mw", "realm1")
	r.refused(cfcerr.NoSuchObject, "router.get_router_realm_by_name", "mw", "com.example.one")
	r.must("router.start_router_realm", "mw", "realm1", realm1)
	if d := r.mustDict("router.get_router_realm_by_name", "mw", "com.example.one"); d["id"] != "realm1" {
		t.Errorf("by its name it is %v", d["id"])
	}
	port := freePort(t)
	r.must("router.start_router_transport", "mw", "ws", dict{"type": "websocket", "endpoint": dict{"type": "tcp", "port": port, "interface": "127.0.0.1"}})
	c := r.joins("more of realms", fmt.Sprintf("ws://127.0.0.1:%d", port), client.Config{})
	defer c.Close()
	for _, args := range [][]any{{"mw"}, {"mw", "realm1"}} {
		d := r.mustDict("router.get_router_realm_stats", args...)
		stats, _ := wamp.AsDict(d["realm1"])
		if n, ok := wamp.AsInt64(stats["sessions"]); len(d) != 1 || !ok || n < 1 || stats["messages"] == nil {
			t.Errorf("statistics of %v are %v", args, d)
		}
	}
	if got := r.must("router.get_router_realm_links", "mw", "realm1"); !reflect.DeepEqual(got, []string{}) {
		t.Errorf("links are %#v", got)
	}
	r.refused(cfcerr.NoSuchObject, "router.get_router_realm_link", "mw", "realm1", "link")
	r.refused(cfcerr.NoSuchObject, "router.get_router_realm_links", "mw", "realm2")

	if got := r.must("router.kill_by_authid", "mw", "realm1", "nobody"); !reflect.DeepEqual(got, []int64{}) {
		t.Errorf("sessions of nobody: %v", got)
	}
	authid, _ := wamp.AsString(c.RealmDetails()["authid"])
	if got := r.must("router.kill_by_authid", "mw", "realm1", authid, "com.example.enough", "go away"); !reflect.DeepEqual(got, []int64{int64(c.ID())}) {
		t.Errorf("sessions of %s that are ended are %v, expected %d", authid, got, c.ID())
	}
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		t.Error("the session goes on")
	}
	r.must("node.stop_worker", "mw")
}
