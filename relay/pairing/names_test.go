package pairing_test

import (
	"fmt"
	"testing"

	"fabric.center/cfc/relay/store/storetest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/wire"
)

// Crossbar.io's names of lists give oids, ours give names, and either gives
// what is asked for.
func TestListsOfNamesAndOfOIDs(t *testing.T) {
	r := newRig(t)
	node := r.must("ann", "pair_node", storetest.Key(t), "r1", "n1").(catalog.NodeInfo)
	realm := r.must("ann", "get_management_realm", "r1").(catalog.RealmInfo)
	for _, tt := range []struct {
		op         *catalog.Op
		args       []any
		name, oid  string
		management bool
	}{
		{catalog.GetManagementRealms.Op, nil, "r1", realm.OID, false},
		{catalog.RealmGetNodes.Op, []any{nil}, "n1", node.OID, true},
	} {
		for _, c := range []struct {
			procedure string
			said      []any
			want      string
		}{
			{"", nil, tt.name}, {"", []any{true}, tt.name}, {"", []any{false}, tt.oid},
			{wire.AliasRealm, nil, tt.oid}, {wire.AliasRealm, []any{nil}, tt.oid}, {wire.AliasRealm, []any{true}, tt.name},
		} {
			caller := catalog.Caller{AuthID: "ann", Procedure: c.procedure}
			if tt.management {
				caller.Realm, caller.Role = "r1", wire.Viewer
			}
			got, err := r.run(tt.op, caller, append(append([]any{}, tt.args...), c.said...))
			if err != nil || fmt.Sprint(got) != "["+c.want+"]" {
				t.Errorf("%s as %q with %v gives %v, %v; expected %s", tt.op.URI(), c.procedure, c.said, got, err, c.want)
			}
		}
	}
}
