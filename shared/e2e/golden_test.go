package e2e

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/wire"
)

// golden is the one way through the system, with one client.
type golden struct {
	*testing.T
	c driver.Client
}

// TestGoldenPath goes it with each library over each serializer. Worker and
// realm have the same ids each time: what was stopped can be used again.
func TestGoldenPath(t *testing.T) {
	for _, name := range driver.Names() {
		t.Run(name, func(t *testing.T) {
			g := golden{t, client(t, name, realm)}
			if who := g.c.Identity(); who.Realm != realm || who.AuthRole != string(wire.Owner) {
				t.Errorf("joined as %+v", who)
			}
			for _, e := range catalog.Events() {
				if err := g.c.Subscribe(within(t, 10*time.Second), e.URI(), ""); err != nil {
					t.Fatalf("subscribing to %s: %v", e.URI(), err)
				}
			}
			g.status()
			g.startWorker()
			g.startRealm()
			g.stopRealm()
			g.startRealm()
			g.stopRealm()
			g.stopWorker()
			g.events()
		})
	}
}

// call expects a result.
func (g golden) call(o *catalog.Op, args ...any) any {
	g.Helper()
	v, err := g.c.Call(within(g.T, time.Minute), o.URI(), args, nil)
	if err != nil {
		g.Fatalf("%s%v: %v", o.Key(), args, err)
	}
	return v
}

func (g golden) dict(o *catalog.Op, args ...any) map[string]any {
	g.Helper()
	d, ok := g.call(o, args...).(map[string]any)
	if !ok {
		g.Fatalf("%s%v: no dict", o.Key(), args)
	}
	return d
}

// fails expects an error of a kind.
func (g golden) fails(k cfcerr.Kind, o *catalog.Op, args ...any) {
	g.Helper()
	_, err := g.c.Call(within(g.T, time.Minute), o.URI(), args, nil)
	var e *driver.Error
	if !errors.As(err, &e) || e.URI != k.URI() {
		g.Errorf("%s%v: %v; expected %s", o.Key(), args, err, k.URI())
		return
	}
	if text, _ := e.Args[0].(string); text == "" {
		g.Errorf("%s%v: %s without a sentence: %v", o.Key(), args, e.URI, e.Args)
	}
}

func (g golden) status() {
	g.Helper()
	d := g.dict(catalog.NodeGetStatus.Op, "n1")
	for _, key := range []string{"title", "started", "controller_pid", "running_workers", "workers_by_type", "pubkey"} {
		if _, ok := d[key]; !ok {
			g.Errorf("get_status has no %s: %v", key, d)
		}
	}
	info := g.dict(catalog.RealmGetNode.Op, "n1")
	node, _ := info["node"].(map[string]any)
	if info["status"] != "online" || node["attached"] != true || node["kind"] != "crossbar" || node["version"] == "" {
		g.Errorf("get_node: %v", info)
	}
	byOID := g.dict(catalog.NodeGetStatus.Op, info["oid"])
	if byOID["controller_pid"] != d["controller_pid"] {
		g.Errorf("by oid another node answers: %v", byOID)
	}
	if nodes := g.call(catalog.RealmGetNodes.Op); !reflect.DeepEqual(nodes, []any{"n1"}) {
		g.Errorf("get_nodes: %v", nodes)
	}
	for alias, kwargs := range map[string]map[string]any{"crossbarfabriccenter.remote.node.get_status": {"node_id": "n1"}, "cfc.remote.node.get_status": {"node_oid": info["oid"]}} {
		if v, err := g.c.Call(within(g.T, 10*time.Second), alias, nil, kwargs); err != nil || v.(map[string]any)["controller_pid"] != d["controller_pid"] {
			g.Errorf("%s(%v): %v, %v", alias, kwargs, v, err)
		}
	}
}

func (g golden) startWorker() {
	g.Helper()
	d := g.dict(catalog.NodeStartWorker.Op, "n1", "gold", map[string]any{"type": "router"})
	if d["id"] != "gold" || d["status"] != "started" || d["pid"] == nil {
		g.Errorf("start_worker: %v", d)
	}
	workers, _ := g.call(catalog.NodeGetWorkers.Op, "n1").([]any)
	if !slices.Contains(workers, any("gold")) {
		g.Errorf("get_workers: %v", workers)
	}
	if !slices.IsSortedFunc(workers, func(a, b any) int { return strings.Compare(a.(string), b.(string)) }) {
		g.Errorf("get_workers is not sorted: %v", workers)
	}
	if w := g.dict(catalog.NodeGetWorker.Op, "n1", "gold"); w["type"] != "router" || w["pid"] != d["pid"] {
		g.Errorf("get_worker: %v", w)
	}
	g.fails(cfcerr.AlreadyRunning, catalog.NodeStartWorker.Op, "n1", "gold", map[string]any{"type": "router"})
	g.fails(cfcerr.NoSuchWorker, catalog.NodeGetWorker.Op, "n1", "lead")
	g.fails(cfcerr.NoSuchWorker, catalog.RouterGetRealms.Op, "n1", "lead")
	g.fails(cfcerr.NoSuchNode, catalog.NodeGetStatus.Op, "n2")
	if realms := g.call(catalog.RouterGetRealms.Op, "n1", "gold"); len(realms.([]any)) != 0 {
		g.Errorf("get_router_realms: %v", realms)
	}
}

