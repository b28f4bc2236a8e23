package ops

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// told keeps events as "name ids reason by", but for those that say again
// what another one says, by the worker's type.
type told struct{ list, byType []string }

func (r *told) publish(e *catalog.Event, args ...any) {
	for _, pair := range catalog.WorkerStarts {
		if e == pair[0] || e == pair[1] {
			r.byType = append(r.byType, fmt.Sprint(strings.TrimPrefix(e.Name, "on_"), " ", args[1]))
			return
		}
	}
	d := args[len(args)-1].(map[string]any)
	s := fmt.Sprintln(append(append([]any{strings.TrimPrefix(e.Name, "on_")}, args[1:len(args)-1]...), d["reason"], d["by"])...)
	r.list = append(r.list, strings.ReplaceAll(strings.TrimSpace(s), "<nil>", "-"))
}

func (r *told) want(t *testing.T, what string, lines ...string) {
	t.Helper()
	if !slices.Equal(r.list, lines) {
		t.Errorf("%s: told\n %s\nexpected\n %s", what, strings.Join(r.list, "\n "), strings.Join(lines, "\n "))
	}
	r.list = nil
}

func newTestInventory(dir string) (*Inventory, *told) {
	r := &told{}
	return newInventory(Config{NodeID: func() string { return "n1" }, Publish: r.publish, StateDir: dir, Log: zap.NewNop()}), r
}

func worker(id, created string, realms ...string) Worker {
	w := Worker{ID: id, Type: "router", PID: 7, Created: created, Status: "started", Ready: true}
	for _, r := range realms {
		w.Objects = append(w.Objects, Object{Kind: RouterRealm, ID: r, Name: "com." + r})
	}
	return w
}

func realm(worker, id string) Ref { return Ref{Kind: RouterRealm, Worker: worker, ID: id} }

func (w Worker) with(k *Kind, parent, id string) Worker {
	w.Objects = append(slices.Clone(w.Objects), Object{Kind: k, Parent: parent, ID: id})
	return w
}

func (v *Inventory) see(all ...Worker) { v.Seen(v.Mark(), all, nil) }

