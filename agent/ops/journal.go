package ops

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	"go.uber.org/zap"
)

const (
	journalFile    = "restarts.json"
	journalVersion = 1
)

// restart is one of a worker, or of objects in it alone, that has begun, with all
// that is to run again.
type restart struct {
	Node    string         `json:"node"` // its process, as Inventory.node
	By      string         `json:"by"`
	Worker  string         `json:"worker"`
	Type    string         `json:"type"`
	Options map[string]any `json:"options"`
	Created string         `json:"created"`           // of the worker's process that is to end
	Without string         `json:"without,omitempty"` // id of the object that is to stay down
	// Alone says that the worker itself goes on, and its objects alone are
	// stopped and started.
	Alone   bool      `json:"alone,omitempty"`
	Objects []running `json:"objects"`
}

// running is an object and the configuration to start it with again.
type running struct {
	Kind   string         `json:"kind"` // its key
	Parent string         `json:"parent,omitempty"`
	ID     string         `json:"id"`
	Config map[string]any `json:"config"`
	Parts  []running      `json:"parts,omitempty"`
}

func (x running) ref(worker string) Ref { return Ref{kindByKey(x.Kind), worker, x.Parent, x.ID} }

// journal is the restarts that have begun and not ended, so that one that is
// broken off, by the agent's end or the node's being away, is finished later.
type journal struct {
	path string // empty: not kept
	log  *zap.Logger

	mu       sync.Mutex
	restarts map[string]restart // by worker
}

type journalState struct {
	Version  int       `json:"version"`
	Restarts []restart `json:"restarts"`
}

// openJournal reads the file. A damaged one is set aside: to finish half of a
// restart would be a guess, and to refuse to start leaves the node without an
// agent.
func openJournal(dir string, log *zap.Logger) *journal {
	j := &journal{log: log, restarts: map[string]restart{}}
	if dir == "" {
		return j
	}
	j.path = filepath.Join(dir, journalFile)
	var s journalState
	aside, err := durable.Load(j.path, func(b []byte) (err error) { s, err = parseJournal(b); return err })
	if err != nil {
		log.Error("journal of restarts is damaged, set aside: a worker that was being restarted may be down", zap.String("path", j.path), zap.String("as", aside), zap.Error(err))
		return j
	}
	for _, x := range s.Restarts {
		j.restarts[x.Worker] = x
	}
	return j
}

func parseJournal(b []byte) (journalState, error) {
	var s journalState
	if err := durable.DecodeJSON(b, &s); err != nil {
		return s, err
	}
	if s.Version != journalVersion {
		return s, fmt.Errorf("version %d, expected %d", s.Version, journalVersion)
	}
	for i, x := range s.Restarts {
		if x.Worker == "" || !slices.Contains(WorkerTypes, x.Type) {
			return s, fmt.Errorf("restart %d is one of a worker %q of type %q", i, x.Worker, x.Type)
		}
		s.Restarts[i].Options, _ = durable.Whole(x.Options).(map[string]any)
		if err := checkRunning(x.Type, nil, "", x.Objects); err != nil {
			return s, fmt.Errorf("restart of worker %s: %w", x.Worker, err)
		}
	}
	return s, nil
}

// checkRunning refuses objects that are not where their kind can be, and makes
// their numbers what they were.
func checkRunning(worker string, parent *Kind, parentID string, all []running) error {
	for i, x := range all {
		k := kindByKey(x.Kind)
		if k == nil || k.Worker != worker || k.Parent != parent || x.Parent != parentID || x.ID == "" {
			return fmt.Errorf("it has an object %q of kind %q", x.ID, x.Kind)
		}
		all[i].Config, _ = durable.Whole(x.Config).(map[string]any)
		if err := checkRunning(worker, k, x.ID, x.Parts); err != nil {
			return err
		}
	}
	return nil
}

// begun keeps a restart before anything of it is done.
func (j *journal) begun(x restart) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	old, had := j.restarts[x.Worker]
	j.restarts[x.Worker] = x
	err := j.save()
	if err == nil {
		return nil
	}
	if delete(j.restarts, x.Worker); had {
		j.restarts[x.Worker] = old
	}
	j.log.Error("cannot keep the journal of restarts", zap.Error(err))
	return StateNotWritten("cannot restart worker "+x.Worker, err).With("worker_id", x.Worker)
}

// StateNotWritten is the error of what cannot be done because it could not be kept.
func StateNotWritten(cannot string, err error) *cfcerr.Error {
	why := durable.Why(err)
	return cfcerr.New(cfcerr.Unavailable, "%s: the agent cannot write its state: %s", cannot, why).With("part", "state directory").With("reason", why)
}

// ended drops a restart of which nothing is left to do.
func (j *journal) ended(worker string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, open := j.restarts[worker]; !open {
		return
	}
	delete(j.restarts, worker)
	if err := j.save(); err != nil {
		j.log.Error("cannot keep the journal of restarts: the next agent may finish one a second time", zap.String("worker", worker), zap.Error(err))
	}
}

// open is the restart of a worker that has not ended.
func (j *journal) open(worker string) (x restart, open bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	x, open = j.restarts[worker]
	return x, open
}

func (j *journal) workers() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Keys(j.restarts))
}

func (j *journal) save() error {
	if j.path == "" {
		return nil
	}
	if len(j.restarts) == 0 { // the file holds secrets
		return durable.Remove(j.path)
	}
	s := journalState{Version: journalVersion}
	for _, worker := range slices.Sorted(maps.Keys(j.restarts)) {
		s.Restarts = append(s.Restarts, j.restarts[worker])
	}
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFile(j.path, b, 0o600)
}
