package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

func TestReadGiven(t *testing.T) {
	if _, err := ReadGiven("/dev/zero"); err == nil || !strings.Contains(err.Error(), "/dev/zero: larger than 16 MiB") {
		t.Errorf("what has no end: %v", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(pipe, []byte("text"), 0o600) }()
	if b, err := ReadGiven(pipe); string(b) != "text" || err != nil {
		t.Errorf("a pipe: %q, %v", b, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	unread := func([]byte) error { t.Error("what is not there was parsed"); return nil }
	if aside, err := Load(path, unread); aside != "" || err != nil {
		t.Errorf("no file: %q, %v", aside, err)
	}
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got string
	if aside, err := Load(path, func(b []byte) error { got = string(b); return nil }); aside != "" || err != nil || got != "text" {
		t.Errorf("a good one: %q, %q, %v", got, aside, err)
	}
	odd := errors.New("it is odd")
	aside, err := Load(path, func([]byte) error { return odd })
	if !errors.Is(err, odd) || !strings.HasPrefix(aside, path+".damaged-") {
		t.Errorf("a damaged one: %q, %v", aside, err)
	}
	if b, err := os.ReadFile(aside); err != nil || string(b) != "text" {
		t.Errorf("set aside is %q, %v", b, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}

// Each crash in a write would leave a file for ever, with all that is secret in
// it.
func TestLoadRemovesWhatCrashesHaveLeft(t *testing.T) {
	for _, there := range []bool{true, false} {
		dir := t.TempDir()
		path := filepath.Join(dir, "state.json")
		names := []string{".state.json.123", ".state.json.456", ".other.json.7", "state.json.damaged-1"}
		if there {
			names = append(names, "state.json")
		}
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("secret"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Load(path, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range left {
			got = append(got, e.Name())
		}
		slices.Sort(names)
		if want := slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, ".state") }); !slices.Equal(got, want) {
			t.Errorf("left are %v, expected %v", got, want)
		}
	}
}
