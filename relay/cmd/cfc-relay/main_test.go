package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

// asProgram makes this test binary be the program, stuck one that is told to
// stop and does not come to an end.
const (
	asProgram = "BE_CFC_RELAY"
	stuck     = "BE_STUCK"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(stuck) != "":
		ctx := untilTold(context.Background())
		fmt.Println("running")
		<-ctx.Done()
		fmt.Println("stopping")
		time.Sleep(time.Minute)
	case os.Getenv(asProgram) != "":
		main()
	default:
		goleak.VerifyTestMain(m)
	}
}

// program is this binary as cfc-relay, in a process of its own.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append([]string{asProgram + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	return cmd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs the program to its end.
func run(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := program(t, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the code says it
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	must(t, os.WriteFile(bad, []byte("version: 1\nlisten: 0.0.0.0:1\nnope: 1\n"), 0o600))
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for name, test := range map[string]struct {
		env  []string
		args []string
		code int
		says []string
	}{
		"no command":      {nil, nil, 0, []string{"check-config", "ready", "backup", "restore", "run", "version"}},
		"unknown command": {nil, []string{"serve"}, 2, []string{"serve"}},
		"unknown flag":    {nil, []string{"run", "--lissten=x"}, 2, []string{"--lissten"}},
		"superfluous":     {nil, []string{"run", "x"}, 2, []string{"x"}},
		"version":         {nil, []string{"version"}, 0, []string{version}},
		"help":            {nil, []string{"run", "--help"}, 0, []string{"--tls-certificate", "--data", "--config"}},
		"all faults":      {[]string{"CFC_RELAY_LOG_LEVEL=loud"}, []string{"check-config", "--config", bad}, 2, []string{bad + ":2: listen:", bad + ":3: nope: no such key", "CFC_RELAY_LOG_LEVEL: log.level:"}},
		"config missing":  {nil, []string{"run", "--config", filepath.Join(dir, "none.yaml")}, 2, []string{"none.yaml"}},
		"config by env":   {[]string{"CFC_RELAY_CONFIG=" + bad}, []string{"check-config"}, 2, []string{bad + ":3: nope"}},
		"good config":     {nil, []string{"check-config", "--data", dir}, 0, []string{"good", dir, "127.0.0.1:8080"}},
		"data is a file":  {nil, []string{"run", "--data", file, "--listen=127.0.0.1:0", "--monitor-listen="}, 1, []string{file}},
		"no backup":       {nil, []string{"restore", filepath.Join(dir, "none"), "--data", dir}, 1, []string{"none"}},
		"backup of none":  {nil, []string{"backup", filepath.Join(dir, "b"), "--data", filepath.Join(dir, "none")}, 1, []string{"none"}},
		"ready of none":   {nil, []string{"ready", "--monitor-listen", "127.0.0.1:1"}, 1, []string{"127.0.0.1:1"}},
		"ready unasked":   {nil, []string{"ready", "--monitor-listen="}, 1, []string{"monitor.listen"}},
		"backup whereto":  {nil, []string{"backup"}, 2, []string{"1 arg"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, test.env, test.args...)
			if code != test.code {
				t.Errorf("code %d, want %d: %s", code, test.code, stderr)
			}
			for _, s := range test.says {
				if !strings.Contains(stdout+stderr, s) {
					t.Errorf("does not say %q:\n%s%s", s, stdout, stderr)
				}
			}
			if (stderr == "") != (code == 0) {
				t.Errorf("code %d with standard error %q", code, stderr)
			}
		})
	}
}

// A disk that is full has not got what was asked for.
func TestTheOutputCannotBeWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	for _, args := range [][]string{{"version"}, {"--version"}, {"--help"}, {"check-config", "--data", t.TempDir()}} {
		cmd := program(t, nil, args...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &errs
		if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "cannot write the output: ") {
			t.Errorf("%v: exit %d, %s", args, cmd.ProcessState.ExitCode(), errs.String())
		}
	}
}

