package fleet

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, home, script string) *Proc {
	t.Helper()
	p, err := Start(Command{Name: "sh", Path: "/bin/sh", Args: []string{"-c", script}, Home: home, Dir: home})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := Reap(context.Background(), home, 0); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestStopEndsAProcessInOrder(t *testing.T) {
	p := start(t, t.TempDir(), `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done`)
	up := func() error {
		if !strings.Contains(p.Log(), "up") {
			return errors.New("not up")
		}
		return nil
	}
	if err := Poll(within(t, 10*time.Second), up); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if p.Err() != nil || p.Tail(1) != "bye" {
		t.Fatalf("ended with %v after %q", p.Err(), p.Tail(1))
	}
	if err := p.Stop(); err != nil {
		t.Fatalf("stopping twice: %v", err)
	}
}

func TestSurvivorsAreFoundAndReaped(t *testing.T) {
	home := t.TempDir()
	// A child in a session of its own outlives the kill -9 of its parent.
	p := start(t, home, `setsid sh -c 'trap "" INT TERM; while :; do sleep 0.05; done' & wait`)
	both := func() error {
		if len(Children(p.PID())) == 0 {
			return errors.New("no child yet")
		}
		return nil
	}
	if err := Poll(within(t, 10*time.Second), both); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if len(Survivors(home)) == 0 {
		t.Fatal("the orphan is not found")
	}
	if got := Survivors(t.TempDir()); len(got) != 0 {
		t.Fatalf("another fleet's processes: %s", Describe(got))
	}
	n, err := Reap(within(t, 10*time.Second), home, 200*time.Millisecond)
	if err != nil || n == 0 {
		t.Fatalf("reaped %d, %v", n, err)
	}
	if left := Survivors(home); len(left) != 0 {
		t.Fatalf("left: %s", Describe(left))
	}
}

func TestAShellInTheDirectoryIsNoSurvivor(t *testing.T) {
	home, other := t.TempDir(), t.TempDir()
	p, err := Start(Command{Name: "sh", Path: "/bin/sh", Args: []string{"-c", "sleep 60"}, Home: other, Dir: home})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Signal(syscall.SIGKILL); <-p.Done() }()
	if got := Survivors(home); len(got) != 0 {
		t.Fatalf("found %s", Describe(got))
	}
}

func TestPollTellsWhatWasMissing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	missing := errors.New("no node yet")
	err := Poll(ctx, func() error { return missing })
	if !errors.Is(err, missing) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestEnvironmentIsCleaned(t *testing.T) {
	t.Setenv("CFC_RELAY_LISTEN", "0.0.0.0:1")
	home := t.TempDir()
	p := start(t, home, "env")
	<-p.Done()
	if strings.Contains(p.Log(), "CFC_RELAY_LISTEN") || !strings.Contains(p.Log(), "CFC_FLEET="+home) {
		t.Fatalf("environment:\n%s", p.Log())
	}
	if _, err := os.Stat(p.pid); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("pid file is left: %v", err)
	}
}

func TestAlarms(t *testing.T) {
	home := t.TempDir()
	p := start(t, home, "echo fine; echo 'panic: runtime error'; echo 'WARNING: DATA RACE'")
	<-p.Done()
	if got := Alarms(home); len(got) != 2 || !strings.HasPrefix(got[0], "sh.log: panic") {
		t.Errorf("got %q", got)
	}
	if got := Alarms(t.TempDir()); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// A port that is none is not one that is in use, and one line says so.
func TestDemoKnowsPorts(t *testing.T) {
	for _, port := range []string{"-1", "0", "65536", "99999", "abc", "", "80 80"} {
		if n, err := Port(port); err == nil || !strings.Contains(err.Error(), "there is no port "+port) {
			t.Errorf("port %s: %d, %v", port, n, err)
		}
	}
	if n, err := Port("8090"); err != nil || n != 8090 {
		t.Errorf("a port: %d, %v", n, err)
	}
}
