package crossbar

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
)

// A realm that is started and stopped again and again leaves an id each time, as
// long as its worker runs: each look at the node asks for all of them, and the
// next start passes over all of them. Neither may take the square of that.
func TestManyDeadObjectsTakeNoTime(t *testing.T) {
	const many = 60_000
	m := openMemory("", zap.NewNop())
	p := place{"w", life{PID: 1, Created: "then"}, "router_realm"}
	name := func(n int) string { return fmt.Sprintf("r_x_%d", n) }
	var listed []string
	if err := m.change(p, func(k *kindMemory) {
		for n := range many {
			listed = append(listed, name(n))
		}
		k.Dead = append(k.Dead, listed...)
	}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, id := range listed {
		if !m.hidden(p, id) {
			t.Fatalf("%s is not dead", id)
		}
	}
	if id, err := m.assign(p, "x", listed, name); err != nil || id != name(many) {
		t.Errorf("the next is %s, %v", id, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if err := m.stopped(p, name(many)); err != nil || !m.burnt(p, name(many)) || m.burnt(p, name(many+1)) {
		t.Errorf("one more that is down: %v", err)
	}
	if err := m.freed(p, name(7)); err != nil || m.hidden(p, name(7)) {
		t.Errorf("one that is free again: %v", err)
	}
}
