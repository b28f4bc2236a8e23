// Package packaging holds what the debs and the snap are made of; README.md says
// what is in them. The tests here need nothing but Go and a shell; e2e builds and
// installs the packages.
package packaging

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fabric.center/cfc/agent/daemon"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/relay/server"
	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/e2e/fleet"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVersions(t *testing.T) {
	for _, c := range []struct{ described, want, fault string }{
		{"v1.2.0", "1.2.0", ""},
		{"1.2.0", "1.2.0", ""},
		{"v1.2.0-dirty", "1.2.0+dirty", ""},
		{"v1.2.0-5-gabc1234", "1.2.0+5.gabc1234", ""},
		{"v1.2.0-rc.1", "1.2.0~rc.1", ""},
		{"v1.2.0-rc.1-5-gabc1234-dirty", "1.2.0~rc.1+5.gabc1234+dirty", ""},
		{"v1.2.0-rc-1", "1.2.0~rc.1", ""},
		{"47d48c9", "0~20260102030405.47d48c9", ""},
		{"abc1234-dirty", "0~20260102030405.abc1234+dirty", ""},
		{"dev", "0~20260102030405.dev", ""},
		{"v1.2.0_rc1", "", "characters"},
		{"v1.2.", "", "characters"},
		{"", "", "characters"},
		{"v1.2.0-a-name-of-more-than-32-characters", "", "more than 32"},
	} {
		cmd := exec.CommandContext(t.Context(), "./version.sh", c.described, "1767323045")
		var fault strings.Builder
		cmd.Stderr = &fault
		out, err := cmd.Output()
		got := strings.TrimSpace(string(out))
		switch {
		case c.fault == "" && (err != nil || got != c.want):
			t.Errorf("%s: %q, %v %s, expected %q", c.described, got, err, &fault, c.want)
		case c.fault != "" && (err == nil || !strings.Contains(fault.String(), c.fault)):
			t.Errorf("%q: %q, %v %s, expected a refusal that says %q", c.described, got, err, &fault, c.fault)
		}
	}
	var exit *exec.ExitError
	if err := exec.CommandContext(t.Context(), "./version.sh", "v1").Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("without a time: %v", err)
	}
}

// conffiles are the configuration files that the debs bring, and what reads them.
var conffiles = []struct {
	path  string
	empty func() any
}{
	{"etc/agent.yaml", func() any { return &daemon.Config{} }},
	{"etc/policy.yaml", func() any { return &policy.Rules{} }},
	{"etc/relay.yaml", func() any { return &server.Config{} }},
}

// TestConfigurationIsTheDefault: a package changes nothing of what the program
// does without it.
func TestConfigurationIsTheDefault(t *testing.T) {
	for _, c := range conffiles {
		got, want := c.empty(), c.empty()
		if err := config.Load(got, config.Sources{File: c.path}); err != nil {
			t.Errorf("%s: %v", c.path, err)
		}
		if err := config.Load(want, config.Sources{File: filepath.Join(t.TempDir(), "none"), Optional: true}); err != nil {
			t.Fatal(err)
		}
		// As text, to which an empty section is the same as none.
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
			t.Errorf("%s says\n%s\nthe default is\n%s", c.path, g, w)
		}
	}
}

var commented = regexp.MustCompile(`(?m)^( *)#([a-z])`)

// TestCommentedKeysAreGood: what a reader takes the # away from is accepted.
func TestCommentedKeysAreGood(t *testing.T) {
	cert, key, err := fleet.Certificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conffiles {
		b, err := os.ReadFile(c.path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("/etc/cfc/relay.crt", cert, "/etc/cfc/relay.key", key).Replace(string(b))
		if n := len(commented.FindAllString(text, -1)); n < 4 {
			t.Errorf("%s has %d keys that are commented out: is the pattern right?", c.path, n)
		}
		text = commented.ReplaceAllString(text, "$1$2")
		file := filepath.Join(t.TempDir(), "conf.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := config.Load(c.empty(), config.Sources{File: file}); err != nil {
			t.Errorf("%s:\n%s\n%v", c.path, text, err)
		}
	}
}

// TestVariablesOfTheSnapAreKnown: the agent refuses variables that it
// does not know, so a wrong one in snap.yaml is a snap that never starts.
func TestVariablesOfTheSnapAreKnown(t *testing.T) {
	b, err := os.ReadFile("snap/snap.yaml")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{daemon.EnvPrefix + "CONFIG": true}
	for _, k := range config.Keys(daemon.Config{}) {
		known[k.EnvName(daemon.EnvPrefix)] = true
	}
	named := regexp.MustCompile(`(?m)^ +(`+daemon.EnvPrefix+`[A-Z_]+): `).FindAllStringSubmatch(string(b), -1)
	if len(named) != 4 {
		t.Errorf("snap.yaml names %v", named)
	}
	for _, m := range named {
		if !known[m[1]] {
			t.Errorf("the agent has no variable %s", m[1])
		}
	}
}
