// Package readme does what README.md says: every command of its console blocks
// and its Python example, against the demo as `make run` starts it. The paths of
// README are those of the source tree; here they are a copy of it in the small.
package readme

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/fleet"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// block is a fenced block of README.
type block struct{ kind, text string }

func blocks(t *testing.T, root string) []block {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []block
	for _, m := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(string(b), -1) {
		found = append(found, block{m[1], m[2]})
	}
	return found
}

// step is a command and the output that README shows.
type step struct{ command, output string }

func steps(blocks []block) []step {
	var all []step
	for _, b := range blocks {
		if b.kind != "console" {
			continue
		}
		for line := range strings.Lines(b.text) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, step{command: strings.TrimSpace(command)})
			} else if len(all) > 0 {
				all[len(all)-1].output += line
			}
		}
	}
	return all
}

// demo is `make run` in a directory of its own, on a port of its own.
type demo struct {
	*fleet.Proc
	dir, home string
	port      int
}

func run(t *testing.T) *demo {
	t.Helper()
	ctx := within(t, 3*time.Minute)
	tools, err := fleet.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dir, home := t.TempDir(), t.TempDir()
	if err := os.Symlink(filepath.Dir(tools.CLI), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(home, "demo")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./shared/e2e/demo")
	build.Dir, build.Env = tools.Root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := &demo{dir: dir, home: home}
	if d.port, err = fleet.FreePort(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, h := range []string{home, filepath.Join(dir, ".run")} {
			if _, err := fleet.Reap(context.Background(), h, 0); err != nil {
				t.Error(err)
			}
		}
	})
	d.start(t, tools, program)
	return d
}

func (d *demo) start(t *testing.T, tools fleet.Tools, program string) {
	t.Helper()
	node, err := fleet.FindNode()
	if err != nil {
		t.Fatal(err)
	}
	d.Proc, err = fleet.Start(fleet.Command{Name: "demo", Path: program, Args: []string{"-port", fmt.Sprint(d.port), "-dir", filepath.Join(d.dir, ".run")},
		Env: []string{"CFC_BIN=" + filepath.Dir(tools.CLI), "CFC_CROSSBAR=" + node.Crossbar}, Home: d.home, Dir: tools.Root})
	if err != nil {
		t.Fatal(err)
	}
	d.await(t)
}

// await waits until the demo says that it is up.
func (d *demo) await(t *testing.T) {
	t.Helper()
	up := func() error {
		if !d.Running() {
			return nil
		}
		if !strings.Contains(d.Log(), "Ctrl-C stops everything") {
			return fmt.Errorf("the demo is not up; it printed:\n%s", d.Log())
		}
		return nil
	}
	if err := fleet.Poll(within(t, 2*time.Minute), up); err != nil {
		t.Fatal(err)
	}
	if !d.Running() {
		t.Fatalf("the demo ended: %v\n%s", d.Err(), d.Log())
	}
}

// firstWords are what output says whatever the machine and the time: its lines
// by their first word.
func firstWords(output string) string {
	var words []string
	for line := range strings.Lines(output) {
		if f := strings.Fields(line); len(f) > 0 {
			words = append(words, f[0])
		}
	}
	return strings.Join(words, "\n")
}

