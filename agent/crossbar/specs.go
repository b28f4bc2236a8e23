package crossbar

import (
	"context"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
)

// Spec implements ops.Node.
func (n *Node) Spec(ctx context.Context, worker string) (ops.WorkerSpec, error) {
	w, err := n.Worker(ctx, worker)
	if err != nil {
		return ops.WorkerSpec{}, err
	}
	options, known := n.memory.optionsOf(w.ID, life{PID: w.PID, Created: w.Created})
	if !known {
		reason := "the options with which it was started are not known, since somebody else has"
		return ops.WorkerSpec{}, cfcerr.New(cfcerr.NotSupported, "cannot restart worker %s: %s", worker, reason).With("worker_id", worker).With("reason", reason)
	}
	return ops.WorkerSpec{ID: w.ID, Type: w.Type, Options: options}, nil
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
