package crossbar

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"fabric.center/cfc/agent/crossbar/nodeconfig"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	"go.uber.org/zap"
)

// Spec implements ops.Node.
func (n *Node) Spec(ctx context.Context, worker string) (ops.WorkerSpec, error) {
	w, err := n.Worker(ctx, worker)
	if err != nil {
		return ops.WorkerSpec{}, err
	}
	options, known := n.memory.optionsOf(w.ID, life{PID: w.PID, Created: w.Created})
	reason := ""
	if !known {
		options, reason = n.configured(w)
	}
	if reason != "" {
		return ops.WorkerSpec{}, cfcerr.New(cfcerr.NotSupported, "cannot restart worker %s: %s", worker, reason).With("worker_id", worker).With("reason", reason)
	}
	return ops.WorkerSpec{ID: w.ID, Type: w.Type, Options: options}, nil
}

// configured are the options of a worker that the node has started from its own
// configuration, or the reason why they cannot be told. The file tells them as
// long as it is the one that the node has read.
func (n *Node) configured(w ops.Worker) (options map[string]any, reason string) {
	const unknown = "the options with which it was started are not known, since somebody else has"
	n.mu.Lock()
	started, err := time.Parse(time.RFC3339, n.info.Started)
	n.mu.Unlock()
	if n.cfg.BootDir == "" || err != nil {
		return nil, unknown
	}
	file, err := nodeconfig.Read(n.cfg.BootDir)
	if err != nil {
		n.log.Warn("cannot tell a worker's options", zap.String("worker", w.ID), zap.Error(err))
		return nil, "the options with which it was started are not known: the node's configuration cannot be read"
	}
	d := configuredWorker(file.Config, w)
	if d == nil {
		return nil, unknown
	}
	info, err := os.Stat(filepath.Join(n.cfg.BootDir, file.Name))
	if err != nil || info.ModTime().After(started) {
		return nil, "the node's configuration was changed since the node has started it, so its options are not known"
	}
	if _, open := d["manhole"]; open {
		return nil, "its manhole would not be opened again"
	}
	if options, _ = durable.Numbers(d["options"]).(map[string]any); options == nil {
		options = map[string]any{}
	}
	return options, ""
}

// configuredWorker is a native worker of the configuration; one without an id
// has that which the node makes up.
func configuredWorker(config map[string]any, w ops.Worker) map[string]any {
	workers, _ := config["workers"].([]any)
	nameless := 0
	for _, x := range workers {
		d, _ := x.(map[string]any)
		id, named := d["id"].(string)
		if !named {
			nameless++
			id = fmt.Sprintf("worker%03d", nameless)
		}
		if id == w.ID && d["type"] == w.Type && w.Type != "guest" {
			return d
		}
	}
	return nil
}

// spec keeps the options with which a worker was started. It runs, so that
// failing to keep them only means not to know them later.
func (m *memory) spec(worker string, l life, options map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.keep(worker, l, func(w *workerMemory) { w.Options = options })
}

// optionsOf are the options with which a worker was started; known is false
// where somebody else has.
func (m *memory) optionsOf(worker string, l life) (options map[string]any, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.workers[worker]
	if w == nil || w.life != l || w.Options == nil {
		return nil, false
	}
	return w.Options, true
}
