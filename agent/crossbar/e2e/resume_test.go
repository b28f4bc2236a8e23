package e2e

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
)

// TestARestartOfAWorkerIsFinished ends the agent in the middle of a restart of a
// proxy, as a crash does: the node's worker is down then, or about to be, and
// nobody but the next agent knows what ran in it.
func TestARestartOfAWorkerIsFinished(t *testing.T) {
	r := newRig(t)
	defer r.end()
	f := front{r, freePort(t)}
	f.router("one")
	f.must("node.start_worker", "p1", "proxy")
	f.must("proxy.start_proxy_connection", "p1", "c1", f.backend("one"))
	f.must("proxy.start_proxy_realm_route", "p1", "com.example.one", dict{"anonymous": "c1"})
	f.must("proxy.start_proxy_transport", "p1", "ws", f.transport())
	more := front{r, freePort(t)}
	routes := f.must("proxy.list_proxy_realm_routes", "p1", "com.example.one")
	for _, c := range []struct {
		at     string
		freeze func() (pid func([]event) int)
	}{
		{"on_worker_stopping", func() func([]event) int { return always(f.pid("p1")) }},
		{"on_worker_starting", func() func([]event) int { return always(f.nodePID()) }},
		{"on_proxy_connection_starting", func() func([]event) int { return newWorker }},
	} {
		more.must("proxy.start_proxy_transport", "p1", "more", more.transport())
		more.reaches("before the end at "+c.at, "one")
		f.brokenOff(c.at, c.freeze(), "proxy.stop_proxy_transport", "p1", "more", true)
		f.wait("the restart is finished after "+c.at, func() bool {
			_, err := os.Stat(filepath.Join(f.state, "restarts.json"))
			return os.IsNotExist(err)
		})
		f.reaches("after the end at "+c.at, "one")
		if got := f.must("proxy.get_proxy_transports", "p1"); !reflect.DeepEqual(got, []string{"ws"}) {
			t.Errorf("%s: transports are %v", c.at, got)
		}
		if got := f.must("proxy.list_proxy_realm_routes", "p1", "com.example.one"); !reflect.DeepEqual(got, routes) {
			t.Errorf("%s: the routes were %v and are %v", c.at, routes, got)
		}
		f.wait("the events tell it whole", func() bool {
			_, err := lives(f.told(), false)
			return err == nil
		})
		if c.at == "on_proxy_connection_starting" && slices.Contains(f.agent.events.of("p1"), "on_worker_stopping") {
			t.Error("a worker that has come up anew is restarted again")
		}
		if e := f.agent.events.details("p1", "ws"); e[len(e)-1].name != "on_proxy_transport_started" || e[len(e)-1].details["by"] != "alice" {
			t.Errorf("%s: told of the transport is %v", c.at, e)
		}
	}
}

func always(pid int) func([]event) int { return func([]event) int { return pid } }

// newWorker is the process of the worker that has started last.
func newWorker(told []event) int {
	for _, e := range slices.Backward(told) {
		if e.name == "on_worker_started" {
			return e.details["pid"].(int)
		}
	}
	return 0
}

// brokenOff has the agent crash at the first event of that name, with a process
// frozen so that nothing more happens until it is gone.
func (r *rig) brokenOff(at string, victim func([]event) int, key string, args ...any) {
	r.t.Helper()
	agent, pid := r.agent, 0
	frozen := make(chan map[string][]byte, 1)
	agent.events.hook(func(e event) {
		if e.name == at && len(frozen) == 0 {
			pid = victim(agent.events.list)
			kill(r.t, pid, syscall.SIGSTOP)
			frozen <- r.stateFiles()
		}
	})
	answer := make(chan error, 1)
	go func() {
		_, err := agent.ops.Call(context.Background(), owner, key, args, nil)
		answer <- err
	}()
	disk := <-frozen
	told := len(agent.events.list)
	r.restart(func() {
		if err := <-answer; cfcerr.KindOf(err) == 0 || cfcerr.KindOf(err) == cfcerr.Internal || !strings.HasPrefix(err.Error(), "cannot ") {
			r.t.Errorf("%s, broken off at %s, ended as %v", key, at, err)
		}
		if disk["restarts.json"] == nil {
			r.t.Errorf("%s, broken off at %s, has no journal", key, at)
		}
		r.putState(disk)
		agent.events.list = agent.events.list[:told]
		kill(r.t, pid, syscall.SIGCONT)
	})
}
