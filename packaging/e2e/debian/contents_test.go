package debian

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// files are the packages' files and their modes; all are root's. What ends with
// a slash is a directory, and the parents of the others are not named.
var files = map[string][]string{
	"cfc-agent": {
		"0755 /etc/cfc/", "0644 /etc/cfc/agent.yaml", "0644 /etc/cfc/policy.yaml", "0755 /usr/bin/cfc-agent",
		"0644 /usr/lib/systemd/system/cfc-agent-node.socket", "0644 /usr/lib/systemd/system/cfc-agent.service", "0644 /usr/lib/sysusers.d/cfc-agent.conf",
		"0644 /usr/share/doc/cfc-agent/CONFIG.md", "0644 /usr/share/doc/cfc-agent/changelog.gz", "0644 /usr/share/doc/cfc-agent/copyright",
		"0644 /usr/share/doc/cfc-agent/licenses.gz", "0644 /usr/share/man/man8/cfc-agent.8.gz",
	},
	"cfc-relay": {
		"0755 /etc/cfc/", "0644 /etc/cfc/relay.yaml", "0755 /usr/bin/cfc-relay",
		"0644 /usr/lib/systemd/system/cfc-relay.service", "0644 /usr/lib/sysusers.d/cfc-relay.conf",
		"0644 /usr/share/doc/cfc-relay/CONFIG.md", "0644 /usr/share/doc/cfc-relay/changelog.gz", "0644 /usr/share/doc/cfc-relay/copyright",
		"0644 /usr/share/doc/cfc-relay/licenses.gz", "0644 /usr/share/man/man8/cfc-relay.8.gz",
	},
	"cfc": {
		"0755 /usr/bin/cfc", "0644 /usr/share/bash-completion/completions/cfc", "0644 /usr/share/fish/vendor_completions.d/cfc.fish",
		"0644 /usr/share/zsh/vendor-completions/_cfc",
		"0644 /usr/share/doc/cfc/changelog.gz", "0644 /usr/share/doc/cfc/copyright", "0644 /usr/share/doc/cfc/licenses.gz",
		"0644 /usr/share/man/man1/cfc.1.gz",
	},
}

var conffiles = map[string][]string{"cfc-agent": {"/etc/cfc/agent.yaml", "/etc/cfc/policy.yaml"}, "cfc-relay": {"/etc/cfc/relay.yaml"}, "cfc": nil}

func output(t *testing.T, words ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	var fault bytes.Buffer
	cmd.Stderr = &fault
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, &fault)
	}
	return b
}

func TestContents(t *testing.T) {
	for name, want := range files {
		var got, parents []string
		r := tar.NewReader(bytes.NewReader(output(t, "dpkg-deb", "--fsys-tarfile", deb(t, name, older))))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			path := "/" + strings.TrimPrefix(strings.TrimPrefix(h.Name, "."), "/")
			if h.Uid != 0 || h.Gid != 0 || h.Uname != "root" || h.Gname != "root" {
				t.Errorf("%s: %s is of %d:%d %s:%s", name, path, h.Uid, h.Gid, h.Uname, h.Gname)
			}
			if fmt.Sprint(h.ModTime.Unix()) != epoch {
				t.Errorf("%s: %s is of %v", name, path, h.ModTime)
			}
			entry := fmt.Sprintf("%04o %s", h.Mode&0o7777, path)
			if slices.Contains(want, entry) || h.Typeflag != tar.TypeDir {
				got = append(got, entry)
			} else if parents = append(parents, path); h.Mode&0o7777 != 0o755 {
				t.Errorf("%s: %s", name, entry)
			}
		}
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			t.Errorf("%s holds\n%s\nexpected\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, p := range parents {
			if !slices.ContainsFunc(want, func(w string) bool { return strings.Contains(w, " "+p) }) {
				t.Errorf("%s holds an empty directory %s", name, p)
			}
		}
	}
}

// control gives a package's files that are for dpkg.
func control(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	output(t, "dpkg-deb", "--control", deb(t, name, newer), dir)
	return dir
}

