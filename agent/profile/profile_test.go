package profile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script puts a program in py-spy's place.
func script(t *testing.T, body string) Sampler {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, Name), []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return Sampler{Beside: []string{t.TempDir(), dir}}
}

// write is what a script does to write a profile: the path follows --output.
const write = `while [ "$1" != --output ]; do shift; done; cat > "$2" <<'END'
%s
END`

const seen = `{"shared": {"frames": [{"name": "main", "file": "a.py", "line": 1}, {"name": "poll", "file": "b.py", "line": 2}, {"name": "work", "file": "c.py", "line": 3}]},
 "profiles": [{"samples": [[0, 1], [0, 1], [0, 2, 2]], "weights": [1, 1, 1]}, {"samples": [[0]]}]}`

func TestAProfileAsText(t *testing.T) {
	r, err := script(t, fmt.Sprintf(write, seen)).Sample(t.Context(), 1, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := `    own   total  function
  50.0%   50.0%  poll (b.py:2)
  25.0%  100.0%  main (a.py:1)
  25.0%   25.0%  work (c.py:3)
`
	if r.Samples != 4 || r.Text != want {
		t.Errorf("%d samples:\n%s", r.Samples, r.Text)
	}
	if strings.TrimSpace(string(r.Speedscope)) != seen {
		t.Errorf("for speedscope there is %s", r.Speedscope)
	}
}

func TestProfilesThatFail(t *testing.T) {
	for name, tt := range map[string]struct {
		s    Sampler
		kind cfcerr.Kind
		text string
	}{
		"not installed": {Sampler{Beside: []string{t.TempDir()}}, cfcerr.Unavailable, "not installed"},
		"not allowed":   {script(t, `echo "Error: Permission Denied: Try running again with elevated permissions" >&2; exit 1`), cfcerr.Unavailable, "does not let it"},
		"no Python":     {script(t, `echo "Error: Failed to find python version from target process" >&2; exit 1`), cfcerr.Unavailable, "find python version"},
		"no words":      {script(t, `exit 3`), cfcerr.Unavailable, "exit status 3"},
		"no file":       {script(t, `exit 0`), cfcerr.Unavailable, "has seen nothing"},
		"too much":      {script(t, `while [ "$1" != --output ]; do shift; done; head -c 9000000 /dev/zero > "$2"`), cfcerr.LimitExceeded, "9000000 bytes"},
		"no JSON":       {script(t, fmt.Sprintf(write, "{")), cfcerr.Internal, "cannot read the profile"},
		"a wrong frame": {script(t, fmt.Sprintf(write, `{"profiles": [{"samples": [[7]]}]}`)), cfcerr.Internal, "frame 7"},
	} {
		if tt.kind == cfcerr.Unavailable && name == "not installed" {
			t.Setenv("PATH", t.TempDir())
		} else {
			t.Setenv("PATH", "/usr/bin:/bin")
		}
		_, err := tt.s.Sample(t.Context(), 1, time.Second)
		if cfcerr.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProfileEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, context.Canceled)
	defer cancel()
	began := time.Now()
	_, err := script(t, `exec sleep 60`).Sample(ctx, 1, time.Minute)
	if !errors.Is(err, context.Canceled) || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// What py-spy says is kept as far as it says why.
func TestAProfilerThatTalks(t *testing.T) {
	_, err := script(t, `echo "Error: why" >&2; head -c 1000000 /dev/zero | tr '\0' x >&2; exit 1`).Sample(t.Context(), 1, time.Second)
	if cfcerr.KindOf(err) != cfcerr.Unavailable || !strings.HasSuffix(err.Error(), "why") {
		t.Errorf("%v", err)
	}
	b := &beginning{}
	for range 3 {
		if n, err := b.Write(make([]byte, mostSaid-1)); n != mostSaid-1 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	if b.Len() != mostSaid {
		t.Errorf("%d bytes are kept", b.Len())
	}
}

func TestVersion(t *testing.T) {
	if v, err := script(t, `echo "py-spy 0.4.3"`).Version(t.Context()); v != "0.4.3" || err != nil {
		t.Errorf("version %q, %v", v, err)
	}
	if _, err := script(t, `exit 1`).Version(t.Context()); cfcerr.KindOf(err) != cfcerr.Unavailable {
		t.Errorf("one that does not run: %v", err)
	}
}

func TestBeside(t *testing.T) {
	s := script(t, `echo "py-spy 1"`)
	dir := s.Beside[1]
	program, link := filepath.Join(dir, "crossbar"), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700), os.Symlink(program, link)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{program, link} {
		if path, err := Beside(name).Find(); err != nil || filepath.Dir(path) != dir {
			t.Errorf("beside %s: %s, %v", name, path, err)
		}
	}
	if s := Beside("no such program"); s.Beside != nil {
		t.Errorf("beside nothing: %v", s)
	}
}