// A command shows the flags that mean something to it.
func TestHelpShowsTheCommandsOwnFlags(t *testing.T) {
	for command, own := range map[string][]string{"backup": {"config", "data", "help"}, "restore": {"config", "data", "help"}, "ready": {"config", "help", "monitor-listen"}} {
		_, help, _ := run(t, nil, command, "--help")
		var flags []string
		for _, m := range regexp.MustCompile(`(?m)^ +(?:-h, )?--(\S+)`).FindAllStringSubmatch(help, -1) {
			flags = append(flags, m[1])
		}
		if !slices.Equal(flags, own) {
			t.Errorf("%s shows %v, expected %v", command, flags, own)
		}
	}
}

// relay is a running program and what it logs.
type relay struct {
	cmd  *exec.Cmd
	data string
	log  *bufio.Scanner
	url  string
	mon  string
}

func start(t *testing.T, cmd *exec.Cmd, data string) *relay {
	t.Helper()
	pipe, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	r := &relay{cmd: cmd, data: data, log: bufio.NewScanner(pipe)}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line := r.until(t, "ready")
	r.url, _ = line["url"].(string)
	r.mon, _ = line["monitor"].(string)
	return r
}

// until reads the log to the line with the message.
func (r *relay) until(t *testing.T, msg string) map[string]any {
	t.Helper()
	for r.log.Scan() {
		var line map[string]any
		if err := json.Unmarshal(r.log.Bytes(), &line); err != nil {
			t.Fatalf("a line of the log is no JSON: %s", r.log.Text())
		}
		if line["msg"] == msg {
			return line
		}
	}
	t.Fatalf("the relay ended without %q: %v", msg, r.log.Err())
	return nil
}

// wait is how the process ended.
func (r *relay) wait(t *testing.T) *os.ProcessState {
	t.Helper()
	for r.log.Scan() {
	}
	_ = r.cmd.Wait()
	return r.cmd.ProcessState
}

func here(data string) []string {
	return []string{"run", "--data", data, "--listen", "127.0.0.1:0", "--monitor-listen", "127.0.0.1:0"}
}

// owner claims the relay by the file that its first start has left.
func owner(t *testing.T, r *relay) *session.Session {
	t.Helper()
	path := filepath.Join(r.data, "first-owner.token")
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", path, info.Mode())
	}
	token, err := os.ReadFile(path)
	must(t, err)
	key, err := identity.New()
	must(t, err)
	s, err := session.Join(t.Context(), session.Config{URL: r.url, Key: key, Token: strings.TrimSpace(string(token))})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSignalsAndBackup(t *testing.T) {
	data := filepath.Join(t.TempDir(), "relay")
	r := start(t, program(t, nil, here(data)...), data)
	s := owner(t, r)
	_, err := s.Call(t.Context(), "cfc.create_management_realm", wamp.List{"demo"}, nil, session.CallOptions{})
	must(t, err)
	res, err := http.Get(r.mon + "/readyz")
	must(t, err)
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if res.StatusCode != 200 {
		t.Errorf("ready: %d", res.StatusCode)
	}
	if code, _, stderr := run(t, nil, "ready", "--monitor-listen", strings.TrimPrefix(r.mon, "http://")); code != 0 {
		t.Errorf("ready: %s", stderr)
	}
	// While it runs a backup can be made, and nothing can be restored.
	backup := filepath.Join(t.TempDir(), "backup")
	if code, _, stderr := run(t, nil, "backup", backup, "--data", data); code != 0 {
		t.Fatalf("backup: %s", stderr)
	}
	if code, _, stderr := run(t, nil, "restore", backup, "--data", data); code != 1 || !strings.Contains(stderr, data) {
		t.Errorf("restore under a running relay: %d %s", code, stderr)
	}
	must(t, r.cmd.Process.Signal(syscall.SIGTERM))
	<-s.Done()
	if reason := s.Ended().Reason; reason != string(wamp.CloseSystemShutdown) {
		t.Errorf("the session ended with %s", reason)
	}
	if state := r.wait(t); state.ExitCode() != 0 {
		t.Errorf("ended by %v", state)
	}
	if code, _, stderr := run(t, nil, "restore", backup, "--data", data); code != 0 {
		t.Errorf("restore: %s", stderr)
	}
	again := start(t, program(t, nil, here(data)...), data)
	must(t, again.cmd.Process.Signal(os.Interrupt))
	if state := again.wait(t); state.ExitCode() != 0 {
		t.Errorf("interrupted, ended by %v", state)
	}
}

