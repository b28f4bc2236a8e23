package route_test

import (
	"context"
	"strings"
	"testing"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// What a row of the relay gets is bounded before it is decoded.
func TestArgumentsOfRowsAreBounded(t *testing.T) {
	table := catalog.NewTable()
	catalog.Bind(table, catalog.RealmGetNodes, func(context.Context, catalog.Caller, catalog.NodesIn) ([]string, error) { return nil, nil })
	r := newRig(t, route.Config{Table: table}, peer.Options{})
	for _, ser := range serializers {
		c := r.raw(realmName, "alice", string(wire.Viewer), ser)
		for size, want := range map[int]string{
			1 << 20:       "ERROR CALL 1 cfc.error.limit_exceeded map[limit:1048576]",
			1<<20 - 1<<10: "cfc.error.invalid_argument",
		} {
			text := strings.Repeat("x", size)
			for _, m := range []*wamp.Call{
				call(1, "cfc.get_nodes", text),
				{Request: 1, Options: wamp.Dict{}, Procedure: "cfc.get_nodes", ArgumentsKw: wamp.Dict{"status": text}},
			} {
				if got := show(c.ask(m)); !strings.Contains(got, want) {
					t.Errorf("%s, %d bytes: %.200s", ser, size, got)
				}
			}
		}
		if got := show(c.ask(call(2, "cfc.get_nodes"))); !strings.HasPrefix(got, "RESULT") {
			t.Errorf("%s: then %s", ser, got)
		}
	}
}
