package crossbar

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/crossbar/nodeconfig"
)

var uplink = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4711}

const thatKey = "0000000000000000000000000000000000000000000000000000000000000007"

func TestPrepareMakesADirectory(t *testing.T) {
	parent, exe := nodeDir(t)
	d := Dir{Path: filepath.Join(parent, "node"), Executable: exe, Uplink: uplink, WriteConfig: true}
	for range 2 {
		key, err := d.Prepare(context.Background())
		if err != nil || key != thatKey {
			t.Fatalf("key %s, %v", key, err)
		}
	}
	for path, mode := range map[string]fs.FileMode{d.Path: 0o700, filepath.Join(d.Path, "config.json"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	f, err := nodeconfig.Read(d.Path)
	if err != nil || nodeconfig.Uplink(f.Config) != "rs://127.0.0.1:4711" {
		t.Errorf("its uplink is %q, %v", nodeconfig.Uplink(f.Config), err)
	}
}

func TestPrepareSetsTheUplinkAndNothingElse(t *testing.T) {
	dir, exe := nodeDir(t)
	path := filepath.Join(dir, "config.json")
	old := `{"version": 2, "workers": [{"type": "guest", "id": "big", "executable": "x", "arguments": ["12345678901234567890"]}],
	  "controller": {"id": "mine", "n": 12345678901234567890, "fabric": {"transport": {"type": "websocket", "url": "ws://elsewhere"}, "heartbeat": {"startup_delay": 77}}}}`
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	d := Dir{Path: dir, Executable: exe, Uplink: uplink}
	if _, err := d.Prepare(context.Background()); err == nil || !strings.Contains(err.Error(), "rs://127.0.0.1:4711") {
		t.Errorf("a configuration that leads elsewhere, and must not be written: %v", err)
	}
	d.WriteConfig = true
	if _, err := d.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), `"n": 12345678901234567890`) || !strings.Contains(string(b), `"id": "mine"`) || !strings.Contains(string(b), `"startup_delay": 77`) || strings.Contains(string(b), "elsewhere") {
		t.Errorf("it has become %s, %v", b, err)
	}
	d.Uplink = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4712}
	if _, err := d.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	r, err := nodeconfig.ReadRecord(dir)
	if err != nil || r == nil {
		t.Fatalf("what was changed: %v, %v", r, err)
	}
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != old {
		t.Errorf("the first one is lost: %s, %v", b, err)
	}
}

func TestCheckPassesOnWhatTheNodeSays(t *testing.T) {
	dir, exe := nodeDir(t)
	d := Dir{Path: dir, Executable: exe}
	if err := d.Check(context.Background(), "config.json", []byte("{}")); err != nil {
		t.Errorf("a good one: %v", err)
	}
	if err := d.Check(context.Background(), "config.yaml", []byte("bad: secret")); err == nil || !strings.HasSuffix(err.Error(), "edge check says: unknown attribute") {
		t.Errorf("a bad one: %v", err)
	}
	d.Executable = filepath.Join(dir, "nothing")
	if err := d.Check(context.Background(), "config.yaml", nil); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("without the command: %v", err)
	}
}

