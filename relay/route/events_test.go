package route_test

import (
	"fmt"
	"strings"
	"testing"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestEventsUnderEitherPrefix(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "msgpack")
	own := r.raw(realmName, "alice", "viewer", "cbor")
	alias := r.raw(realmName, "bob", "viewer", "json")
	own.subscribe("cfc.", "prefix")
	publish := func(worker string) {
		t.Helper()
		m := a.ask(&wamp.Publish{Request: 9, Options: wamp.Dict{"acknowledge": true, "disclose_me": true}, Topic: "cfc.remote.node.on_worker_started",
			Arguments: wamp.List{"n1", worker, wamp.Dict{"time": "2026-11-23T00:00:00.000Z", "reason": worker}}})
		if m.MessageType() != wamp.PUBLISHED {
			t.Fatalf("not published: %s", show(m))
		}
		r.hub.Publish(realmName, catalog.OnNodePaired, "n1", map[string]any{"reason": worker})
	}
	ownTopics := func(w string) string {
		return "[cfc.remote.node.on_worker_started n1 " + w + " cfc.on_node_paired n1 " + w + "]"
	}
	aliasTopics := func(w string) string {
		return "[crossbarfabriccenter.remote.node.on_worker_started n1 " + w + " crossbarfabriccenter.mrealm.on_node_paired n1 " + w + "]"
	}
	publish("w1") // nobody listens under the other prefix
	if got := fmt.Sprint(events(t, own, 2)); got != ownTopics("w1") {
		t.Errorf("own %s", got)
	}
	sub := alias.ask(&wamp.Subscribe{Request: 1, Options: wamp.Dict{"match": "prefix"}, Topic: "crossbarfabriccenter."}).(*wamp.Subscribed)
	again := alias.ask(&wamp.Subscribe{Request: 2, Options: wamp.Dict{"match": "prefix"}, Topic: "crossbarfabriccenter."}).(*wamp.Subscribed)
	if sub.Subscription != again.Subscription {
		t.Errorf("subscriptions %d and %d", sub.Subscription, again.Subscription)
	}
	publish("w2")
	if got := fmt.Sprint(events(t, own, 2)); got != ownTopics("w2") {
		t.Errorf("own %s", got)
	}
	if got := fmt.Sprint(events(t, alias, 2)); got != aliasTopics("w2") {
		t.Errorf("alias %s", got)
	}
	if got := show(alias.ask(&wamp.Unsubscribe{Request: 3, Subscription: sub.Subscription})); got != "UNSUBSCRIBED &{3}" {
		t.Errorf("unsubscribe: %s", got)
	}
	publish("w3")
	if got := fmt.Sprint(events(t, own, 2)); got != ownTopics("w3") {
		t.Errorf("own %s", got)
	}
	alias.quiet()
	own.quiet()
}

// A realm hears nothing of another.
func TestEventsStayInTheirRealm(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	if err := r.hub.AddRealm("other"); err != nil {
		t.Fatal(err)
	}
	r.addNode("n1", oid1)
	c := r.raw("other", "alice", "owner", "cbor")
	c.subscribe("cfc.", "prefix")
	r.hub.Publish(realmName, catalog.OnNodePaired, "n1", nil)
	r.rawAgent("n1", "cbor")
	c.quiet()
	if got := show(c.ask(call(1, "cfc.remote.node.get_status", "n1"))); got != "ERROR CALL 1 cfc.error.no_such_node map[node_id:n1]" {
		t.Errorf("got %s", got)
	}
}

func TestTenRefusedPublicationsEndTheSession(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	for _, who := range []string{"owner", "user"} {
		realm := realmName
		if who == "user" {
			realm = wire.UsersRealm
		}
		c := r.raw(realm, "alice", who, "cbor")
		bad := &wamp.Publish{Request: 1, Options: wamp.Dict{}, Topic: "cfc.on_node_online", Arguments: wamp.List{"n1", wamp.Dict{}}}
		for range 9 {
			c.say(bad)
		}
		c.quiet()
		c.say(bad)
		if g := c.goodbye(); g.Reason != wamp.ErrNotAuthorized {
			t.Errorf("%s: %v", who, g)
		}
	}
	if got := metric(t, r, "cfc_relay_publications_refused_total"); got != "20" {
		t.Errorf("counted %s", got)
	}
}

// metric is the sum of a metric's values, or of those with a label's value.
func metric(t *testing.T, r *rig, name string, label ...string) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(r.hub.Collectors()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			ok := len(label) == 0
			for _, l := range m.GetLabel() {
				ok = ok || l.GetValue() == label[0]
			}
			if ok {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return fmt.Sprint(sum)
}

// SUBSCRIBED comes before the first EVENT, and nothing after UNSUBSCRIBED,
// whatever is published meanwhile.
func TestEventsBetweenSubscribedAndUnsubscribed(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				r.hub.Publish(realmName, catalog.OnNodePaired, "n1", nil)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	c := r.raw(realmName, "alice", "viewer", "cbor")
	for i := range wamp.ID(100) {
		sub, ok := c.ask(&wamp.Subscribe{Request: i + 1, Options: wamp.Dict{}, Topic: "cfc.on_node_paired"}).(*wamp.Subscribed)
		if !ok {
			t.Fatal("an EVENT before SUBSCRIBED")
		}
		c.say(&wamp.Unsubscribe{Request: i + 1, Subscription: sub.Subscription})
		for m := c.next(); m.MessageType() != wamp.UNSUBSCRIBED; m = c.next() {
			if m.MessageType() != wamp.EVENT {
				t.Fatal(show(m))
			}
		}
	}
}

// A session has so many subscriptions, by distinct patterns; the same again
// takes nothing.
func TestSubscriptionsAreBounded(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	c := r.raw(realmName, "alice", "viewer", "cbor")
	topics := map[string]bool{}
	for _, e := range catalog.Events() {
		for _, uri := range append(e.AliasURIs(), e.URI()) {
			for n := strings.IndexByte(uri, '.') + 1; n <= len(uri); n++ {
				topics[uri[:n]] = true
			}
		}
	}
	got, request := map[string]int{}, wamp.ID(0)
	subscribe := func(topic string) string {
		request++
		m := c.ask(&wamp.Subscribe{Request: request, Options: wamp.Dict{"match": "prefix"}, Topic: wamp.URI(topic)})
		if _, ok := m.(*wamp.Subscribed); ok {
			return "subscribed"
		}
		_, kind, _ := strings.Cut(show(m), fmt.Sprintf("%d ", request))
		return kind
	}
	last, refused := "", ""
	for topic := range topics {
		kind := subscribe(topic)
		if got[kind]++; kind == "subscribed" {
			last = topic
		} else if strings.HasPrefix(kind, "cfc.error.limit_exceeded") {
			refused = topic
		}
	}
	if got["subscribed"] != 512 || got["cfc.error.limit_exceeded map[limit:512]"] == 0 {
		t.Errorf("%d patterns: %v", len(topics), got)
	}
	if kind := subscribe(last); kind != "subscribed" {
		t.Errorf("again: %s", kind)
	}
	if m := c.ask(&wamp.Unsubscribe{Request: 1 << 40, Subscription: 1}); m.MessageType() != wamp.UNSUBSCRIBED {
		t.Error(show(m))
	}
	if kind := subscribe(refused); kind != "subscribed" {
		t.Errorf("with room for one: %s", kind)
	}
}
