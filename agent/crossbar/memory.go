package crossbar

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/durable"
	"go.uber.org/zap"
)

const memoryFile = "objects.json"

// life is one process of a worker: what is remembered of it is void for the
// next one.
type life struct {
	PID     int    `json:"pid"`
	Created string `json:"created"`
}

// place is where the ids of objects are: one kind of object in one process of
// a worker, within an object of the node where the kind belongs to one.
type place struct {
	worker string
	life   life
	kind   string // the kind's key, and the parent's id on the node behind a slash
}

// memory is which ids of objects mean what on the node, which are burnt, and
// what the node itself does not tell of its objects. An id that is not in it
// means itself.
type memory struct {
	path string // empty: not kept
	log  *zap.Logger

	mu      sync.Mutex
	version uint64       // one up for each change
	active  map[stop]int // stops under way
	workers map[string]*workerMemory
}

// stop is one of an object, by the node's id.
type stop struct {
	place
	id string
}

type workerMemory struct {
	life
	Kinds map[string]*kindMemory `json:"kinds"` // by the place's kind
	// Options are those with which the worker was started, null where somebody
	// else has.
	Options map[string]any `json:"options"`

	touched uint64 // version of the last change
}

type kindMemory struct {
	// Node maps ids that callers use to the node's, where the two differ.
	Node map[string]string `json:"node,omitempty"`
	// Dead are ids of the node whose objects are down: all that there ever were
	// while the worker runs, so they are looked up in down, made when first asked.
	Dead []string `json:"dead,omitempty"`
	down map[string]bool
	// Stopping are ids of the node whose stop was begun, and Unwanted those
	// whose start was given up, without anybody having seen the answer.
	Stopping []string `json:"stopping,omitempty"`
	Unwanted []string `json:"unwanted,omitempty"`
	// Kept is what was started, by the node's id, where the node does not tell.
	Kept map[string]map[string]any `json:"kept,omitempty"`
}

type memoryState struct {
	Version int                      `json:"version"`
	Workers map[string]*workerMemory `json:"workers"`
}

// openMemory reads the file. A damaged one is set aside: it is better to list
// a dead realm than to leave the node without an agent.
func openMemory(dir string, log *zap.Logger) *memory {
	m := &memory{log: log, workers: map[string]*workerMemory{}, active: map[stop]int{}}
	if dir == "" {
		return m
	}
	m.path = filepath.Join(dir, memoryFile)
	s := memoryState{Workers: m.workers}
	aside, err := durable.Load(m.path, func(b []byte) (err error) { s, err = parseMemory(b); return err })
	if err != nil {
		log.Error("memory of object ids is damaged, set aside", zap.String("path", m.path), zap.String("as", aside), zap.Error(err))
		return m
	}
	m.workers = s.Workers
	return m
}

func parseMemory(b []byte) (memoryState, error) {
	s := memoryState{Workers: map[string]*workerMemory{}}
	if err := durable.DecodeJSON(b, &s); err != nil {
		return s, err
	}
	if s.Version != 1 {
		return s, fmt.Errorf("version %d, expected 1", s.Version)
	}
	for id, w := range s.Workers {
		if w == nil {
			return s, fmt.Errorf("worker %s is null", id)
		}
		w.Options, _ = durable.Whole(w.Options).(map[string]any)
		for kind, k := range w.Kinds {
			if k == nil {
				return s, fmt.Errorf("worker %s: %s is null", id, kind)
			}
			for id, config := range k.Kept {
				k.Kept[id], _ = durable.Whole(config).(map[string]any)
			}
		}
	}
	return s, nil
}

// of is what is known about a place; never nil.
func (m *memory) of(p place) *kindMemory {
	if w := m.workers[p.worker]; w != nil && w.life == p.life && w.Kinds[p.kind] != nil {
		return w.Kinds[p.kind]
	}
	return &kindMemory{}
}

// change applies f and keeps the result; the change is undone when it cannot
// be kept.
func (m *memory) change(p place, f func(*kindMemory)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.of(p).clone()
	f(now)
	return m.keep(p.worker, p.life, func(w *workerMemory) {
		if w.Kinds[p.kind] = now; now.empty() {
			delete(w.Kinds, p.kind)
		}
	})
}

// keep changes what is known of a worker.
func (m *memory) keep(worker string, l life, f func(*workerMemory)) error {
	old, had := m.workers[worker]
	m.version++
	now := &workerMemory{life: l, Kinds: map[string]*kindMemory{}, touched: m.version}
	if had && old.life == l {
		maps.Copy(now.Kinds, old.Kinds)
		now.Options = old.Options
	}
	if f(now); len(now.Kinds) == 0 && now.Options == nil {
		delete(m.workers, worker)
	} else {
		m.workers[worker] = now
	}
	if err := m.save(); err != nil {
		if delete(m.workers, worker); had {
			m.workers[worker] = old
		}
		return err
	}
	return nil
}

