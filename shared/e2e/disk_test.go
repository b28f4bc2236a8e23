package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// TestTheAgentsDiskIsFull fills the small file system that an agent's state is
// on: changes that have to be remembered are refused and say why, all else goes
// on, also after the agent was killed, and nothing that was acknowledged is lost.
func TestTheAgentsDiskIsFull(t *testing.T) {
	s := owner(t)
	node, err := fleet.FindNode()
	if err != nil {
		t.Fatal(err)
	}
	a, err := fleet.NewAgent(t.Context(), stage.Tools, node, stage.Home, fleet.AgentOptions{Name: "small", NodeDir: filepath.Join(stage.Home, "small-node"), Tmpfs: "1m"})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := a.Attached(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, _ := wamp.AsDict(must(t, join(t, wire.UsersRealm), catalog.CreateToken.Op, string(wire.ForNode), wamp.Dict{"realm": realm, "node_id": "small"}))
	token, _ := wamp.AsString(d["token"])
	stage.secrets["the token of small"] = token
	if err := a.Pair(within(t, time.Minute), stage.Relay.URL(), token); err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, join(t, wire.UsersRealm), catalog.UnpairNode.Op, realm+"/small") }()
	p := place{realm, "small", a}
	p.attached(t, s)
	config := func(name string) wamp.Dict { return wamp.Dict{"name": "com.example." + name} }
	has := func(want ...string) {
		t.Helper()
		if got := fmt.Sprint(must(t, s, catalog.RouterGetRealms.Op, "small", "w")); got != fmt.Sprint(want) {
			t.Errorf("realms are %s, expected %v", got, want)
		}
	}
	must(t, s, catalog.NodeStartWorker.Op, "small", "w", wamp.Dict{"type": "router"})
	must(t, s, catalog.RouterStartRealm.Op, "small", "w", "before", config("before"))

	ballast := filepath.Join(a.Data, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	refused := func() {
		t.Helper()
		if _, err := call(t, s, catalog.RouterStartRealm.Op, "small", "w", "full", config("full")); cfcerr.KindOf(err) != cfcerr.Unavailable || !strings.Contains(err.Error(), "space") {
			t.Errorf("a start that cannot be remembered: %v", err)
		}
		has("before")
	}
	refused()
	pid, err := running("small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Poll(within(t, 30*time.Second), func() error {
		if now, err := running("small.yaml"); err != nil || now == pid {
			return fmt.Errorf("not started again: %d, %w", now, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	p.attached(t, s)
	refused()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	must(t, s, catalog.RouterStartRealm.Op, "small", "w", "full", config("full"))
	has("before", "full")
}

// running is the agent that runs with this configuration.
func running(conf string) (int, error) {
	for _, pid := range fleet.Survivors(stage.Home) {
		args := fleet.CommandLine(pid)
		if len(args) > 1 && filepath.Base(args[0]) == "cfc-agent" && slices.ContainsFunc(args, func(arg string) bool { return filepath.Base(arg) == conf }) {
			return pid, nil
		}
	}
	return 0, errors.New("the agent does not run")
}