func TestEveryCommandOfReadmeRuns(t *testing.T) {
	tools, err := fleet.Find(within(t, 3*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	all := blocks(t, tools.Root)
	todo := steps(all)
	for _, c := range fleet.Commands {
		if !strings.Contains(fmt.Sprint(todo), c) {
			t.Errorf("README does not show %q, which make run says to try", c)
		}
	}
	d := run(t)
	exported := "" // a console is one shell: what one command exports the next has
	for _, s := range todo {
		if strings.HasPrefix(s.command, "export ") {
			exported += s.command + "\n"
			continue
		}
		cmd := exec.CommandContext(within(t, time.Minute), "/bin/bash", "-euc", exported+s.command)
		cmd.Dir = d.dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("$ %s\n%v\n%s", s.command, err, out)
			continue
		}
		if got, want := firstWords(string(out)), firstWords(s.output); got != want {
			t.Errorf("$ %s\ngives\n%s\nREADME shows\n%s", s.command, out, s.output)
		}
	}
	python(t, d, all)
	d.interrupted(t)
}

// python runs the example with the stock interpreter.
func python(t *testing.T, d *demo, all []block) {
	t.Helper()
	node, err := fleet.FindNode()
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, b := range all {
		if b.kind != "python" {
			continue
		}
		ran++
		cmd := exec.CommandContext(within(t, time.Minute), node.Python, "-c", strings.ReplaceAll(b.text, "127.0.0.1:8080", fmt.Sprintf("127.0.0.1:%d", d.port)))
		cmd.Dir = d.dir
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), "joined demo as owner") || !strings.Contains(string(out), "router1") {
			t.Errorf("the Python example: %v\n%s", err, out)
		}
	}
	if ran == 0 {
		t.Error("README has no Python example")
	}
}

// interrupted is Ctrl-C: everything ends and nothing is left.
func (d *demo) interrupted(t *testing.T) {
	t.Helper()
	if err := d.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.Done():
	case <-within(t, time.Minute).Done():
		t.Fatal("the demo does not end")
	}
	if d.Err() != nil {
		t.Errorf("the demo ended with %v:\n%s", d.Err(), d.Tail(20))
	}
	d.nothingLeft(t)
}

func (d *demo) nothingLeft(t *testing.T) {
	t.Helper()
	run := filepath.Join(d.dir, ".run")
	if left := fleet.Survivors(run); len(left) > 0 {
		t.Errorf("left running: %s", fleet.Describe(left))
	}
	for _, p := range []string{run, run + ".lock"} {
		if _, err := os.Stat(p); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", p, err)
		}
	}
}

// TestTheNextStartClearsUp kills the demo outright; the next one ends what was
// left, starts, and ends in order when a terminal goes away.
func TestTheNextStartClearsUp(t *testing.T) {
	tools, err := fleet.Find(within(t, 3*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	d := run(t)
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	left := fleet.Survivors(filepath.Join(d.dir, ".run"))
	if len(left) < 4 {
		t.Errorf("after kill -9 there are %s; expected relay, agent, node and worker", fleet.Describe(left))
	}
	if err := os.Truncate(filepath.Join(d.home, "log", "demo.log"), 0); err != nil {
		t.Fatal(err)
	}
	d.start(t, tools, filepath.Join(d.home, "demo"))
	for _, pid := range left {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("still there after the next start: %s", fleet.Describe([]int{pid}))
		}
	}
	second, err := fleet.Start(fleet.Command{Name: "second", Path: filepath.Join(d.home, "demo"), Args: []string{"-dir", filepath.Join(d.dir, ".run")}, Home: d.home, Dir: tools.Root})
	if err != nil {
		t.Fatal(err)
	}
	<-second.Done()
	if second.Err() == nil || !strings.Contains(second.Log(), "runs already") {
		t.Errorf("a second demo beside the first: %v\n%s", second.Err(), second.Log())
	}
	if err := d.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.Done():
	case <-within(t, time.Minute).Done():
		t.Fatal("the demo does not end")
	}
	d.nothingLeft(t)
}

// TestMakeKnowsItsTargets dry-runs each make command of README.
func TestMakeKnowsItsTargets(t *testing.T) {
	tools, err := fleet.Find(within(t, 3*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	b, err := os.ReadFile(filepath.Join(tools.Root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllStringSubmatch(string(b), -1) {
		targets[m[1]] = true
	}
	if len(targets) < 4 {
		t.Errorf("README shows %v", targets)
	}
	for target := range targets {
		cmd := exec.CommandContext(within(t, time.Minute), "make", "-n", target)
		cmd.Dir = tools.Root
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("make %s: %v\n%s", target, err, out)
		}
		// With other flags all is compiled once more, which takes a new user's time.
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "go build") && !strings.Contains(line, "CGO_ENABLED=0 go build -trimpath ") {
				t.Errorf("make %s builds with flags of its own: %s", target, line)
			}
		}
	}
}