func (k *kindMemory) clone() *kindMemory {
	c := &kindMemory{Node: map[string]string{}, Dead: slices.Clone(k.Dead), Stopping: slices.Clone(k.Stopping), Unwanted: slices.Clone(k.Unwanted), Kept: map[string]map[string]any{}}
	maps.Copy(c.Node, k.Node)
	maps.Copy(c.Kept, k.Kept)
	return c
}

// dead reports whether the object with the node's id is down.
func (k *kindMemory) dead(node string) bool {
	if k.down == nil {
		k.down = setOf(k.Dead)
	}
	return k.down[node]
}

func setOf(ids ...[]string) map[string]bool {
	set := map[string]bool{}
	for _, id := range slices.Concat(ids...) {
		set[id] = true
	}
	return set
}

func (k *kindMemory) empty() bool {
	return len(k.Node)+len(k.Dead)+len(k.Stopping)+len(k.Unwanted)+len(k.Kept) == 0
}

func (m *memory) save() error {
	if m.path == "" {
		return nil
	}
	b, err := json.MarshalIndent(memoryState{Version: 1, Workers: m.workers}, "", " ")
	if err != nil {
		return err
	}
	if err = durable.WriteFile(m.path, b, 0o600); err != nil {
		m.log.Error("cannot keep the memory of object ids", zap.Error(err))
		return ops.StateNotWritten("cannot change this", err)
	}
	return nil
}

// node is the node's id for an id that callers use; empty where it has none.
func (m *memory) node(p place, public string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.of(p)
	if id, ok := k.Node[public]; ok {
		return id
	}
	for _, id := range k.Node {
		if id == public {
			return "" // it is the node's id of another realm
		}
	}
	return public
}

// nodes are the node's ids of objects that run.
func (m *memory) nodes(p place, objects []ops.Object) []string {
	ids := make([]string, len(objects))
	for i, o := range objects {
		ids[i] = m.node(p, o.ID)
	}
	return ids
}

// public is the reverse of node.
func (m *memory) public(p place, node string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for public, id := range m.of(p).Node {
		if id == node {
			return public
		}
	}
	return node
}

// publicNow is public for the process of the worker that was last known, and
// whether callers know the object.
func (m *memory) publicNow(worker, kind, node string) (id string, runs bool) {
	m.mu.Lock()
	l := life{}
	if w := m.workers[worker]; w != nil {
		l = w.life
	}
	m.mu.Unlock()
	p := place{worker, l, kind}
	return m.public(p, node), !m.hidden(p, node)
}

// hidden reports whether the node's id is none of an object that runs for
// callers: burnt, or come up after its start was given up.
func (m *memory) hidden(p place, node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.of(p)
	return k.dead(node) || slices.Contains(k.Unwanted, node)
}

// unfinished are the stops whose answer nobody has seen or waits for.
func (m *memory) unfinished(p place) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.of(p)
	ids := slices.Concat(k.Stopping, k.Unwanted)
	return slices.DeleteFunc(ids, func(id string) bool { return m.active[stop{p, id}] > 0 })
}

// half are stops that may have been interrupted after the node had dropped
// the object from its list: something is still kept of it.
func (m *memory) half(p place) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.of(p)
	return slices.DeleteFunc(slices.Clone(k.Stopping), func(id string) bool { return k.Kept[id] == nil })
}

// parents are the node's ids of the objects, or the worker itself, within
// which something is known of objects of a kind.
func (m *memory) parents(worker string, l life, k *ops.Kind) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.workers[worker]
	if w == nil || w.life != l {
		return nil
	}
	var parents []string
	for kind := range w.Kinds {
		if parent, ok := strings.CutPrefix(kind, partsOf(k, "")); ok && (k.Parent != nil || parent == "") {
			parents = append(parents, parent)
		}
	}
	return parents
}

// burnt reports whether the node's id is one of an object that is down.
func (m *memory) burnt(p place, node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(p).dead(node)
}

// held reports whether somebody works on an object.
func (m *memory) held(p place, node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.active[stop{p, node}] > 0
}

// hold says that somebody works on this object, until the result is called.
func (m *memory) hold(p place, node string) (let func()) {
	count := func(by int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		key := stop{p, node}
		if m.active[key] += by; m.active[key] == 0 {
			delete(m.active, key)
		}
	}
	count(1)
	return func() { count(-1) }
}

