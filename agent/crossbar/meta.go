package crossbar

import (
	"context"
	"strings"

	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"golang.org/x/time/rate"
)

// The meta events of busy realms are many: so many a second are told, in the
// long run and at once. The others are counted, so that they do not push the
// node's own events out of what the agent keeps for the relay.
const (
	metaRate  = 500
	metaBurst = 2000
)

// metaPrefix is where a realm's meta API is, below its worker.
func metaPrefix(realm string) string { return "realm." + realm + ".root." }

// Meta implements ops.Node.
func (n *Node) Meta(ctx context.Context, r ops.Ref, procedure string, args wamp.List, kwargs wamp.Dict) (any, error) {
	s, err := n.site(ctx, r.Kind, r.Worker, r.Parent)
	if err != nil {
		return nil, err
	}
	id, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	m := meta{n, r.Worker, id}
	if !n.cfg.Link.Has(m.name(procedure)) {
		const reason = "the realm was started without the option bridge_meta_api"
		e := cfcerr.New(cfcerr.NotSupported, "cannot look into realm %s of worker %s: %s; set it in the node's own configuration, or start the realm from here", r.ID, r.Worker, reason)
		return nil, r.InDetail(e).With("reason", reason)
	}
	switch procedure {
	case getSession:
		return m.session(ctx, args, kwargs)
	case killSession:
		return nil, m.kill(ctx, args, kwargs)
	case killByRole, killByAuthID:
		return m.killAll(ctx, procedure, args, kwargs)
	case listSubscribers:
		return m.subscribers(ctx, args, kwargs)
	case countSubscribers:
		list, err := m.subscribers(ctx, args, kwargs)
		return len(list), err
	case getEvents:
		return m.history(ctx, args, kwargs)
	case removeCallee:
		return nil, m.removeCallee(ctx, args, kwargs)
	}
	return m.call(ctx, procedure, args, kwargs)
}

// metaEvent is an event of a realm's meta API, with the node's id of the realm.
type metaEvent struct {
	worker, realm, topic string
	args                 wamp.List
	lost                 uint64 // events that were not told before it
}

// readMeta takes such an event out of what the node says. The node puts "-"
// where its name has dots.
func readMeta(x nodelink.Notice) (metaEvent, bool) {
	rest, ok := strings.CutPrefix(x.Name, "worker.")
	if !ok {
		return metaEvent{}, false
	}
	worker, rest, _ := strings.Cut(rest, ".realm.")
	realm, topic, ok := strings.Cut(rest, ".root.")
	return metaEvent{worker: worker, realm: realm, topic: strings.ReplaceAll(topic, "-", "."), args: x.Args}, ok
}

// metas are the meta events that wait to be told.
type metas struct {
	pace    *rate.Limiter
	waiting []metaEvent
	lost    uint64
	more    chan struct{}
	joined  map[joinedKey]*joined
}

func newMetas() metas {
	return metas{pace: rate.NewLimiter(metaRate, metaBurst), more: make(chan struct{}, 1), joined: map[joinedKey]*joined{}}
}

// noteMeta takes in an event; it must not block.
func (n *Node) noteMeta(e metaEvent) {
	if !n.metas.news(e) {
		return
	}
	if len(n.metas.waiting) >= 2*metaBurst || !n.metas.pace.Allow() {
		n.metas.lost++
		return
	}
	e.lost, n.metas.lost = n.metas.lost, 0
	n.metas.waiting = append(n.metas.waiting, e)
	select {
	case n.metas.more <- struct{}{}:
	default:
	}
}

// tellMetas passes meta events on, under the ids that callers use, until ctx
// ends. It does not wait for questions to the node.
func (n *Node) tellMetas(ctx context.Context, changes ops.Changes) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.metas.more:
		}
		n.mu.Lock()
		events, told := n.metas.waiting, n.told
		n.metas.waiting, n.told = nil, nil
		n.mu.Unlock()
		for _, tell := range told {
			tell(changes)
		}
		for _, e := range events {
			if realm, runs := n.memory.publicNow(e.worker, ops.RouterRealm.Key, e.realm); runs {
				changes.Meta(e.worker, realm, e.topic, e.lost, e.args)
			}
		}
	}
}
