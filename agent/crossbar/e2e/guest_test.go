package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/host"
	"fabric.center/cfc/shared/cfcerr"
)

func shell(script string) dict {
	return dict{"type": "guest", "executable": "sh", "arguments": []any{"-c", script}}
}

var guestEnded = []string{"on_worker_starting", "on_worker_started", "on_worker_stopped"}

func TestGuests(t *testing.T) {
	r := newRig(t, patience(5*time.Second))
	defer r.end()
	for _, x := range []struct {
		name string
		f    func(*rig)
	}{
		{"how they end", guestEnds},
		{"a child that outlives its guest", guestsChild},
		{"a kill while a daemon holds the pipe", killedGuest},
		{"what it has started ends behind it", guestsFamily},
	} {
		if !t.Run(x.name, func(t *testing.T) { r.t = t; x.f(r) }) {
			break
		}
		r.t = t
	}
	r.t = t
}

func guestEnds(r *rig) {
	for id, c := range map[string]struct{ script, exit string }{
		"well": {"sleep 0.3", "exit code 0"},
		"ill":  {"sleep 0.3; exit 3", "exit code 3"},
		"shot": {"sleep 0.3; kill -9 $$", "signal 9"},
	} {
		r.must("node.start_worker", id, shell(c.script))
		r.wantEvents([]string{id}, guestEnded...)
		all := r.agent.events.details(id)
		if d := all[len(all)-1].details; d["reason"] != "ended" || d["exit"] != c.exit || d["by"] != nil {
			r.t.Errorf("%s: its end says %v", id, d)
		}
	}
	e := r.refused(cfcerr.InvalidArgument, "node.start_worker", "g", changed(shell("true"), "options", dict{"stdout": "keep"}))
	if e.Details["argument"] != "config.options.stdout" {
		r.t.Errorf("it says %v", e)
	}
}

// The guest is over when its process is, whoever holds its output open.
func guestsChild(r *rig) {
	r.must("node.start_worker", "parent", shell("sleep 300 & exit 4"))
	r.wantEventsWithin(15*time.Second, []string{"parent"}, guestEnded...)
	if got := r.must("node.get_workers"); fmt.Sprint(got) != "[]" {
		r.t.Errorf("workers are %v", got)
	}
	r.must("node.start_worker", "parent", shell("sleep 300"))
	r.must("node.stop_worker", "parent")
}

func killedGuest(r *rig) {
	r.must("node.start_worker", "k", shell("(sleep 4 &); sleep 300"))
	process, err := host.Find(context.Background(), r.pid("k"))
	if err != nil {
		r.t.Fatal(err)
	}
	if d := r.mustDict("node.stop_worker", "k", true); d["kill"] != true {
		r.t.Errorf("stop gives %v", d)
	}
	if process.Alive(context.Background()) {
		r.t.Error("it is killed, and lives")
	}
	// Another one of its id outlives the first one's daemon.
	r.must("node.start_worker", "k", shell("sleep 300"))
	end := time.Now().Add(6 * time.Second)
	r.wait("the daemon is gone", func() bool { return time.Now().After(end) })
	r.must("node.get_worker", "k")
	r.must("node.stop_worker", "k")
}

// The node signals the guest alone: its children would live on, and hold ports.
func guestsFamily(r *rig) {
	ctx := context.Background()
	for _, kill := range []bool{false, true} {
		file := filepath.Join(r.t.TempDir(), "pids")
		r.must("node.start_worker", "f", shell(fmt.Sprintf("sh -c 'trap \"\" TERM; sleep 301 & echo $! >>%[1]s; wait' & echo $! >>%[1]s; sleep 302 & echo $! >>%[1]s; wait", file)))
		var pids []string
		r.wait("the guest has its children", func() bool {
			text, _ := os.ReadFile(file)
			pids = strings.Fields(string(text))
			return len(pids) == 3
		})
		var family []host.Process
		for _, pid := range pids {
			n, err := strconv.Atoi(pid)
			if err != nil {
				r.t.Fatal(err)
			}
			p, err := host.Find(ctx, n)
			if err != nil {
				r.t.Fatal(err)
			}
			r.t.Cleanup(func() { _ = p.Kill(ctx) })
			family = append(family, p)
		}
		r.must("node.stop_worker", "f", kill)
		for _, p := range family {
			r.wait("its child is gone", func() bool { return !p.Alive(ctx) })
		}
	}
}
