package crossbar

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"golang.org/x/sys/unix"
)

func transportRef(id string) ops.Ref {
	return ops.Ref{Kind: ops.RouterTransport, Worker: "w", ID: id}
}

func pathRef(transport, id string) ops.Ref {
	return ops.Ref{Kind: ops.TransportPath, Worker: "w", Parent: transport, ID: id}
}

// begin, finish and list are of any kind of object.
func (r *rig) begin(ref ops.Ref, config dict) catalog.Dict {
	r.t.Helper()
	d, err := r.Start(r.within(time.Second), "alice", ref, config)
	if err != nil || d["id"] != ref.ID {
		r.t.Fatalf("start %s %s: %v, %v", ref.Kind.Noun, ref.ID, d, err)
	}
	return d
}

func (r *rig) finish(ref ops.Ref) {
	r.t.Helper()
	if d, err := r.Stop(r.within(time.Second), "alice", ref, ops.StopOptions{}); err != nil || d["id"] != ref.ID {
		r.t.Fatalf("stop %s %s: %v, %v", ref.Kind.Noun, ref.ID, d, err)
	}
}

func (r *rig) list(k *ops.Kind, parent string) string {
	r.t.Helper()
	all, err := r.Objects(r.within(time.Second), k, "w", parent)
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, o := range all {
		ids = append(ids, o.ID)
	}
	return strings.Join(ids, " ")
}

func (r *rig) cannot(kind cfcerr.Kind, ref ops.Ref, config dict) *cfcerr.Error {
	r.t.Helper()
	d, err := r.Start(r.within(time.Second), "alice", ref, config)
	if cfcerr.KindOf(err) != kind {
		r.t.Fatalf("start %s %s: %v, %v, expected %s", ref.Kind.Noun, ref.ID, d, err, kind.URI())
	}
	e, _ := cfcerr.Public(err)
	return e
}

var nodeinfo = dict{"type": "nodeinfo"}

func web(port int, paths dict) dict {
	return dict{"type": "web", "endpoint": dict{"type": "tcp", "port": port}, "paths": paths}
}

func TestPathsOfATransportAreStartedOrAllIsTakenBack(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	for range 3 {
		r.begin(transportRef("t"), web(1, dict{"/": dict{"type": "json", "value": 1}, "b": nodeinfo, "a": nodeinfo}))
		if got := r.list(ops.TransportPath, "t"); got != "/ a b" {
			t.Errorf("paths are %q", got)
		}
		if got := r.fake.Served("w", "t"); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("at the node run %v", got)
		}
		r.finish(transportRef("t"))
		if got := r.fake.Served("w", "t"); got != nil {
			t.Errorf("the transport still runs: %v", got)
		}
	}
	e := r.cannot(cfcerr.InvalidConfiguration, transportRef("t"), web(1, dict{"a": nodeinfo, "b": dict{"type": "static"}}))
	if !strings.Contains(e.Message, "directory") {
		t.Errorf("the error does not say why: %v", e)
	}
	if got := r.fake.Served("w", "t"); got != nil || r.list(ops.RouterTransport, "") != "" {
		t.Errorf("a start that failed has left %v", got)
	}
	r.begin(transportRef("t"), web(1, dict{}))
	if got := r.list(ops.TransportPath, "t"); got != "" {
		t.Errorf("paths of the transport before it are still known: %q", got)
	}
}

func TestABusyPort(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.begin(transportRef("t"), web(1, dict{}))
	e := r.cannot(cfcerr.CannotListen, transportRef("u"), web(1, dict{}))
	if want := "cannot listen on the transport's endpoint: Couldn't listen on 127.0.0.1:1: [Errno 98] Address already in use"; e.Message != want {
		t.Errorf("it says %q, expected %q", e.Message, want)
	}
	if got := cannotListen("").Error(); !strings.Contains(got, "its log may") {
		t.Errorf("without a line of the log it says %q", got)
	}
	e = r.cannot(cfcerr.InvalidConfiguration, transportRef("u"), dict{"type": "web", "endpoint": dict{}, "paths": dict{}, "nonsense": 1})
	if !strings.Contains(e.Message, "nonsense") {
		t.Errorf("a bad configuration: %v", e)
	}
	r.until("nobody listens to the log", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.remarks) == 0 })
}

