package crossbar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// realms are the realms of a router worker.
type realms struct{}

func (realms) probe() string { return "get_router_realms" }

func (realms) ids(ctx context.Context, s *site) ([]string, error) {
	return s.strings(ctx, "get_router_realms")
}

func (realms) get(ctx context.Context, s *site, id string) (catalog.Dict, error) {
	return s.dict(ctx, "get_router_realm", id)
}

func (realms) start(ctx context.Context, s *site, id string, config map[string]any) error {
	s.n.mu.Lock()
	s.n.metas.empty(s.worker, id)
	s.n.mu.Unlock()
	if _, err := s.call(ctx, "start_router_realm", id, withMeta(config)); err != nil {
		return badConfig(err, "realm")
	}
	list, _ := wamp.AsList(config["roles"])
	used := roleIDs(list)
	for i, v := range list {
		role, _ := wamp.AsDict(v)
		role = maps.Clone(role)
		delete(role, "id")
		if err := (roles{}).start(ctx, s.site(ops.RealmRole, id, ""), used[i], role); err != nil {
			return err
		}
	}
	return nil
}

// badConfig is the error of a configuration on which the node has stumbled.
func badConfig(err error, noun string) error {
	if cfcerr.KindOf(err) != cfcerr.NodeError {
		return err
	}
	return cfcerr.New(cfcerr.InvalidConfiguration, "cannot start the %s: the node does not take its configuration: %w", noun, err)
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

func (realms) stop(ctx context.Context, s *site, id string, _ ops.StopOptions) (fate, error) {
	d, err := s.get(ctx, s, id)
	if err == nil {
		endSessions(ctx, s, id, d)
	}
	config, _ := wamp.AsDict(d["config"])
	name, _ := wamp.AsString(config["name"])
	_, err = s.call(ctx, "stop_router_realm", id)
	if down(err, name) {
		return burnt, nil
	}
	return freed, err
}

// endSessions tells every session of a realm that is about to go down. Without
// it the node leaves them connected, to nothing. It takes the realm's roles
// first, so that nobody joins any more. A realm without bridge_meta_api gives no
// way to its sessions: they find out when they next send something.
func endSessions(ctx context.Context, s *site, id string, realm catalog.Dict) {
	ctx, cancel := context.WithTimeout(ctx, share(ctx, sessionsWait))
	defer cancel()
	list, _ := wamp.AsList(realm["roles"])
	for _, v := range list {
		role, _ := wamp.AsDict(v)
		// One that cannot be taken only lets somebody join a moment longer.
		_, _ = s.call(ctx, "stop_router_realm_role", id, role["id"])
	}
	meta := metaPrefix(id) + "wamp.session."
	if !s.n.cfg.Link.Has(ops.WorkerProcedure(s.id, meta+"list")) {
		return
	}
	told := map[int64]bool{}
	for {
		v, err := s.call(ctx, meta+"list")
		sessions, _ := wamp.AsList(v)
		if err != nil || len(sessions) == 0 {
			return
		}
		for _, x := range sessions {
			if session, ok := wamp.AsInt64(x); ok && !told[session] {
				told[session] = true
				_, _ = s.call(ctx, meta+"kill", session, string(wamp.CloseRealm), "the realm was stopped")
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
	text := nodeText(err) // none where it is no error of the node
	return text != "" && (text == name || text == "'"+name+"'" || noRouter.MatchString(text))
}

func nodeText(err error) string {
	var e *cfcerr.Error
	if !errors.As(err, &e) {
		return ""
	}
	text, _ := e.Details["text"].(string)
	return text
}
