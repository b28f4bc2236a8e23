package crossbar

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
)

func hostedRef(id string) ops.Ref {
	return ops.Ref{Kind: ops.ContainerComponent, Worker: "c", ID: id}
}

func class(name, transport string) dict {
	return dict{"type": "class", "classname": name, "realm": "com.a", "transport": dict{"type": transport}}
}

// components are the ids that callers see.
func (r *rig) components() string {
	r.t.Helper()
	all, err := r.Objects(r.within(time.Second), ops.ContainerComponent, "c", "")
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, o := range all {
		ids = append(ids, o.ID)
	}
	return strings.Join(ids, " ")
}

func TestStartsOfComponents(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("c", "container")
	for range 2 {
		d, err := r.Start(r.within(time.Second), "alice", hostedRef("a"), class("x.Good", "websocket"))
		if err != nil || d["id"] != "a" || d["started"] == nil {
			t.Fatalf("start gives %v, %v", d, err)
		}
		if _, err := r.Stop(r.within(time.Second), "alice", hostedRef("a"), ops.StopOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		kind cfcerr.Kind
		says string
	}{
		"x.Missing": {cfcerr.InvalidConfiguration, "No module named 'x'"},
		"x.Refused": {cfcerr.CannotStart, "no such realm"},
		"x.Fails":   {cfcerr.CannotStart, "the oven is cold"},
	} {
		_, err := r.Start(r.within(time.Second), "alice", hostedRef("b"), class(name, "websocket"))
		if cfcerr.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: it says %v", name, err)
		}
		if got := r.components(); got != "" {
			t.Errorf("%s: components are %q", name, got)
		}
	}
}

func TestAComponentThatNeverConnects(t *testing.T) {
	for _, transport := range []string{"websocket", "rawsocket"} {
		r := newRig(t, 0)
		r.fake.Boot("c", "container")
		_, err := r.Start(r.within(100*time.Millisecond), "alice", hostedRef("a"), class("x.Hangs", transport))
		e, _ := cfcerr.Public(err)
		if e.Kind != cfcerr.Timeout || e.Details["log"] != "connection refused" {
			t.Fatalf("%s: it says %v %v", transport, err, e.Details)
		}
		if got := r.components(); got != "" {
			t.Errorf("%s: components are %q", transport, got)
		}
		r.until("its end was tried", func() bool { return r.fake.Calls("worker.c.stop_component") == 1 })
		if _, err = r.Start(r.within(time.Second), "alice", hostedRef("a"), class("x.Good", transport)); err != nil {
			t.Errorf("%s: its id cannot be used again: %v", transport, err)
		}
		r.fake.Age("c", "a", time.Minute)
		if transport == "websocket" { // given up by the node by now
			r.until("nobody tries again", func() bool { return len(r.memory.unfinished(r.components1())) == 0 })
			continue
		}
		r.fake.Connect("c", "a")
		r.watch() // an agent that knows it from its memory alone
		r.until("it is ended when it connects", func() bool { return slices.Equal(r.fake.Components("c"), []string{"r_a_1"}) })
		if got := r.components(); got != "a" {
			t.Errorf("components are %q", got)
		}
	}
}

// components1 is the place of the container's components.
func (r *rig) components1() place {
	s, err := r.site(r.within(time.Second), ops.ContainerComponent, "c", "")
	if err != nil {
		r.t.Fatal(err)
	}
	return s.place()
}

func TestStopsThatAContainerUndoesAreRefused(t *testing.T) {
	r := newRig(t, 0)
	if _, err := r.StartWorker(r.within(time.Second), "alice", ops.WorkerSpec{ID: "c", Type: "container", Options: dict{"restart": restartsAlways}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Start(r.within(time.Second), "alice", hostedRef("a"), class("x.Good", "websocket")); err != nil {
		t.Fatal(err)
	}
	r.watch() // what the options were is kept
	if _, err := r.MayStop(r.within(time.Second), hostedRef("a"), ops.StopOptions{}); cfcerr.KindOf(err) != cfcerr.NotSupported {
		t.Errorf("a stop that does not last: %v", err)
	}
	if _, err := r.MayStop(r.within(time.Second), hostedRef("b"), ops.StopOptions{}); cfcerr.KindOf(err) != cfcerr.NoSuchObject {
		t.Errorf("a stop of nothing: %v", err)
	}
}

func TestAComponentThatEndsIsSeen(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("c", "container")
	if _, err := r.Start(r.within(time.Second), "alice", hostedRef("a"), class("x.Good", "websocket")); err != nil {
		t.Fatal(err)
	}
	born := func() string {
		r.seen.mu.Lock()
		defer r.seen.mu.Unlock()
		for _, w := range r.seen.workers {
			for _, o := range w.Objects {
				return o.Born
			}
		}
		return ""
	}
	r.until("it is seen", func() bool { return born() != "" })
	first := born()
	r.fake.EndComponent("c", "a", true)
	r.until("the one in its place is seen", func() bool { return born() != "" && born() != first })
	r.fake.EndComponent("c", "a", false)
	r.until("its end is seen", func() bool { return born() == "" })
}
