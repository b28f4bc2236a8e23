// Package docker drives the Docker area as operators do: the built programs,
// the command line at a terminal, and a real Docker Engine on the host of an
// agent that has no node.
package docker

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/enginetest"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a relay, an agent and an engine of the test's own.
type stage struct {
	*fleet.Stage
	t      testing.TB
	engine *enginetest.Engine
}

func newStage(t testing.TB) *stage {
	t.Helper()
	home, err := os.MkdirTemp("", "cfc-docker") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, engine: enginetest.Start(t, enginetest.Options{})}
	s.engine.Build("box:1", nil)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.LastWords())
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s.Stage, err = fleet.NewStage(ctx, home); err != nil {
		t.Fatal(err)
	}
	s.Policy = "areas: {docker: on}\ndocker: {exec: true}\n"
	nobody, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	err = s.Pair(ctx, fleet.AgentOptions{NodeKey: nobody.Public(), Config: map[string]string{"docker": "{socket: " + s.engine.Socket + "}"}})
	if err == nil {
		err = s.Agent.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.ready(ctx)
	return s
}

// ready waits until the agent is there.
func (s *stage) ready(ctx context.Context) {
	s.t.Helper()
	owner, err := s.Join(ctx, fleet.Realm)
	if err != nil {
		s.t.Fatal(err)
	}
	defer owner.Close()
	if err := fleet.Poll(ctx, func() error {
		_, err := owner.Call(ctx, catalog.DockerGetPing.URI(), wamp.List{fleet.NodeID}, nil, session.CallOptions{Timeout: 5 * time.Second})
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
}

// box runs a container of box under a name.
func (s *stage) box(name string, words ...string) {
	s.t.Helper()
	s.engine.Do(http.MethodPost, "/containers/create?name="+name, map[string]any{"Image": "box:1", "Cmd": words, "HostConfig": map[string]any{"NetworkMode": "none"}}, nil)
	s.engine.Do(http.MethodPost, "/containers/"+name+"/start", nil, nil)
}

// commands is how many run in a container beside its own.
func (s *stage) commands(name string) int {
	s.t.Helper()
	var top struct{ Processes [][]string }
	s.engine.Do(http.MethodGet, "/containers/"+name+"/top", nil, &top)
	return len(top.Processes) - 1
}

// cfc is a command line of the owner's, not yet started.
func (s *stage) cfc(args ...string) *exec.Cmd {
	cmd := exec.Command(s.Tools.CLI, append([]string{"--config-dir", filepath.Join(s.Home, "cfc"), "--relay", s.Relay.URL(), "--realm", fleet.Realm, "--key", s.KeyFile}, args...)...)
	cmd.Dir = s.Home
	return cmd
}

// resident is the memory of a process in MiB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() >> 20
}
