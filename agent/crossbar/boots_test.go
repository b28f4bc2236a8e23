package crossbar

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/shared/wire"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// lifeOf is a process that lives until end is called.
func lifeOf(t *testing.T) (info nodelink.NodeInfo, end func()) {
	t.Helper()
	c := exec.Command("sleep", "600")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	t.Cleanup(end)
	return nodelink.NodeInfo{PID: c.Process.Pid, Started: wire.Time(time.Now())}, end
}

func TestANodeBootsItsConfigurationOnce(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	b := NewBoots(dir, zap.NewNop())
	comes := func(what string, info nodelink.NodeInfo, boots bool) {
		t.Helper()
		applied := b.Apply(ctx)
		if applied != boots {
			t.Errorf("%s: it boots: %v", what, applied)
		}
		if !b.Ready(ctx, info, applied) {
			t.Errorf("%s: it was told wrongly", what)
		}
	}
	first, end := lifeOf(t)
	comes("at first", first, true)
	comes("again", first, false)
	comes("again, without a word of who it is", nodelink.NodeInfo{}, false)
	b = NewBoots(dir, zap.NewNop())
	comes("at another agent", first, false)
	end()
	second, _ := lifeOf(t)
	comes("the next process", second, true)
	comes("the next process again", second, false)

	// A second node with the same key, while the first one lives.
	third, _ := lifeOf(t)
	if b.Apply(ctx) {
		t.Error("the third was told to boot, with the second alive")
	}
	if b.Ready(ctx, third, false) {
		t.Error("the third was told rightly")
	}
	comes("the third, when it comes again", third, true)
	comes("the third once more", third, false)
}

// A pid that is not the node's, here because it is of another PID namespace,
// says nothing: that process may live for ever.
func TestANodeOfAnotherNamespaceBootsEachTime(t *testing.T) {
	ctx := context.Background()
	b := NewBoots(t.TempDir(), zap.NewNop())
	info := nodelink.NodeInfo{PID: 1, Started: wire.Time(time.Now().Add(time.Hour))}
	for range 2 {
		if !b.Apply(ctx) || !b.Ready(ctx, info, true) {
			t.Error("it was told not to boot")
		}
	}
}

func TestBootsThatCannotBeRead(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"no JSON":       "{",
		"unknown field": `{"version": 1, "process": {"pid": 1, "started": "2026-01-02T03:04:05Z"}, "more": 1}`,
		"newer":         `{"version": 2, "process": {"pid": 1, "started": "2026-01-02T03:04:05Z"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, bootsFile), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			core, said := observer.New(zap.WarnLevel)
			if b := NewBoots(dir, zap.New(core)); !b.Apply(context.Background()) {
				t.Error("the node would not boot")
			}
			if said.Len() != 1 {
				t.Errorf("the log says %v", said.All())
			}
		})
	}
}

// The clock of a host without one of its own is set when the node runs already,
// which still is the process that it says.
func TestANodeIsKnownAfterTheClockWasSet(t *testing.T) {
	c := exec.Command("sleep", "600")
	c.Args[0] = "crossbar-controller"
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	other, _ := lifeOf(t)
	for _, off := range []time.Duration{-20 * 365 * 24 * time.Hour, -time.Hour, 0, time.Hour} {
		started := wire.Time(time.Now().Add(off))
		if p := controller(t.Context(), nodelink.NodeInfo{PID: c.Process.Pid, Started: started}); p.PID != c.Process.Pid {
			t.Errorf("started %s ago, it is not known", -off)
		}
		if p := controller(t.Context(), nodelink.NodeInfo{PID: other.PID, Started: started}); (p.PID != 0) != (off == 0) {
			t.Errorf("started %s ago, a process of another kind is taken for it: %v", -off, p.PID != 0)
		}
	}
}
