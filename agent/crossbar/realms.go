package crossbar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// Realms implements ops.Node.
func (n *Node) Realms(ctx context.Context, worker string) ([]ops.Realm, error) {
	r, err := n.router(ctx, worker)
	if err != nil {
		return nil, err
	}
	return r.realms(ctx)
}

// Realm implements ops.Node.
func (n *Node) Realm(ctx context.Context, worker, id string) (catalog.Dict, error) {
	r, err := n.router(ctx, worker)
	if err != nil {
		return nil, err
	}
	nodeID, err := r.find(id)
	if err != nil {
		return nil, err
	}
	return r.get(ctx, nodeID)
}

// StartRealm implements ops.Node.
func (n *Node) StartRealm(ctx context.Context, _, worker, id string, config map[string]any) (catalog.Dict, error) {
	r, err := n.router(ctx, worker)
	if err != nil {
		return nil, err
	}
	// Kept before the node is asked: otherwise a crash in between would show
	// the realm under an id that nobody gave it.
	nodeID, err := n.memory.assign(worker, r.life, id, r.ids)
	if err != nil {
		return nil, err
	}
	if err = r.start(ctx, nodeID, config); err != nil {
		r.takeBack(ctx, id, nodeID, err)
		if unfinished(err) {
			err = givenUp(err, "realm "+id)
		}
		return nil, err
	}
	return r.get(ctx, nodeID)
}

func (r *router) start(ctx context.Context, nodeID string, config map[string]any) error {
	if _, err := r.call(ctx, "start_router_realm", nodeID, withMeta(config)); err != nil {
		return badRealm(err)
	}
	roles, _ := wamp.AsList(config["roles"])
	used := roleIDs(roles)
	for i, v := range roles {
		role, _ := wamp.AsDict(v)
		role = maps.Clone(role)
		delete(role, "id")
		if _, err := r.call(ctx, "start_router_realm_role", nodeID, used[i], role); err != nil {
			return badRealm(err)
		}
	}
	return nil
}

// badRealm is the error of a configuration on which the node has stumbled.
func badRealm(err error) error {
	if cfcerr.KindOf(err) != cfcerr.NodeError {
		return err
	}
	return cfcerr.New(cfcerr.InvalidConfiguration, "cannot start the realm: the node does not take its configuration: %w", err)
}

// withMeta switches on what the realm's meta API needs, unless the caller has
// said otherwise.
func withMeta(config map[string]any) wamp.Dict {
	out := wamp.Dict(maps.Clone(config))
	given, _ := wamp.AsDict(config["options"])
	options := wamp.Dict{"enable_meta_api": true, "bridge_meta_api": true}
	maps.Copy(options, given)
	out["options"] = options
	return out
}

// roleIDs gives each role its id, else its name where that can be one, else a
// number.
func roleIDs(roles wamp.List) []string {
	ids, taken := make([]string, len(roles)), map[string]bool{}
	for i, v := range roles {
		role, _ := wamp.AsDict(v)
		ids[i], _ = role["id"].(string)
		taken[ids[i]] = true
	}
	for i, v := range roles {
		if ids[i] != "" {
			continue
		}
		role, _ := wamp.AsDict(v)
		name, _ := role["name"].(string)
		if !wire.ValidObjectID(name) || taken[name] {
			for n := i + 1; name == "" || taken[name] || !wire.ValidObjectID(name); n++ {
				name = fmt.Sprintf("role%03d", n)
			}
		}
		ids[i], taken[name] = name, true
	}
	return ids
}

// takeBack removes what a failed start has left on the node: nothing, a realm
// without some of its roles, or an id that is burnt. A start that was not
// awaited may yet come true: it is remembered as one to be stopped.
func (r *router) takeBack(ctx context.Context, public, nodeID string, cause error) {
	var err error
	if unfinished(cause) {
		err = r.n.memory.unwanted(r.id, r.life, public, nodeID)
	} else if err = r.refresh(ctx); err == nil {
		if slices.Contains(r.ids, nodeID) {
			err = r.stop(ctx, nodeID)
		} else {
			err = r.n.memory.release(r.id, r.life, public)
		}
	}
	if err != nil {
		r.n.log.Warn("cannot take back the start of a realm", zap.String("worker", r.id), zap.String("realm", public), zap.Error(err))
	}
	r.n.wake()
}

