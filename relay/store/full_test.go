//go:build linux

package store

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// A full disk refuses the change, keeps the state before it, and what is freed
// is used again. The test runs itself once more in a mount namespace of its own
// (for an ordinary user in a user namespace too), so that the small file system
// is nobody else's and goes with it.
func TestDiskFull(t *testing.T) {
	dir := os.Getenv("CFC_TEST_SMALL_DISK")
	if dir == "" {
		inNamespace(t)
		return
	}
	must(t, unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k,mode=0700"))
	path := filepath.Join(dir, "relay.db")
	s, err := Open(path, Options{})
	must(t, err)
	defer func() { s.Close() }()
	fill(t, s, 0)
	paired := 0
	for err == nil && paired < 5000 {
		if err = s.PairNode(t.Context(), Node{OID: uuid.NewString(), Realm: "r1", ID: fmt.Sprintf("n%d", paired), Pubkey: key(t), Labels: map[string]string{"fill": strings.Repeat("x", 2000)}}); err == nil {
			paired++
		}
	}
	if public, _ := cfcerr.Public(err); err != nil && (public.Kind != cfcerr.Unavailable || strings.Contains(public.Message, path)) {
		t.Errorf("the caller sees %v (%s); want %s and no path", public, public.URI(), cfcerr.Unavailable.URI())
	}
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("after %d nodes: %v", paired, err)
	}
	if n := count(t, s); n != paired {
		t.Fatalf("%d nodes after a refused one, want %d", n, paired)
	}
	if err := Backup(t.Context(), path, filepath.Join(dir, "backup")); err == nil {
		t.Error("a backup that does not fit was written")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	must(t, s.Close())
	if s, err = Open(path, Options{}); err != nil {
		t.Fatalf("cannot open after the disk was full: %v", err)
	}
	if n := count(t, s); n != paired {
		t.Fatalf("%d nodes after opening again, want %d", n, paired)
	}
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT, "size=8m"))
	must(t, s.PairNode(t.Context(), Node{OID: uuid.NewString(), Realm: "r1", ID: "more", Pubkey: key(t)}))
}

func inNamespace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	must(t, os.Mkdir(dir, 0o700))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
	cmd.Env = append(os.Environ(), "CFC_TEST_SMALL_DISK="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestDiskFull") {
		t.Fatalf("%v\n%s", err, out)
	}
}
