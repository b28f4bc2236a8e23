package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// following is a running cfc events, in a bubble of its own time.
type following struct {
	*rig
	out, errs *strings.Builder
	exit      chan int
	stop      context.CancelFunc
}

func follow(t *testing.T, r *rig, args ...string) *following {
	t.Helper()
	return followTo(t, r, nil, args...)
}

func followTo(t *testing.T, r *rig, stdout io.Writer, args ...string) *following {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &following{rig: r, out: &strings.Builder{}, errs: &strings.Builder{}, exit: make(chan int, 1), stop: stop}
	if stdout == nil {
		stdout = f.out
	}
	r.opened = make(chan *fakeSession, 8)
	p := r.program(stdout, f.errs)
	go func() { f.exit <- p.Run(ctx, append([]string{"events"}, args...)) }()
	return f
}

// session is the next session, all its subscriptions made.
func (f *following) session() *fakeSession {
	f.t.Helper()
	s := <-f.opened
	synctest.Wait()
	return s
}

func (f *following) finish(exit int) {
	f.t.Helper()
	f.stop()
	if got := <-f.exit; got != exit {
		f.t.Errorf("exit %d, want %d: %s", got, exit, f.errs)
	}
}

func workerStarted(node string, tseq int, boot string) *wamp.Event {
	return &wamp.Event{Arguments: wamp.List{node, "w1", wamp.Dict{"time": "2026-03-01T10:00:00.000Z", "type": "router", "pid": 17, "boot": boot, "seq": 9, "tseq": tseq}}}
}

func TestEventsAreOneLineEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, newRig(t))
		s := f.session()
		if s.topics() != len(catalog.Events()) || s.matches[0] != "" || s.realm != "demo" {
			t.Errorf("%d topics in %s", s.topics(), s.realm)
		}
		s.emit(catalog.OnWorkerStarted.URI(), workerStarted("n1", 1, "a"))
		s.emit(catalog.OnNodeOffline.URI(), &wamp.Event{Arguments: wamp.List{"n\n1", wamp.Dict{"reason": "silent"}}})
		s.emit(catalog.OnNodeOnline.URI(), &wamp.Event{})
		f.finish(0)
		want := "2026-03-01T10:00:00.000Z  node.on_worker_started  n1  w1  pid=17  type=router\n-  on_node_offline  n\\n1  reason=silent\n-  on_node_online\n"
		if f.out.String() != want || f.errs.String() != "" {
			t.Errorf("\n got %q\nwant %q\n%s", f.out, want, f.errs)
		}
	})
}

// What a worker has written is read line by line, and a detail of kilobytes does
// not bury the rest.
func TestEventsForPeople(t *testing.T) {
	for name, tt := range map[string]struct {
		topic   string
		details wamp.Dict
		want    string
	}{
		"log": {catalog.OnWorkerLog.URI(), wamp.Dict{"time": "T9", "lost": 3, "seq": 1, "lines": wamp.List{
			wamp.Dict{"time": "T1", "seq": 1, "level": nil, "text": "ready <router>"}, wamp.Dict{"time": "T2", "seq": 2, "text": "a\x1b[2J"}}},
			"T1  worker.on_worker_log  n1  w1  ready <router>\nT2  worker.on_worker_log  n1  w1  a\\x1b[2J\nT9  worker.on_worker_log  n1  w1  (3 more lines)\n"},
		"long": {catalog.OnWorkerStarted.URI(), wamp.Dict{"time": "T1", "a": wamp.Dict{"b": strings.Repeat("x", 9000)}, "z": "<z>"},
			"T1  node.on_worker_started  n1  w1  a={\"b\":\"" + strings.Repeat("x", longest-6) + "… (whole with --json)  z=<z>\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := follow(t, newRig(t))
				f.session().emit(tt.topic, &wamp.Event{Arguments: wamp.List{"n1", "w1", tt.details}})
				f.finish(0)
				if got := f.out.String(); got != tt.want {
					t.Errorf("\n got %q\nwant %q", got, tt.want)
				}
			})
		})
	}
}

func TestEventsAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, newRig(t), "--json", "node.on_worker_started", "on_node_online", "com.example.topic")
		s := f.session()
		if s.topics() != 3 {
			t.Errorf("%d topics", s.topics())
		}
		s.emit(catalog.OnWorkerStarted.URI(), workerStarted("n1", 1, "a"))
		s.emit("com.example.topic", &wamp.Event{Arguments: wamp.List{1}, ArgumentsKw: wamp.Dict{"a": "<b>"}})
		f.finish(0)
		var got []map[string]any
		for line := range strings.Lines(f.out.String()) {
			var e map[string]any
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if strings.Contains(f.out.String(), `\u003c`) || len(got) != 2 || got[0]["topic"] != catalog.OnWorkerStarted.URI() || len(got[0]["args"].([]any)) != 3 || got[1]["kwargs"].(map[string]any)["a"] != "<b>" {
			t.Errorf("%v", got)
		}
	})
}

func TestEventsOfAPatternAndOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, newRig(t), "cfc.remote.", "--pattern", "--node", "n1")
		s := f.session()
		if s.matches[0] != wamp.MatchPrefix {
			t.Errorf("match %q", s.matches[0])
		}
		for _, node := range []string{"n1", "n10", "n2"} {
			e := workerStarted(node, 1, "a")
			e.Details = wamp.Dict{"topic": catalog.OnWorkerStopped.URI()}
			s.emit("cfc.remote.", e)
		}
		f.finish(0)
		if got := f.out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "node.on_worker_stopped  n1  w1") {
			t.Errorf("%q", got)
		}
	})
}

func TestEventsThatAreLostAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, newRig(t), "on_worker_started")
		s := f.session()
		topic := catalog.OnWorkerStarted.URI()
		for _, e := range []struct {
			node string
			tseq int
			boot string
		}{{"n1", 7, "a"}, {"n1", 8, "a"}, {"n2", 3, "b"}, {"n1", 11, "a"}, {"n1", 1, "c"}, {"n1", 2, "c"}} {
			s.emit(topic, workerStarted(e.node, e.tseq, e.boot))
		}
		f.finish(0)
		if got := f.errs.String(); got != "cfc: 2 events of "+topic+" are lost\n" {
			t.Errorf("%q", got)
		}
	})
}

// A connection that is lost is made again, with longer and longer waits, and
// what is not shown is said.
func TestEventsGoOnAfterAReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, newRig(t))
		f.session().end("silent")
		synctest.Wait()
		f.mu.Lock()
		f.refuse = errors.New("connection refused")
		f.mu.Unlock()
		time.Sleep(10 * longWait)
		f.mu.Lock()
		tries := len(f.joins)
		f.refuse = cfcerr.New(cfcerr.LimitExceeded, "cannot log in: too many failed").With("after", uint64(300))
		f.mu.Unlock()
		if tries < 10 || tries > 30 {
			t.Errorf("%d tries in %s", tries, 10*longWait)
		}
		time.Sleep(longWait)
		f.mu.Lock()
		f.refuse = nil
		waited := len(f.joins)
		f.mu.Unlock()
		time.Sleep(200 * time.Second)
		f.mu.Lock()
		if len(f.joins) != waited {
			t.Error("the relay's own time is not waited for")
		}
		f.mu.Unlock()
		time.Sleep(150 * time.Second)
		s := f.session()
		s.emit(catalog.OnWorkerStarted.URI(), workerStarted("n1", 1, "a"))
		f.finish(0)
		errs := f.errs.String()
		if !strings.HasPrefix(errs, "cfc: connection lost: the session ended: silent\ncfc: not connected: connection refused\n") || !strings.Contains(errs, "too many failed") ||
			!strings.HasSuffix(errs, "cfc: connected again; events in between are not shown\n") || strings.Count(f.out.String(), "\n") != 1 || f.leaves != 2 {
			t.Errorf("left %d times\n%s\n%s", f.leaves, errs, f.out)
		}
	})
}

func TestEventsEndWhenTheRelayRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, newRig(t))
		s := f.session()
		f.mu.Lock()
		f.refuse = cfcerr.New(cfcerr.NotAuthorized, "cannot join demo: no right")
		f.mu.Unlock()
		s.end(wire.CloseMemberRemoved)
		if exit := <-f.exit; exit != 4 || !strings.HasSuffix(f.errs.String(), "cfc: cannot join demo: no right\n") {
			t.Errorf("exit %d, %s", exit, f.errs)
		}
		f.stop()
	})
	r := newRig(t)
	r.refuse = errors.New("connection refused")
	r.bad(1, "connection refused", "events")
	r = newRig(t)
	r.answers["subscribe com.example.x"] = cfcerr.New(cfcerr.NotAuthorized, "cannot subscribe to com.example.x")
	r.bad(4, "cannot subscribe", "events", "com.example.x")
	r.bad(2, "--pattern needs TOPICs", "events", "--pattern")
	r.bad(2, `--pattern "glob": expected prefix or wildcard`, "events", "x", "--pattern=glob")
}

func TestEventsEndWithTheirOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := followTo(t, newRig(t), brokenPipe{})
		f.session().emit(catalog.OnNodeOnline.URI(), &wamp.Event{Arguments: wamp.List{"n1", wamp.Dict{}}})
		if exit := <-f.exit; exit != 1 || !strings.Contains(f.errs.String(), "broken pipe") {
			t.Errorf("exit %d, %s", exit, f.errs)
		}
		f.stop()
	})
}

// A viewer follows what a viewer may read, and no more.
func TestEventsOfTheRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.role = "nobody"
		f := follow(t, r)
		if n := f.session().topics(); n != 0 {
			t.Errorf("%d topics", n)
		}
		f.finish(0)
	})
}
