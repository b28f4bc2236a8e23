package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// source is a stream at the fake relay: records that come one a read, then its
// end.
type source struct {
	mu      sync.Mutex
	opened  []call
	closed  int
	records []any
	end     wamp.Dict
	fail    map[int]error // of the n-th read
	reads   int
	written []byte
	sizes   []string
	got     chan struct{} // closed when the input has ended
}

const (
	uriLogs = "cfc.remote.docker.open_docker_logs"
	uriExec = "cfc.remote.docker.exec_docker_container"
)

// serve answers the rows of one kind of stream.
func (s *source) serve(r *rig, open, what string) {
	if s.got == nil {
		s.got = make(chan struct{})
		close(s.got)
	}
	prefix := "cfc.remote.docker."
	r.answers[open] = func(_ context.Context, c call) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.opened = append(s.opened, c)
		return wamp.Dict{"stream": fmt.Sprint("s", len(s.opened)), "container_id": "c1", "tty": false}, nil
	}
	r.answers[prefix+"read_docker_"+what] = s.read
	r.answers[prefix+"close_docker_"+what] = func(context.Context, call) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed++
		return wamp.Dict{}, nil
	}
	r.answers[prefix+"write_docker_"+what] = func(_ context.Context, c call) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		at := c.kwargs["at"].(int64)
		s.written = append(s.written[:at], c.args[2].([]byte)...)
		if eof, _ := c.kwargs["eof"].(bool); eof {
			close(s.got)
		}
		return wamp.Dict{"stream": c.args[1], "written": len(s.written)}, nil
	}
	r.answers[prefix+"resize_docker_"+what] = func(_ context.Context, c call) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sizes = append(s.sizes, fmt.Sprint(c.args[2:]))
		return wamp.Dict{}, nil
	}
}

func (s *source) read(ctx context.Context, c call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if err := s.fail[s.reads]; err != nil {
		return nil, err
	}
	from := c.args[2].(int64)
	out := wamp.Dict{"records": []any{}, "next": from, "position": nil, "end": nil}
	if int(from) < len(s.records) {
		out["records"], out["next"], out["position"] = s.records[from:from+1], from+1, fmt.Sprint("p", from)
		return out, nil
	}
	s.mu.Unlock()
	select {
	case <-s.got:
	case <-ctx.Done():
	}
	s.mu.Lock()
	if ctx.Err() != nil {
		return nil, cfcerr.New(cfcerr.Canceled, "canceled")
	}
	if s.end != nil {
		out["end"] = s.end
	}
	return out, nil
}

func record(stream string, data any) wamp.Dict {
	return wamp.Dict{"stream": stream, "time": "2026-03-01T10:00:00.000000001Z", "data": data}
}

var done = wamp.Dict{"reason": "end", "error": nil, "message": nil}

func TestLogs(t *testing.T) {
	r := newRig(t)
	s := &source{records: []any{record("stdout", "grün\n"), record("stderr", "oh\n"), record("stdout", []byte{0xff, '\n'}),
		wamp.Dict{"gap": wamp.Dict{"lost": nil, "reason": "turned over"}}}, end: done}
	s.serve(r, uriLogs, "logs")
	out, errs, exit := r.run("docker", "logs", "n1", "web", "--tail", "5", "--since", "10m", "-f")
	if out != "grün\n\xff\n" || errs != "oh\ncfc: some output is missing here: turned over\n" || exit != 0 {
		t.Errorf("%q, %q, %d", out, errs, exit)
	}
	if c := s.opened[0]; fmt.Sprint(c.args) != "[n1 web]" || fmt.Sprint(c.kwargs) != "map[follow:true since:10m tail:5]" || s.closed != 1 || r.leaves != len(r.joins) {
		t.Errorf("%v, closed %d times", c, s.closed)
	}
	if out := r.good("docker", "logs", "n1", "web", "--json"); strings.Count(out, "\n") != 4 || !strings.Contains(out, `"data_base64":"/wo="`) || !strings.Contains(out, `"gap"`) {
		t.Error(out)
	}
	out, _, _ = r.run("docker", "logs", "n1", "web", "-t")
	if !strings.HasPrefix(out, "2026-03-01T10:00:00.000000001Z grün\n") {
		t.Error(out)
	}
	r.bad(2, "CONTAINER is missing", "docker", "logs", "n1")
	r.bad(3, "invalid argument tail", "docker", "logs", "n1", "web", "-n", "many")
	r.bad(3, "invalid argument node_id", "docker", "logs", "N 1", "web")
}

