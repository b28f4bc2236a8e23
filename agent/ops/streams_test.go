package ops_test

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// terminal is a command that echoes: an ops.Docker of which the tests use the
// streams alone.
type terminal struct {
	ops.Docker
	in     chan []byte
	size   string
	review func()

	forbids *catalog.Op // as the host's policy
	noExec  bool
}

func (d *terminal) Allow(op *catalog.Op, _ catalog.Caller, _ wamp.List, _ wamp.Dict) error {
	if op == d.forbids {
		return cfcerr.New(cfcerr.DeniedByHost, "cannot call it").With("rule", "deny")
	}
	return nil
}

func (d *terminal) Allowed() error {
	if d.noExec {
		return cfcerr.New(cfcerr.DeniedByHost, "cannot run it").With("rule", "docker.exec")
	}
	return nil
}

func (d *terminal) Exec(_ context.Context, in catalog.ExecDockerContainerIn) (observe.Source, catalog.OpenedStream, error) {
	if in.Container == "none" {
		return nil, catalog.OpenedStream{}, cfcerr.New(cfcerr.NoSuchObject, "cannot run a command: no such container")
	}
	return d, catalog.OpenedStream{ContainerID: string(in.Container), TTY: in.TTY}, nil
}

func (d *terminal) Logs(context.Context, catalog.OpenDockerLogsIn) (observe.Source, catalog.OpenedStream, error) {
	return silent{}, catalog.OpenedStream{}, nil
}

func (d *terminal) Feed(ctx context.Context, p *observe.Pipe) observe.End {
	for {
		select {
		case b := <-d.in:
			if string(b) == "end" {
				return observe.End{Reason: "lost", Err: cfcerr.New(cfcerr.Unavailable, "cannot read on"), Details: map[string]any{"exit_code": 1}}
			}
			_ = p.Put(ctx, observe.Record{Fields: map[string]any{"data": observe.Data(b)}, Position: "here"})
		case <-ctx.Done():
			return observe.End{}
		}
	}
}

func (d *terminal) Write(_ context.Context, b []byte, _ *int64, eof bool) (int64, error) {
	d.in <- b
	return int64(len(b)), nil
}

func (d *terminal) Resize(_ context.Context, rows, cols int64) error {
	d.size = fmt.Sprintf("%dx%d", rows, cols)
	return nil
}

type silent struct{}

func (silent) Feed(ctx context.Context, _ *observe.Pipe) observe.End {
	<-ctx.Done()
	return observe.End{}
}

// onStreams runs a test in a bubble of its own, with the rows of the host.
func onStreams(t *testing.T, test func(d *terminal, call func(row *catalog.Op, args ...any) (any, error))) {
	synctest.Test(t, func(t *testing.T) {
		d := &terminal{in: make(chan []byte)}
		streams := observe.NewStreams(observe.Limits{}, nil)
		host, err := ops.NewHost(ops.Config{Docker: d, Streams: streams, Policy: d})
		d.review = host.ReviewStreams
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = streams.Run(ctx) })
		synctest.Wait()
		test(d, func(row *catalog.Op, args ...any) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			return host.Call(ctx, as(wire.Owner), row.Key(), args, nil)
		})
		cancel()
		wg.Wait()
	})
}

func TestStreamGoesInAndOut(t *testing.T) {
	onStreams(t, func(d *terminal, call func(*catalog.Op, ...any) (any, error)) {
		v, err := call(catalog.DockerExec.Op, "c1", []any{"sh"}, true, true)
		opened, _ := v.(catalog.OpenedStream)
		if err != nil || opened.ContainerID != "c1" || !opened.TTY || opened.Stream == "" {
			t.Fatalf("%+v, %v", v, err)
		}
		for i, data := range []any{"text", []byte("\xff\xfe")} {
			if v, err := call(catalog.DockerWriteExec.Op, opened.Stream, data); err != nil || v.(catalog.WrittenStream).Written == 0 {
				t.Errorf("%v, %v", v, err)
			}
			v, err := call(catalog.DockerReadExec.Op, opened.Stream, i, 1000, 1000)
			want := map[string]any{"records": []any{map[string]any{"data": data}}, "next": int64(i + 1), "position": "here", "end": nil}
			if err != nil || !reflect.DeepEqual(v, want) {
				t.Errorf("%#v, %v", v, err)
			}
		}
		if _, err := call(catalog.DockerResizeExec.Op, opened.Stream, 10, 20); err != nil || d.size != "10x20" {
			t.Errorf("%s, %v", d.size, err)
		}
		d.in <- []byte("end")
		v, err = call(catalog.DockerReadExec.Op, opened.Stream, 2, 1000, 1000)
		want := map[string]any{"reason": "lost", "error": "cfc.error.unavailable", "message": "cannot read on", "exit_code": 1}
		if err != nil || !reflect.DeepEqual(v.(map[string]any)["end"], want) {
			t.Errorf("%#v, %v", v, err)
		}
		if v, err := call(catalog.DockerCloseExec.Op, opened.Stream); err != nil || !reflect.DeepEqual(v.(map[string]any)["end"], want) {
			t.Errorf("%#v, %v", v, err)
		}
	})
}

