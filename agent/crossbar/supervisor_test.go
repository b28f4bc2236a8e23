package crossbar

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/host"
	"fabric.center/cfc/shared/cfcerr"
)

// script is a crossbar command that is a shell script: as a process it does
// what a node does. Files in the node directory make it misbehave.
const script = `#!/bin/sh
dir=$4
case "$2" in
keys)
	[ -f "$dir/nokeys" ] && { echo "some noise"; echo "no entropy"; exit 1; }
	printf 'title\n\npublic-key-ed25519: %064d\n' 7 >"$dir/key.pub"
	exit ;;
check)
	grep -q bad "$dir/$6" || exit 0
	echo "Checking local node configuration file: $dir/$6"; echo "Error: unknown attribute"; echo; echo "secret"; exit 1 ;;
esac
echo "started with $*"
[ -f "$dir/crash" ] && exit 3
if [ -f "$dir/deaf" ]; then trap '' INT; else trap 'rm -f "$dir/node.pid"; exit 0' INT; fi
[ -f "$dir/child" ] && { sleep 600 & }
[ -f "$dir/worker" ] && { (cd "$dir"; exec sleep 600) & }
echo "{\"pid\": $$}" >"$dir/node.pid.new"
mv "$dir/node.pid.new" "$dir/node.pid"
while :; do sleep 0.02; done
`

type supervised struct {
	*Supervisor
	t      *testing.T
	dir    string
	end    func()
	cancel context.CancelFunc
	done   chan error
}

func nodeDir(t *testing.T, files ...string) (dir, executable string) {
	t.Helper()
	dir = t.TempDir()
	executable = filepath.Join(t.TempDir(), "crossbar")
	if err := os.WriteFile(executable, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		touch(t, dir, f)
	}
	return dir, executable
}

func touch(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func supervise(t *testing.T, dir, executable string, adapt ...func(*SupervisorConfig)) *supervised {
	t.Helper()
	cfg := SupervisorConfig{Executable: executable, Dir: dir, StopTimeout: 5 * time.Second, SweepAfter: 50 * time.Millisecond, BackoffMin: 20 * time.Millisecond, BackoffMax: 100 * time.Millisecond}
	for _, f := range adapt {
		f(&cfg)
	}
	s, err := NewSupervisor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &supervised{Supervisor: s, t: t, dir: dir, cancel: cancel, done: make(chan error, 1)}
	go func() { v.done <- s.Run(ctx) }()
	ended := false
	v.end = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-v.done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(v.end)
	return v
}

func (v *supervised) until(what string, ok func() bool) {
	v.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			v.t.Fatalf("waited in vain until %s: %+v", what, v.Status())
		}
	}
}

// node waits for the process and for its pid file.
func (v *supervised) node() host.Process {
	v.t.Helper()
	var p host.Process
	v.until("the node runs", func() bool {
		st := v.Status()
		var file struct{ PID int }
		b, _ := os.ReadFile(filepath.Join(v.dir, pidFile))
		var err error
		p, err = host.Find(context.Background(), st.PID)
		return st.State == "running" && json.Unmarshal(b, &file) == nil && file.PID == st.PID && err == nil
	})
	return p
}

func (v *supervised) gone(p host.Process) {
	v.t.Helper()
	group, err := host.Group(context.Background(), p.PID)
	if p.Alive(context.Background()) || err != nil || len(group) > 0 {
		v.t.Errorf("left behind: %v %v", group, err)
	}
}

