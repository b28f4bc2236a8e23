package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/control"
	"fabric.center/cfc/agent/crossbar/adopt"
	"fabric.center/cfc/agent/uplink/relaytest"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/console/consoletest"
	"fabric.center/cfc/shared/wire"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is where the commands of a test run.
type host struct {
	t       *testing.T
	dir     string
	environ []string
	in      string
	tty     *os.File
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "cfc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{t: t, dir: dir}
	h.write("agent.yaml", fmt.Sprintf("version: 1\ndata: %s\ncontrol: %s\npolicy: %s\nnode:\n  listen: 127.0.0.1:0\n  pubkey: %s\n",
		h.path("data"), h.path("a.sock"), h.path("policy.yaml"), strings.Repeat("ab", 32)))
	h.write("policy.yaml", "version: 1\n")
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// syncBuffer can be read while a command writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run runs one command to its end.
func (h *host) run(args ...string) (code int, out, errs string) {
	h.t.Helper()
	return h.runContext(h.t.Context(), args...)
}

func (h *host) runContext(ctx context.Context, args ...string) (code int, out, errs string) {
	h.t.Helper()
	in := h.tty
	if in == nil {
		r, w, err := os.Pipe()
		if err != nil {
			h.t.Fatal(err)
		}
		defer r.Close()
		_, _ = w.WriteString(h.in)
		w.Close()
		in = r
	}
	var stdout, stderr syncBuffer
	code = h.app(in, &stdout, &stderr).Main(ctx, args)
	return code, stdout.String(), stderr.String()
}

func (h *host) app(in *os.File, out, errs io.Writer) *App {
	return &App{Version: "1.2.3", In: in, Out: out, Err: errs, Environ: append(h.environ, "CFC_AGENT_CONFIG="+h.path("agent.yaml")), Units: adopt.Units{h.path("units")}}
}

// daemon runs the agent until the test's end.
func (h *host) daemon() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan string, 1)
	go func() {
		if code, _, errs := h.runContext(ctx, "run"); code != 0 {
			done <- errs
		}
		close(done)
	}()
	h.t.Cleanup(func() {
		cancel()
		if errs := <-done; errs != "" {
			h.t.Error(errs)
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if code, _, _ := h.run("status"); code == 0 {
			return
		}
		if time.Now().After(end) {
			h.t.Fatal("the agent does not come up")
		}
	}
}

func TestPairWithAndWithoutARunningAgent(t *testing.T) {
	for _, running := range []bool{false, true} {
		h := newHost(t)
		if running {
			h.daemon()
		}
		relay := relaytest.New(t, true)
		h.in = relay.Invite("n1") + "\n"
		code, out, errs := h.run("pair", relay.URL(), "--pin", relay.Pin())
		if code != 0 || !strings.Contains(out, "node n1 of realm demo") || !strings.Contains(out, relay.URL()) || strings.Contains(out, "not running") == running {
			t.Fatalf("running %v: exit %d, %q, %q", running, code, out, errs)
		}
		if running {
			relay.WaitOnline("n1")
		}
		code, out, _ = h.run("status", "--json")
		var s struct {
			Running bool
			Pairing struct {
				NodeID string `json:"node_id"`
				OID    string
			}
			Faults []string
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil || s.Running != running || (code == 0) != running || s.Pairing.NodeID != "n1" || !wire.ValidOID(s.Pairing.OID) || len(s.Faults) != 0 {
			t.Errorf("running %v: status exit %d: %v: %s", running, code, err, out)
		}
		if _, out, _ = h.run("status"); !strings.Contains(out, "n1") || !strings.Contains(out, "demo") {
			t.Errorf("running %v: status %q", running, out)
		}
		h.in = relay.Invite("n2")
		if code, _, errs = h.run("pair", relay.URL(), "--pin", relay.Pin()); code != cfcerr.AlreadyExists.Exit() || !strings.Contains(errs, "replace") {
			t.Errorf("running %v: pairing twice: exit %d, %q", running, code, errs)
		}
		if code, out, errs = h.run("unpair"); code != 0 || !strings.Contains(out, "cfc node rm") {
			t.Errorf("running %v: unpair: exit %d, %q, %q", running, code, out, errs)
		}
		if _, out, _ = h.run("status", "--json"); !strings.Contains(out, `"pairing": null`) {
			t.Errorf("running %v: status %s", running, out)
		}
		if code, _, errs = h.run("unpair"); code != 0 {
			t.Errorf("running %v: unpairing twice: %q", running, errs)
		}
	}
}

func TestPairedFromASnapItSaysHowASnapIsStarted(t *testing.T) {
	for snap, want := range map[string]string{"cfc-agent": "start it with: snap start --enable cfc-agent\n", "code": "or: systemctl start cfc-agent\n"} {
		h := newHost(t)
		h.environ = append(h.environ, "SNAP_NAME="+snap) // of a terminal in another snap, say
		relay := relaytest.New(t, true)
		h.in = relay.Invite("n1") + "\n"
		if code, out, errs := h.run("pair", relay.URL(), "--pin", relay.Pin()); code != 0 || !strings.HasSuffix(out, want) {
			t.Errorf("in snap %s: exit %d, %q, %q", snap, code, out, errs)
		}
	}
}

func TestWhereTheTokenComesFrom(t *testing.T) {
	for name, give := range map[string]func(h *host, token string) []string{
		"standard input": func(h *host, token string) []string { h.in = token; return nil },
		"a line of it":   func(h *host, token string) []string { h.in = " " + token + " \nmore\n"; return nil },
		"environment":    func(h *host, token string) []string { h.environ = []string{"CFC_TOKEN=" + token}; return nil },
		"file": func(h *host, token string) []string {
			h.write("token", token+"\n")
			return []string{"--token-file", h.path("token")}
		},
		"file before all": func(h *host, token string) []string {
			h.write("token", token)
			h.in, h.environ = "wrong", []string{"CFC_TOKEN=wrong"}
			return []string{"--token-file", h.path("token")}
		},
	} {
		h, relay := newHost(t), relaytest.New(t, false)
		args := give(h, relay.Invite("n1"))
		if code, _, errs := h.run(append([]string{"pair", relay.URL()}, args...)...); code != 0 {
			t.Errorf("%s: exit %d, %q", name, code, errs)
		}
	}
}

func TestTheTokenIsTypedWithoutEcho(t *testing.T) {
	h, relay := newHost(t), relaytest.New(t, false)
	person, program := consoletest.Terminal(t)
	h.tty = program
	token := relay.Invite("n1")
	go func() {
		// Typed when echo is off: what is typed before would be shown.
		for {
			s, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil || s.Lflag&unix.ECHO == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_, _ = person.WriteString(token + "\r")
	}()
	code, _, errs := h.run("pair", relay.URL())
	if code != 0 || !strings.Contains(errs, "Token (one-time, not shown): ") || strings.Contains(errs, token) {
		t.Errorf("exit %d, %q", code, errs)
	}
	_, _ = program.WriteString("end of it")
	var shown []byte
	for b := make([]byte, 256); !bytes.Contains(shown, []byte("end of it")); {
		n, err := person.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, b[:n]...)
	}
	if bytes.Contains(shown, []byte(token[10:20])) {
		t.Errorf("the terminal showed %q", shown)
	}
}

func TestCtrlCAtThePrompt(t *testing.T) {
	h, relay := newHost(t), relaytest.New(t, false)
	person, program := consoletest.Terminal(t)
	h.tty = program
	// In a raw terminal it is a key like others, which may be typed ahead.
	raw := consoletest.Settings(t, program)
	raw.Lflag &^= unix.ISIG | unix.ICANON | unix.ECHO
	if err := unix.IoctlSetTermios(int(program.Fd()), unix.TCSETS, &raw); err != nil {
		t.Fatal(err)
	}
	if _, err := person.WriteString("cfcn_abc\x03"); err != nil {
		t.Fatal(err)
	}
	code, out, errs := h.run("pair", relay.URL())
	if code != cfcerr.Canceled.Exit() || out != "" || !strings.Contains(errs, "not paired") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	if consoletest.Settings(t, program) != raw {
		t.Error("the terminal is left in another mode")
	}
}

// A pipe that says nothing is not waited for.
func TestCtrlCAtAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	h := newHost(t)
	h.tty = r
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code, _, errs := h.runContext(ctx, "pair", "ws://127.0.0.1:1"); code != cfcerr.Canceled.Exit() || !strings.Contains(errs, "no token was given") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

// What a relay says does nothing to the terminal of who pairs with it.
func TestAnEvilRelaysWords(t *testing.T) {
	relay := relaytest.New(t, false)
	relay.Refuse(cfcerr.New(cfcerr.NameTaken, "cannot join\x1b]0;owned\a\u202e\x1b[2J\nroot# "))
	h := newHost(t)
	h.in = relay.Invite("n1")
	code, out, errs := h.run("pair", relay.URL())
	if all := out + errs; code != cfcerr.NameTaken.Exit() || strings.ContainsAny(all, "\x1b\a\u202e") || !strings.Contains(all, `cannot join\x1b]0;owned`) || strings.Count(all, "\n") != 1 {
		t.Errorf("exit %d, %q", code, all)
	}
}

// An agent whose pairing the relay has ended says what leads on.
func TestUnpairedAtTheRelay(t *testing.T) {
	h, relay := newHost(t), relaytest.New(t, false)
	h.in = relay.Invite("n1")
	if code, _, errs := h.run("pair", relay.URL()); code != 0 {
		t.Fatal(errs)
	}
	relay.Refuse(cfcerr.New(cfcerr.NodeUnpaired, "cannot join: this node is not paired"))
	h.daemon()
	out := ""
	for end := time.Now().Add(20 * time.Second); !strings.Contains(out, "cfc-agent pair --replace "+relay.URL()); time.Sleep(5 * time.Millisecond) {
		if _, out, _ = h.run("status"); time.Now().After(end) {
			t.Fatalf("status: %s", out)
		}
	}
}

// Asking for the status of an agent that is not there makes nothing.
func TestStatusMakesNothing(t *testing.T) {
	h := newHost(t)
	if code, out, _ := h.run("status"); code != 1 || !strings.Contains(out, "not paired") {
		t.Errorf("exit %d, %q", code, out)
	}
	if _, err := os.Stat(h.path("data")); !os.IsNotExist(err) {
		t.Errorf("the data directory: %v", err)
	}
}

func TestATokenOnTheCommandLineIsRefused(t *testing.T) {
	relay := relaytest.New(t, false)
	token := relay.Invite("n1")
	for name, args := range map[string][]string{
		"second argument": {"pair", relay.URL(), token}, "only argument": {"pair", token}, "flag": {"pair", relay.URL(), "--token", token},
		"flag with =": {"pair", relay.URL(), "--token=" + token}, "no command": {token}, "another flag": {"pair", relay.URL(), "--tok=" + token},
	} {
		h := newHost(t)
		code, out, errs := h.run(args...)
		if code != exitUsage || strings.Contains(out+errs, token) {
			t.Errorf("%s: exit %d, %q", name, code, out+errs)
		}
		if name != "another flag" && !strings.Contains(errs, "command line") {
			t.Errorf("%s: not explained: %q", name, errs)
		}
	}
	if len(relay.Hellos()) != 0 {
		t.Error("the relay was asked all the same")
	}
}

func TestTypingErrorsAreFoundBeforeTheRelayIsAsked(t *testing.T) {
	relay := relaytest.New(t, true)
	token := relay.Invite("n1")
	ticket, err := wire.NewToken(wire.ForTicket)
	if err != nil {
		t.Fatal(err)
	}
	other := "x"
	if token[20:21] == other {
		other = "y"
	}
	for name, c := range map[string]struct {
		token string
		args  []string
		want  string
	}{
		"mistyped token":   {token[:20] + other + token[21:], nil, "checksum"},
		"half a token":     {token[:20], nil, "checksum"},
		"another purpose":  {ticket.Secret(), nil, "for a node"},
		"no token":         {"", nil, "no token given"},
		"bad pin":          {token, []string{"--pin", "sha1:00"}, "64 hex"},
		"bad node id":      {token, []string{"--node-id", "n.1"}, "first a letter or digit"},
		"no such file":     {token, []string{"--token-file", "/nonexistent"}, "/nonexistent"},
		"one flag too few": {token, []string{"--frobnicate"}, "frobnicate"},
	} {
		h := newHost(t)
		h.in = c.token
		code, out, errs := h.run(append([]string{"pair", relay.URL()}, c.args...)...)
		if code != exitUsage || !strings.Contains(errs, c.want) || c.token != "" && strings.Contains(out+errs, c.token) {
			t.Errorf("%s: exit %d, %q", name, code, errs)
		}
	}
	if len(relay.Hellos()) != 0 {
		t.Error("the relay was asked all the same")
	}
}

func TestRefusalsHaveTheirExitCodes(t *testing.T) {
	relay := relaytest.New(t, false)
	for _, kind := range []cfcerr.Kind{cfcerr.TokenInvalid, cfcerr.NameTaken, cfcerr.LimitExceeded, cfcerr.DuplicateIdentity} {
		relay.Refuse(cfcerr.New(kind, "cannot join: because"))
		for _, running := range []bool{false, true} {
			h := newHost(t)
			if running {
				h.daemon()
			}
			h.in = relay.Invite("n1")
			if code, _, errs := h.run("pair", relay.URL()); code != kind.Exit() || !strings.Contains(errs, "cannot join: because") {
				t.Errorf("%s, running %v: exit %d, %q", kind.URI(), running, code, errs)
			}
		}
	}
	h := newHost(t)
	h.in = relay.Invite("n1")
	relay.Down()
	if code, _, errs := h.run("pair", relay.URL()); code != exitFailure || !strings.Contains(errs, "refused") {
		t.Errorf("no relay: exit %d, %q", code, errs)
	}
}

func TestPairingByAKeyThatTheRelayKnows(t *testing.T) {
	h, relay := newHost(t), relaytest.New(t, false)
	code, out, errs := h.run("key", relay.URL())
	if code != 0 || !wire.ValidPubkey(strings.TrimSpace(out)) {
		t.Fatalf("exit %d, %q, %q", code, out, errs)
	}
	if code, _, errs := h.run("pair", relay.URL(), "--no-token"); code != cfcerr.NodeUnpaired.Exit() {
		t.Errorf("not known yet: exit %d, %q", code, errs)
	}
	relay.Known(strings.TrimSpace(out), "n7")
	if code, out, errs := h.run("pair", relay.URL(), "--no-token", "--json"); code != 0 || !strings.Contains(out, `"node_id": "n7"`) {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

func TestSmallCommands(t *testing.T) {
	h := newHost(t)
	if code, out, _ := h.run("version"); code != 0 || out != "1.2.3\n" {
		t.Errorf("version: exit %d, %q", code, out)
	}
	if code, out, _ := h.run(); code != 0 || !strings.Contains(out, "check-config") {
		t.Errorf("nothing: exit %d, %q", code, out)
	}
	if code, _, errs := h.run("frobnicate"); code != exitUsage || !strings.Contains(errs, "frobnicate") {
		t.Errorf("no such command: exit %d, %q", code, errs)
	}
	if code, out, _ := h.run("check-config"); code != 0 || !strings.Contains(out, "good") {
		t.Errorf("check-config: exit %d, %q", code, out)
	}
	if code, out, _ := h.run("status"); code != exitFailure || !strings.Contains(out, "not paired") {
		t.Errorf("status: exit %d, %q", code, out)
	}
	h.write("policy.yaml", "version: 1\nareas: {dokker: on}\n")
	if code, out, errs := h.run("check-config"); code != exitUsage || out != "" || !strings.Contains(errs, "policy.yaml:2: areas.dokker") {
		t.Errorf("check-config of a broken policy: exit %d, %q, %q", code, out, errs)
	}
	h.write("agent.yaml", "version: 1\ndata: 7\nnode: {listen: '0.0.0.0:1', superwise: true}\n")
	for _, cmd := range []string{"check-config", "run", "status", "unpair"} {
		code, _, errs := h.run(cmd)
		if code != exitUsage || !strings.Contains(errs, "agent.yaml:2: data") || !strings.Contains(errs, "superwise") {
			t.Errorf("%s: exit %d, %q", cmd, code, errs)
		}
	}
}

func TestPolicyLine(t *testing.T) {
	for want, p := range map[string]control.PolicyStatus{
		"/p": {Path: "/p", Present: true},
		"/p is not there: all is allowed but Docker": {Path: "/p"},
		"/p cannot be used: only reading is allowed": {Path: "/p", Present: true, Error: "x"},
	} {
		if got := policyLine(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWhoMayNotIsToldHow(t *testing.T) {
	denied := failed(&fs.PathError{Op: "mkdir", Path: "/var/lib/cfc-agent", Err: syscall.EACCES})
	if got := hint(denied, 1000); !strings.Contains(got, "--data") {
		t.Errorf("an ordinary user reads %q", got)
	}
	for _, got := range []string{hint(denied, 0), hint(errors.New("cannot pair"), 1000)} {
		if got != "" {
			t.Errorf("says %q where that does not help", got)
		}
	}
}

// A disk that is full has not got what was asked for.
func TestTheOutputCannotBeWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	h := newHost(t)
	for _, args := range [][]string{{"version"}, {"--version"}, {"--help"}, {"check-config"}, {"key", "wss://relay.example.com"}} {
		var errs syncBuffer
		if code := h.app(nil, full, &errs).Main(t.Context(), args); code != exitFailure || !strings.Contains(errs.String(), "cannot write the output: ") {
			t.Errorf("%v: exit %d, %q", args, code, errs.String())
		}
	}
}
