package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// history is a realm that keeps the events of a topic, tells what its sessions
// send and lets anybody do anything.
var history = map[string]any{
	"name":  "com.example.meta",
	"store": map[string]any{"type": "memory", "event-history": []any{map[string]any{"uri": "com.example.kept", "limit": 5}}},
	"stats": map[string]any{"trigger_after_rated_messages": 2, "trigger_on_join": true, "trigger_on_leave": true},
	"roles": []any{map[string]any{"name": "anonymous", "permissions": []any{
		map[string]any{"uri": "", "match": "prefix", "allow": map[string]any{"call": true, "register": true, "publish": true, "subscribe": true}}}}},
}

// metaAPI looks into a realm that clients use, and interferes with them.
func metaAPI(r *rig) {
	t := r.t
	port := freePort(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := r.agent.link.Call(ctx, "worker.rtr1.start_router_transport", wamp.List{"metaws", wamp.Dict{
		"type": "websocket", "endpoint": wamp.Dict{"type": "tcp", "port": port, "interface": "127.0.0.1"}}}, nil); err != nil {
		t.Fatal(err)
	}
	// The second of its name on the worker: its id on the node is another one.
	r.must("router.start_router_realm", "rtr1", "m1", history)
	r.must("router.stop_router_realm", "rtr1", "m1")
	r.must("router.start_router_realm", "rtr1", "m1", history)
	join := func() *client.Client {
		t.Helper()
		c, err := client.ConnectNet(ctx, fmt.Sprintf("ws://127.0.0.1:%d", port), client.Config{Realm: "com.example.meta", Serialization: client.CBOR})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := join()
	defer c.Close()
	if err := c.Register("com.example.echo", echo, nil); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"com.example.kept", "com.example.plain"} { // the store subscribes to the first before anybody
		if err := c.Subscribe(topic, func(*wamp.Event) {}, nil); err != nil {
			t.Fatal(err)
		}
	}
	id := int64(c.ID())
	m := r.onRealm("rtr1", "m1")

	if got := ints(m.must("session.list")); !slices.Contains(got, id) {
		t.Errorf("session %d is not listed: %v", id, got)
	}
	if got := ints(m.must("wamp.session.list", []any{"nobody"})); len(got) != 0 {
		t.Errorf("sessions of a role that nobody has: %v", got)
	}
	if n := m.must("session.count"); fmt.Sprint(n) != "1" {
		t.Errorf("%v sessions", n)
	}
	shown, _ := wamp.AsDict(m.must("session.get", id))
	transport, _ := wamp.AsDict(shown["transport"])
	if shown["authrole"] != "anonymous" || fmt.Sprint(shown["session"]) != fmt.Sprint(id) || fmt.Sprint(transport["http_headers_received"]) == "***" {
		t.Errorf("the owner sees %v", shown)
	}
	v, err := r.callWithin(time.Minute, as(wire.Viewer), "router.meta.session.get", "rtr1", "m1", id)
	shown, _ = asDict(v)
	transport, _ = asDict(shown["transport"])
	if err != nil || fmt.Sprint(transport["http_headers_received"]) != "***" {
		t.Errorf("a viewer sees the headers: %v, %v", transport["http_headers_received"], err)
	}

	registration := m.must("registration.lookup", "com.example.echo")
	if got := ints(must[map[string]any](t, m.must("registration.list", id))["exact"]); !slices.Equal(got, []int64{number(registration)}) {
		t.Errorf("registrations of the session are %v, expected %v", got, registration)
	}
	if d := must[map[string]any](t, m.must("registration.get", registration)); d["uri"] != "com.example.echo" {
		t.Errorf("registration %v", d)
	}
	if got := m.must("registration.match", "com.example.echo"); number(got) != number(registration) {
		t.Errorf("a call would reach %v", got)
	}
	if got := m.must("registration.match", "com.example.nothing"); got != nil {
		t.Errorf("a call of nothing would reach %v", got)
	}
	if got := ints(m.must("registration.list_callees", registration)); !slices.Equal(got, []int64{id}) {
		t.Errorf("callees are %v", got)
	}
	if got := m.must("registration.count_callees", registration); number(got) != 1 {
		t.Errorf("%v callees", got)
	}
	subscription := m.must("subscription.lookup", "com.example.kept", map[string]any{"match": "exact"})
	if got := ints(m.must("subscription.match", "com.example.kept")); !slices.Equal(got, []int64{number(subscription)}) {
		t.Errorf("an event would reach %v", got)
	}
	if d := must[map[string]any](t, m.must("subscription.get", subscription)); d["uri"] != "com.example.kept" {
		t.Errorf("subscription %v", d)
	}
	if got := ints(must[map[string]any](t, m.must("subscription.list"))["exact"]); !slices.Contains(got, number(subscription)) {
		t.Errorf("subscriptions are %v", got)
	}
	if got := ints(m.must("subscription.list_subscribers", subscription)); !slices.Equal(got, []int64{id}) {
		t.Errorf("subscribers are %v", got)
	}
	if got := m.must("subscription.count_subscribers", subscription); number(got) != 1 {
		t.Errorf("%v subscribers", got)
	}
	m.keepsEvents(subscription, join)

	m.must("registration.remove_callee", registration, id)
	if got := m.must("registration.lookup", "com.example.echo"); got != nil {
		t.Errorf("the callee was removed, its registration is %v", got)
	}
	m.must("subscription.remove_subscriber", subscription, id, "com.example.enough")

	r.metaIsRefused(m, id)

	left := make(chan struct{})
	go func() {
		defer close(left)
		<-c.Done()
	}()
	m.must("session.kill", id, "com.example.killed", "for the test")
	select {
	case <-left:
	case <-time.After(5 * time.Second):
		t.Error("a killed session goes on")
	}
	d, e := join(), join()
	// The killed one has not answered, and stands in the node's way.
	if got := ints(m.must("session.kill_by_authrole", "anonymous")); !slices.Contains(got, int64(d.ID())) || !slices.Contains(got, int64(e.ID())) {
		t.Errorf("of sessions %d and %d were ended %v", d.ID(), e.ID(), got)
	}
	c.Close()
	d.Close()
	e.Close()
	f := join()
	if got := ints(m.must("session.kill_by_authid", f.RealmDetails()["authid"], nil, "bye")); !slices.Equal(got, []int64{int64(f.ID())}) {
		t.Errorf("of session %d were ended %v", f.ID(), got)
	}
	f.Close()

	r.wait("each end is told", func() bool { return m.told("session.on_leave") >= 6 })
	r.must("router.stop_router_realm", "rtr1", "m1")
	for name, want := range map[string]int{"session.on_join": 6, "session.on_leave": 6, "registration.on_create": 1, "registration.on_register": 1,
		"registration.on_unregister": 1, "registration.on_delete": 1, "subscription.on_create": 1, "subscription.on_subscribe": 3,
		"subscription.on_unsubscribe": 3, "subscription.on_delete": 1} {
		if got := m.told(name); got != want {
			t.Errorf("%s was told %d times, expected %d", name, got, want)
		}
	}
	if m.told("session.on_stats") == 0 {
		t.Error("no statistics were told")
	}
}

// keepsEvents has two subscribers get events that are kept, each once.
func (m onRealm) keepsEvents(subscription any, join func() *client.Client) {
	t := m.r.t
	t.Helper()
	second, publisher := join(), join()
	defer publisher.Close()
	if err := second.Subscribe("com.example.kept", func(*wamp.Event) {}, nil); err != nil {
		t.Fatal(err)
	}
	if got := m.must("subscription.count_subscribers", subscription); number(got) != 2 {
		t.Errorf("%v subscribers, expected 2", got)
	}
	for i := range 2 {
		if err := publisher.Publish("com.example.kept", wamp.Dict{"acknowledge": true}, wamp.List{i}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var kept []int64
	m.r.wait("the events are kept", func() bool {
		kept = nil
		list, _ := wamp.AsList(m.must("subscription.get_events", subscription))
		for _, x := range list {
			d, _ := wamp.AsDict(x)
			kept = append(kept, ints(d["args"])...)
		}
		return len(kept) >= 2
	})
	if !slices.Equal(kept, []int64{1, 0}) {
		t.Errorf("kept are %v, expected the newest first, each once", kept)
	}
	if list, _ := wamp.AsList(m.must("subscription.get_events", subscription, 1)); len(list) != 1 {
		t.Errorf("of the last event are kept %v", list)
	}
	second.Close()
}

// metaIsRefused tries what is wrong in each way.
func (r *rig) metaIsRefused(m onRealm, session int64) {
	r.t.Helper()
	r.refused(cfcerr.InvalidArgument, "router.meta.session.get", "rtr1", "m1", "x")
	r.refused(cfcerr.InvalidArgument, "router.meta.session.get", "rtr1", "m1")
	r.refused(cfcerr.InvalidArgument, "router.meta.session.get", "rtr1", "m.1", session)
	r.refused(cfcerr.NoSuchObject, "router.meta.session.get", "rtr1", "nowhere", session)
	r.refused(cfcerr.NoSuchWorker, "router.meta.session.get", "nobody", "m1", session)
	for key, args := range map[string][]any{"session.get": {int64(1)}, "session.kill": {int64(1)}, "registration.get": {int64(1)},
		"registration.remove_callee": {int64(1), session}, "subscription.get_events": {int64(1)}} {
		v, err := r.call("router.meta."+key, append([]any{m.worker, m.realm}, args...)...)
		if e, id := cfcerr.Public(err); err == nil || id != "" || !strings.HasPrefix(e.URI(), "wamp.error.no_such_") {
			r.t.Errorf("%s of what is not there gives %v, %v", key, v, err)
		}
	}
	v, err := r.callWithin(time.Minute, as(wire.Viewer), "router.meta.session.kill", "rtr1", "m1", session)
	r.wantKind(cfcerr.NotAuthorized, v, err, "a viewer's kill")
	r.must("router.start_router_realm", "rtr1", "dark", map[string]any{"name": "com.example.dark", "options": map[string]any{"bridge_meta_api": false}})
	if e := r.refused(cfcerr.NotSupported, "router.meta.session.list", "rtr1", "dark"); !strings.Contains(e.Error(), "bridge_meta_api") {
		r.t.Errorf("the switch is not named: %v", e)
	}
	r.must("router.stop_router_realm", "rtr1", "dark")
}

// onRealm is the meta API of one realm.
type onRealm struct {
	r             *rig
	worker, realm string
}

func (r *rig) onRealm(worker, realm string) onRealm { return onRealm{r, worker, realm} }

func (m onRealm) must(name string, args ...any) any {
	m.r.t.Helper()
	return m.r.must("router.meta."+name, append([]any{m.worker, m.realm}, args...)...)
}

// told is how often an event was told of the realm.
func (m onRealm) told(name string) int {
	rec := m.r.agent.events
	rec.mu.Lock()
	defer rec.mu.Unlock()
	n := 0
	for _, e := range rec.list {
		if e.name == "meta.wamp."+name && slices.Equal(e.ids, []string{m.worker, m.realm}) {
			n++
		}
	}
	return n
}

func asDict(v any) (map[string]any, bool) {
	if d, ok := v.(catalog.Dict); ok {
		return d, true
	}
	d, ok := wamp.AsDict(v)
	return d, ok
}

func must[T any](t *testing.T, v any) T {
	t.Helper()
	x, ok := v.(T)
	if !ok {
		t.Fatalf("%v is %T", v, v)
	}
	return x
}

func number(v any) int64 {
	n, _ := wamp.AsInt64(v)
	return n
}

func ints(v any) []int64 {
	list, _ := wamp.AsList(v)
	var out []int64
	for _, x := range list {
		out = append(out, number(x))
	}
	return out
}
