package crossbar

import (
	"context"
	"maps"
	"time"

	"fabric.center/cfc/agent/ops"
	"github.com/gammazero/nexus/v3/wamp"
)

// nameKey names an object on the node for good.
type nameKey struct {
	place
	id string
}

// known is what an object is known by beside its id.
func (s *site) known(ctx context.Context, id string) (name, born string, err error) {
	if s.kind.Born == nil {
		name, err = s.name(ctx, id)
		return name, "", err
	}
	d, err := s.get(ctx, s, id)
	if err != nil {
		return "", "", err
	}
	config, _ := wamp.AsDict(d["config"])
	if s.kind.Name != nil {
		name = s.kind.Name(config)
	}
	return name, s.kind.Born(d), nil
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
	maps.DeleteFunc(n.tries, func(k nameKey, _ try) bool { return lives[k.worker] != k.life })
	maps.DeleteFunc(n.unjoined, func(k nameKey, _ time.Time) bool { return lives[k.worker] != k.life })
	maps.DeleteFunc(n.departed, func(id string, pid int) bool { return lives[id].PID != pid })
}

// try is when something that cannot be ended yet is tried again.
type try struct {
	at   time.Time
	wait time.Duration
}

const (
	firstTry = 2 * time.Second
	lastTry  = time.Minute // from one to the next, in the end
)

// notBefore puts the next try off: each leaves its mark in the node's log.
func (n *Node) notBefore(k nameKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wait := min(max(2*n.tries[k].wait, firstTry), lastTry)
	n.tries[k] = try{time.Now().Add(wait), wait}
}

func (n *Node) due(k nameKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !time.Now().Before(n.tries[k].at)
}
