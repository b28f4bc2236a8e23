package ops

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// Worker is a worker of the node as it runs.
type Worker struct {
	ID   string
	Type string
	PID  int
	// Created is when the node made it, as the node says; with the id it names
	// one process for good.
	Created string
	Status  string // the node's word: starting, connected, started
	Ready   bool   // started, and its procedures are there
	// Objects are what runs in it, each parent before what belongs to it;
	// Unseen are the kinds of which the node could not be asked.
	Objects []Object
	Unseen  []*Kind
}

// Changes takes what a Node sees; *Inventory is one.
type Changes interface {
	// Mark is taken before the node is asked what runs, and given to Seen
	// with the answer: what an operation changed in between is newer.
	Mark() uint64
	// Seen is all that runs. Appeared are workers that the node said it had
	// started since the last time; one that is not among all is gone again.
	Seen(mark uint64, all, appeared []Worker)
	// NodeGone ends everything that ran; by is who asked for it, if anybody.
	NodeGone(reason, by string)
	// Meta is an event of a realm's meta API; lost is how many were not told
	// before it, because they were too many.
	Meta(worker, realm, topic string, lost uint64, args wamp.List)
	// Logged, Stats and Heartbeat are what workers have written, what a process
	// takes (of a worker, or the controller's) and the node's sign of life.
	Logged(worker string, lines []catalog.LogLine, lost uint64)
	Stats(worker string, stats any)
	Heartbeat(beat any)
	// Attached and Detached tell of the node itself; started names its process
	// for good.
	Attached(kind, version, started string)
	Detached(kind, version, reason string)
}

// Reasons of on_worker_stopped and of the ends of objects.
const (
	reasonStopped  = "stopped" // somebody asked for it
	reasonEnded    = "ended"   // by itself
	reasonFailed   = "start failed"
	reasonWorker   = "worker stopped"
	reasonParent   = " stopped" // behind what the object belonged to
	reasonDown     = "node shut down"
	reasonWhenAway = "ended while the agent was away"
)

// Inventory is what runs on the node, as told to the realm: each change is
// published once. An object that an operation works on belongs to it until
// the operation ends; what is seen of it meanwhile is not believed.
type Inventory struct {
	cfg        Config
	metaEvents map[string]*catalog.Event // by WAMP's names for them
	came       chan struct{}             // has one when the node has come

	mu      sync.Mutex
	version uint64 // one up for each change by an operation
	workers map[string]*workerEntry
	down    string // who is shutting the node down
	node    string // when the node's process was started, as it says; empty while there is none
	// ended has the version at which something ended, by worker id or the
	// object's key, until what was seen is newer: else an end that came while
	// the node was being asked would be followed by a start that is none.
	ended   map[string]uint64
	saved   []byte // content of the file
	unsaved bool   // it could not be written
}

type entry struct {
	busy    int    // operations that work on it
	touched uint64 // version of the last change by an operation
	by      string // who asked for the end that is under way
	known   bool   // from before the agent started
	told    bool   // that it is starting has been told
	up      bool   // its start has been told
	gone    bool   // its end has been told
}

type workerEntry struct {
	entry
	Worker
	objects map[Ref]*objectEntry
}

type objectEntry struct {
	entry
	Ref
	Name, born string
}

func newInventory(cfg Config) *Inventory {
	v := &Inventory{cfg: cfg, metaEvents: metaEvents(), came: make(chan struct{}, 1), workers: map[string]*workerEntry{}, ended: map[string]uint64{}}
	v.load()
	return v
}

func (v *Inventory) publish(e *catalog.Event, details catalog.Dict, ids ...string) {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	v.emit(e, details, args...)
}

// emit publishes an event; args are those between the node and the details.
func (v *Inventory) emit(e *catalog.Event, details catalog.Dict, args ...any) {
	node := "" // while it is not paired
	if v.cfg.NodeID != nil {
		node = v.cfg.NodeID()
	}
	v.cfg.Publish(e, slices.Concat([]any{node}, args, []any{map[string]any(details)})...)
}

// details drops what is empty, so that a reader can test for presence.
func details(pairs catalog.Dict) catalog.Dict {
	maps.DeleteFunc(pairs, func(_ string, x any) bool { return x == nil || x == "" || x == 0 || x == uint64(0) })
	return pairs
}

// failure is an error as details show it.
func failure(err error) any {
	if err == nil {
		return nil
	}
	e, _ := cfcerr.Public(err)
	return map[string]any{"error": e.URI(), "message": e.Error()}
}

// Mark implements Changes.
func (v *Inventory) Mark() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.version
}

// Attached implements Changes.
func (v *Inventory) Attached(kind, version, started string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if started != v.node {
		if v.node != "" { // it ended while nobody could see it
			v.publish(catalog.NodeLife.Stopped, catalog.Dict{"reason": reasonEnded})
		}
		v.publish(catalog.NodeLife.Starting, catalog.Dict{})
		v.publish(catalog.NodeLife.Started, details(catalog.Dict{"kind": kind, "version": version, "started": started}))
		v.node = started
		v.save()
	}
	v.publish(catalog.OnNodeAttached, details(catalog.Dict{"kind": kind, "version": version}))
	select {
	case v.came <- struct{}{}:
	default:
	}
}

