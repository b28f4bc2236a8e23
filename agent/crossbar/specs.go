package crossbar

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
