package host

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	c := exec.Command("sleep", "60")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c
}

func TestProcessIsAPidAndItsStart(t *testing.T) {
	ctx := context.Background()
	c := sleeper(t)
	p, err := Find(ctx, c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if time.Since(p.Started).Abs() > 10*time.Second {
		t.Errorf("it started just now, not at %s", p.Started)
	}
	if !p.Alive(ctx) || !p.ChildOf(ctx, os.Getpid()) || !p.LeadsGroup() {
		t.Error("it lives, is our child and leads its group")
	}
	if other := (Process{PID: p.PID, Started: p.Started.Add(-time.Minute)}); other.Alive(ctx) {
		t.Error("the same pid with another start is another process")
	}
	if p.ChildOf(ctx, p.PID) {
		t.Error("nobody descends from himself")
	}
	if args, err := p.Cmdline(ctx); err != nil || len(args) != 2 || args[1] != "60" {
		t.Errorf("cmdline is %q, %v", args, err)
	}
	group, err := Group(ctx, p.PID)
	if err != nil || len(group) != 1 || group[0].PID != p.PID {
		t.Errorf("its group is %v, %v", group, err)
	}
}

// The start of a process is told relative to that of the machine, which moves
// when the clock is set: as on a host without one that has found a time server.
func TestAProcessOutlivesTheSettingOfTheClock(t *testing.T) {
	ctx := t.Context()
	p, err := Find(ctx, sleeper(t).Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	before := p
	before.Started = p.Started.Add(-4 * 365 * 24 * time.Hour)
	b, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var read Process
	if err := json.Unmarshal(b, &read); err != nil {
		t.Fatal(err)
	}
	if !before.Alive(ctx) || !read.Alive(ctx) {
		t.Error("the clock was set, and the process is taken for another one")
	}
	for what, other := range map[string]Process{
		"tick": {PID: p.PID, Started: p.Started, Birth: p.Birth + "0"},
		"boot": {PID: p.PID, Started: p.Started, Birth: "another" + p.Birth},
	} {
		if other.Alive(ctx) {
			t.Errorf("the same pid with another %s is another process", what)
		}
	}
}

// What cannot be looked at, because files have run out, has not ended: the node
// would be taken for dead, and what is left of it killed.
func TestWhatCannotBeLookedAtIsNotGone(t *testing.T) {
	ctx := t.Context()
	p, err := Find(ctx, sleeper(t).Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	_, found := Find(ctx, p.PID)
	alive, killed := p.Alive(ctx), p.Kill(ctx)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if found == nil || errors.Is(found, ErrNoProcess) {
		t.Errorf("without files to be had it is found as %v", found)
	}
	if !alive {
		t.Error("it is taken for gone")
	}
	if killed == nil {
		t.Error("killing what cannot be looked at is said to be done")
	}
	if !p.Alive(ctx) {
		t.Error("it was killed, without anybody knowing which process it was")
	}
}

func TestDescendantsAreAllThatWasNotLetGo(t *testing.T) {
	ctx := context.Background()
	c := exec.Command("sh", "-c", "sh -c 'sleep 61 & echo; wait' & (sleep 62 & echo $!); wait")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
	})
	for lines, s := 0, bufio.NewScanner(out); lines < 2 && s.Scan(); lines++ {
	}
	p, err := Find(ctx, c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for end := time.Now().Add(5 * time.Second); len(got) != 2 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		all, err := p.Descendants(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, d := range all {
			args, _ := d.Cmdline(ctx) // none where it has ended meanwhile
			got = append(got, strings.Join(args, " "))
		}
	}
	if len(got) != 2 || got[1] != "sleep 61" || !strings.HasPrefix(got[0], "sh -c sleep 61") {
		t.Errorf("got %q, not the child and its child alone", got)
	}
}

func TestAZombieIsGone(t *testing.T) {
	ctx := context.Background()
	c := sleeper(t)
	p, err := Find(ctx, c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err = p.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); p.Alive(ctx); {
		if time.Now().After(deadline) {
			t.Fatal("killed but not waited for: it still counts as alive")
		}
		time.Sleep(time.Millisecond)
	}
	if _, err = Find(ctx, p.PID); !errors.Is(err, ErrNoProcess) {
		t.Errorf("finding a zombie gives %v", err)
	}
	if err = p.Kill(ctx); err != nil {
		t.Errorf("killing what is gone gives %v", err)
	}
}

func TestNoSuchPid(t *testing.T) {
	for _, pid := range []int{0, -1, 1 << 30} {
		if _, err := Find(context.Background(), pid); !errors.Is(err, ErrNoProcess) {
			t.Errorf("pid %d gives %v", pid, err)
		}
	}
}

func TestChildren(t *testing.T) {
	self, err := Find(t.Context(), os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	child := sleeper(t)
	has := func() bool {
		list, err := self.Children(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(list, func(p Process) bool { return p.PID == child.Process.Pid })
	}
	if !has() {
		t.Error("the child is not found")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if has() {
		t.Error("it is found when it is gone")
	}
}

func TestServiceOf(t *testing.T) {
	for cgroups, want := range map[string]string{
		"0::/system.slice/crossbar.service\n":                                            "crossbar.service",
		"0::/system.slice/system-crossbar.slice/crossbar@n1.service\n":                   "crossbar@n1.service",
		"0::/system.slice/crossbar.service/supervised\n":                                 "crossbar.service",
		"4:memory:/x.service\n1:name=systemd:/system.slice/crossbar.service\n0::/\n":     "crossbar.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/node.service\n":      "node.service",
		"0::/user.slice/user-1000.slice/session-3.scope\n":                               "",
		"0::/system.slice/docker-0123.scope\n":                                           "",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-xterm-1.scope\n": "",
		"0::/\n": "",
		"":       "",
	} {
		if got := serviceOf(cgroups); got != want {
			t.Errorf("%q is of %q, want %q", cgroups, got, want)
		}
	}
}
