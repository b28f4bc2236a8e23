package crossbar

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestWorkersWriteLogs(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.fake.Publish("worker.w.on_log", "\x1b[32mone\x1b[0m\ntwo\n\n")
	r.fake.Publish("worker.w.on_log", strings.Repeat("x", 2*logLine))
	r.until("they are told", func() bool { return r.seen.has("log w 2 two 0") })
	lines, err := r.Log(r.within(time.Second), "w", nil, 2, 0)
	if err != nil || len(lines) != 2 || lines[0].Text != "two" || lines[0].Seq != 2 || len(lines[1].Text) != logLine || lines[0].Time == "" {
		t.Errorf("the last two lines are %v, %v", lines, err)
	}
	from := int64(4)
	waiting := make(chan string, 1)
	go func() {
		lines, err := r.Log(r.within(5*time.Second), "w", &from, 9, 5*time.Second)
		waiting <- fmt.Sprint(lines, err)
	}()
	r.fake.Publish("worker.w.on_log", "four")
	if got := <-waiting; !strings.Contains(got, "four") {
		t.Errorf("who waits gets %s", got)
	}
	r.fake.Die("w")
	r.until("it is gone", func() bool { return r.seen.all() == "" })
	if lines, err := r.Log(r.within(time.Second), "w", nil, 9, 0); err != nil || len(lines) != 4 {
		t.Errorf("after its end its log is %v, %v", lines, err)
	}
	r.fake.Boot("silent", "router")
	if lines, err := r.Log(r.within(time.Second), "silent", nil, 9, 0); err != nil || len(lines) != 0 {
		t.Errorf("one that has written nothing: %v, %v", lines, err)
	}
	r.fake.Boot("shy", "router")
	from = 1
	began := time.Now()
	if lines, err := r.Log(r.within(time.Second), "shy", &from, 9, 100*time.Millisecond); err != nil || len(lines) != 0 || time.Since(began) < 100*time.Millisecond {
		t.Errorf("who waits for its first line gets %v, %v after %s", lines, err, time.Since(began))
	}
	if _, err := r.Log(r.within(time.Second), "nobody", nil, 9, 0); cfcerr.KindOf(err) != cfcerr.NoSuchWorker {
		t.Errorf("one that never was: %v", err)
	}
}

// A proxy writes its connections into its log, credentials and all.
func TestConfigurationsInLogsAreNotTold(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("p", "proxy")
	r.fake.Publish("worker.p.on_log", "<x.start_proxy_connection>(connection_id=c1, config=.., caller_authid=None):\n{{'auth': {{'ticket': 'secret1'}},\n 'url': 'rs://x'}}")
	r.fake.Publish("worker.p.on_log", "<x> connecting with \x1b[1mbackend_config=\x1b[0m\n{'auth': 'secret2'}")
	r.fake.Publish("worker.p.on_log", "config=x\nand {more}\n")
	r.until("they are told", func() bool { return r.seen.has("log p 6 and {more} 0") })
	lines, err := r.Log(r.within(time.Second), "p", nil, 9, 0)
	if got := fmt.Sprint(lines); err != nil || strings.Contains(got, "secret") || !strings.Contains(got, "connection_id=c1") || !strings.Contains(got, "connecting with") {
		t.Errorf("its log is %v, %v", got, err)
	}
}

func TestFiguresArePassedOn(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Publish("worker.w.on_process_stats", wamp.Dict{"seq": 1})
	r.fake.Publish("on_process_stats", wamp.Dict{"seq": 2})
	r.until("they are told", func() bool { return r.seen.has("stats w map[seq:1]") && r.seen.has("stats  map[seq:2]") })
	n := New(Config{})
	for range 2 * mostFigures {
		n.noted(nodelink.Notice{Kind: nodelink.Event, Name: "on_heartbeat", Args: wamp.List{wamp.Dict{}}})
	}
	if len(n.told) != mostFigures {
		t.Errorf("%d heartbeats wait", len(n.told))
	}
}

// However much workers write, little of it is kept, and less told.
func TestWorkersThatWriteMuch(t *testing.T) {
	n := New(Config{})
	for i := range 3 * logsKept {
		for j := range 2 * logLines / 100 {
			n.noted(nodelink.Notice{Kind: nodelink.Event, Name: fmt.Sprintf("worker.w%d.on_log", i), Args: wamp.List{strings.Repeat(fmt.Sprintln("line", j), 100)}})
		}
	}
	if len(n.logs.kept) != logsKept || len(n.logs.order) != logsKept {
		t.Errorf("logs of %d workers are kept", len(n.logs.kept))
	}
	last := fmt.Sprint("w", 3*logsKept-1)
	lines, err := n.Log(context.Background(), last, nil, 10*logLines, 0)
	if err != nil || len(lines) != logLines || lines[logLines-1].Seq != 2*logLines {
		t.Errorf("of the last one are kept %d lines, %v", len(lines), err)
	}
	told, lost := 0, uint64(0)
	var workers []string
	for id := range n.logs.told {
		workers = append(workers, id)
	}
	slices.Sort(workers)
	for _, id := range workers {
		lines, l := n.logs.take(id)
		told, lost = told+len(lines), lost+l
	}
	if told == 0 || told > (logEventBurst+2)*logEventLines || lost == 0 {
		t.Errorf("%d lines are told, %d counted", told, lost)
	}
	for id, u := range n.logs.told { // they are told with the next line
		if len(u.lines) != 0 || u.lost != 2*logLines {
			t.Errorf("of %s wait %d lines, %d are counted", id, len(u.lines), u.lost)
			break
		}
	}
}

// Long lines are told as well, as far as an event may grow.
func TestLongLinesMakeNoLargeEvents(t *testing.T) {
	n := New(Config{})
	long := strings.Repeat("x", logLine)
	for range logEventLines {
		n.noted(nodelink.Notice{Kind: nodelink.Event, Name: "worker.w.on_log", Args: wamp.List{long}})
	}
	lines, lost := n.logs.take("w")
	if len(lines) == 0 || len(lines)*logLine > logEventBytes || len(lines)+int(lost) != logEventLines {
		t.Errorf("%d lines are told, %d lost", len(lines), lost)
	}
}

func TestLevels(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "",
		"Native worker ready!":               "",
		"information is power":               "",
		"the ERROR stands within":            "",
		"ERROR: cannot":                      "error",
		"error cannot":                       "error",
		"[warn] x":                           "warn",
		"WARNING:root:x":                     "warn",
		"<Info> x":                           "info",
		"2026-11-27T10:00:00+0000 DEBUG x":   "debug",
		"2026-11-27 10:00:00,123 INFO x":     "info",
		"2026-11-27 10:00:00 [main] FATAL x": "critical",
		"[2026-11-27 10:00:00] [WARN] x":     "warn",
		"Traceback (most recent call last):": "error",
	} {
		got := ""
		if l := levelOf(text); l != nil {
			got = *l
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
