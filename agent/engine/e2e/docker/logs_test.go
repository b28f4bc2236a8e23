package docker

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"github.com/gammazero/nexus/v3/wamp"
)

// numbered are the lines from a to b that box prints.
func numbered(a, b int) string {
	var s strings.Builder
	for i := a; i < b; i++ {
		fmt.Fprintln(&s, "line", i)
	}
	return s.String()
}

func TestLogs(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	id := d.box(nil, "print", "3000")
	d.logs(id, wamp.Dict{"follow": true}).until(has("line 2999\n"))

	all := d.logs(id, nil)
	if out, _ := all.until(nil); out != numbered(0, 3000) {
		t.Errorf("%d bytes, want %d", len(out), len(numbered(0, 3000)))
	}
	all.ended("end", nil)
	for what, c := range map[string]struct {
		kwargs wamp.Dict
		want   string
	}{
		"the tail":       {wamp.Dict{"tail": 5}, numbered(2995, 3000)},
		"no tail":        {wamp.Dict{"tail": 0}, ""},
		"since an hour":  {wamp.Dict{"since": "1h"}, numbered(0, 3000)},
		"since later":    {wamp.Dict{"since": time.Now().Add(time.Hour).Format(time.RFC3339)}, ""},
		"since a moment": {wamp.Dict{"since": time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)}, numbered(0, 3000)},
	} {
		if out, _ := d.logs(id, c.kwargs).until(nil); out != c.want {
			t.Errorf("%s: %d bytes %.40q, want %d", what, len(out), out, len(c.want))
		}
	}
	for _, c := range []struct {
		want   cfcerr.Kind
		args   wamp.List
		kwargs wamp.Dict
	}{
		{cfcerr.NoSuchObject, wamp.List{"nobody"}, nil},
		{cfcerr.InvalidArgument, wamp.List{id}, wamp.Dict{"since": "yesterday"}},
		{cfcerr.InvalidArgument, wamp.List{id}, wamp.Dict{"tail": -1}},
		{cfcerr.InvalidArgument, wamp.List{id}, wamp.Dict{"after": "here"}},
		{cfcerr.InvalidArgument, wamp.List{id}, wamp.Dict{"after": all.position, "tail": 1}},
	} {
		d.refused(c.want, catalog.DockerOpenLogs.Op, c.args, c.kwargs)
	}
	d.refused(cfcerr.InvalidArgument, catalog.DockerReadLogs.Op, wamp.List{all.id, -1}, nil)
	d.refused(cfcerr.InvalidArgument, catalog.DockerReadLogs.Op, wamp.List{all.id, all.next, 0}, nil)
	d.refused(cfcerr.InvalidArgument, catalog.DockerReadLogs.Op, wamp.List{all.id, all.next, 1, 60_001}, nil)
}

func TestLogsKeepStreamsApart(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	apart := d.logs(d.box(nil, "say", "oh", "ah"), wamp.Dict{"follow": true})
	if out, errs := apart.until(nil); out != "ah\n" || errs != "oh\n" {
		t.Errorf("%q, %q", out, errs)
	}
	apart.ended("container-stopped", int64(0))
	one := d.logs(d.box(map[string]any{"Tty": true}, "say", "oh", "ah"), wamp.Dict{"follow": true})
	if out, errs := one.until(nil); out != "oh\r\nah\r\n" || errs != "" {
		t.Errorf("at a terminal: %q, %q", out, errs)
	}
	for said, shown := range map[string]string{"é": "é", "\xff": "\ufffd"} { // what the engine cuts in two is lost in its log, and no more
		long := d.logs(d.box(map[string]any{"Tty": true}, "say", "x"+strings.Repeat(said, 20_000)), wamp.Dict{"follow": true})
		if out, _ := long.until(nil); strings.Count(out, shown) < 19_990 || !strings.HasSuffix(out, shown+"\r\n") {
			t.Errorf("%q: %d of 20000 characters", said, strings.Count(out, shown))
		}
		long.ended("container-stopped", int64(0))
	}
	gone := d.box(nil, "wait")
	f := d.logs(gone, wamp.Dict{"follow": true})
	d.real.Do(http.MethodDelete, "/containers/"+gone+"?force=1", nil, nil)
	for f.until(nil); f.end["reason"] != "container-removed" && f.end["reason"] != "container-stopped"; {
		t.Fatalf("%v", f.end)
	}
}

// TestLogsGoOn is a reader who comes back: to the same stream, to another one
// behind his position, and after the engine was killed. He gets every line once.
func TestLogsGoOn(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	id := d.box(nil, "tick")
	f := d.logs(id, wamp.Dict{"follow": true})
	text, _ := f.until(has("line 50\n"))
	for range 3 {
		f.close()
		f = d.logs(id, wamp.Dict{"follow": true, "after": f.position})
		more, _ := f.until(func(out, _ string) bool { return strings.Count(out, "\n") > 100 })
		text += more
	}
	d.real.Kill()
	more, _ := f.until(nil)
	text += more
	if f.ended("engine-lost", nil); f.end["error"] != cfcerr.Unavailable.URI() || f.end["message"] == "" {
		t.Errorf("the end says %v", f.end)
	}
	d.refused(cfcerr.Unavailable, catalog.DockerOpenLogs.Op, wamp.List{id}, nil)
	d.real.Restart()
	more, _ = d.logs(id, wamp.Dict{"after": f.position}).until(nil)
	text += more
	if n := strings.Count(text, "\n"); text != numbered(0, n) {
		t.Errorf("some of %d lines are missing, or came twice", n)
	}
}

// TestLogsSayWhatIsMissing is a position that the log does not reach back to.
func TestLogsSayWhatIsMissing(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	small := map[string]any{"HostConfig": map[string]any{"NetworkMode": "none",
		"LogConfig": map[string]any{"Type": "json-file", "Config": map[string]string{"max-size": "4k", "max-file": "1"}}}}
	id := d.box(small, "tick")
	f := d.logs(id, wamp.Dict{"follow": true})
	f.until(has("line 5\n"))
	f.close()
	for end := time.Now().Add(time.Minute); ; {
		again := d.logs(id, wamp.Dict{"after": f.position})
		records := again.read()
		again.close()
		if len(records) > 1 && records[0]["gap"] != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the log was turned over, and nothing says so")
		}
	}
}
