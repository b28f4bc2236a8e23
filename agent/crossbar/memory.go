package crossbar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	"go.uber.org/zap"
)

const memoryFile = "realms.json"

// life is one process of a worker: what is remembered of it is void for the
// next one.
type life struct {
	PID     int    `json:"pid"`
	Created string `json:"created"`
}

// memory is which realm ids of which router worker mean what on the node, and
// which are burnt. An id that is not in it means itself.
type memory struct {
	path string // empty: not kept
	log  *zap.Logger

	mu      sync.Mutex
	version uint64         // one up for each change
	active  map[string]int // stops under way, by worker and id
	workers map[string]*workerMemory
}

type workerMemory struct {
	life
	// Node maps ids that callers use to the node's, where the two differ.
	Node map[string]string `json:"node"`
	// Dead are ids of the node whose realms are down.
	Dead []string `json:"dead"`
	// Stopping are ids of the node whose stop was begun, and Unwanted those
	// whose start was given up, without anybody having seen the answer.
	Stopping []string `json:"stopping"`
	Unwanted []string `json:"unwanted"`

	touched uint64 // version of the last change
}

type memoryState struct {
	Version int                      `json:"version"`
	Workers map[string]*workerMemory `json:"workers"`
}

// openMemory reads the file. A damaged one is set aside: it is better to list
// a dead realm than to leave the node without an agent.
func openMemory(dir string, log *zap.Logger) *memory {
	m := &memory{log: log, workers: map[string]*workerMemory{}, active: map[string]int{}}
	if dir == "" {
		return m
	}
	m.path = filepath.Join(dir, memoryFile)
	b, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return m
	}
	s, err := parseMemory(b, err)
	if err != nil {
		aside := fmt.Sprintf("%s.damaged-%d", m.path, time.Now().Unix())
		log.Error("memory of realm ids is damaged, set aside", zap.String("path", m.path), zap.String("as", aside), zap.Error(err), zap.NamedError("rename", os.Rename(m.path, aside)))
		return m
	}
	m.workers = s.Workers
	return m
}

func parseMemory(b []byte, err error) (memoryState, error) {
	s := memoryState{Workers: map[string]*workerMemory{}}
	if err != nil {
		return s, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return s, errors.New("something follows the end")
	}
	if s.Version != 1 {
		return s, fmt.Errorf("version %d, expected 1", s.Version)
	}
	for id, w := range s.Workers {
		if w == nil {
			return s, fmt.Errorf("worker %s is null", id)
		}
		if w.Node == nil {
			w.Node = map[string]string{}
		}
	}
	return s, nil
}

// of is what is known about this process of the worker; never nil.
func (m *memory) of(worker string, l life) *workerMemory {
	if w := m.workers[worker]; w != nil && w.life == l {
		return w
	}
	return &workerMemory{life: l, Node: map[string]string{}}
}

// change applies f and keeps the result; the change is undone when it cannot
// be kept.
func (m *memory) change(worker string, l life, f func(*workerMemory)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, had := m.workers[worker]
	now := m.of(worker, l).clone()
	f(now)
	m.version++
	now.touched = m.version
	if now.empty() {
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

func (w *workerMemory) clone() *workerMemory {
	return &workerMemory{life: w.life, Node: maps.Clone(w.Node), Dead: slices.Clone(w.Dead), Stopping: slices.Clone(w.Stopping), Unwanted: slices.Clone(w.Unwanted)}
}

func (w *workerMemory) empty() bool {
	return len(w.Node)+len(w.Dead)+len(w.Stopping)+len(w.Unwanted) == 0
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
		m.log.Error("cannot keep the memory of realm ids", zap.Error(err))
		return cfcerr.New(cfcerr.Unavailable, "cannot change realms: the agent cannot write its state").With("part", "state directory").With("reason", "not writable")
	}
	return nil
}

// node is the node's id for an id that callers use; empty where it has none.
func (m *memory) node(worker string, l life, public string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.of(worker, l)
	if id, ok := w.Node[public]; ok {
		return id
	}
	for _, id := range w.Node {
		if id == public {
			return "" // it is the node's id of another realm
		}
	}
	return public
}

// public is the reverse of node.
func (m *memory) public(worker string, l life, node string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for public, id := range m.of(worker, l).Node {
		if id == node {
			return public
		}
	}
	return node
}

// hidden reports whether the node's id is none of a realm that runs for
// callers: burnt, or come up after its start was given up.
func (m *memory) hidden(worker string, l life, node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.of(worker, l)
	return slices.Contains(w.Dead, node) || slices.Contains(w.Unwanted, node)
}

// unfinished are the stops whose answer nobody has seen or waits for.
func (m *memory) unfinished(worker string, l life) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.of(worker, l)
	ids := slices.Concat(w.Stopping, w.Unwanted)
	return slices.DeleteFunc(ids, func(id string) bool { return m.active[worker+"."+id] > 0 })
}

