// Package systemd checks the units against the programs that they start: what
// a unit spells is outside of what a compiler or another test sees, and a wrong
// flag there is found at boot, on a host that nobody looks at.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mains are the programs' packages by the path that the units give them.
var mains = map[string]string{"/usr/bin/cfc-relay": "../relay/cmd/cfc-relay", "/usr/bin/cfc-agent": "../agent/cmd/cfc-agent"}

// unit is section and key to values, in order.
type unit map[string][]string

var (
	section = regexp.MustCompile(`^\[([A-Z][a-z]+)\]$`)
	setting = regexp.MustCompile(`^([A-Z][A-Za-z]+)=(.*)$`)
)

func read(t *testing.T, path string) unit {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	u, in := unit{}, ""
	for i, line := range strings.Split(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if m := section.FindStringSubmatch(line); m != nil {
			in = m[1]
			continue
		}
		m := setting.FindStringSubmatch(line)
		if m == nil || in == "" {
			t.Fatalf("%s:%d: neither a section nor a setting: %q", path, i+1, line)
		}
		u[in+"."+m[1]] = append(u[in+"."+m[1]], m[2])
	}
	return u
}

func (u unit) one(t *testing.T, key string) string {
	t.Helper()
	if len(u[key]) != 1 {
		t.Fatalf("%s is given %d times, expected once", key, len(u[key]))
	}
	return u[key][0]
}

func services(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("*.service")
	if err != nil || len(paths) < 2 {
		t.Fatalf("found %v: %v", paths, err)
	}
	return paths
}

// help runs "program command --help" from source; a command or flag that is
// not there ends it with an error.
func help(t *testing.T, program string, args ...string) string {
	t.Helper()
	dir, ok := mains[program]
	if !ok {
		t.Fatalf("%s is none of the programs", program)
	}
	bin := filepath.Join(t.TempDir(), filepath.Base(program))
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, dir).CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", program, err, out)
	}
	out, err := exec.CommandContext(t.Context(), bin, append(args, "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func TestCommandsAndFlagsExist(t *testing.T) {
	for _, path := range services(t) {
		words := strings.Fields(read(t, path).one(t, "Service.ExecStart"))
		if len(words) < 2 {
			t.Fatalf("%s starts %v: expected program and command", path, words)
		}
		text := help(t, words[0], words[1:]...)
		if want := filepath.Base(words[0]) + " " + words[1]; !strings.Contains(text, want) {
			t.Errorf("%s: %v is no command; help says\n%s", path, words[:2], text)
		}
	}
}

// TestServicesAreConfined: each of these lines is a wall that somebody would
// miss only after a break-in.
func TestServicesAreConfined(t *testing.T) {
	for _, path := range services(t) {
		u := read(t, path)
		for key, want := range map[string]string{
			"Service.NoNewPrivileges": "yes", "Service.ProtectSystem": "strict", "Service.CapabilityBoundingSet": "", "Service.StateDirectoryMode": "0700",
			"Service.UMask": "0077", "Service.RestrictSUIDSGID": "yes", "Service.PrivateTmp": "yes",
			// Never given up, never restarted in vain, stopped in order.
			"Service.Restart": "always", "Unit.StartLimitIntervalSec": "0", "Service.RestartPreventExitStatus": "2",
			"Service.Type": "notify",
		} {
			if got := u.one(t, key); got != want {
				t.Errorf("%s: %s=%s, expected %s", path, key, got, want)
			}
		}
		// systemd gives a configuration directory to the service's user and lets it
		// write there: the agent's user, and with it every component on the node,
		// could write the host's own policy.
		if got := u["Service.ConfigurationDirectory"]; len(got) > 0 {
			t.Errorf("%s: ConfigurationDirectory=%v: /etc/cfc is root's, made by who installs", path, got)
		}
		// A node outlives the agent that supervises it, so that routing goes on.
		mode := map[string]string{"cfc-agent.service": "process", "cfc-relay.service": "mixed"}[filepath.Base(path)]
		if got := u.one(t, "Service.KillMode"); got != mode {
			t.Errorf("%s: KillMode=%s, expected %s", path, got, mode)
		}
		if user := u.one(t, "Service.User"); user == "root" || u.one(t, "Service.StateDirectory") != user {
			t.Errorf("%s runs as %s with state in %s", path, user, u.one(t, "Service.StateDirectory"))
		}
	}
}

// TestUsersAreMade: the user that a service runs as stands in the sysusers file
// beside it, and no other: a package makes its own users only.
func TestUsersAreMade(t *testing.T) {
	for _, path := range services(t) {
		b, err := os.ReadFile(strings.TrimSuffix(path, ".service") + ".sysusers.conf")
		if err != nil {
			t.Fatal(err)
		}
		made := regexp.MustCompile(`(?m)^u (\S+) `).FindAllStringSubmatch(string(b), -1)
		if user := read(t, path).one(t, "Service.User"); len(made) != 1 || made[0][1] != user {
			t.Errorf("%s runs as %s, sysusers makes %v", path, user, made)
		}
	}
}

// TestNodePortIsHeld by a socket that the agent needs, on loopback, where only
// root could take it.
func TestNodePortIsHeld(t *testing.T) {
	socket, service := read(t, "cfc-agent-node.socket"), read(t, "cfc-agent.service")
	if got := socket.one(t, "Socket.ListenStream"); !regexp.MustCompile(`^127\.0\.0\.1:[1-9][0-9]{0,2}$`).MatchString(got) {
		t.Errorf("listens on %s: expected loopback and a port below 1000", got)
	}
	if got := socket.one(t, "Socket.Service"); got != "cfc-agent.service" {
		t.Errorf("starts %s", got)
	}
	if got := service.one(t, "Unit.Requires"); got != "cfc-agent-node.socket" {
		t.Errorf("the agent requires %s", got)
	}
}