func TestLogsEndWithAnError(t *testing.T) {
	r := newRig(t)
	s := &source{end: wamp.Dict{"reason": "engine-lost", "error": "cfc.error.unavailable", "message": "cannot read on: Docker is not available"}}
	s.serve(r, uriLogs, "logs")
	r.bad(13, "Docker is not available", "docker", "logs", "-f", "n1", "web")
	r.answers[uriLogs] = cfcerr.New(cfcerr.NoSuchObject, "cannot open the output: no such container")
	r.bad(5, "no such container", "docker", "logs", "n1", "web")
}

// A reader whose connection or agent goes away reads on: the same read again,
// or another stream behind the last record.
func TestLogsGoOn(t *testing.T) {
	r := newRig(t)
	s := &source{records: []any{record("stdout", "a\n"), record("stdout", "b\n")}, end: done,
		fail: map[int]error{2: cfcerr.New(cfcerr.ConnectionLost, "lost"), 3: cfcerr.New(cfcerr.NodeOffline, "offline"), 4: cfcerr.New(cfcerr.Busy, "not yet")}}
	s.serve(r, uriLogs, "logs")
	if out := r.good("docker", "logs", "-f", "n1", "web"); out != "a\nb\n" {
		t.Errorf("%q", out)
	}
	if len(s.opened) != 1 {
		t.Errorf("opened %d times", len(s.opened))
	}
	s.opened, s.reads, s.fail = nil, 0, map[int]error{2: cfcerr.New(cfcerr.NoSuchObject, "no such stream")}
	if out := r.good("docker", "logs", "-f", "--tail", "3", "n1", "web"); out != "a\na\nb\n" { // the fake begins anew
		t.Errorf("%q", out)
	}
	if len(s.opened) != 2 || fmt.Sprint(s.opened[1].kwargs) != "map[after:p0 follow:true]" {
		t.Errorf("opened again with %v", s.opened)
	}
}

func TestLogsEndByTheUser(t *testing.T) {
	r := newRig(t)
	s := &source{records: []any{record("stdout", "a\n")}, got: make(chan struct{})}
	s.serve(r, uriLogs, "logs")
	ctx, cancel := context.WithCancel(t.Context())
	out := &waiting{want: "a\n", seen: cancel}
	if exit := r.program(out, io.Discard).Run(ctx, []string{"docker", "logs", "-f", "n1", "web"}); exit != 0 || s.closed != 1 {
		t.Errorf("exit %d, closed %d times", exit, s.closed)
	}
}

// waiting calls seen when all that was wanted has been written.
type waiting struct {
	mu   sync.Mutex
	all  bytes.Buffer
	want string
	seen func()
}

func (w *waiting) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(b)
	if w.seen != nil && strings.Contains(w.all.String(), w.want) {
		w.seen()
		w.seen = nil
	}
	return len(b), nil
}

