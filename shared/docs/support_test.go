package docs

import (
	"strings"
	"testing"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/proof"
)

// recorded is what the last run of the tests against a node has shown.
func recorded(t *testing.T) proof.Record {
	t.Helper()
	r, err := proof.Load("../e2e/nodeapi/proof.json")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSupportPageIsFresh(t *testing.T) { fresh(t, "SUPPORT.md", Support(recorded(t))) }

func TestSupportSaysHow(t *testing.T) {
	repair := catalog.Op{Repair: "The node answers nonsense."}
	for _, tt := range []struct {
		o          catalog.Op
		state, how string
	}{
		{catalog.Op{Forward: "get"}, works, "passed on"},
		{*catalog.MetaSessionList.Op, works, "realm's own answer"},
		{catalog.Op{}, works, "By the agent."},
		{repair, repaired, repair.Repair},
		{catalog.Op{Impossible: "There is none."}, impossible, "There is none."},
	} {
		if got := state(tt.o.Repair, tt.o.Impossible); got != tt.state || !strings.Contains(how(&tt.o), tt.how) {
			t.Errorf("%+v: %s, %s", tt.o, got, how(&tt.o))
		}
	}
	for want, s := range map[string]*proof.Shown{"no": nil, "yes; refuses with no_such_worker": {Good: true, Bad: []string{"crossbar.error.no_such_worker"}}} {
		if got := shown(&repair, s); got != want {
			t.Errorf("%+v: %q", s, got)
		}
	}
	if got := shown(&catalog.Op{Unshown: "it is far away."}, nil); got != "no: it is far away." {
		t.Errorf("one that cannot be shown: %q", got)
	}
	if got := shown(&repair, &proof.Shown{Bad: []string{"cfc.error.invalid_argument"}}); got != "no" {
		t.Errorf("refusals alone: %q", got)
	}
}
