package proof

import (
	"path/filepath"
	"slices"
	"testing"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

func TestRecorder(t *testing.T) {
	r := NewRecorder()
	r.SetNode("1.2")
	stop, get := catalog.NodeStopWorker.Op, catalog.NodeGetWorker.Op
	r.Call(get.URI(), "")
	r.Call("crossbarfabriccenter.remote.node.stop_worker", cfcerr.NoSuchWorker.URI()) // under another name
	r.Call(stop.URI(), cfcerr.InvalidArgument.URI())
	r.Call(stop.URI(), cfcerr.InvalidArgument.URI())
	r.Call(stop.URI(), cfcerr.Timeout.URI())    // says nothing of the arguments
	r.Call(catalog.RealmGetNode.URI(), "")      // the relay's own
	r.Call(catalog.DockerGetPing.URI(), "")     // the host's own
	r.Call("cfc.remote.node.no_such_thing", "") // nobody's
	r.Event(catalog.OnWorkerStopped.URI())
	r.Event(catalog.OnWorkerStarted.AliasURIs()[0])
	r.Event(catalog.OnNodeOnline.URI())
	got := r.Record()
	if len(got.Operations) != 2 || !got.Operations[get.Key()].Good || got.Operations[stop.Key()].Good ||
		!slices.Equal(got.Operations[stop.Key()].Bad, []string{cfcerr.InvalidArgument.URI(), cfcerr.NoSuchWorker.URI()}) {
		t.Errorf("operations: %+v", got.Operations)
	}
	if !slices.Equal(got.Events, []string{"node.on_worker_started", "node.on_worker_stopped"}) || got.Node != "1.2" {
		t.Errorf("events %v on %s", got.Events, got.Node)
	}
	missing := got.Missing()
	for what, want := range map[string]bool{"node.get_worker with good arguments": false, "node.get_worker refused with cfc.error.invalid_argument": true,
		"node.stop_worker with good arguments": true, "node.stop_worker refused with crossbar.error.no_such_worker": false,
		"event node.on_worker_stopped": false, "event node.on_worker_starting": true, "docker.get_docker_ping with good arguments": false} {
		if slices.Contains(missing, what) != want {
			t.Errorf("%q missing: %v", what, !want)
		}
	}
	if less := got.Less(got); len(less) > 0 {
		t.Errorf("less than itself: %v", less)
	}
	want := []string{"Crossbar.io 1.2, not ", "event node.on_worker_started", "event node.on_worker_stopped", "node.get_worker with good arguments",
		"node.stop_worker refused with cfc.error.invalid_argument", "node.stop_worker refused with crossbar.error.no_such_worker"}
	if less := NewRecorder().Record().Less(got); !slices.Equal(less, want) {
		t.Errorf("nothing is less: %q", less)
	}
}

func TestRecordOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	if _, err := Load(path); err == nil {
		t.Error("a file that is not there")
	}
	r := NewRecorder()
	r.SetNode("1.2")
	r.Call(catalog.NodeGetStatus.URI(), "")
	if err := r.Record().Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := Load(path)
	if err != nil || len(back.Less(r.Record()))+len(r.Record().Less(back)) > 0 {
		t.Errorf("%+v came back, %v", back, err)
	}
}

func TestWithAddsUp(t *testing.T) {
	first, second := NewRecorder(), NewRecorder()
	stop := catalog.NodeStopWorker.Op
	first.Call(stop.URI(), cfcerr.NoSuchWorker.URI())
	first.Event(catalog.OnWorkerStarting.URI())
	second.Call(stop.URI(), "")
	second.Call(stop.URI(), cfcerr.InvalidArgument.URI())
	second.Call(catalog.NodeGetStatus.URI(), "")
	second.Event(catalog.OnWorkerStarted.URI())
	second.SetNode("1.2")
	both := first.Record().With(second.Record())
	if s := both.Operations[stop.Key()]; !s.Good || len(s.Bad) != 2 || !both.Operations[catalog.NodeGetStatus.Key()].Good || len(both.Events) != 2 || both.Node != "1.2" {
		t.Errorf("%+v", both)
	}
}
