package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/enginetest"
	"fabric.center/cfc/shared/e2e/fleet"
	"github.com/gammazero/nexus/v3/wamp"
)

// killerEnv has this program be killAsSomebody, for the engine with that socket.
const killerEnv = "CFC_TEST_KILLER"

// killAsSomebody runs a command in a container and, after a line on standard
// input, kills it; the last line that it prints is how that ended.
func killAsSomebody() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e := engine.New(engine.Config{Socket: os.Getenv(killerEnv), Rules: func() policy.Docker { return policy.Docker{Exec: true} }})
	defer e.Close()
	in := catalog.ExecDockerContainerIn{Container: catalog.DockerName(os.Args[1]), Cmd: []string{"/box", os.Args[2]}, Input: os.Args[2] == "cat", Rows: 24, Cols: 80}
	src, _, err := e.Exec(ctx, in)
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan observe.End, 1)
	go func() { ended <- src.Feed(ctx, observe.NewPipe(observe.PipeBytes)) }()
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // also where nobody writes one any more
	cancel()
	_ = json.NewEncoder(os.Stdout).Encode((<-ended).Details)
}

// TestKillByAnAgentThatIsNotRoot, which may use the engine and nothing else: the
// container's own kill does it, else the end of the command's input; and a
// command that neither reaches is told.
func TestKillByAnAgentThatIsNotRoot(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	d.real.Build("kills:1", nil, "COPY box /bin/kill")
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(me)
	if err != nil {
		t.Fatal(err)
	}
	killer := filepath.Join(d.real.Home, "killer")
	if err := os.WriteFile(killer, program, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{d.real.Home: 0o711, d.real.Socket: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		image, word string
		killed      bool
		why         string
	}{
		{"kills:1", "wait", true, ""},
		{"kills:1", "deaf", true, ""},
		{"box:1", "cat", true, ""},
		{"box:1", "wait", false, "can neither be signaled nor does it read"},
	} {
		id := d.box(map[string]any{"Image": c.image}, "wait")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, killer, id, c.word)
		cmd.Env, cmd.Dir = append(os.Environ(), killerEnv+"="+d.real.Socket), "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		line, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := fleet.Poll(ctx, func() error {
			if d.running(id) == 0 {
				return fmt.Errorf("the command does not run: %s", out.String())
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		line.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, out.String())
		}
		cancel()
		var end map[string]any
		if err := json.Unmarshal([]byte(out.String()), &end); err != nil || end["killed"] != c.killed || !strings.Contains(fmt.Sprint(end["not_killed"]), c.why) {
			t.Errorf("%s in %s: %s, %v", c.word, c.image, out.String(), err)
		}
		if err := fleet.Poll(within(t, 10*time.Second), func() error { // the container's own kill may end last
			if n := d.running(id); (n == 0) != c.killed {
				return fmt.Errorf("%d commands are left", n)
			}
			return nil
		}); err != nil {
			t.Errorf("%s in %s: %v", c.word, c.image, err)
		}
	}
}

// TestACommandThatHasJustBegunIsKilled: its stream is closed, or its opening
// canceled, before the engine has made its process.
func TestACommandThatHasJustBegunIsKilled(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	id := d.box(nil, "wait")
	for i := range 16 {
		f := d.exec(id, wamp.Dict{"tty": i%2 == 0}, "wait")
		if end := f.close(); end["killed"] != true {
			t.Errorf("closed at once: %v", end)
		}
	}
	for i := range 16 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*4*time.Millisecond)
		v, err := d.host.Call(ctx, d.caller, catalog.DockerExec.Key(), wamp.List{id, []any{"/box", "wait"}}, nil)
		cancel()
		if err != nil {
			continue
		}
		f := &flow{desk: d, rows: catalog.DockerExecs, id: v.(catalog.OpenedStream).Stream}
		f.close()
	}
	if n := d.running(id); n != 0 {
		t.Errorf("%d commands are left", n)
	}
}
