package nodeapi

import (
	"os"
	"path/filepath"
	"testing"

	"fabric.center/cfc/shared/e2e/fleet"
)

// TestGuest runs any program as a worker.
func TestGuest(t *testing.T) {
	o := operate(t, "nexus/cbor")
	path := filepath.Join(t.TempDir(), "guest.out")
	o.worker("anything", "guest", map[string]any{"executable": "/bin/sh", "arguments": []any{"-c", "echo here > " + path + "; exec sleep 600"}})
	if err := fleet.Poll(within(t, twoMinutes), func() error { _, err := os.Stat(path); return err }); err != nil {
		t.Error(err)
	}
	if d := o.dict("id type status", "node.get_worker", "anything"); d["type"] != "guest" {
		t.Errorf("get_worker: %v", d)
	}
	o.dict("id", "node.stop_worker", "anything")
	o.life("node.on_worker", "anything")
	o.heard("node.on_guest_starting")
	o.heard("node.on_guest_started")
	if _, err := o.try("node.start_worker", "nothing", map[string]any{"type": "guest", "executable": "/no/such/program"}); err == nil {
		t.Error("a guest whose program is not there is started")
	}
}
