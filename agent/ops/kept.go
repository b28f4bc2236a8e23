package ops

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
	"time"

	"fabric.center/cfc/shared/durable"
	"go.uber.org/zap"
)

const inventoryFile = "inventory.json"

// inventoryState is the file: what had been told to run when the agent ended.
type inventoryState struct {
	Version int           `json:"version"`
	Workers []workerState `json:"workers"`
}

type workerState struct {
	ID      string  `json:"id"`
	Type    string  `json:"type"`
	PID     int     `json:"pid"`
	Created string  `json:"created"`
	Realms  []Realm `json:"realms"`
}

// load reads the file. A damaged one is set aside: without it some events come
// twice, while refusing to start would leave the node without an agent.
func (v *Inventory) load() {
	if v.cfg.StateDir == "" {
		return
	}
	path := filepath.Join(v.cfg.StateDir, inventoryFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	state, err := parseInventory(b, err)
	if err != nil {
		aside := fmt.Sprintf("%s.damaged-%d", path, time.Now().Unix())
		v.cfg.Log.Error("inventory is damaged, set aside", zap.String("path", path), zap.String("as", aside), zap.Error(err), zap.NamedError("rename", os.Rename(path, aside)))
		return
	}
	for _, w := range state.Workers {
		e := newWorkerEntry(Worker{ID: w.ID, Type: w.Type, PID: w.PID, Created: w.Created})
		e.known, e.up = true, true
		for _, r := range w.Realms {
			e.realms[r.ID] = &realmEntry{entry: entry{known: true, up: true}, Realm: r}
		}
		v.workers[w.ID] = e
	}
	v.saved = b
}

func parseInventory(b []byte, err error) (inventoryState, error) {
	var s inventoryState
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
	return s, nil
}

// save writes the file when its content has changed.
func (v *Inventory) save() {
	if v.cfg.StateDir == "" {
		return
	}
	s := inventoryState{Version: 1, Workers: []workerState{}}
	for _, id := range slices.Sorted(maps.Keys(v.workers)) {
		e := v.workers[id]
		if !e.up {
			continue
		}
		w := workerState{ID: id, Type: e.Type, PID: e.PID, Created: e.Created, Realms: []Realm{}}
		for _, rid := range slices.Sorted(maps.Keys(e.realms)) {
			if r := e.realms[rid]; r.up {
				w.Realms = append(w.Realms, r.Realm)
			}
		}
		s.Workers = append(s.Workers, w)
	}
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil || bytes.Equal(b, v.saved) {
		return
	}
	if err := durable.WriteFile(filepath.Join(v.cfg.StateDir, inventoryFile), b, 0o600); err != nil {
		v.cfg.Log.Error("cannot keep the inventory", zap.Error(err))
		return
	}
	v.saved = b
}