// hold says that somebody waits for this stop, until the result is called.
func (m *memory) hold(worker, node string) (let func()) {
	count := func(by int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		key := worker + "." + node
		if m.active[key] += by; m.active[key] == 0 {
			delete(m.active, key)
		}
	}
	count(1)
	return func() { count(-1) }
}

// assign chooses the node's id for a realm to be: the id itself unless the
// node lists it already.
func (m *memory) assign(worker string, l life, public string, listed []string) (node string, err error) {
	err = m.change(worker, l, func(w *workerMemory) {
		taken := func(id string) bool {
			if slices.Contains(listed, id) || slices.Contains(w.Dead, id) || slices.Contains(w.Stopping, id) || slices.Contains(w.Unwanted, id) {
				return true
			}
			for other, of := range w.Node {
				if of == id && other != public {
					return true
				}
			}
			return false
		}
		delete(w.Node, public)
		node = public
		for n := 1; taken(node); n++ {
			node = fmt.Sprintf("r_%s_%d", public, n)
		}
		if node != public {
			w.Node[public] = node
		}
	})
	return node, err
}

// release forgets an assignment that came to nothing.
func (m *memory) release(worker string, l life, public string) error {
	return m.change(worker, l, func(w *workerMemory) { delete(w.Node, public) })
}

// stopping keeps that a realm is about to be stopped.
func (m *memory) stopping(worker string, l life, node string) error {
	return m.change(worker, l, func(w *workerMemory) {
		if !slices.Contains(w.Stopping, node) && !slices.Contains(w.Unwanted, node) {
			w.Stopping = append(w.Stopping, node)
		}
	})
}

// spared keeps that a realm runs on: the node has refused to stop it.
func (m *memory) spared(worker string, l life, node string) error {
	return m.change(worker, l, func(w *workerMemory) {
		w.Stopping = slices.DeleteFunc(w.Stopping, func(id string) bool { return id == node })
	})
}

// unwanted keeps that a start was given up that may yet come true.
func (m *memory) unwanted(worker string, l life, public, node string) error {
	return m.change(worker, l, func(w *workerMemory) {
		delete(w.Node, public)
		w.Unwanted = append(w.Unwanted, node)
	})
}

// stopped keeps that a realm is down and its id on the node burnt.
func (m *memory) stopped(worker string, l life, node string) error {
	return m.change(worker, l, func(w *workerMemory) {
		w.drop(node)
		w.Dead = append(w.Dead, node)
	})
}

// freed keeps that a realm is down and its id free.
func (m *memory) freed(worker string, l life, node string) error {
	return m.change(worker, l, func(w *workerMemory) { w.drop(node) })
}

func (w *workerMemory) drop(node string) {
	is := func(id string) bool { return id == node }
	w.Stopping = slices.DeleteFunc(w.Stopping, is)
	w.Unwanted = slices.DeleteFunc(w.Unwanted, is)
	w.Dead = slices.DeleteFunc(w.Dead, is)
	maps.DeleteFunc(w.Node, func(_, id string) bool { return id == node })
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
