package crossbar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"fabric.center/cfc/agent/host"
	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/shared/durable"
	"go.uber.org/zap"
)

const bootsFile = "booted.json"

// Boots has each process of the node boot the workers of its own configuration
// once. The stock node would do it at each log-in until it has once come to the
// end without a fault: an agent that restarts while the node boots, or after a
// worker of the configuration could not be started, would bring back what
// somebody has stopped meanwhile.
//
// It implements nodelink.Boots. A node in another PID namespace cannot be told
// from the next one, and boots at each log-in as it would by itself.
type Boots struct {
	path string // empty: kept in memory only
	log  *zap.Logger

	mu     sync.Mutex
	booted host.Process
}

// bootsState is the file.
type bootsState struct {
	Version int          `json:"version"`
	Process host.Process `json:"process"`
}

// NewBoots remembers in the directory, across runs of the agent.
func NewBoots(stateDir string, log *zap.Logger) *Boots {
	b := &Boots{log: log}
	if stateDir == "" {
		return b
	}
	b.path = filepath.Join(stateDir, bootsFile)
	var err error
	if b.booted, err = readBoots(b.path); err != nil { // at worst the node boots once more
		log.Warn("cannot tell whether the node has booted its configuration", zap.Error(err))
	}
	return b
}

func readBoots(path string) (host.Process, error) {
	text, err := durable.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return host.Process{}, nil
	}
	if err != nil {
		return host.Process{}, err
	}
	var s bootsState
	if err = durable.DecodeJSON(text, &s); err == nil && s.Version != 1 {
		err = fmt.Errorf("its version is %d, expected 1", s.Version)
	}
	if err != nil {
		return host.Process{}, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return s.Process, nil
}

// Apply implements nodelink.Boots: the one that has booted, if it lives, is the
// one that comes, for there is one node with its key.
func (b *Boots) Apply(ctx context.Context) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.booted.PID == 0 || !b.booted.Alive(ctx)
}

// Ready implements nodelink.Boots. A node that has not said who it is may be
// the one that was expected.
func (b *Boots) Ready(ctx context.Context, info nodelink.NodeInfo, applied bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case info.PID == 0:
		return true
	case applied:
		b.keep(controller(ctx, info))
		return true
	case info.PID == b.booted.PID:
		return true
	default: // the other one still lives, and has lost its place to this one
		b.keep(host.Process{})
		return false
	}
}

func (b *Boots) keep(p host.Process) {
	b.booted = p
	if b.path == "" {
		return
	}
	text, err := json.Marshal(bootsState{Version: 1, Process: p})
	if err == nil {
		err = durable.WriteFile(b.path, text, 0o600)
	}
	if err != nil {
		b.log.Error("cannot keep that the node has booted its configuration", zap.Error(err))
	}
}
