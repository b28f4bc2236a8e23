package route_test

import (
	"strings"
	"testing"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
)

// What an agent tells of its node is held to limits, and kept only if it is right.
func TestNewsOfANode(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "cbor")
	tell := func(topic string, d wamp.Dict) string {
		t.Helper()
		return show(a.ask(&wamp.Publish{Request: 3, Options: wamp.Dict{"acknowledge": true}, Topic: wamp.URI(topic), Arguments: wamp.List{"n1", d}}))
	}
	const attached, detached = "cfc.on_node_attached", "cfc.on_node_detached"
	if got := tell(attached, wamp.Dict{"kind": "crossbar", "version": "26.10.1", "time": "2026-11-23T01:00:00+01:00"}); !strings.HasPrefix(got, "PUBLISHED") {
		t.Fatal(got)
	}
	was, _ := r.hub.Presence(realmName, "n1")
	if n := was.Node; !n.Attached || *n.Kind != "crossbar" || n.Version != "26.10.1" || *n.Since != "2026-11-23T00:00:00.000Z" {
		t.Errorf("kept %+v", n)
	}
	long := strings.Repeat("x", 256)
	for _, tt := range []struct {
		argument string
		value    any
	}{
		{"reason", long}, {"reason", 5}, {"reason", "a\nb"},
		{"version", long}, {"version", wamp.List{}}, {"version", "\x00"},
		{"kind", "<script>"}, {"kind", ""}, {"kind", 1},
		{"time", "not a time"}, {"time", "2026-11-23"}, {"time", 1700000000}, {"time", long},
	} {
		for _, topic := range []string{attached, detached} {
			if got := tell(topic, wamp.Dict{tt.argument: tt.value}); !strings.Contains(got, "cfc.error.invalid_argument map[argument:details."+tt.argument) {
				t.Errorf("%s with %s %.20v: %s", topic, tt.argument, tt.value, got)
			}
		}
	}
	if p, _ := r.hub.Presence(realmName, "n1"); p.Node != was.Node {
		t.Errorf("kept %+v", p.Node)
	}
	if got := tell(detached, wamp.Dict{"reason": long[:255]}); !strings.HasPrefix(got, "PUBLISHED") {
		t.Error(got)
	}
	p, _ := r.hub.Presence(realmName, "n1")
	if n := p.Node; n.Attached || *n.Kind != "crossbar" || n.Version != "26.10.1" || *n.Since <= *was.Node.Since || n.Reason != long[:255] {
		t.Errorf("without kind, version and time: %+v", n)
	}
	if got := tell(attached, wamp.Dict{"kind": nil, "version": nil}); !strings.HasPrefix(got, "PUBLISHED") {
		t.Error(got)
	}
	if p, _ := r.hub.Presence(realmName, "n1"); !p.Node.Attached || p.Node.Kind != nil || p.Node.Version != "26.10.1" {
		t.Errorf("of no kind: %+v", p.Node)
	}
}