// A disk that stays full is told once, not with each look at the node.
func TestAnInventoryThatCannotBeKept(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	dir := filepath.Join(t.TempDir(), "later")
	v := newInventory(Config{NodeID: func() string { return "n1" }, Publish: (&told{}).publish, StateDir: dir, Log: zap.New(core)})
	for range 3 {
		v.see(worker("w", "1", "a"))
	}
	if logs.Len() != 1 {
		t.Errorf("told %d times", logs.Len())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	v.see(worker("w", "1", "a"))
	if _, err := os.Stat(filepath.Join(dir, inventoryFile)); err != nil {
		t.Error(err)
	}
}

func TestWhatOthersChangeIsToldOnce(t *testing.T) {
	v, r := newTestInventory("")
	v.see(worker("w", "1", "a"))
	r.want(t, "found", "worker_starting w - -", "worker_started w - -", "router_realm_starting w a - -", "router_realm_started w a - -")
	v.see(worker("w", "1", "a"))
	r.want(t, "found again")
	v.see(worker("w", "1", "b"))
	r.want(t, "another realm", "router_realm_starting w b - -", "router_realm_started w b - -", "router_realm_stopped w a ended -")
	v.see(worker("w", "2"))
	r.want(t, "another process", "router_realm_stopped w b worker stopped -", "worker_stopped w ended -", "worker_starting w - -", "worker_started w - -")
	v.see()
	r.want(t, "gone", "worker_stopped w ended -")
	half := worker("w", "3")
	half.Ready = false
	v.see(half)
	r.want(t, "not ready", "worker_starting w - -")
	v.see(worker("w", "3"))
	r.want(t, "ready", "worker_started w - -")
	v.NodeGone("node gone", "")
	r.want(t, "the node is gone", "worker_stopped w node gone -")
	v.NodeGone("node gone", "")
	r.want(t, "and stays gone")
}

// What a stop comes upon and nobody has seen is not told to end: its start was not
// told either.
func TestTheEndOfWhatWasNeverTold(t *testing.T) {
	v, r := newTestInventory("")
	v.stopping(v.Mark(), realm("w", "a"), "ann")(nil)
	r.want(t, "no worker")
	v.see(worker("w", "1", "a"))
	r.list = nil
	v.stopping(v.Mark(), realm("w", "b"), "ann")(nil)
	r.want(t, "no realm")
	v.stopping(v.Mark(), realm("w", "a"), "ann")(nil)
	r.want(t, "a realm", "router_realm_stopping w a - ann", "router_realm_stopped w a stopped ann")
}

// What the node starts anew by itself has ended and begun, also while nobody
// looked.
func TestObjectsThatTheNodeStartsAnew(t *testing.T) {
	dir := t.TempDir()
	v, r := newTestInventory(dir)
	hosted := func(born string) Worker {
		return Worker{ID: "c", Type: "container", Created: "1", Ready: true, Objects: []Object{{Kind: ContainerComponent, ID: "x", Born: born}}}
	}
	up := []string{"container_component_starting c x - -", "container_component_started c x - -"}
	anew := func(reason string) []string {
		return append([]string{"container_component_stopped c x " + reason + " -"}, up...)
	}
	v.see(hosted("1"))
	r.want(t, "found", append([]string{"worker_starting c - -", "worker_started c - -"}, up...)...)
	v.see(hosted("2"))
	r.want(t, "another one", anew("ended")...)
	v.see(hosted("2"))
	r.want(t, "the same")
	v, r = newTestInventory(dir)
	v.see(hosted("3"))
	r.want(t, "while the agent was down", anew("ended while the agent was away")...)
	x := Ref{Kind: ContainerComponent, Worker: "c", ID: "x"}
	v.stopping(v.Mark(), x, "ann")(nil)
	mark := v.Mark()
	v.starting(x, "", "ann")("4", nil)
	r.list = nil
	v.Seen(mark, []Worker{hosted("3")}, nil)
	r.want(t, "an old answer")
	v.see(hosted("4"))
	r.want(t, "the answer to a start names it")
	v.see(hosted("5"))
	r.want(t, "the next one", anew("ended")...)
}

// What belongs to something goes with it, and before it.
func TestObjectsWithinObjects(t *testing.T) {
	dir := t.TempDir()
	v, r := newTestInventory(dir)
	full := worker("w", "1", "a").with(RealmRole, "a", "x").with(RealmRole, "a", "y")
	v.see(full)
	r.want(t, "found", "worker_starting w - -", "worker_started w - -", "router_realm_starting w a - -", "router_realm_started w a - -",
		"router_realm_role_starting w a x - -", "router_realm_role_started w a x - -", "router_realm_role_starting w a y - -", "router_realm_role_started w a y - -")
	v, r = newTestInventory(dir)
	v.see(worker("w", "1", "a").with(RealmRole, "a", "y"))
	r.want(t, "after a restart one is gone", "router_realm_role_stopped w a x ended while the agent was away -")
	blind := worker("w", "1", "a")
	blind.Unseen = []*Kind{RealmRole}
	v.see(blind)
	r.want(t, "the node could not tell")
	v.stopping(v.Mark(), realm("w", "a"), "eve")(nil)
	r.want(t, "stopped", "router_realm_stopping w a - eve", "router_realm_role_stopped w a y realm stopped eve", "router_realm_stopped w a stopped eve")
	mark := v.Mark()
	finish := v.starting(realm("w", "a"), "com.a", "bob")
	v.see(full) // before the node has answered
	finish("", nil)
	v.found(mark, "w", full.Objects[1:], "bob")
	r.want(t, "started with its roles", "router_realm_starting w a - bob", "router_realm_started w a - bob",
		"router_realm_role_starting w a x - bob", "router_realm_role_started w a x - bob", "router_realm_role_starting w a y - bob", "router_realm_role_started w a y - bob")
	v.Seen(mark, []Worker{worker("w", "1", "a")}, nil)
	r.want(t, "who looked before its roles were there")
	v.see()
	r.want(t, "all gone", "router_realm_role_stopped w a y worker stopped -", "router_realm_role_stopped w a x worker stopped -", "router_realm_stopped w a worker stopped -", "worker_stopped w ended -")
}

func TestAWorkerTooBriefToBeSeen(t *testing.T) {
	v, r := newTestInventory("")
	v.Seen(v.Mark(), nil, []Worker{worker("g", "1")})
	r.want(t, "never listed", "worker_starting g - -", "worker_started g - -", "worker_stopped g ended -")
	starting := worker("g", "2")
	starting.Ready = false
	v.see(starting)
	v.Seen(v.Mark(), nil, []Worker{worker("g", "2")})
	r.want(t, "listed while it started", "worker_starting g - -", "worker_started g - -", "worker_stopped g ended -")
	v.Seen(v.Mark(), []Worker{worker("g", "3")}, []Worker{worker("g", "3")})
	r.want(t, "listed", "worker_starting g - -", "worker_started g - -")
}

func TestOperationsTellWhoAsked(t *testing.T) {
	v, r := newTestInventory("")
	finish := v.startingWorker("w", "router", "bob")
	mark := v.Mark()
	v.see() // what is seen of it meanwhile is not believed
	v.see(worker("w", "1"))
	finish(worker("w", "1"), nil)
	r.want(t, "start", "worker_starting w - bob", "worker_started w - bob")
	v.Seen(mark, nil, nil) // asked before the start had ended
	r.want(t, "an old answer")
	v.see(worker("w", "1"))
	r.want(t, "a new answer")

	done := v.starting(realm("w", "a"), "com.a", "bob")
	v.see(worker("w", "1"))
	done("", nil)
	v.see(worker("w", "1", "a"))
	r.want(t, "realm", "router_realm_starting w a - bob", "router_realm_started w a - bob")
	v.starting(realm("w", "x"), "com.x", "bob")("", errors.New("no"))
	r.want(t, "failed realm", "router_realm_starting w x - bob", "router_realm_stopped w x start failed bob")
	v.stopping(v.Mark(), realm("w", "a"), "eve")(cfcerr.New(cfcerr.CannotStop, "no"))
	r.want(t, "a stop that failed", "router_realm_stopping w a - eve")
	v.see(worker("w", "1"))
	r.want(t, "it ends later", "router_realm_stopped w a ended -")

	v.stoppingWorker(v.Mark(), worker("w", "1"), "eve")(cfcerr.New(cfcerr.Timeout, "late"))
	r.want(t, "a stop that nobody awaited", "worker_stopping w - eve")
	v.see()
	r.want(t, "it comes true", "worker_stopped w stopped eve")
	v.startingWorker("w", "router", "bob")(Worker{}, errors.New("no"))
	r.want(t, "failed start", "worker_starting w - bob", "worker_stopped w start failed bob")
	v.startingWorker("w", "router", "bob")(worker("w", "2"), nil)
	v.stoppingWorker(v.Mark(), worker("w", "2"), "eve")(nil)
	v.see()
	r.want(t, "start and stop", "worker_starting w - bob", "worker_started w - bob", "worker_stopping w - eve", "worker_stopped w stopped eve")
}

func TestTheNodeGoesDuringOperations(t *testing.T) {
	v, r := newTestInventory("")
	start := v.startingWorker("new", "router", "bob")
	v.see(worker("old", "1", "a"))
	stop := v.stopping(v.Mark(), realm("old", "a"), "bob")
	r.list = nil
	v.NodeGone("node gone", "")
	start(Worker{}, cfcerr.New(cfcerr.ConnectionLost, "gone"))
	stop(cfcerr.New(cfcerr.ConnectionLost, "gone"))
	r.want(t, "each end is told once", "worker_stopped new node gone -", "router_realm_stopped old a worker stopped -", "worker_stopped old node gone -")
	v.see(worker("w", "1"), worker("x", "1"))
	finish := v.shuttingDown("eve")
	v.see(worker("x", "1"))
	r.list = nil
	finish(nil)
	v.NodeGone("node gone", "")
	r.want(t, "shut down", "worker_stopped x node shut down eve")
}

func TestOperationOnAWorkerNotSeenYet(t *testing.T) {
	v, r := newTestInventory("")
	v.starting(realm("w", "a"), "com.a", "bob")("", nil)
	v.see(worker("w", "1", "a"))
	r.want(t, "its worker is told later", "router_realm_starting w a - bob", "router_realm_started w a - bob", "worker_starting w - -", "worker_started w - -")
}

func TestInventoryOutlivesTheAgent(t *testing.T) {
	dir := t.TempDir()
	v, _ := newTestInventory(dir)
	v.see(worker("stays", "1", "a", "b"), worker("goes", "1"), worker("changes", "1"))
	v, r := newTestInventory(dir)
	v.see(worker("stays", "1", "a"), worker("changes", "2"), worker("new", "1"))
	r.want(t, "after the restart",
		"worker_stopped changes ended while the agent was away -", "worker_stopped goes ended while the agent was away -",
		"router_realm_stopped stays b ended while the agent was away -",
		"worker_starting changes - -", "worker_started changes - -", "worker_starting new - -", "worker_started new - -")
	v.see(worker("changes", "2"), worker("new", "1"))
	r.want(t, "later", "router_realm_stopped stays a worker stopped -", "worker_stopped stays ended -")
}

func TestDamagedInventoryIsSetAside(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON":         "{",
		"another version": `{"version": 9, "workers": []}`,
		"unknown key":     `{"version": 2, "workers": [], "x": 1}`,
		"unknown kind":    `{"version": 2, "workers": [{"id": "w", "objects": [{"kind": "x", "id": "y"}]}]}`,
		"two of them":     `{"version": 2, "workers": []}{}`,
		"cut":             `{"version": 2, "workers": [{"id": "w"`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, inventoryFile)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		v, _ := newTestInventory(dir)
		if len(v.workers) != 0 {
			t.Errorf("%s is read as %v", name, v.workers)
		}
		aside, err := filepath.Glob(path + ".damaged-*")
		if err != nil || len(aside) != 1 {
			t.Errorf("%s is not kept for a look: %v %v", name, aside, err)
		}
	}
}