// The node removes what is at the path of its socket.
func TestASocketReplacesSocketsAlone(t *testing.T) {
	r := newRig(t, os.Getpid())
	r.fake.Boot("w", "router")
	at := func(path string) dict {
		return dict{"type": "rawsocket", "endpoint": dict{"type": "unix", "path": path}}
	}
	in := func(name string) string { return filepath.Join(r.state, name) }
	err := errors.Join(os.Mkdir(in("folder"), 0o700), os.WriteFile(in("file"), nil, 0o600), os.Symlink("socket", in("link")), unix.Mknod(in("socket"), unix.S_IFSOCK|0o600, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"folder", "file", "link"} {
		for _, p := range []string{path, in(path)} {
			if e := r.cannot(cfcerr.CannotListen, transportRef("t"), at(p)); !strings.Contains(e.Message, in(path)) {
				t.Errorf("%s: it says %q", p, e.Message)
			}
		}
	}
	r.cannot(cfcerr.CannotListen, transportRef("t"), at("."))
	r.cannot(cfcerr.InvalidArgument, transportRef("t"), at("$HOME/x"))
	if got := r.fake.Calls("worker.w.start_router_transport"); got != 0 {
		t.Errorf("the node was asked %d times", got)
	}
	for _, path := range []string{"socket", "none"} {
		r.begin(transportRef("t"), at(path))
		r.finish(transportRef("t"))
	}
}

func TestPaths(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.begin(transportRef("t"), web(1, dict{"info": nodeinfo}))
	for range 3 {
		r.begin(pathRef("t", "more"), dict{"type": "json", "value": 7})
		if got := r.list(ops.TransportPath, "t"); got != "info more" {
			t.Errorf("paths are %q", got)
		}
		r.finish(pathRef("t", "info")) // which the node goes on listing
		if got := r.list(ops.TransportPath, "t"); got != "more" {
			t.Errorf("after a stop paths are %q", got)
		}
		r.begin(pathRef("t", "info"), dict{"type": "json", "value": 8})
		d, err := r.Object(r.within(time.Second), pathRef("t", "info"))
		if config, _ := wamp.AsDict(d["config"]); err != nil || d["path"] != "info" || d["transport_id"] != "t" || config["type"] != "json" {
			t.Errorf("it shows as %v, %v", d, err)
		}
		r.finish(pathRef("t", "more"))
	}
	if _, err := r.Object(r.within(time.Second), pathRef("t", "more")); cfcerr.KindOf(err) != cfcerr.NoSuchObject {
		t.Errorf("a stopped path shows: %v", err)
	}
	r.begin(pathRef("t", "kept"), dict{"type": "json", "value": 9})
	r.watch() // an agent that knows it from its memory alone
	d, err := r.Object(r.within(time.Second), pathRef("t", "kept"))
	if config, _ := wamp.AsDict(d["config"]); err != nil || config["value"] != int64(9) {
		t.Errorf("after a restart of the agent it shows as %v, %v", d, err)
	}
}

func TestPathsThatCannotBe(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.begin(transportRef("ws"), dict{"type": "websocket", "endpoint": dict{"port": 1}})
	r.begin(transportRef("leaf"), web(2, dict{"/": nodeinfo}))
	r.begin(transportRef("uni"), dict{"type": "universal", "endpoint": dict{"port": 3}, "web": dict{"paths": dict{"a": nodeinfo}}})
	r.begin(transportRef("raw"), dict{"type": "universal", "endpoint": dict{"port": 4}, "rawsocket": dict{}})
	for _, id := range []string{"ws", "raw"} {
		if got := r.list(ops.TransportPath, id); got != "" {
			t.Errorf("paths of %s are %q", id, got)
		}
		if e := r.cannot(cfcerr.InvalidArgument, pathRef(id, "a"), nodeinfo); e.Details["argument"] != "transport_id" {
			t.Errorf("a path on %s: %v", id, e)
		}
	}
	if got := r.list(ops.TransportPath, "uni"); got != "a" {
		t.Errorf("paths of a universal transport are %q", got)
	}
	r.cannot(cfcerr.InvalidConfiguration, pathRef("leaf", "a"), nodeinfo)
	r.cannot(cfcerr.NotSupported, pathRef("uni", "/"), nodeinfo)
	r.cannot(cfcerr.InvalidConfiguration, pathRef("uni", "b"), dict{"type": "static"})
	r.cannot(cfcerr.NoSuchObject, pathRef("gone", "b"), nodeinfo)
	if got := r.list(ops.TransportPath, "uni"); got != "a" {
		t.Errorf("a start that failed has left %q", got)
	}
	if _, err := r.Stop(r.within(time.Second), "alice", pathRef("leaf", "/"), ops.StopOptions{}); cfcerr.KindOf(err) != cfcerr.NotSupported {
		t.Errorf("the root is stopped: %v", err)
	}
	if got := r.list(ops.TransportPath, "leaf"); got != "/" {
		t.Errorf("after a refused stop paths are %q", got)
	}
}

func TestAPathThatNobodyAwaitedIsTakenBack(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.begin(transportRef("t"), web(1, dict{}))
	release := r.fake.Hang("worker.w.start_web_transport_service")
	if _, err := r.Start(r.fake.Asked(r.ctx, "worker.w.start_web_transport_service"), "alice", pathRef("t", "a"), nodeinfo); cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Fatalf("a start that is not answered: %v", err)
	}
	release()
	r.until("it is taken back", func() bool {
		return r.fake.Calls("worker.w.stop_web_transport_service") > 0 && len(r.fake.Served("w", "t")) == 0
	})
	r.begin(pathRef("t", "a"), nodeinfo)
}

func TestTransportsOfTheNodesOwnConfiguration(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.fake.BootTransport("w", "own", web(1, dict{"/": dict{"type": "json"}, "a": nodeinfo}))
	if got := r.list(ops.RouterTransport, "") + ": " + r.list(ops.TransportPath, "own"); got != "own: / a" {
		t.Errorf("there is %s", got)
	}
	r.finish(pathRef("own", "a"))
	r.finish(transportRef("own"))
}
