package docker

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// desk is what the relay calls: the rows of the host, and streams that run.
type desk struct {
	t      *testing.T
	real   *enginetest.Engine
	host   *ops.Ops
	caller catalog.Caller
}

func newDesk(t *testing.T, o enginetest.Options) *desk {
	t.Helper()
	real, e := start(t, o)
	real.Build("box:1", nil)
	return deskOf(t, real, e)
}

func deskOf(t *testing.T, real *enginetest.Engine, e *engine.Engine) *desk {
	t.Helper()
	streams := observe.NewStreams(observe.Limits{}, nil)
	host, err := ops.NewHost(ops.Config{Docker: e, Streams: streams})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = streams.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return &desk{t: t, real: real, host: host, caller: catalog.Caller{Session: 1, AuthID: "anna", Role: wire.Owner, Realm: "demo"}}
}

// box runs a container of box, and is its id.
func (d *desk) box(config map[string]any, words ...string) string {
	d.t.Helper()
	body := map[string]any{"Image": "box:1", "Cmd": words, "HostConfig": map[string]any{"NetworkMode": "none"}}
	for k, v := range config {
		body[k] = v
	}
	var made struct{ ID string }
	d.real.Do(http.MethodPost, "/containers/create", body, &made)
	d.real.Do(http.MethodPost, "/containers/"+made.ID+"/start", nil, nil)
	return made.ID
}

func (d *desk) stop(id string) {
	d.t.Helper()
	d.real.Do(http.MethodPost, "/containers/"+id+"/stop?t=1", nil, nil)
}

// call calls a row as the relay does; an agent that has just started says so.
func (d *desk) call(row *catalog.Op, args wamp.List, kwargs wamp.Dict) (any, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	defer cancel()
	return d.host.Call(ctx, d.caller, row.Key(), args, kwargs)
}

func (d *desk) refused(want cfcerr.Kind, row *catalog.Op, args wamp.List, kwargs wamp.Dict) {
	d.t.Helper()
	if v, err := d.call(row, args, kwargs); cfcerr.KindOf(err) != want {
		d.t.Errorf("%s %v %v: %v, %v; want %s", row.Name, args, kwargs, v, err, want.URI())
	}
}

// flow is a stream that is read.
type flow struct {
	*desk
	rows     catalog.Stream
	id       string
	next     any
	position any
	end      map[string]any
}

func (d *desk) open(s catalog.Stream, args wamp.List, kwargs wamp.Dict) *flow {
	d.t.Helper()
	v, err := d.call(s.Open, args, kwargs)
	if err != nil {
		d.t.Fatal(err)
	}
	return &flow{desk: d, rows: s, id: v.(catalog.OpenedStream).Stream, next: 0}
}

func (d *desk) logs(id string, kwargs wamp.Dict) *flow {
	d.t.Helper()
	return d.open(catalog.DockerLogs, wamp.List{id}, kwargs)
}

func (d *desk) exec(id string, kwargs wamp.Dict, words ...any) *flow {
	d.t.Helper()
	return d.open(catalog.DockerExecs, wamp.List{id, append([]any{"/box"}, words...)}, kwargs)
}

// read is one read, which waits a while.
func (f *flow) read() []map[string]any {
	f.t.Helper()
	v, err := f.call(f.rows.Read.Op, wamp.List{f.id, f.next, 1 << 20, 10_000}, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	b := v.(map[string]any)
	f.next, f.position = b["next"], b["position"]
	f.end, _ = b["end"].(map[string]any)
	var records []map[string]any
	for _, r := range b["records"].([]any) {
		records = append(records, r.(map[string]any))
	}
	return records
}

// until reads until all that came satisfies enough, or the stream has ended,
// and gives the text of each stream; bytes are quoted.
func (f *flow) until(enough func(stdout, stderr string) bool) (stdout, stderr string) {
	f.t.Helper()
	var out, errs strings.Builder
	for end := time.Now().Add(time.Minute); f.end == nil && (enough == nil || !enough(out.String(), errs.String())); {
		if time.Now().After(end) {
			f.t.Fatalf("waited in vain for more than %q, %q", out.String(), errs.String())
		}
		for _, r := range f.read() {
			to := &out
			if r["stream"] == "stderr" {
				to = &errs
			}
			to.Write(bytesOf(r))
		}
	}
	return out.String(), errs.String()
}

func bytesOf(record map[string]any) []byte {
	switch data := record["data"].(type) {
	case string:
		return []byte(data)
	case []byte:
		return data
	}
	return nil
}

func has(what string) func(string, string) bool {
	return func(stdout, _ string) bool { return strings.Contains(stdout, what) }
}

// ended checks the end of the stream.
func (f *flow) ended(reason string, code any) {
	f.t.Helper()
	if f.end["reason"] != reason || f.end["exit_code"] != code {
		f.t.Errorf("the stream ended with %v, want %s, exit code %v", f.end, reason, code)
	}
}

func (f *flow) close() map[string]any {
	f.t.Helper()
	v, err := f.call(f.rows.Close.Op, wamp.List{f.id}, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return v.(map[string]any)["end"].(map[string]any)
}