// What the node said before something ended is not news of a start.
func TestAnEndWhileTheNodeIsAsked(t *testing.T) {
	v, r := newTestInventory("")
	v.see(worker("w", "1"))
	r.list = nil

	finish := v.starting(realm("w", "y"), "com.y", "ann")
	mark := v.Mark() // the node is asked while realm y is half started
	finish("", cfcerr.New(cfcerr.InvalidConfiguration, "no"))
	v.Seen(mark, []Worker{worker("w", "1", "y")}, nil)
	r.want(t, "a failed start", "router_realm_starting w y - ann", "router_realm_stopped w y start failed ann")

	stop := v.stoppingWorker(v.Mark(), worker("w", "1"), "ann")
	mark = v.Mark()
	stop(nil)
	v.Seen(mark, []Worker{worker("w", "1")}, nil)
	r.want(t, "a stop", "worker_stopping w - ann", "worker_stopped w stopped ann")

	v.see(worker("w", "2", "y"))
	r.want(t, "asked again", "worker_starting w - -", "worker_started w - -", "router_realm_starting w y - -", "router_realm_started w y - -")
	v.see(worker("w", "3"))
	r.want(t, "another process of the same id", "router_realm_stopped w y worker stopped -", "worker_stopped w ended -", "worker_starting w - -", "worker_started w - -")
	if len(v.ended) > 2 {
		t.Errorf("old ends are kept: %v", v.ended)
	}
}

