package crossbar

import (
	"context"
	"maps"

	"fabric.center/cfc/agent/ops"
	"github.com/gammazero/nexus/v3/wamp"
)

// nameKey names an object on the node for good.
type nameKey struct {
	place
	id string
}

// name is what the object's kind calls its name. It does not change while the
// object runs: so it is asked for once, and not every two seconds.
func (s *site) name(ctx context.Context, id string) (string, error) {
	if s.kind.Name == nil {
		return "", nil
	}
	key := nameKey{s.place(), id}
	s.n.mu.Lock()
	name, known := s.n.names[key]
	s.n.mu.Unlock()
	if known {
		return name, nil
	}
	d, err := s.get(ctx, s, id)
	if err != nil {
		return "", err
	}
	config, _ := wamp.AsDict(d["config"])
	name = s.kind.Name(config)
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	s.n.names[key] = name
	return name, nil
}

func (s *site) forgetName(id string) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	delete(s.n.names, nameKey{s.place(), id})
	for _, kind := range s.parts(id) {
		maps.DeleteFunc(s.n.names, func(k nameKey, _ string) bool { return k.place == place{s.id, s.life, kind} })
	}
}

// keepNames drops what is of workers that are gone.
func (n *Node) keepNames(workers []ops.Worker) {
	lives := map[string]life{}
	for _, w := range workers {
		lives[w.ID] = life{PID: w.PID, Created: w.Created}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.names, func(k nameKey, _ string) bool { return lives[k.worker] != k.life })
}