// TestSecondSignalEndsAtOnce even while the orderly stop hangs.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := program(t, []string{stuck + "=1"})
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for _, want := range []string{"running", "stopping"} {
			if !lines.Scan() || lines.Text() != want {
				t.Fatalf("said %q, want %q", lines.Text(), want)
			}
			must(t, cmd.Process.Signal(signal))
		}
		_ = cmd.Wait() // its state says how
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != signal {
			t.Errorf("ended by %v", cmd.ProcessState)
		}
	}
}

// TestSystemd hands over both sockets and is told when the relay is ready and
// when it stops.
func TestSystemd(t *testing.T) {
	dir := t.TempDir()
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	must(t, err)
	defer notify.Close()
	must(t, notify.SetReadDeadline(time.Now().Add(20*time.Second)))
	told := func() string {
		b := make([]byte, 256)
		n, err := notify.Read(b)
		must(t, err)
		return string(b[:n])
	}
	var files []*os.File
	var addresses []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		f, err := l.(*net.TCPListener).File()
		must(t, err)
		must(t, l.Close())
		defer f.Close()
		files, addresses = append(files, f), append(addresses, l.Addr().String())
	}
	data := filepath.Join(dir, "relay")
	self := program(t, nil)
	// LISTEN_PID is the process' own, which a shell knows and we do not.
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" run --data "$1"`, self.Path, data)
	cmd.Env = append(self.Env, "LISTEN_FDS=2", "LISTEN_FDNAMES=monitor:relay", "NOTIFY_SOCKET="+notify.LocalAddr().String())
	cmd.ExtraFiles = files
	r := start(t, cmd, data)
	if r.mon != "http://"+addresses[0] || r.url != "ws://"+addresses[1] {
		t.Errorf("monitor at %s and relay at %s, handed over were %v", r.mon, r.url, addresses)
	}
	if got := told(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	owner(t, r)
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if got := told(); got != "STOPPING=1" {
		t.Errorf("told %q", got)
	}
	if state := r.wait(t); state.ExitCode() != 0 {
		t.Errorf("ended by %v", state)
	}
}

// TestNothingSecretIsPrinted: neither log nor argument list of a relay that
// was claimed has any part of the token's secret.
func TestNothingSecretIsPrinted(t *testing.T) {
	data := filepath.Join(t.TempDir(), "relay")
	cmd := program(t, nil, append(here(data), "--log-level", "debug")...)
	var log bytes.Buffer
	r, w, err := os.Pipe()
	must(t, err)
	cmd.Stderr = w
	must(t, cmd.Start())
	must(t, w.Close())
	lines := bufio.NewScanner(r)
	var url string
	for url == "" && lines.Scan() {
		fmt.Fprintln(&log, lines.Text())
		var line struct{ Msg, URL string }
		must(t, json.Unmarshal(lines.Bytes(), &line))
		if line.Msg == "ready" {
			url = line.URL
		}
	}
	secret, err := os.ReadFile(filepath.Join(data, "first-owner.token"))
	must(t, err)
	owner(t, &relay{cmd: cmd, data: data, url: url})
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	for lines.Scan() {
		fmt.Fprintln(&log, lines.Text())
	}
	_ = cmd.Wait()
	audit, err := os.ReadFile(filepath.Join(data, "audit.log"))
	must(t, err)
	// The first 14 characters are prefix and id, which may be shown.
	if hidden := strings.TrimSpace(string(secret))[14:]; strings.Contains(log.String()+string(audit), hidden) || len(hidden) < 20 {
		t.Errorf("the secret is in the log or the audit log:\n%s%s", log.String(), audit)
	}
}
