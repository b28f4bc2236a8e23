package wire

import (
	"testing"
	"time"
)

func TestRolesAreOrdered(t *testing.T) {
	order := []Role{"admin", Viewer, Operator, Owner}
	for i, weak := range order {
		for j, strong := range order {
			if (weak.Rank() < strong.Rank()) != (i < j) {
				t.Errorf("rank of %q and %q are in the wrong order", weak, strong)
			}
			if got := strong.Narrow(weak); got != order[min(i, j)] {
				t.Errorf("%q narrowed to %q is %q", strong, weak, got)
			}
		}
	}
	for _, r := range []Role{"", "admin", "Owner", RoleUser, RoleNode} {
		if r.Valid() {
			t.Errorf("%q is taken for a role of a management realm", r)
		}
	}
	for _, r := range order[1:] {
		if !r.Valid() {
			t.Errorf("%q is no role", r)
		}
	}
}

func TestTimeIsUTCWithMilliseconds(t *testing.T) {
	at := time.Date(2026, 3, 1, 1, 2, 3, 4_999_999, time.FixedZone("", 3600))
	if got := Time(at); got != "2026-03-01T00:02:03.004Z" {
		t.Errorf("got %s", got)
	}
	if OptionalTime(time.Time{}) != nil {
		t.Error("the zero instant is not null")
	}
	if got := OptionalTime(at); got == nil || *got != Time(at) {
		t.Errorf("got %v", got)
	}
}

func TestNodeProcedure(t *testing.T) {
	if got := NodeProcedure("n1"); got != "cfc.node.n1" {
		t.Errorf("got %s", got)
	}
}
