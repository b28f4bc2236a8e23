package engine

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

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
		ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int32
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Api-Version", "1.41")
			if strings.HasSuffix(r.URL.Path, "/exec/x/json") {
				_, _ = w.Write([]byte(c.answers[min(int(asked.Add(1)), len(c.answers))-1]))
			}
		})}
		go func() { _ = s.Serve(ln) }()
		x := &Exec{id: "x", engine: New(Config{Socket: ln.Addr().String()})}
		end := x.end(t.Context(), nil)
		if end.Reason != c.reason || fmt.Sprint(end.Details["exit_code"]) != c.code || cfcerr.KindOf(asError(end.Err)) != c.kind {
			t.Errorf("after %v: %+v", c.answers, end)
		}
		x.engine.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
