package durable

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestWriteFileSetsContentAndMode(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "a")
	for _, tt := range []struct {
		text string
		mode os.FileMode
	}{{"first", 0o600}, {"", 0o644}, {strings.Repeat("x", 1<<16), 0o600}} {
		if err := WriteFile(path, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, serr := os.Stat(path)
		if err != nil || serr != nil || string(got) != tt.text || info.Mode().Perm() != tt.mode {
			t.Errorf("%d bytes, mode %v, %v", len(got), info.Mode(), err)
		}
	}
	onlyFile(t, path)
}

// onlyFile fails when anything but the target is left beside it.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

// A reader sees the old content or the new, whenever it looks.
func TestWriteFileIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	texts := []string{strings.Repeat("a", 1<<16), strings.Repeat("b", 1<<12)}
	if err := WriteFile(path, []byte(texts[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != texts[0] && string(b) != texts[1] {
				t.Errorf("a mixture of %d bytes, %v", len(b), err)
				return
			}
		}
	})
	for i := range 20 {
		if err := WriteFile(path, []byte(texts[i%2]), 0o600); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestWriteFileThatFailsLeavesTheOld(t *testing.T) {
	t.Run("target is a directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a")
		if err := os.MkdirAll(filepath.Join(path, "b"), 0o700); err != nil {
			t.Fatal(err)
		}
		failsWith(t, WriteFile(path, []byte("x"), 0o600), path)
		onlyFile(t, path)
	})
	t.Run("no directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "no", "a")
		failsWith(t, WriteFile(path, []byte("x"), 0o600), path)
	})
	t.Run("no space", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a")
		if err := WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		limitFileSize(t, 8<<20) // the log of the test binary itself stays below
		failsWith(t, WriteFile(path, make([]byte, 16<<20), 0o600), path)
		if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		onlyFile(t, path)
	})
}

func failsWith(t *testing.T, err error, path string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), "cannot write "+path+": ") {
		t.Errorf("got %v", err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path, filepath.Join(dir, "no", "such", "file")} {
		if err := Remove(p); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	full := filepath.Join(dir, "d")
	if err := os.MkdirAll(filepath.Join(full, "e"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Remove(full); err == nil || !strings.Contains(err.Error(), full) {
		t.Errorf("got %v", err)
	}
}

func TestPrivateDir(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	base := t.TempDir()
	path := filepath.Join(base, "a", "b")
	for range 2 {
		if err := PrivateDir(path); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{file: "", filepath.Join(file, "below"): ""}
	for _, mode := range []os.FileMode{0o750, 0o705, 0o710, 0o777} {
		dir := filepath.Join(base, mode.String())
		if err := os.Mkdir(dir, mode); err != nil {
			t.Fatal(err)
		}
		refused[dir] = "expected 0700"
	}
	for p, want := range refused {
		if err := PrivateDir(p); err == nil || !strings.Contains(err.Error(), p) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", p, err)
		}
	}
}

func TestWriteFileAsKeepsTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 { // who may give files away shows that it does
		uid, gid = 4711, 4712
	}
	if err := WriteFileAs(path, []byte("new"), 0o640, uid, gid); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if b, err := os.ReadFile(path); err != nil || string(b) != "new" || info.Mode().Perm() != 0o640 || int(owner.Uid) != uid || int(owner.Gid) != gid {
		t.Errorf("%q of %d:%d, mode %v, %v", b, owner.Uid, owner.Gid, info.Mode(), err)
	}
	onlyFile(t, path)
}