// process names the node's process for good; empty while there is none.
func (v *Inventory) process() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.node
}

// Detached implements Changes.
func (v *Inventory) Detached(kind, version, reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.publish(catalog.OnNodeDetached, details(catalog.Dict{"kind": kind, "version": version, "reason": reason}))
}

// NodeGone implements Changes.
func (v *Inventory) NodeGone(reason, by string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.allGone(reason, by)
}

func (v *Inventory) allGone(reason, by string) {
	for _, id := range slices.Sorted(maps.Keys(v.workers)) {
		v.drop(v.workers[id], reason, by, nil)
	}
	if v.node != "" {
		v.node = ""
		v.publish(catalog.NodeLife.Stopped, details(catalog.Dict{"reason": reason, "by": by}))
	}
	v.save()
}

// Seen implements Changes.
func (v *Inventory) Seen(mark uint64, all, appeared []Worker) {
	v.mu.Lock()
	defer v.mu.Unlock()
	late := v.endedSince(mark)
	listed := map[string]Worker{}
	for _, w := range all {
		listed[w.ID] = w
	}
	for _, w := range appeared {
		e, here := v.workers[w.ID]
		switch {
		case listed[w.ID].ID != "": // told below
		case !here:
			v.drop(v.add(ready(w)), reasonEnded, "", nil)
		case !e.up && !e.mine(mark):
			v.appear(e, ready(w))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(v.workers)) {
		e := v.workers[id]
		now, here := listed[id]
		if e.mine(mark) || here && (now.Created == e.Created || e.Created == "") {
			continue
		}
		v.drop(e, e.reason(), e.by, nil)
	}
	for _, w := range all {
		e, here := v.workers[w.ID]
		switch {
		case !here && late[w.ID]:
			continue
		case !here:
			e = v.add(w)
		case e.mine(mark):
			continue
		default:
			v.appear(e, w)
		}
		e.PID, e.Created, e.known = w.PID, w.Created, false
		if w.Ready {
			v.seenObjects(mark, e, w, late)
		}
	}
	v.save()
}

func (e *entry) mine(mark uint64) bool { return e.busy > 0 || e.touched > mark }

func (e *entry) reason() string {
	switch {
	case e.by != "":
		return reasonStopped
	case e.known:
		return reasonWhenAway
	}
	return reasonEnded
}

func (v *Inventory) seenObjects(mark uint64, e *workerEntry, w Worker, late map[string]bool) {
	listed := map[Ref]bool{}
	for _, o := range w.Objects {
		r := o.ref(w.ID)
		listed[r] = true
		switch old := e.objects[r]; {
		case old != nil:
			v.stays(e, old, o, mark)
		case !late[r.key()] && !e.begins(r):
			v.appearObject(e, r, o.Name, "").born = o.Born
		}
	}
	for _, r := range e.sorted() {
		o := e.objects[r] // nil when it ended with its parent
		if o != nil && !listed[r] && !o.mine(mark) && !slices.Contains(w.Unseen, r.Kind) {
			v.dropObject(e, o, o.reason(), o.by, nil)
		}
	}
}

// begins reports whether an operation works on what the object belongs to; it
// tells of the object afterwards.
func (e *workerEntry) begins(r Ref) bool {
	parent := e.objects[Ref{Kind: r.Kind.Parent, Worker: r.Worker, ID: r.Parent}]
	return parent != nil && parent.busy > 0
}

// stays is an object that was told to run and does: perhaps it is another one,
// which the node has started in place of one that ended.
func (v *Inventory) stays(w *workerEntry, old *objectEntry, now Object, mark uint64) {
	switch {
	case old.mine(mark):
	case old.born != "" && old.born != now.Born:
		v.dropObject(w, old, old.reason(), old.by, nil)
		v.appearObject(w, old.Ref, now.Name, "").born = now.Born
	default:
		if !old.up { // how its start went on while no agent looked
			v.objectUp(old, "")
		}
		old.born, old.known = now.Born, false
	}
}

// sorted are the worker's objects, each parent before what belongs to it.
func (e *workerEntry) sorted() []Ref {
	return slices.SortedFunc(maps.Keys(e.objects), func(a, b Ref) int {
		return cmp.Or(cmp.Compare(slices.Index(Kinds, a.Kind), slices.Index(Kinds, b.Kind)), cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.ID, b.ID))
	})
}

func (e *workerEntry) addObject(r Ref, name string) *objectEntry {
	o := &objectEntry{Ref: r, Name: name}
	e.objects[r] = o
	return o
}

// add takes in a worker that somebody else started.
func (v *Inventory) add(w Worker) *workerEntry {
	e := newWorkerEntry(w)
	v.workers[w.ID] = e
	v.appear(e, w)
	return e
}

