package crossbar

import (
	"os"
	"path/filepath"
	"testing"

	"fabric.center/cfc/agent/ops"
)

func TestHowAGuestHasEnded(t *testing.T) {
	const log = `2026-11-27T10:00:00+0000 [Controller   1] Guest g1 exited with error A process has ended with a probable error condition: process ended with exit code 3.
2026-11-27T10:00:05+0000 [Controller   1] Guest g2 exited with error A process has ended with a probable error condition: process ended by signal 9.
2026-11-27T10:00:06+0000 [Controller   1] Guest g3 exited with success
2026-11-27T10:00:06+0000 [Guest        9] it said: Guest g4 exited with nothing
`
	file := filepath.Join(t.TempDir(), "node.log")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	n := New(Config{LogFile: file})
	for name, c := range map[string]struct {
		w    ops.Worker
		want string
	}{
		"with a code":   {ops.Worker{ID: "g1", Type: "guest", Created: "2026-11-27T10:00:00.500Z"}, "exit code 3"},
		"by a signal":   {ops.Worker{ID: "g2", Type: "guest", Created: "2026-11-27T10:00:00Z"}, "signal 9"},
		"well":          {ops.Worker{ID: "g3", Type: "guest", Created: "2026-11-27T10:00:00Z"}, "exit code 0"},
		"not yet":       {ops.Worker{ID: "g4", Type: "guest", Created: "2026-11-27T10:00:00Z"}, ""},
		"one before it": {ops.Worker{ID: "g1", Type: "guest", Created: "2026-11-27T10:00:01Z"}, ""},
		"no guest":      {ops.Worker{ID: "g1", Type: "router", Created: "2026-11-27T10:00:00Z"}, ""},
	} {
		if got := n.Exit(c.w); got != c.want {
			t.Errorf("%s: %q, expected %q", name, got, c.want)
		}
	}
	if got := New(Config{LogFile: file + "x"}).Exit(ops.Worker{ID: "g1", Type: "guest"}); got != "" {
		t.Errorf("without a log: %q", got)
	}
}

// Of guests that have gone as they should nothing stays behind, over years.
func TestGuestsThatAreGoneAreForgotten(t *testing.T) {
	n := New(Config{})
	n.departed = map[string]int{"listed": 1, "gone": 2, "anew": 3}
	n.keepNames([]ops.Worker{{ID: "listed", Type: "guest", PID: 1}, {ID: "anew", Type: "guest", PID: 4}})
	if len(n.departed) != 1 || n.departed["listed"] != 1 {
		t.Errorf("kept is %v", n.departed)
	}
}