func TestSupervisorStartsAndStops(t *testing.T) {
	dir, exe := nodeDir(t)
	t.Setenv("CFC_TOKEN", "secret")
	t.Setenv("CROSSBAR_FABRIC_URL", "ws://elsewhere")
	v := supervise(t, dir, exe)
	p := v.node()
	if !p.LeadsGroup() {
		t.Error("the node is not in a process group of its own")
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
	if err != nil || strings.Contains(string(env), "secret") || strings.Contains(string(env), "elsewhere") {
		t.Errorf("its environment has what is the agent's, %v", err)
	}
	v.end()
	v.gone(p)
	log, err := os.ReadFile(filepath.Join(dir, "node.log"))
	if err != nil || string(log) != "started with edge start --cbdir "+dir+" --color false\n" {
		t.Errorf("its log is %q, %v", log, err)
	}
	if st := v.Status(); st.State != "stopped" || st.PID != 0 {
		t.Errorf("its status is %+v", st)
	}
}

func TestSupervisorStartsAgain(t *testing.T) {
	dir, exe := nodeDir(t, "child")
	v := supervise(t, dir, exe)
	p := v.node()
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v.until("it was started again", func() bool { return v.Status().Restarts == 1 })
	v.gone(p) // its child too
	second := v.node()
	if st := v.Status(); second.PID == p.PID || !strings.HasPrefix(st.LastEnd, "killed by SIGKILL") {
		t.Errorf("its status is %+v", st)
	}
	touch(t, dir, "crash")
	if err := syscall.Kill(second.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v.until("it has crashed some times", func() bool {
		return strings.HasPrefix(v.Status().LastEnd, "exit code 3: started with") && v.Status().Restarts >= 3
	})
	if err := os.Remove(filepath.Join(dir, "crash")); err != nil {
		t.Fatal(err)
	}
	v.node()
}

func TestSupervisorAdopts(t *testing.T) {
	keep := func(c *SupervisorConfig) { c.KeepRunning = true }
	for name, forget := range map[string]string{"by its own record": "", "by the node's pid file": recordFile} {
		t.Run(name, func(t *testing.T) {
			dir, exe := nodeDir(t)
			first := supervise(t, dir, exe, keep)
			p := first.node()
			first.end()
			if !p.Alive(context.Background()) {
				t.Fatal("the node has not outlived the agent")
			}
			if forget != "" {
				if err := os.Remove(filepath.Join(dir, forget)); err != nil {
					t.Fatal(err)
				}
			}
			second := supervise(t, dir, exe)
			second.until("it is adopted", func() bool { return second.Status().PID == p.PID })
			if st := second.Status(); !st.Adopted || !st.Since.Equal(p.Started) {
				t.Errorf("its status is %+v", st)
			}
			second.end()
			second.gone(p)
			reap(p.PID)
		})
	}
}

// A clock that is set between two agents, as by a host without one of its own,
// makes of the node none that is unknown, however the first agent came by it.
func TestANodeIsAdoptedAfterTheClockWasSet(t *testing.T) {
	keep := func(c *SupervisorConfig) { c.KeepRunning = true }
	dir, exe := nodeDir(t)
	starter := supervise(t, dir, exe, keep)
	p := starter.node()
	starter.end()
	t.Cleanup(func() { _ = p.Kill(context.Background()); reap(p.PID) })
	// It is as if the agent had not started it.
	if err := os.Remove(filepath.Join(dir, recordFile)); err != nil {
		t.Fatal(err)
	}
	adopter := supervise(t, dir, exe, keep)
	adopter.until("it is adopted", func() bool { return adopter.Status().PID == p.PID })
	adopter.end()
	// All that was written down before is older than the process by the clock now.
	before := p
	before.Started = p.Started.Add(-time.Hour)
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil || r.Process.PID != p.PID {
		t.Fatalf("kept is %s, %v", b, err)
	}
	r.Process.Started = before.Started
	if b, err = json.Marshal(r); err == nil {
		err = os.WriteFile(filepath.Join(dir, recordFile), b, 0o600)
	}
	if err == nil {
		err = os.Chtimes(filepath.Join(dir, pidFile), before.Started, before.Started)
	}
	if err != nil {
		t.Fatal(err)
	}
	last := supervise(t, dir, exe, keep)
	last.until("it is adopted again", func() bool { return last.Status().PID == p.PID })
}

// A clock that is set before any agent has seen the node makes it no other one: its
// worker shows whose it is.
func TestANodeThatNoAgentHasSeenIsAdoptedAfterTheClockWasSet(t *testing.T) {
	dir, exe := nodeDir(t, "worker")
	node := exec.Command(exe, "edge", "start", "--cbdir", dir)
	node.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-node.Process.Pid, syscall.SIGKILL); _ = node.Wait() })
	path, before := filepath.Join(dir, pidFile), time.Now().Add(-time.Hour)
	found := func() bool {
		if os.Chtimes(path, before, before) != nil {
			return false // not there yet, as its worker
		}
		_, found := Running(context.Background(), dir)
		return found
	}
	for end := time.Now().Add(10 * time.Second); !found(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not found")
		}
	}
	v := supervise(t, dir, exe)
	v.until("there is a node", func() bool { return v.Status().State == "running" })
	if st := v.Status(); st.PID != node.Process.Pid || !st.Adopted {
		t.Errorf("it runs beside the node %d: %+v", node.Process.Pid, st)
	}
}

