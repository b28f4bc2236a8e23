package ops

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"fabric.center/cfc/shared/durable"
	"go.uber.org/zap"
)

const (
	inventoryFile    = "inventory.json"
	inventoryVersion = 2
)

// inventoryState is the file: what had been told to run, or to start, when the
// agent ended.
type inventoryState struct {
	Version int           `json:"version"`
	Node    string        `json:"node,omitempty"` // as Inventory.node
	Workers []workerState `json:"workers"`
}

type workerState struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	PID     int    `json:"pid"`
	Created string `json:"created"`
	// Starting says that only the begin of its start had been told.
	Starting bool          `json:"starting,omitempty"`
	Objects  []objectState `json:"objects"`
}

type objectState struct {
	Kind     string `json:"kind"`
	Parent   string `json:"parent,omitempty"`
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Born     string `json:"born,omitempty"`
	Starting bool   `json:"starting,omitempty"`
}

// load reads the file. A damaged one is set aside: without it some events come
// twice, while refusing to start would leave the node without an agent.
func (v *Inventory) load() {
	if v.cfg.StateDir == "" {
		return
	}
	path := filepath.Join(v.cfg.StateDir, inventoryFile)
	var state inventoryState
	var saved []byte
	aside, err := durable.Load(path, func(b []byte) (err error) { saved = b; state, err = parseInventory(b); return err })
	if err != nil {
		v.cfg.Log.Error("inventory is damaged, set aside", zap.String("path", path), zap.String("as", aside), zap.Error(err))
		return
	}
	for _, w := range state.Workers {
		e := newWorkerEntry(Worker{ID: w.ID, Type: w.Type, PID: w.PID, Created: w.Created})
		e.known, e.told, e.up = true, true, !w.Starting
		for _, o := range w.Objects {
			x := e.addObject(Ref{kindByKey(o.Kind), w.ID, o.Parent, o.ID}, o.Name)
			x.known, x.told, x.up, x.born = true, true, !o.Starting, o.Born
		}
		v.workers[w.ID] = e
	}
	v.saved, v.node = saved, state.Node
}

func parseInventory(b []byte) (inventoryState, error) {
	var s inventoryState
	if err := durable.DecodeJSON(b, &s); err != nil {
		return s, err
	}
	if s.Version != inventoryVersion {
		return s, fmt.Errorf("version %d, expected %d", s.Version, inventoryVersion)
	}
	for _, w := range s.Workers {
		for _, o := range w.Objects {
			if kindByKey(o.Kind) == nil {
				return s, fmt.Errorf("worker %s has an object of kind %q", w.ID, o.Kind)
			}
		}
	}
	return s, nil
}

// save writes the file when its content has changed.
func (v *Inventory) save() {
	if v.cfg.StateDir == "" {
		return
	}
	s := inventoryState{Version: inventoryVersion, Node: v.node, Workers: []workerState{}}
	for _, id := range slices.Sorted(maps.Keys(v.workers)) {
		e := v.workers[id]
		if !e.told && !e.up {
			continue
		}
		w := workerState{ID: id, Type: e.Type, PID: e.PID, Created: e.Created, Starting: !e.up, Objects: []objectState{}}
		for _, r := range e.sorted() {
			if o := e.objects[r]; o.told || o.up {
				w.Objects = append(w.Objects, objectState{Kind: r.Kind.Key, Parent: r.Parent, ID: r.ID, Name: o.Name, Born: o.born, Starting: !o.up})
			}
		}
		s.Workers = append(s.Workers, w)
	}
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil || bytes.Equal(b, v.saved) {
		return
	}
	if err := durable.WriteFile(filepath.Join(v.cfg.StateDir, inventoryFile), b, 0o600); err != nil {
		if !v.unsaved { // said once: it is tried again every other second
			v.cfg.Log.Error("cannot keep the inventory", zap.Error(err))
		}
		v.unsaved = true
		return
	}
	v.saved, v.unsaved = b, false
}