func TestControl(t *testing.T) {
	for name, fields := range map[string]map[string]string{
		"cfc-agent": {"Depends": "systemd | systemd-standalone-sysusers | systemd-sysusers", "Recommends": "ca-certificates", "Suggests": "docker.io, python3-venv"},
		"cfc-relay": {"Depends": "systemd | systemd-standalone-sysusers | systemd-sysusers", "Recommends": "", "Suggests": "cfc"},
		"cfc":       {"Depends": "", "Recommends": "ca-certificates", "Suggests": "bash-completion"},
	} {
		fields["Package"], fields["Version"], fields["Section"], fields["Priority"] = name, "1.1.0+3.gabc1234", "net", "optional"
		fields["Architecture"] = strings.TrimSpace(string(output(t, "dpkg", "--print-architecture")))
		for field, want := range fields {
			if got := strings.TrimSpace(string(output(t, "dpkg-deb", "--field", deb(t, name, newer), field))); got != want {
				t.Errorf("%s: %s is %q, expected %q", name, field, got, want)
			}
		}
		dir := control(t, name)
		list, err := os.ReadFile(filepath.Join(dir, "conffiles"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if got := strings.Fields(string(list)); !slices.Equal(got, conffiles[name]) {
			t.Errorf("%s: conffiles are %v, expected %v", name, got, conffiles[name])
		}
		for _, script := range []string{"postinst", "prerm", "postrm"} {
			i, err := os.Stat(filepath.Join(dir, script))
			if name == "cfc" {
				if err == nil {
					t.Errorf("cfc has a %s: it has nothing to do", script)
				}
			} else if err != nil || i.Mode() != 0o755 {
				t.Errorf("%s: %s: %v %v", name, script, i, err)
			}
		}
	}
}

// TestChangelogAndLicenses are what Debian, and those whose code is compiled in,
// want of every package.
func TestChangelogAndLicenses(t *testing.T) {
	for name := range files {
		dir := t.TempDir()
		output(t, "dpkg-deb", "--extract", deb(t, name, newer), dir)
		doc := filepath.Join(dir, "usr/share/doc", name)
		log := filepath.Join(doc, "changelog.gz")
		if got, want := string(output(t, "zcat", log)), name+" (1.1.0+3.gabc1234) unstable; urgency=medium\n"; !strings.HasPrefix(got, want) || !strings.Contains(got, "  Fri, 02 Jan 2026 03:04:05 +0000\n") {
			t.Errorf("%s: the changelog is\n%s", name, got)
		}
		licenses := string(output(t, "zcat", filepath.Join(doc, "licenses.gz")))
		for _, module := range []string{"go", "github.com/spf13/cobra@", "go.uber.org/zap@"} {
			if !strings.Contains(licenses, "\n==== "+module) {
				t.Errorf("%s: no license of %s", name, module)
			}
		}
	}
}

// TestManuals: groff has no word against them, and a command of each is in it.
func TestManuals(t *testing.T) {
	for name, c := range map[string]struct{ path, command string }{
		"cfc":       {"man1/cfc.1.gz", "cfc node start-worker NODE WORKER CONFIG"},
		"cfc-agent": {"man8/cfc-agent.8.gz", "cfc-agent pair URL"},
		"cfc-relay": {"man8/cfc-relay.8.gz", "cfc-relay backup FILE"},
	} {
		dir := t.TempDir()
		output(t, "dpkg-deb", "--extract", deb(t, name, newer), dir)
		page := filepath.Join(dir, "usr/share/man", c.path)
		// Without -c the terminal's way of bold letters stands between them.
		b, err := exec.CommandContext(t.Context(), "sh", "-ec", `zcat "$0" | groff -man -ww -k -Tutf8 -P-cbou`, page).CombinedOutput()
		text := string(b)
		if err != nil || strings.Contains(text, "warning:") || !strings.Contains(text, "\n   "+c.command) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// TestVersionsSort as dpkg sorts them, from the first commit to a release.
func TestVersionsSort(t *testing.T) {
	script := filepath.Join(tools(t).Root, "packaging", "version.sh")
	last := "0~"
	for _, c := range [][2]string{
		{"fffffff", "1767323045"}, {"0000000", "1767323046"}, {"v0.9.0-rc.1", epoch}, {"v0.9.0-rc.1-2-gfff", epoch}, {"v0.9.0-rc.2", epoch},
		{"v0.9.0", epoch}, {"v0.9.0-2-gfff", epoch}, {"v0.9.0-10-gaaa", epoch}, {"v0.9.1", epoch}, {"v0.10.0", epoch},
	} {
		version := strings.TrimSpace(string(output(t, script, c[0], c[1])))
		if b, err := exec.CommandContext(t.Context(), "dpkg", "--compare-versions", last, "lt", version).CombinedOutput(); err != nil || len(b) > 0 {
			t.Errorf("%s is not before %s: %v %s", last, version, err, b)
		}
		last = version
	}
}

// TestTwoBuildsAreTheSame although the second one's programs are files of another
// time, and its user has other habits.
func TestTwoBuildsAreTheSame(t *testing.T) {
	bin, out := t.TempDir(), t.TempDir()
	for _, p := range []string{tools(t).Agent, tools(t).Relay, tools(t).CLI} {
		output(t, "install", "-m", "700", p, bin)
	}
	for _, what := range []string{"debs", "snap"} {
		first, err := filepath.Glob(filepath.Join(packages(t, what, older), "*"))
		if err != nil || len(first) == 0 {
			t.Fatal(first, err)
		}
		old := syscall.Umask(0o077)
		build(t, what, older, bin, out, "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "TMPDIR="+t.TempDir())
		syscall.Umask(old)
		for _, p := range first {
			a, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(out, filepath.Base(p))); err != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: the second build differs: %v", filepath.Base(p), err)
			}
		}
	}
}

// TestScripts lets shellcheck find what is only seen on somebody's host.
func TestScripts(t *testing.T) {
	root := filepath.Join(tools(t).Root, "packaging")
	var all []string
	for _, pattern := range []string{"*.sh", "deb/*/postinst", "deb/*/prerm", "deb/*/postrm", "snap/hooks/*"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatal(pattern, err)
		}
		all = append(all, paths...)
	}
	if b, err := exec.CommandContext(t.Context(), "shellcheck", all...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, b)
	}
}
