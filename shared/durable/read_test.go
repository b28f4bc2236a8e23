package durable

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("large"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(at("large"), maxRead+1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": at("file"), "endless": "/dev/zero", "nowhere": at("nobody")} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"file": "", "link": "", "large": "larger than 16 MiB", "pipe": "not a regular file",
		"endless": "not a regular file", "nowhere": "no such file", ".": "not a regular file"} {
		b, err := ReadFile(at(name))
		switch {
		case want == "" && (err != nil || string(b) != "text"):
			t.Errorf("%s: %q, %v", name, b, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir)):
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}
