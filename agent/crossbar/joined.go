package crossbar

import (
	"context"
	"maps"

	"fabric.center/cfc/agent/ops"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// joined are the sessions of one realm, as far as this agent knows. The node
// tells some sessions' ends twice, and those of its own sessions, whose joins
// it does not tell: only what has joined can leave, and once.
type joined struct {
	life     life // the worker's process; zero until it is whole
	whole    bool // what had joined before the agent looked is among them
	sessions map[int64]bool
	left     map[int64]bool // while it is not whole
}

// joinedKey names a realm by the node's id.
type joinedKey struct{ worker, realm string }

func newJoined() *joined { return &joined{sessions: map[int64]bool{}, left: map[int64]bool{}} }

func (m *metas) of(worker, realm string) *joined {
	key := joinedKey{worker, realm}
	if m.joined[key] == nil {
		m.joined[key] = newJoined()
	}
	return m.joined[key]
}

// news reports whether an event of a session has not been told.
func (m *metas) news(e metaEvent) bool {
	if len(e.args) == 0 || e.topic != "wamp.session.on_join" && e.topic != "wamp.session.on_leave" {
		return true
	}
	j := m.of(e.worker, e.realm)
	if d, ok := wamp.AsDict(e.args[0]); ok {
		id, _ := wamp.AsInt64(d["session"])
		again := j.sessions[id]
		j.sessions[id] = true
		return !again
	}
	id, ok := wamp.AsInt64(e.args[0])
	known := j.sessions[id]
	delete(j.sessions, id)
	if j.whole {
		return known
	}
	again := j.left[id]
	j.left[id] = true
	return ok && !again
}

// empty begins a realm that is about to be started: nobody has joined it.
func (m *metas) empty(w *worker, realm string) {
	j := newJoined()
	j.whole, j.life = true, w.life
	m.joined[joinedKey{w.id, realm}] = j
}

// seed adds the sessions that had joined before.
func (j *joined) seed(l life, sessions []int64) {
	for _, id := range sessions {
		if !j.left[id] {
			j.sessions[id] = true
		}
	}
	j.whole, j.life, j.left = true, l, map[int64]bool{}
}

// keepJoined asks once who had joined the realms of a worker before.
func (n *Node) keepJoined(ctx context.Context, w *worker, realms []string) {
	for _, realm := range realms {
		n.mu.Lock()
		j := n.metas.of(w.id, realm)
		if j.whole && j.life != w.life { // of an earlier process
			j = newJoined()
			n.metas.joined[joinedKey{w.id, realm}] = j
		}
		whole := j.whole
		n.mu.Unlock()
		list := metaPrefix(realm) + "wamp.session.list"
		if whole || !n.cfg.Link.Has(ops.WorkerProcedure(w.id, list)) {
			continue
		}
		v, err := w.call(ctx, list)
		if err != nil {
			n.log.Debug("cannot ask who has joined", zap.String("worker", w.id), zap.String("realm", realm), zap.Error(err))
			continue
		}
		var ids []int64
		sessions, _ := wamp.AsList(v)
		for _, x := range sessions {
			id, _ := wamp.AsInt64(x)
			ids = append(ids, id)
		}
		n.mu.Lock()
		j.seed(w.life, ids)
		n.mu.Unlock()
	}
}

// forgetJoined drops realms that are gone, with their workers or before them.
func (n *Node) forgetJoined(workers []ops.Worker) {
	runs := map[string]place{}
	for _, seen := range workers {
		runs[seen.ID] = workerSeen(n, seen).site(ops.RouterRealm, "", "").place()
	}
	n.mu.Lock()
	gone := maps.Clone(n.metas.joined)
	n.mu.Unlock()
	// The memory may be busy with a slow disk, for which nobody may hold up what the
	// node says.
	maps.DeleteFunc(gone, func(key joinedKey, _ *joined) bool {
		at, ok := runs[key.worker]
		return ok && !n.memory.hidden(at, key.realm)
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.metas.joined, func(key joinedKey, j *joined) bool {
		return gone[key] == j // what has begun meanwhile stays
	})
}