// reap takes the exit of a process that this process has started and
// forgotten, as init would for an agent that is gone.
func reap(pid int) { _, _ = syscall.Wait4(pid, nil, 0, nil) }

func TestThereIsNeverASecondNode(t *testing.T) {
	dir, exe := nodeDir(t)
	first := supervise(t, dir, exe)
	p := first.node()
	for _, f := range []string{recordFile, pidFile} { // nothing tells of the node
		if err := os.Remove(filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	second := supervise(t, dir, exe)
	second.until("the second has tried", func() bool { return strings.Contains(second.Status().LastEnd, "another one runs") })
	if first.Status().PID != p.PID || !p.Alive(context.Background()) {
		t.Error("the first one's node has suffered")
	}
}

func TestPidsOfOthersAreNotAdopted(t *testing.T) {
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	dir, exe := nodeDir(t)
	stale := fmt.Sprintf(`{"pid": %d}`, other.Process.Pid)
	if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	started, err := host.Find(context.Background(), other.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(record{Version: 1, Process: started, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	v := supervise(t, dir, exe)
	if p := v.node(); p.PID == other.Process.Pid || v.Status().Adopted {
		t.Errorf("adopted is %+v", v.Status())
	}
}

func TestADeafNodeIsKilledWithAllItsProcesses(t *testing.T) {
	dir, exe := nodeDir(t, "deaf", "child")
	v := supervise(t, dir, exe, func(c *SupervisorConfig) { c.StopTimeout = 100 * time.Millisecond })
	p := v.node()
	v.end()
	v.gone(p)
}

// hanging is a node that ends neither in order nor of being killed, as one in a
// system call that nothing interrupts; until it is let go.
func hanging(t *testing.T) (v *supervised, p host.Process, letGo func()) {
	dir, exe := nodeDir(t, "deaf")
	var free atomic.Bool
	v = supervise(t, dir, exe, func(c *SupervisorConfig) {
		c.StopTimeout, c.KillWait = 10*time.Millisecond, 200*time.Millisecond
		c.kill = func(ctx context.Context, r *running) {
			if free.Load() {
				kill(ctx, r)
			}
		}
	})
	p = v.node()
	letGo = func() {
		free.Store(true)
		kill(context.Background(), &running{Process: p})
	}
	t.Cleanup(func() { letGo(); reap(p.PID) })
	return v, p, letGo
}

// A node that cannot be killed is told to everybody and watched further; when it
// ends at last, it is what was asked for: stopped, or started again.
func TestANodeThatCannotBeKilledIsNotWaitedFor(t *testing.T) {
	for restart, then := range map[bool]string{false: "stopped", true: "running"} {
		v, p, letGo := hanging(t)
		for range 2 {
			if err := v.Shutdown(context.Background(), restart); cfcerr.KindOf(err) != cfcerr.CannotStop || !strings.Contains(err.Error(), fmt.Sprint(p.PID)) {
				t.Fatalf("restart %v: %v", restart, err)
			}
			if st := v.Status(); st.State != "stuck" || st.PID != p.PID || !strings.Contains(st.LastEnd, "hangs in the kernel") {
				t.Errorf("restart %v: its status is %+v", restart, st)
			}
		}
		letGo()
		v.until("it is "+then, func() bool { st := v.Status(); return st.State == then && st.PID != p.PID })
	}
}

// Nor does it hinder the agent's own end.
func TestTheAgentEndsBesideANodeThatCannotBeKilled(t *testing.T) {
	v, p, _ := hanging(t)
	v.cancel()
	err := <-v.done
	v.done <- nil // for its own end
	if cfcerr.KindOf(err) != cfcerr.CannotStop || !p.Alive(context.Background()) {
		t.Errorf("it has ended with %v", err)
	}
}

func TestShutdownAndRestart(t *testing.T) {
	dir, exe := nodeDir(t)
	v := supervise(t, dir, exe)
	ctx := context.Background()
	p := v.node()
	if err := v.Shutdown(ctx, true); err != nil {
		t.Fatal(err)
	}
	v.gone(p)
	p = v.node()
	if err := v.Shutdown(ctx, false); err != nil {
		t.Fatal(err)
	}
	v.gone(p)
	if st := v.Status(); st.State != "stopped" || st.LastEnd != "exit code 0" || st.PID != 0 {
		t.Errorf("its status is %+v", st)
	}
	if err := v.Shutdown(ctx, false); cfcerr.KindOf(err) != cfcerr.NotRunning {
		t.Errorf("of a node that is down: %v", err)
	}
	if err := v.Shutdown(ctx, true); err != nil {
		t.Fatal(err)
	}
	v.node()
	v.end()
	late, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := v.Shutdown(late, true); cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Errorf("of a supervisor that has ended: %v", err)
	}
}

// A node that does not stay up can be shut down between two starts, and whoever
// was told that it could not would not expect it to stay down.
func TestShutdownOfANodeThatWaitsForItsStart(t *testing.T) {
	dir, exe := nodeDir(t, "crash")
	v := supervise(t, dir, exe, func(c *SupervisorConfig) { c.BackoffMin, c.BackoffMax = time.Hour, time.Hour })
	v.until("it waits", func() bool { return v.Status().State == "waiting" })
	if err := v.Shutdown(context.Background(), false); err != nil {
		t.Error(err)
	}
	if st := v.Status(); st.State != "stopped" || !strings.Contains(st.LastEnd, "exit code 3") {
		t.Errorf("its status is %+v", st)
	}
	if err := v.Shutdown(context.Background(), false); cfcerr.KindOf(err) != cfcerr.NotRunning {
		t.Errorf("of a node that is down: %v", err)
	}
}

func TestNoExecutable(t *testing.T) {
	dir, _ := nodeDir(t)
	v := supervise(t, dir, filepath.Join(dir, "nowhere"))
	v.until("it says why", func() bool { return strings.Contains(v.Status().LastEnd, "no such file") })
	if st := v.Status(); st.State != "waiting" {
		t.Errorf("its status is %+v", st)
	}
	for _, cfg := range []SupervisorConfig{{Dir: dir}, {Executable: "x"}} {
		if _, err := NewSupervisor(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	s, err := NewSupervisor(SupervisorConfig{Executable: "x", Dir: dir, LogSize: 10, LogKeep: 2})
	if err != nil {
		t.Fatal(err)
	}
	node, err := os.OpenFile(s.cfg.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	for i := range 4 {
		if _, err := fmt.Fprintf(node, "line %d of many\n", i); err != nil {
			t.Fatal(err)
		}
		s.rotate()
		s.rotate() // nothing to do
	}
	if _, err := fmt.Fprint(node, "short"); err != nil {
		t.Fatal(err)
	}
	s.rotate()
	for name, want := range map[string]string{"node.log": "short", "node.log.1": "line 3 of many\n", "node.log.2": "line 2 of many\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s is %q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node.log.3")); err == nil {
		t.Error("more are kept than asked for")
	}
}

// TestLogIsBoundedOnAFullDisk, where it cannot be kept: the oldest goes first, and
// the others stay what they are.
func TestLogIsBoundedOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := NewSupervisor(SupervisorConfig{Executable: "x", Dir: dir, LogSize: 10, LogKeep: 2})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"node.log": "line 3 of many\n", "node.log.1": "line 2\n", "node.log.2": "line 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/full", filepath.Join(dir, "node.log.new")); err != nil {
		t.Fatal(err)
	}
	s.rotate()
	left := map[string]string{}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		left[f.Name()] = string(b)
	}
	if want := map[string]string{"node.log": "", "node.log.1": "line 2\n"}; !maps.Equal(left, want) {
		t.Errorf("left is %q, expected %q", left, want)
	}
}