func TestCleanLines(t *testing.T) {
	for in, want := range map[string]string{"a\tb\n": "a\tb\n", "a\r\nb": "a\nb", "\x1b[2Jx\n": "\\x1b[2Jx\n", "": "", "\n\n": "\n\n"} {
		if got := cleanLines(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestExec(t *testing.T) {
	r := newRig(t)
	r.stdin = strings.Repeat("in", 40<<10)
	s := &source{records: []any{record("stdout", "out"), record("stderr", "err")}, end: wamp.Dict{"reason": "exited", "exit_code": 7, "error": nil}, got: make(chan struct{})}
	s.serve(r, uriExec, "exec")
	out, errs, exit := r.run("docker", "exec", "-i", "-e", "A=b=c", "-u", "nobody", "n1", "web", "--", "sh", "-c", "exit 7")
	if out != "out" || errs != "err" || exit != 7 || string(s.written) != r.stdin || s.closed != 1 {
		t.Errorf("%q, %q, exit %d, %d bytes in, closed %d times", out, errs, exit, len(s.written), s.closed)
	}
	want := "map[env:map[A:b=c] input:true tty:false user:nobody workdir:]"
	if c := s.opened[0]; fmt.Sprint(c.args) != "[n1 web [sh -c exit 7]]" || fmt.Sprint(c.kwargs) != want {
		t.Errorf("%v", c)
	}
	s.got, s.end = nil, wamp.Dict{"reason": "exited", "exit_code": 0}
	s.serve(r, uriExec, "exec")
	if out, _, exit := r.run("docker", "exec", "n1", "web", "ls", "-l"); out != "out" || exit != 0 || fmt.Sprint(s.opened[1].args) != "[n1 web [ls -l]]" {
		t.Errorf("%q, exit %d, %v", out, exit, s.opened[1])
	}
	s.end = wamp.Dict{"reason": "engine-lost", "error": "cfc.error.unavailable", "message": "cannot read on"}
	if _, errs, exit := r.run("docker", "exec", "n1", "web", "ls"); exit != 13 || errs != "errcfc: cannot read on\n" {
		t.Errorf("%q, exit %d", errs, exit)
	}
	s.end = wamp.Dict{"reason": "expired"}
	if _, errs, exit := r.run("docker", "exec", "n1", "web", "ls"); exit != 7 || !strings.Contains(errs, "cannot tell how the command ended: expired") {
		t.Errorf("%q, exit %d", errs, exit)
	}
	r.bad(2, "CMD is missing", "docker", "exec", "n1", "web")
	r.bad(2, "CMD is missing", "docker", "exec", "n1", "web", "--")
	r.bad(2, "NODE is missing", "docker", "exec")
	r.bad(2, "expected NAME=VALUE", "docker", "exec", "-e", "A", "n1", "web", "ls")
	r.bad(2, "-t needs a terminal", "docker", "exec", "-it", "n1", "web", "ls")
}

// Input that cannot be passed on ends the command; one that has ended takes none.
func TestExecInputFails(t *testing.T) {
	for _, c := range []struct {
		err  error
		exit int
	}{{cfcerr.New(cfcerr.NotRunning, "ended"), 0}, {cfcerr.New(cfcerr.NotAuthorized, "cannot write: not allowed"), 4}} {
		r := newRig(t)
		r.stdin = "x"
		s := &source{end: wamp.Dict{"reason": "exited", "exit_code": 0}, got: make(chan struct{})}
		s.serve(r, uriExec, "exec")
		r.answers["cfc.remote.docker.write_docker_exec"] = func(context.Context, call) (any, error) {
			if c.exit == 0 {
				close(s.got)
			}
			return nil, c.err
		}
		if _, errs, exit := r.run("docker", "exec", "-i", "n1", "web", "cat"); exit != c.exit || s.closed != 1 {
			t.Errorf("%v: exit %d, %s, closed %d times", c.err, exit, errs, s.closed)
		}
	}
}

// A line that is lost is joined again, and what was asked is asked again.
func TestLineIsJoinedAgain(t *testing.T) {
	r := newRig(t)
	r.opened = make(chan *fakeSession, 4)
	s := &source{records: []any{record("stdout", "a"), record("stdout", "b")}, end: wamp.Dict{"reason": "exited", "exit_code": 0}}
	s.serve(r, uriExec, "exec")
	first := true
	r.answers["cfc.remote.docker.read_docker_exec"] = func(ctx context.Context, c call) (any, error) {
		if c.args[2].(int64) == 1 && first {
			first = false
			(<-r.opened).end("gone")
			return nil, cfcerr.New(cfcerr.ConnectionLost, "lost")
		}
		return s.read(ctx, c)
	}
	out, errs, exit := r.run("docker", "exec", "n1", "web", "ls")
	if out != "ab" || exit != 0 || errs != "cfc: connection lost; joining again\n" || len(r.joins) != 2 || r.leaves != 2 {
		t.Errorf("%q, %q, exit %d; joined %d times, left %d times", out, errs, exit, len(r.joins), r.leaves)
	}
}

func TestAway(t *testing.T) {
	for err, want := range map[error]bool{
		cfcerr.New(cfcerr.NodeOffline, ""):    true,
		cfcerr.New(cfcerr.ConnectionLost, ""): true,
		cfcerr.New(cfcerr.Unavailable, ""):    false,
		cfcerr.New(cfcerr.NotAuthorized, ""):  false,
		errors.New("no route"):                true,
	} {
		if away(err) != want {
			t.Errorf("%v", err)
		}
	}
	if after(cfcerr.New(cfcerr.Busy, "").With("after", 3)) != 3*time.Second {
		t.Error("the far side's wish is not heard")
	}
}
