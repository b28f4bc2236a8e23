// Package debian builds the packages of the programs under test, and installs
// them by the real dpkg into a real Debian: this machine's, of which each test
// sees a copy that is gone when it ends. That takes root.
package debian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"fabric.center/cfc/shared/e2e/fleet"
	"go.uber.org/goleak"
)

// built is where the packages of all tests are, by version.
var built = struct {
	sync.Mutex
	dir string
}{}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cfc-packages")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built.dir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// The versions that tests install, as `git describe` says them; newer has
// configuration files like those of older.
const (
	older = "v1.0.0"
	newer = "v1.1.0-3-gabc1234"
)

// epoch is the time in the packages.
const epoch = "1767323045"

func tools(t *testing.T) fleet.Tools {
	t.Helper()
	tools, err := fleet.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tools
}

// build makes packages, debs or snap, in a directory.
func build(t *testing.T, what, described, bin, out string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(tools(t).Root, "packaging", "build.sh"), what)
	cmd.Env = append(os.Environ(), append(env, "BIN="+bin, "OUT="+out, "ARCH="+runtime.GOARCH, "DESCRIPTION="+described, "SOURCE_DATE_EPOCH="+epoch)...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, b)
	}
}

// packages gives the directory with the debs or the snap of a version.
func packages(t *testing.T, what, described string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	dir := filepath.Join(built.dir, what+described)
	if _, err := os.Stat(dir); err != nil {
		build(t, what, described, filepath.Dir(tools(t).CLI), dir)
	}
	return dir
}

// one gives the path of the only file that matches.
func one(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) != 1 {
		t.Fatalf("%s matches %v, %v", pattern, paths, err)
	}
	return paths[0]
}

// deb gives the path of a package.
func deb(t *testing.T, name, described string) string {
	t.Helper()
	return one(t, filepath.Join(packages(t, "debs", described), name+"_*.deb"))
}

// script makes the copy: its own mounts, of which others see nothing, with what
// is written in memory. It lives as long as its standard input.
const script = `set -e
mount -t tmpfs -o mode=755 none "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay none -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root"
cd "$0/root"
mount -t proc none proc
mount -t sysfs none sys
mount --rbind /dev dev
mount -t tmpfs none run
mkdir run/lock
mount -t tmpfs none tmp
mkdir tmp/packages
mount --bind "$1" tmp/packages
rm -rf etc/cfc etc/systemd/system/cfc-* etc/systemd/system/*.wants/cfc-*
echo ready
exec chroot . cat
`

// host is a Debian of the test's own.
type host struct {
	t    *testing.T
	pid  int
	root string // where its own mounts have it
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("cannot install packages: it takes root; leave it out: CFC_WITHOUT=packages")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "bash", "-c", script, dir, built.dir)
	var fault bytes.Buffer
	cmd.Stderr = &fault
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		in.Close()
		t.Fatalf("cannot make a root of the test's own: %v, %v\n%s", err, cmd.Wait(), &fault)
	}
	h := &host{t, cmd.Process.Pid, filepath.Join(dir, "root")}
	h.forget()
	return h
}

// forget takes away what an installed product has left on this machine.
func (h *host) forget() {
	h.t.Helper()
	h.sh(`dpkg --purge cfc cfc-agent cfc-relay >/dev/null 2>&1 || true
		rm -rf /var/lib/cfc-agent /var/lib/cfc-relay /usr/bin/cfc /usr/bin/cfc-agent /usr/bin/cfc-relay
		for user in cfc-agent cfc-relay; do ! id $user >/dev/null 2>&1 || userdel $user; done`)
}

// run runs a command in the host and gives what it says.
func (h *host) run(words ...string) (string, error) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), "nsenter", append([]string{fmt.Sprintf("--target=%d", h.pid), "--mount", "--root", "--wd"}, words...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	b, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(b)), err
}

func (h *host) must(words ...string) string {
	h.t.Helper()
	out, err := h.run(words...)
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return out
}

// sh runs a line of shell.
func (h *host) sh(line string) string {
	h.t.Helper()
	return h.must("sh", "-ec", line)
}

// install has dpkg install packages by name, of one version.
func (h *host) install(described string, names ...string) {
	h.t.Helper()
	words := []string{"dpkg", "--install"}
	for _, name := range names {
		words = append(words, strings.Replace(deb(h.t, name, described), built.dir, "/tmp/packages", 1))
	}
	h.must(words...)
}

// there reports whether a path is in the host.
func (h *host) there(path string) bool {
	h.t.Helper()
	_, err := os.Lstat(fmt.Sprintf("/proc/%d/root%s", h.pid, path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return err == nil
}

// are wants some paths to be there, or not to be.
func (h *host) are(there bool, paths ...string) {
	h.t.Helper()
	for _, p := range paths {
		if h.there(p) != there {
			h.t.Errorf("%s: there is %t, expected %t", p, !there, there)
		}
	}
}

// says wants a line of shell to print this.
func (h *host) says(want, line string) {
	h.t.Helper()
	if got := h.sh(line); got != want {
		h.t.Errorf("%s\nprints  %q\nexpected %q", line, got, want)
	}
}
