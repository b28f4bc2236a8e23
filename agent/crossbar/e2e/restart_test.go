package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

// whole is what an object's life looks like in events: what may follow what.
var whole = map[string][]string{
	"":         {"starting"},
	"starting": {"started", "stopping", "stopped"}, // a start may fail, or be given up
	"started":  {"stopping", "stopped"},
	"stopping": {"stopping", "stopped"}, // a stop that fails leaves it there
	"stopped":  {"starting"},
}

// told is all events, of earlier agents too.
func (r *rig) told() []event {
	r.agent.events.mu.Lock()
	defer r.agent.events.mu.Unlock()
	return slices.Concat(r.past, r.agent.events.list)
}

// restart restarts the agent, and leaves the node alone; between is what happens
// while no agent is there.
func (r *rig) restart(between func()) {
	r.t.Helper()
	events := r.agent.events
	r.stopParts()
	between()
	r.past = append(r.past, events.list...) // nobody writes it any more
	r.start()
}

// lives checks the events of all objects: each life is whole and told once. It
// gives the objects that run, as "on_worker own". Of one agent, nothing lives
// through the end of its node.
func lives(list []event, oneAgent bool) (running []string, err error) {
	last := map[string]string{}
	var faults []error
	for i, e := range list {
		kind, step, _ := cutLast(e.name, "_")
		if oneAgent && e.name == "on_node_attached" {
			for key, s := range last {
				if s != "stopped" {
					faults = append(faults, fmt.Errorf("event %d: the node came back, and %s had only %s", i, key, s))
				}
			}
		}
		if _, lifecycle := whole[step]; !lifecycle || step == "" {
			continue
		}
		key := kind + " " + strings.Join(e.ids, ".")
		if !slices.Contains(whole[last[key]], step) {
			faults = append(faults, fmt.Errorf("event %d: %s %s after %q", i, key, step, last[key]))
		}
		last[key] = step
	}
	for key, s := range last {
		if s == "started" || s == "stopping" {
			running = append(running, key)
		} else if s != "stopped" {
			faults = append(faults, fmt.Errorf("at the end %s is only %s", key, s))
		}
	}
	slices.Sort(running)
	return running, errors.Join(faults...)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// load calls the node from many sides until it is stopped, and counts the ends
// of its calls by their kind.
type load struct {
	r    *rig
	stop chan struct{}
	halt func() // returns when the last call has ended
	wg   sync.WaitGroup

	mu    sync.Mutex
	kinds map[cfcerr.Kind]int
	first map[cfcerr.Kind]string
}

// callsEnd is when a call ends at the latest, and then as a timeout, which is none
// of the ends that are expected here.
const callsEnd = time.Minute

func (l *load) call(key string, args ...any) error {
	_, err := l.r.callWithin(callsEnd, owner, key, args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	k := cfcerr.KindOf(err)
	if l.kinds[k]++; l.first[k] == "" && err != nil {
		l.first[k] = fmt.Sprintf("%s%v: %v", key, args, err)
	}
	return err
}

// repeat runs a row of calls again and again; it breaks off at the first that
// fails, for what the next ones need is not there then.
func (l *load) repeat(row ...[]any) {
	l.wg.Go(func() {
		for {
			for _, c := range row {
				select {
				case <-l.stop:
					return
				default:
				}
				if l.call(c[0].(string), c[1:]...) != nil {
					time.Sleep(10 * time.Millisecond) // a node that is away is asked all the same
					break
				}
			}
		}
	})
}

func (r *rig) load() *load {
	l := &load{r: r, stop: make(chan struct{}), kinds: map[cfcerr.Kind]int{}, first: map[cfcerr.Kind]string{}}
	l.halt = sync.OnceFunc(func() {
		close(l.stop)
		l.wg.Wait()
	})
	for i := range 2 {
		w := fmt.Sprintf("load%d", i)
		realm := map[string]any{"name": "com.example." + w, "roles": realm1["roles"]}
		l.repeat([]any{"node.stop_worker", w, true})
		l.repeat([]any{"node.start_worker", w, "router"}, []any{"router.start_router_realm", w, "realm", realm}, []any{"router.get_router_realm", w, "realm"},
			[]any{"router.stop_router_realm", w, "realm"}, []any{"router.start_router_realm", w, "realm", realm})
	}
	// What the configuration has started, its id burnt again and again.
	l.repeat([]any{"router.stop_router_realm", "own", "realm1"})
	l.repeat([]any{"router.start_router_realm", "own", "realm1", map[string]any{"name": "com.example.own"}})
	l.repeat([]any{"router.start_router_realm", "own", "more", map[string]any{"name": "com.example.more"}}, []any{"router.start_router_realm_role", "own", "more", "role1", someone},
		[]any{"router.stop_router_realm_role", "own", "more", "role1"}, []any{"router.stop_router_realm", "own", "more"})
	for range 3 {
		l.repeat([]any{"node.get_status"}, []any{"node.get_workers"}, []any{"node.get_worker", "own"}, []any{"router.get_router_realms", "own"})
	}
	return l
}

// end stops the load; none of its calls may have ended in a way that tells its
// caller nothing.
func (l *load) end() {
	l.r.t.Helper()
	l.halt()
	expected := []cfcerr.Kind{0, cfcerr.ConnectionLost, cfcerr.NodeDetached, cfcerr.NoSuchWorker, cfcerr.NoSuchObject, cfcerr.AlreadyRunning, cfcerr.NotRunning, cfcerr.AlreadyExists}
	for k, n := range l.kinds {
		l.r.t.Logf("%6d calls ended as %q, the first: %s", n, k.URI(), l.first[k])
		if !slices.Contains(expected, k) {
			l.r.t.Errorf("%d calls ended as %s, the first: %s", n, k.URI(), l.first[k])
		}
	}
	if l.kinds[0] == 0 {
		l.r.t.Error("not one call succeeded")
	}
}

// TestANodeRestartsUnderLoad ends the node in each way that there is while all
// kinds of calls are under way.
func TestANodeRestartsUnderLoad(t *testing.T) {
	r := newRig(t, configured(ownConfig))
	defer r.end()
	l := r.load()
	defer l.halt()
	for _, c := range []struct {
		how string
		end func(pid int)
	}{
		{"by a call", func(int) { r.must("node.shutdown", true) }},
		{"killed", func(pid int) { kill(t, pid, syscall.SIGKILL) }},
		{"by its own stop command", func(pid int) { kill(t, pid, syscall.SIGINT) }},
		{"by a call again", func(int) { r.must("node.shutdown", true) }},
	} {
		r.ownIsThere(c.how)
		pid := r.nodePID()
		c.end(pid)
		r.wait("the node is back, after it ended "+c.how, func() bool { return r.agent.link.Attached().Attached && r.agent.sup.Status().PID != pid })
	}
	r.ownIsThere("the last time")
	l.end()
	r.agreed()
	// Nothing stands in the way of what comes next, in the same places.
	for _, w := range []string{"load0", "load1"} {
		if _, err := r.call("node.get_worker", w); err == nil {
			r.must("node.stop_worker", w, true)
		}
		r.must("node.start_worker", w, "router")
		r.must("router.start_router_realm", w, "realm", realm1)
	}
	r.agreed()
}

// ownIsThere waits for what the configuration starts.
func (r *rig) ownIsThere(when string) {
	r.t.Helper()
	r.wait("the node's own worker is there "+when, func() bool {
		_, err := r.call("router.get_router_realms", "own")
		return err == nil
	})
}

// ownIsWhole waits for all that the configuration starts in it.
func (r *rig) ownIsWhole(when string) {
	r.t.Helper()
	r.wait("the node's own realm is there "+when, func() bool {
		roles, err := r.call("router.get_router_realm_roles", "own", "realm1")
		return err == nil && len(roles.([]string)) > 0
	})
}

// agreed waits until the events and the node say the same of what runs.
func (r *rig) agreed() {
	r.t.Helper()
	var told, runs []string
	var err error
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		told, err = lives(r.told(), len(r.past) == 0)
		if runs = r.runs(); err == nil && slices.Equal(told, runs) {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("the events tell of %v, the node of %v; %v", told, runs, err)
		}
	}
}

// runs is what runs on the node, as lives names it.
func (r *rig) runs() []string {
	r.t.Helper()
	found := map[string]bool{}
	list := func(key string, args ...any) []string {
		v, err := r.call(key, args...)
		if err != nil {
			return nil // it is asked again
		}
		return v.([]string)
	}
	for _, w := range list("node.get_workers") {
		found["on_worker "+w] = true
		for _, realm := range list("router.get_router_realms", w) {
			found["on_router_realm "+w+"."+realm] = true
			for _, role := range list("router.get_router_realm_roles", w, realm) {
				found["on_router_realm_role "+w+"."+realm+"."+role] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

var someone = map[string]any{"name": "someone", "permissions": []any{}}

// TestIDsResolveAfterRestarts restarts agent and node in every order: an id
// that callers use means the same object after it, whatever its id on the node.
func TestIDsResolveAfterRestarts(t *testing.T) {
	r := newRig(t, configured(ownConfig))
	defer r.end()
	r.ownIsWhole("at first")
	again := map[string]any{"name": "com.example.own", "roles": realm1["roles"]}
	mend := func() { // the id on the node is another one than the caller's
		r.must("router.stop_router_realm", "own", "realm1")
		r.must("router.start_router_realm", "own", "realm1", again)
	}
	resolves := func(when string, roles ...string) {
		t.Helper()
		if got := r.must("router.get_router_realms", "own"); !reflect.DeepEqual(got, []string{"realm1"}) {
			t.Errorf("%s: realms are %v", when, got)
		}
		if d := r.mustDict("router.get_router_realm", "own", "realm1"); d["id"] != "realm1" {
			t.Errorf("%s: the realm shows as %v", when, d["id"])
		}
		if got := r.must("router.get_router_realm_roles", "own", "realm1"); !reflect.DeepEqual(got, roles) {
			t.Errorf("%s: its roles are %v, expected %v", when, got, roles)
		}
		mend()
		r.must("router.start_router_realm_role", "own", "realm1", "mine", someone)
		r.must("router.stop_router_realm_role", "own", "realm1", "mine")
		r.must("router.start_router_realm_role", "own", "realm1", "mine", someone)
		r.agreed()
	}
	roleIDs := func() []string { return r.must("router.get_router_realm_roles", "own", "realm1").([]string) }
	mend()
	before := roleIDs()
	nothing := func() {}

	r.restart(nothing)
	resolves("after the agent", before...)
	before = roleIDs()
	r.restart(nothing)
	resolves("after the agent again", before...)

	r.must("node.shutdown", true)
	r.ownIsWhole("after a shutdown")
	resolves("after the node", "role001")

	// The node dies while no agent looks; another one has its place when it does.
	node := r.nodePID()
	r.restart(func() { kill(t, node, syscall.SIGKILL) })
	r.ownIsWhole("after a death that nobody saw")
	resolves("after a death that nobody saw", "role001")

	// So does a worker, whose place another takes.
	worker := r.pid("own")
	r.restart(func() { kill(t, worker, syscall.SIGKILL) })
	r.wait("its end is noticed", func() bool {
		_, err := r.call("node.get_worker", "own")
		return cfcerr.KindOf(err) == cfcerr.NoSuchWorker
	})
	// The node may list the dead one for a moment more, to who asks again.
	r.wait("its place is free", func() bool {
		_, err := r.call("node.start_worker", "own", "router")
		if err != nil && cfcerr.KindOf(err) != cfcerr.AlreadyRunning {
			t.Fatalf("another worker: %v", err)
		}
		return err == nil
	})
	if got := r.must("router.get_router_realms", "own"); !reflect.DeepEqual(got, []string{}) {
		t.Errorf("a new worker has realms %v", got)
	}
	r.must("router.start_router_realm", "own", "realm1", again)
	resolves("in a new worker", roleIDs()...)
}

// TestTheNodeBootsItsConfigurationOnce has agents end while the node boots: what
// somebody has stopped by then does not come back with the next agent.
func TestTheNodeBootsItsConfigurationOnce(t *testing.T) {
	r := newRig(t, configured(ownConfig), module("cfcmodules", idle))
	defer r.end()
	r.ownIsThere("at first")
	node := r.nodePID()
	gone := func() bool {
		_, err := r.call("node.get_worker", "own")
		return cfcerr.KindOf(err) == cfcerr.NoSuchWorker
	}
	worker := r.pid("own")
	r.restart(func() { kill(t, worker, syscall.SIGKILL) })
	for i := range 3 {
		r.wait("the dead worker is gone", gone)
		r.restart(func() {})
		if !gone() {
			t.Fatalf("it is back with agent %d", i)
		}
	}
	if now := r.nodePID(); now != node {
		t.Errorf("the node is %d, was %d", now, node)
	}
	kill(t, node, syscall.SIGKILL)
	r.ownIsThere("in the next node")
	r.wait("the events tell it whole", func() bool {
		_, err := lives(r.told(), false)
		return err == nil
	})
}

// TestTheAgentEndsInTheMiddle ends the agent while the node owes it an answer,
// which it gives when nobody is there: in order, and as a crash does, which
// leaves what is on disk at that moment and no more.
func TestTheAgentEndsInTheMiddle(t *testing.T) {
	r := newRig(t, configured(ownConfig))
	defer r.end()
	r.ownIsWhole("at first")
	for _, crash := range []bool{false, true} {
		r.middle(crash, "realm_starting", "router.start_router_realm", "own", "middle", map[string]any{"name": "com.example.middle"})
		r.middle(crash, "realm_stopping", "router.stop_router_realm", "own", "middle")
		r.middle(crash, "role_starting", "router.start_router_realm_role", "own", "middle", "role1", someone)
		r.middle(crash, "role_stopping", "router.stop_router_realm_role", "own", "middle", "role1")
	}
}

// middle has the agent end when it has told what it is about to do.
func (r *rig) middle(crash bool, at, key string, args ...any) {
	r.t.Helper()
	what := fmt.Sprintf("%s, crash %v", key, crash)
	r.agreed()
	r.place(what, strings.Contains(key, "stop") || strings.Contains(key, "role"), strings.Contains(key, "stop_router_realm_role"))
	worker, agent := r.pid("own"), r.agent
	frozen := make(chan map[string][]byte, 1)
	agent.events.hook(func(e event) {
		if strings.HasSuffix(e.name, at) && len(frozen) == 0 {
			kill(r.t, worker, syscall.SIGSTOP)
			frozen <- r.stateFiles()
		}
	})
	answer := make(chan error, 1)
	go func() {
		_, err := agent.ops.Call(r.t.Context(), owner, key, args, nil)
		answer <- err
	}()
	disk := <-frozen
	told := len(agent.events.list)
	r.restart(func() {
		if k := cfcerr.KindOf(<-answer); k == 0 || k == cfcerr.Internal {
			r.t.Errorf("%s, broken off, ended as %q", what, k.URI())
		}
		if crash { // nothing of what came after
			r.putState(disk)
			agent.events.list = agent.events.list[:told]
		}
		kill(r.t, worker, syscall.SIGCONT)
	})
	r.ownIsThere("after " + what)
	r.agreed()
	r.place(what, true, true)
	r.place(what, false, false)
	r.agreed()
}

// place makes that the realm runs or not, and its role, whichever way that was.
func (r *rig) place(what string, realm, role bool) {
	r.t.Helper()
	wish := func(want bool, start, stop string, config any, args ...any) {
		key, fine := stop, []cfcerr.Kind{0, cfcerr.NoSuchObject, cfcerr.NotRunning}
		if want {
			key, args, fine = start, append(args, config), []cfcerr.Kind{0, cfcerr.AlreadyRunning}
		}
		if _, err := r.call(key, args...); !slices.Contains(fine, cfcerr.KindOf(err)) {
			r.t.Errorf("%s: then %s%v: %v", what, key, args, err)
		}
	}
	wish(realm, "router.start_router_realm", "router.stop_router_realm", map[string]any{"name": "com.example.middle"}, "own", "middle")
	if realm {
		wish(role, "router.start_router_realm_role", "router.stop_router_realm_role", someone, "own", "middle", "role1")
	}
}

var stateFiles = []string{"inventory.json", "objects.json", "restarts.json"}

func (r *rig) stateFiles() map[string][]byte {
	files := map[string][]byte{}
	for _, name := range stateFiles {
		if b, err := os.ReadFile(filepath.Join(r.state, name)); err == nil {
			files[name] = b
		}
	}
	return files
}

func (r *rig) putState(files map[string][]byte) {
	r.t.Helper()
	for _, name := range stateFiles {
		path := filepath.Join(r.state, name)
		was, there := files[name]
		err := os.RemoveAll(path)
		if there {
			err = os.WriteFile(path, was, 0o600)
		}
		if err != nil {
			r.t.Fatalf("%s: %v", name, err)
		}
	}
}