func ready(w Worker) Worker {
	w.Ready = true
	return w
}

func newWorkerEntry(w Worker) *workerEntry {
	return &workerEntry{Worker: w, objects: map[Ref]*objectEntry{}}
}

// appear tells what has not been told of a worker that somebody else started.
func (v *Inventory) appear(e *workerEntry, w Worker) {
	if !e.told && !e.up {
		e.told = true
		v.tellStarting(w.ID, w.Type, "")
	}
	if w.Ready && !e.up {
		v.up(e, w, "")
	}
}

func (v *Inventory) up(e *workerEntry, w Worker, by string) {
	e.Worker, e.up = w, true
	d := details(catalog.Dict{"id": w.ID, "type": w.Type, "pid": w.PID, "by": by})
	v.publish(catalog.OnWorkerStarted, d, w.ID)
	if e, ok := catalog.WorkerStarts[w.Type]; ok {
		v.publish(e[1], d, w.ID)
	}
}

func (v *Inventory) tellStarting(id, typ, by string) {
	d := details(catalog.Dict{"id": id, "type": typ, "by": by})
	v.publish(catalog.OnWorkerStarting, d, id)
	if e, ok := catalog.WorkerStarts[typ]; ok {
		v.publish(e[0], d, id)
	}
}

// drop tells the end of a worker and of what ran in it.
func (v *Inventory) drop(e *workerEntry, reason, by string, err error) {
	if e.gone {
		return
	}
	if v.down != "" && by == "" { // ends since the node does
		reason, by = reasonDown, v.down
	}
	for _, r := range slices.Backward(e.sorted()) {
		v.dropObject(e, e.objects[r], reasonWorker, by, nil)
	}
	e.gone = true
	if v.workers[e.ID] == e {
		delete(v.workers, e.ID)
	}
	v.noteEnd(e.ID)
	v.log(e.ID, reason)
	v.publish(catalog.OnWorkerStopped, details(catalog.Dict{"id": e.ID, "type": e.Type, "pid": e.PID, "reason": reason, "exit": v.exit(e.Worker), "by": by, "error": failure(err)}), e.ID)
}

func (v *Inventory) exit(w Worker) string {
	if v.cfg.Node == nil || w.Created == "" {
		return ""
	}
	return v.cfg.Node.Exit(w)
}

func (v *Inventory) log(worker, reason string) {
	if v.cfg.Log != nil {
		v.cfg.Log.Info("worker gone", zap.String("worker", worker), zap.String("reason", reason))
	}
}

// appearObject tells of an object that runs.
func (v *Inventory) appearObject(w *workerEntry, r Ref, name, by string) *objectEntry {
	e := w.addObject(r, name)
	v.version++
	e.touched = v.version // who looked before may not have seen it
	v.tell(r.Kind.Life.Starting, e, catalog.Dict{"by": by})
	v.objectUp(e, by)
	return e
}

func (v *Inventory) objectUp(e *objectEntry, by string) {
	e.up = true
	v.tell(e.Kind.Life.Started, e, catalog.Dict{"by": by})
}

// dropObject tells the end of an object and, before it, of what belonged to it.
func (v *Inventory) dropObject(w *workerEntry, e *objectEntry, reason, by string, err error) {
	if e.gone {
		return
	}
	for _, r := range slices.Backward(w.sorted()) {
		if r.Kind.Parent == e.Kind && r.Parent == e.ID {
			v.dropObject(w, w.objects[r], e.Kind.Noun+reasonParent, by, nil)
		}
	}
	e.gone = true
	if w.objects[e.Ref] == e {
		delete(w.objects, e.Ref)
	}
	v.noteEnd(e.key())
	v.tell(e.Kind.Life.Stopped, e, catalog.Dict{"reason": reason, "by": by, "error": failure(err)})
}

func (v *Inventory) tell(event *catalog.Event, e *objectEntry, more catalog.Dict) {
	more["name"] = e.Name
	v.publish(event, details(more), e.ids()...)
}

// key names an object in the table of ends.
func (r Ref) key() string { return strings.Join(append([]string{r.Kind.Key}, r.ids()...), "/") }

func (v *Inventory) noteEnd(key string) {
	v.version++
	v.ended[key] = v.version
}

// endedSince are the ends that what was asked for at mark may not know yet; the
// older ones are forgotten.
func (v *Inventory) endedSince(mark uint64) map[string]bool {
	late := map[string]bool{}
	for key, version := range v.ended {
		if version > mark {
			late[key] = true
		} else {
			delete(v.ended, key)
		}
	}
	return late
}

// begin and end bracket an operation's work on an entry.
func (v *Inventory) begin(e *entry) {
	v.version++
	e.busy++
	e.touched = v.version
}

func (v *Inventory) end(e *entry) {
	v.version++
	e.busy--
	e.touched = v.version
	v.save()
}