var realmConfig = map[string]any{"name": "realm1", "roles": []any{map[string]any{"name": "anonymous", "permissions": []any{
	map[string]any{"uri": "", "match": "prefix", "allow": map[string]any{"call": true, "register": true, "publish": true, "subscribe": true}}}}}}

func (g golden) startRealm() {
	g.Helper()
	d := g.dict(catalog.RouterStartRealm.Op, "n1", "gold", "r1", realmConfig)
	if d["id"] != "r1" {
		g.Errorf("start_router_realm: %v", d)
	}
	if realms := g.call(catalog.RouterGetRealms.Op, "n1", "gold"); !reflect.DeepEqual(realms, []any{"r1"}) {
		g.Errorf("get_router_realms: %v", realms)
	}
	shown := g.dict(catalog.RouterGetRealm.Op, "n1", "gold", "r1")
	config, _ := shown["config"].(map[string]any)
	if shown["id"] != "r1" || config["name"] != "realm1" || !strings.Contains(fmt.Sprint(shown["roles"]), "anonymous") {
		g.Errorf("get_router_realm: %v", shown)
	}
	g.fails(cfcerr.AlreadyRunning, catalog.RouterStartRealm.Op, "n1", "gold", "r1", realmConfig)
	g.fails(cfcerr.NoSuchObject, catalog.RouterGetRealm.Op, "n1", "gold", "r2")
	g.fails(cfcerr.NoSuchObject, catalog.RouterStopRealm.Op, "n1", "gold", "r2")
}

func (g golden) stopRealm() {
	g.Helper()
	if d := g.dict(catalog.RouterStopRealm.Op, "n1", "gold", "r1"); d["id"] != "r1" {
		g.Errorf("stop_router_realm: %v", d)
	}
	if realms := g.call(catalog.RouterGetRealms.Op, "n1", "gold"); len(realms.([]any)) != 0 {
		g.Errorf("get_router_realms after the stop: %v", realms)
	}
	g.fails(cfcerr.NoSuchObject, catalog.RouterGetRealm.Op, "n1", "gold", "r1")
}

func (g golden) stopWorker() {
	g.Helper()
	if d := g.dict(catalog.NodeStopWorker.Op, "n1", "gold"); d["id"] != "gold" || d["type"] != "router" {
		g.Errorf("stop_worker: %v", d)
	}
	g.fails(cfcerr.NoSuchWorker, catalog.NodeGetWorker.Op, "n1", "gold")
	g.fails(cfcerr.NoSuchWorker, catalog.NodeStopWorker.Op, "n1", "gold")
}

// events expects exactly those of this way, in order, numbered.
func (g golden) events() {
	g.Helper()
	last := catalog.OnWorkerStopped.URI()
	if _, err := g.c.Events().Wait(within(g.T, 10*time.Second), func(e driver.Event) bool { return e.Topic == last && e.Args[1] == "gold" }); err != nil {
		g.Errorf("%s: %v", last, err)
	}
	ways := []string{"on_worker_starting", "on_worker_started"}
	for range 2 {
		ways = append(ways, "on_router_realm_starting", "on_router_realm_started", "on_router_realm_role_starting", "on_router_realm_role_started",
			"on_router_realm_stopping", "on_router_realm_role_stopped", "on_router_realm_stopped")
	}
	ways = append(ways, "on_worker_stopping", "on_worker_stopped")
	var got []string
	var seq, failed float64
	tseq := map[string]float64{}
	for _, e := range g.c.Events().All() {
		if len(e.Args) < 3 || e.Args[1] != "gold" || beside(e.Topic) {
			continue
		}
		got = append(got, e.Name())
		d := e.Details()
		if e.Args[0] != "n1" || strings.Contains(e.Name(), "realm") && e.Args[2] != "r1" {
			g.Errorf("%s%v", e.Name(), e.Args)
		}
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(d["time"])); err != nil || d["boot"] == "" || d["boot"] == nil {
			g.Errorf("%s without time or boot: %v", e.Name(), d)
		}
		s, _ := d["seq"].(float64)
		ts, _ := d["tseq"].(float64)
		if s <= seq || tseq[e.Topic] != 0 && ts != tseq[e.Topic]+1 {
			failed++
			g.Errorf("%s has seq %v after %v, tseq %v after %v", e.Name(), s, seq, ts, tseq[e.Topic])
		}
		seq, tseq[e.Topic] = s, ts
	}
	if !slices.Equal(got, ways) {
		g.Errorf("events %v\nexpected %v", got, ways)
	}
}

// beside reports whether a topic is of events that come whenever a worker
// writes, or say again, by its type, that it starts.
func beside(topic string) bool {
	for _, pair := range catalog.WorkerStarts {
		if topic == pair[0].URI() || topic == pair[1].URI() {
			return true
		}
	}
	return topic == catalog.OnWorkerLog.URI()
}