func TestWorkersAreToldByTheirTypesToo(t *testing.T) {
	v, r := newTestInventory("")
	v.see(worker("w", "1"))
	testee := worker("x", "1")
	testee.Type = "websocket-testee"
	v.see(worker("w", "1"), testee)
	v.startingWorker("c", "container", "bob")(Worker{ID: "c", Type: "container", Ready: true}, nil)
	v.startingWorker("g", "guest", "bob")(Worker{}, errors.New("no"))
	if want := []string{"router_starting w", "router_started w", "container_starting c", "container_started c", "guest_starting g"}; !slices.Equal(r.byType, want) {
		t.Errorf("told are %v, expected %v", r.byType, want)
	}
}

func TestTheNodesOwnLife(t *testing.T) {
	dir := t.TempDir()
	v, r := newTestInventory(dir)
	v.Attached("crossbar", "26", "noon")
	r.want(t, "first", "node_starting - -", "node_started - -", "node_attached - -")
	v.Detached("crossbar", "26", "closed")
	v.Attached("crossbar", "26", "noon")
	r.want(t, "the same process again", "node_detached closed -", "node_attached - -")
	v, r = newTestInventory(dir)
	v.Attached("crossbar", "26", "noon")
	r.want(t, "after the agent's restart", "node_attached - -")
	v, r = newTestInventory(dir)
	v.Attached("crossbar", "26", "one")
	r.want(t, "another one, which came while the agent was away", "node_stopped ended -", "node_starting - -", "node_started - -", "node_attached - -")
	finish := v.shuttingDown("eve")
	finish(nil)
	v.NodeGone("node gone", "")
	r.want(t, "shut down", "node_stopping - eve", "node_stopped node shut down eve")
}