func TestReadWaitsNoLongerThanItsCall(t *testing.T) {
	onStreams(t, func(d *terminal, call func(*catalog.Op, ...any) (any, error)) {
		v, err := call(catalog.DockerOpenLogs.Op, "c1")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		v, err = call(catalog.DockerReadLogs.Op, v.(catalog.OpenedStream).Stream, 0, 1000, 60_000)
		if err != nil || len(v.(map[string]any)["records"].([]any)) != 0 || time.Since(began) >= 20*time.Second {
			t.Errorf("%v, %v after %v", v, err, time.Since(began))
		}
	})
}

func TestStreamRefuses(t *testing.T) {
	onStreams(t, func(d *terminal, call func(*catalog.Op, ...any) (any, error)) {
		v, err := call(catalog.DockerOpenLogs.Op, "c1")
		if err != nil {
			t.Fatal(err)
		}
		id := v.(catalog.OpenedStream).Stream
		for _, tt := range []struct {
			want cfcerr.Kind
			row  *catalog.Op
			args []any
		}{
			{cfcerr.NoSuchObject, catalog.DockerExec.Op, []any{"none", []any{"sh"}}},
			{cfcerr.InvalidArgument, catalog.DockerReadLogs.Op, []any{id, -1}},
			{cfcerr.InvalidArgument, catalog.DockerReadLogs.Op, []any{id, 1}},
			{cfcerr.InvalidArgument, catalog.DockerReadLogs.Op, []any{id, 0, 0}},
			{cfcerr.InvalidArgument, catalog.DockerReadLogs.Op, []any{id, 0, observe.MostBytes + 1}},
			{cfcerr.InvalidArgument, catalog.DockerReadLogs.Op, []any{id, 0, 1, 60_001}},
			{cfcerr.NoSuchObject, catalog.DockerReadExec.Op, []any{id, 0}},
			{cfcerr.NoSuchObject, catalog.DockerCloseLogs.Op, []any{"s_other"}},
			{cfcerr.InvalidArgument, catalog.DockerWriteExec.Op, []any{id, 7}},
			{cfcerr.InvalidArgument, catalog.DockerWriteExec.Op, []any{id, nil}},
			{cfcerr.NoSuchObject, catalog.DockerResizeExec.Op, []any{id, 1, 1}},
		} {
			if v, err := call(tt.row, tt.args...); cfcerr.KindOf(err) != tt.want {
				t.Errorf("%s %v: %v, %v", tt.row.Name, tt.args, v, err)
			}
		}
	})
}

// TestAChangeOfPolicyEndsStreams that it forbids, and no others.
func TestAChangeOfPolicyEndsStreams(t *testing.T) {
	for what, forbid := range map[string]func(*terminal){
		"the operation":       func(d *terminal) { d.forbids = catalog.DockerExec.Op },
		"commands":            func(d *terminal) { d.noExec = true },
		"neither of the two":  func(*terminal) {},
		"another of the rows": func(d *terminal) { d.forbids = catalog.DockerStopContainer.Op },
		"the output":          func(d *terminal) { d.forbids = catalog.DockerOpenLogs.Op },
	} {
		onStreams(t, func(d *terminal, call func(*catalog.Op, ...any) (any, error)) {
			end := func(read *catalog.Op, opened any) map[string]any {
				v, err := call(read, opened.(catalog.OpenedStream).Stream, 0, 1000, 1000)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				e, _ := v.(map[string]any)["end"].(map[string]any)
				return e
			}
			command, err := call(catalog.DockerExec.Op, "c1", []any{"sh"})
			if err != nil {
				t.Fatal(err)
			}
			output, err := call(catalog.DockerOpenLogs.Op, "c1")
			if err != nil {
				t.Fatal(err)
			}
			forbid(d)
			d.review()
			for _, c := range []struct {
				read   *catalog.Op
				opened any
				ends   bool
			}{
				{catalog.DockerReadExec.Op, command, d.noExec || d.forbids == catalog.DockerExec.Op},
				{catalog.DockerReadLogs.Op, output, d.forbids == catalog.DockerOpenLogs.Op},
			} {
				e := end(c.read, c.opened)
				if c.ends && (e["reason"] != "denied-by-host" || e["error"] != cfcerr.DeniedByHost.URI() || e["message"] == "") || !c.ends && e != nil {
					t.Errorf("%s is forbidden: %s ends with %v", what, c.read.Name, e)
				}
			}
		})
	}
}