// A crossbar command ends with what it has said still in Python's buffer, unless
// that is switched off.
func TestCommandsAreHeardToTheirEnd(t *testing.T) {
	t.Setenv("PYTHONUNBUFFERED", "")
	dir := t.TempDir()
	exe := filepath.Join(dir, "crossbar")
	script := "#!/bin/sh\n[ -n \"$PYTHONUNBUFFERED\" ] && echo 'Error: why it is wrong'\nexit 1\n"
	if err := os.WriteFile(exe, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	d := Dir{Path: dir, Executable: exe}
	if err := d.Check(t.Context(), "config.json", []byte("{}")); err == nil || !strings.HasSuffix(err.Error(), "says: why it is wrong") {
		t.Errorf("check: %v", err)
	}
	if err := d.makeKeys(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "why it is wrong") {
		t.Errorf("keys: %v", err)
	}
}

// A command that hangs, here in what it has started, is waited for no longer than
// its time: the agent would be without its node, and say nothing of it.
func TestCommandsThatHangAreEnded(t *testing.T) {
	dir := t.TempDir()
	exe := filepath.Join(t.TempDir(), "crossbar")
	if err := os.WriteFile(exe, []byte("#!/bin/sh\nsleep 60\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := Dir{Path: dir, Executable: exe}
	for what, run := range map[string]func(context.Context) error{
		"keys":  d.makeKeys,
		"check": func(ctx context.Context) error { return d.Check(ctx, "config.json", []byte("{}")) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		if err := run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s was waited for for %s", what, took)
		}
		cancel()
	}
}

func TestReadOnlySystemIsExplained(t *testing.T) {
	if got := hint(&fs.PathError{Op: "mkdir", Path: "/srv/node", Err: syscall.EROFS}); !strings.Contains(got, "ReadWritePaths") {
		t.Errorf("says %q", got)
	}
	if got := hint(fs.ErrPermission); got != "" {
		t.Errorf("says %q of something else", got)
	}
}

func TestPrepareRefuses(t *testing.T) {
	yes := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		make func(*testing.T, string)
		say  string
	}{
		"an activation for another master": {yes("key.activate", "x"), "key.activate"},
		"a configuration that is no JSON":  {yes("config.json", "{"), "config.json"},
		"a configuration of null":          {yes("config.json", "null"), "empty"},
		"a controller that is none":        {yes("config.yaml", "controller: x\n"), "by hand"},
		"a YAML file that is none":         {yes("config.yaml", "a: b: c"), "config.yaml"},
		"a public key that is none":        {yes("key.pub", "public-key-ed25519: xyz"), "key.pub"},
		"keys that cannot be made":         {yes("nokeys", ""), "no entropy"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, exe := nodeDir(t)
			c.make(t, dir)
			_, err := Dir{Path: dir, Executable: exe, Uplink: uplink, WriteConfig: true}.Prepare(context.Background())
			if err == nil || !strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), "noise") {
				t.Errorf("it says %v", err)
			}
		})
	}
	dir, exe := nodeDir(t)
	if _, err := (Dir{Path: dir, Executable: exe, Uplink: &net.UnixAddr{Name: "/x"}}).Prepare(context.Background()); err == nil {
		t.Error("a stock node dials no Unix socket")
	}
	if _, err := (Dir{Path: dir, Executable: exe, Uplink: &net.TCPAddr{IP: net.IPv6loopback, Port: 1}}).Prepare(context.Background()); err == nil {
		t.Error("a stock node dials IPv4 only")
	}
	if _, err := (Dir{Path: dir, Executable: exe, Uplink: uplink}).Prepare(context.Background()); err == nil {
		t.Error("without a configuration, and none may be written")
	}
	if _, err := (Dir{Path: dir, Executable: dir, Uplink: uplink, WriteConfig: true}).Prepare(context.Background()); err == nil || !strings.HasSuffix(err.Error(), "permission denied") {
		t.Errorf("what is no program: %v", err)
	}
	if _, err := (Dir{Path: dir}).Pubkey(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before there are keys: %v", err)
	}
}

func TestYAMLThatFitsIsTaken(t *testing.T) {
	dir, exe := nodeDir(t)
	y := "version: 2\ncontroller:\n  fabric:\n    transport: {type: rawsocket, url: 'rs://127.0.0.1:4711/'}\n"
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(y), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := Dir{Path: dir, Executable: exe, Uplink: uplink}.Prepare(context.Background())
	if err != nil || key != thatKey {
		t.Errorf("key %s, %v", key, err)
	}
}

func TestNodeEnv(t *testing.T) {
	got := nodeEnv([]string{"PATH=/bin", "CFC_TOKEN=x", "LISTEN_FDS=1", "NOTIFY_SOCKET=y", "CROSSBAR_FABRIC_URL=z", "CROSSBAR_DEBUG=1", "HOME=/"})
	if want := []string{"PATH=/bin", "CROSSBAR_DEBUG=1", "HOME=/"}; !slices.Equal(got, want) {
		t.Errorf("it has %v", got)
	}
}