// StopRealm implements ops.Node.
func (n *Node) StopRealm(ctx context.Context, by, worker, id string) (catalog.Dict, error) {
	r, err := n.router(ctx, worker)
	if err != nil {
		return nil, err
	}
	nodeID, err := r.find(id)
	if err != nil {
		return nil, err
	}
	d, err := r.get(ctx, nodeID)
	if err != nil {
		return nil, err
	}
	if err = r.stop(ctx, nodeID); err != nil {
		return nil, err
	}
	d["stopped"], d["who"] = wire.Time(time.Now()), by
	return d, nil
}

// stop takes a realm down. The intent is kept first, so that a crash in
// between neither hides a living realm nor shows a dead one.
func (r *router) stop(ctx context.Context, nodeID string) error {
	defer r.n.memory.hold(r.id, nodeID)()
	if err := r.n.memory.stopping(r.id, r.life, nodeID); err != nil {
		return err
	}
	d, err := r.get(ctx, nodeID)
	if err == nil && !r.n.memory.hidden(r.id, r.life, nodeID) {
		r.endSessions(ctx, nodeID, d)
	}
	name := nameOf(d)
	_, err = r.call(ctx, "stop_router_realm", nodeID)
	r.forgetName(nodeID)
	switch {
	case down(err, name):
		return r.n.memory.stopped(r.id, r.life, nodeID)
	case err == nil, cfcerr.KindOf(err) == cfcerr.NoSuchObject: // a node without the defect
		return r.n.memory.freed(r.id, r.life, nodeID)
	case !unfinished(err) && cfcerr.KindOf(err) != cfcerr.ConnectionLost:
		return errors.Join(err, r.n.memory.spared(r.id, r.life, nodeID))
	}
	return err
}

// endSessions tells every session of a realm that is about to go down. Without
// it the node leaves them connected, to nothing. It takes the realm's roles
// first, so that nobody joins any more. A realm without bridge_meta_api gives no
// way to its sessions: they find out when they next send something.
func (r *router) endSessions(ctx context.Context, nodeID string, realm catalog.Dict) {
	ctx, cancel := context.WithTimeout(ctx, share(ctx, sessionsWait))
	defer cancel()
	roles, _ := wamp.AsList(realm["roles"])
	for _, v := range roles {
		role, _ := wamp.AsDict(v)
		// One that cannot be taken only lets somebody join a moment longer.
		_, _ = r.call(ctx, "stop_router_realm_role", nodeID, role["id"])
	}
	meta := "realm." + nodeID + ".root.wamp.session."
	if !r.n.cfg.Link.Has(ops.WorkerProcedure(r.id, meta+"list")) {
		return
	}
	told := map[any]bool{}
	for {
		v, err := r.call(ctx, meta+"list")
		sessions, _ := wamp.AsList(v)
		if err != nil || len(sessions) == 0 {
			return
		}
		for _, id := range sessions {
			if !told[id] {
				told[id] = true
				_, _ = r.call(ctx, meta+"kill", id, string(wamp.CloseRealm), "the realm was stopped")
			}
		}
		if !pause(ctx, 10*time.Millisecond) {
			return // those that do not answer their GOODBYE are cut off
		}
	}
}

// sessionsWait is how long sessions may take to leave a realm that is stopped.
const sessionsWait = 3 * time.Second

var noRouter = regexp.MustCompile(`^no router started for realm `)

// down reports whether the error of stop_router_realm means that the realm is
// down: the node trips over the realm's name after it has taken it down, and
// over the missing router when it does so again.
func down(err error, name string) bool {
	text := nodeText(err)
	return text == name || text == "'"+name+"'" || noRouter.MatchString(text)
}

func nodeText(err error) string {
	var e *cfcerr.Error
	if !errors.As(err, &e) {
		return ""
	}
	text, _ := e.Details["text"].(string)
	return text
}

// finishStops completes stops whose answer nobody has seen, and ends realms
// whose start came true after it was given up.
func (n *Node) finishStops(ctx context.Context, workers []ops.Worker) {
	for _, w := range workers {
		if !w.Ready || w.Type != "router" {
			continue
		}
		ids := n.memory.unfinished(w.ID, life{PID: w.PID, Created: w.Created})
		if len(ids) == 0 {
			continue
		}
		r, err := n.router(ctx, w.ID)
		for _, nodeID := range ids {
			if err == nil && slices.Contains(r.ids, nodeID) {
				err = r.stop(ctx, nodeID)
			}
		}
		if err != nil {
			n.log.Warn("cannot finish stopping realms", zap.String("worker", w.ID), zap.Strings("realms", ids), zap.Error(err))
		}
	}
}