// assign chooses the node's id for an object to be: the first candidate that
// the node does not list already.
func (m *memory) assign(p place, public string, listed []string, candidate func(n int) string) (node string, err error) {
	err = m.change(p, func(k *kindMemory) {
		delete(k.Node, public)
		taken := setOf(listed, k.Dead, k.Stopping, k.Unwanted, slices.Collect(maps.Values(k.Node)))
		for n := 0; n == 0 || taken[node]; n++ {
			node = candidate(n)
		}
		if node != public {
			k.Node[public] = node
		}
	})
	return node, err
}

// rename keeps that the node calls an object otherwise than was expected.
func (m *memory) rename(p place, from, to string) error {
	return m.change(p, func(k *kindMemory) {
		for public, id := range k.Node {
			if id == from {
				k.Node[public] = to
			}
		}
	})
}

// release forgets an assignment that came to nothing.
func (m *memory) release(p place, public string) error {
	return m.change(p, func(k *kindMemory) { delete(k.Node, public) })
}

// stopping keeps that an object is about to be stopped.
func (m *memory) stopping(p place, node string) error {
	return m.change(p, func(k *kindMemory) {
		if !slices.Contains(k.Stopping, node) && !slices.Contains(k.Unwanted, node) {
			k.Stopping = append(k.Stopping, node)
		}
	})
}

// spared keeps that an object runs on: the node has refused to stop it.
func (m *memory) spared(p place, node string) error {
	return m.change(p, func(k *kindMemory) {
		k.Stopping = slices.DeleteFunc(k.Stopping, func(id string) bool { return id == node })
	})
}

// pardoned is spared for an object that was to be ended, and cannot be: it runs
// for callers too.
func (m *memory) pardoned(p place, node string) error {
	return m.change(p, func(k *kindMemory) {
		is := func(id string) bool { return id == node }
		k.Stopping, k.Unwanted = slices.DeleteFunc(k.Stopping, is), slices.DeleteFunc(k.Unwanted, is)
	})
}

// unwanted keeps that a start was given up that may yet come true.
func (m *memory) unwanted(p place, public, node string) error {
	return m.change(p, func(k *kindMemory) {
		delete(k.Node, public)
		k.Unwanted = append(k.Unwanted, node)
	})
}

// pending keeps that an object is none for callers and is to be ended when
// that can be done.
func (m *memory) pending(p place, node string) error {
	return m.change(p, func(k *kindMemory) {
		k.drop(node)
		k.Unwanted = append(k.Unwanted, node)
	})
}

// stopped keeps that an object is down and its id on the node burnt.
func (m *memory) stopped(p place, node string) error {
	return m.change(p, func(k *kindMemory) {
		k.drop(node)
		k.Dead = append(k.Dead, node)
	})
}

// freed keeps that an object is down and its id free.
func (m *memory) freed(p place, node string) error {
	return m.change(p, func(k *kindMemory) { k.drop(node) })
}

func (k *kindMemory) drop(node string) {
	is := func(id string) bool { return id == node }
	k.Stopping = slices.DeleteFunc(k.Stopping, is)
	k.Unwanted = slices.DeleteFunc(k.Unwanted, is)
	k.Dead = slices.DeleteFunc(k.Dead, is)
	maps.DeleteFunc(k.Node, func(_, id string) bool { return id == node })
	delete(k.Kept, node)
}

// started keeps what was started, for kinds of which the node does not tell.
func (m *memory) started(p place, node string, config map[string]any) error {
	return m.change(p, func(k *kindMemory) { k.Kept[node] = config })
}

// kept is what was started at a place, by the node's id.
func (m *memory) kept(p place) map[string]map[string]any {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.of(p).Kept)
}

// forgetWithin drops what is known of the objects that belonged to one that is
// down.
func (m *memory) forgetWithin(p place, kinds ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := func(kind string) bool {
		w := m.workers[p.worker]
		return w != nil && w.life == p.life && w.Kinds[kind] != nil
	}
	if !slices.ContainsFunc(kinds, known) {
		return nil
	}
	return m.keep(p.worker, p.life, func(w *workerMemory) {
		for _, kind := range kinds {
			delete(w.Kinds, kind)
		}
	})
}

// forget drops a worker that is gone.
func (m *memory) forget(worker string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.workers[worker]; ok {
		delete(m.workers, worker)
		_ = m.save() // void anyway: its process is gone
	}
}

// mark is taken before the node is asked what runs.
func (m *memory) mark() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// keepOnly drops what is of other processes than those that ran at the mark.
func (m *memory) keepOnly(mark uint64, workers []ops.Worker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.workers)
	maps.DeleteFunc(m.workers, func(id string, w *workerMemory) bool {
		return w.touched <= mark && !slices.ContainsFunc(workers, func(now ops.Worker) bool {
			return now.ID == id && w.life == life{PID: now.PID, Created: now.Created}
		})
	})
	if len(m.workers) != before {
		_ = m.save() // tried again with the next change
	}
}
