package engine

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/shared/cfcerr"
)

// TestHowACommandEnded is asked until the engine knows: a command that it has
// only been told to start has no exit code.
func TestHowACommandEnded(t *testing.T) {
	const begins, runs, ended = `{"Running":false,"Pid":0,"ExitCode":null}`, `{"Running":true,"Pid":7,"ExitCode":null}`, `{"Running":false,"Pid":7,"ExitCode":3}`
	for _, c := range []struct {
		answers      []string
		reason, code string
		kind         cfcerr.Kind
	}{
		{[]string{ended}, reasonExited, "3", 0},
		{[]string{runs, runs, ended}, reasonExited, "3", 0},
		{[]string{begins}, reasonFailed, "<nil>", cfcerr.Unavailable},
		{[]string{runs, "nothing at all"}, reasonLost, "<nil>", cfcerr.Unavailable},
	} {
		e, stop := answering(t, "/exec/x/json", c.answers...)
		end := (&Exec{id: "x", engine: e}).end(t.Context(), nil)
		if end.Reason != c.reason || fmt.Sprint(end.Details["exit_code"]) != c.code || cfcerr.KindOf(asError(end.Err)) != c.kind {
			t.Errorf("after %v: %+v", c.answers, end)
		}
		stop()
	}
}

// TestHowTheOutputOfAContainerEnded has exit codes of what has run alone: the
// engine calls that of any other container 0.
func TestHowTheOutputOfAContainerEnded(t *testing.T) {
	for state, want := range map[string]observe.End{
		`"Status":"created","Running":false,"ExitCode":0`:   {Reason: reasonEnd},
		`"Status":"created","Running":false,"ExitCode":127`: {Reason: reasonStopped, Details: map[string]any{"exit_code": int64(127)}}, // no such program
		`"Status":"exited","Running":false,"ExitCode":0`:    {Reason: reasonStopped, Details: map[string]any{"exit_code": int64(0)}},
		`"Status":"running","Running":true,"ExitCode":0`:    {Reason: reasonEnd},
	} {
		e, stop := answering(t, "/containers/x/json", `{"Id":"x","State":{`+state+`},"HostConfig":{},"Config":{}}`)
		if end := e.ended(t.Context(), "x", io.EOF); !reflect.DeepEqual(end, want) {
			t.Errorf("%s: %+v, expected %+v", state, end, want)
		}
		stop()
	}
}

// answering is an engine that answers a path with one text after the other, the
// last one again and again.
func answering(t *testing.T, path string, answers ...string) (e *Engine, stop func()) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if strings.HasSuffix(r.URL.Path, path) {
			_, _ = w.Write([]byte(answers[min(int(asked.Add(1)), len(answers))-1]))
		}
	})}
	go func() { _ = s.Serve(ln) }()
	e = New(Config{Socket: ln.Addr().String()})
	return e, func() {
		e.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
