package crossbar

import (
	"context"
	"maps"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// roles are the roles of a realm. The node's own list of them fails, so they
// are taken from the realm.
type roles struct{}

func (roles) probe() string { return "start_router_realm_role" }

func (roles) ids(ctx context.Context, s *site) ([]string, error) {
	d, err := s.dict(ctx, "get_router_realm", s.parent)
	if err != nil {
		return nil, err
	}
	list, _ := wamp.AsList(d["roles"])
	ids := make([]string, len(list))
	for i, v := range list {
		role, _ := wamp.AsDict(v)
		ids[i], _ = wamp.AsString(role["id"])
	}
	return ids, nil
}

func (roles) get(ctx context.Context, s *site, id string) (catalog.Dict, error) {
	return s.dict(ctx, "get_router_realm_role", s.parent, id)
}

func (roles) start(ctx context.Context, s *site, id string, config map[string]any) error {
	_, err := s.call(ctx, "start_router_realm_role", s.parent, id, uncached(config))
	return badConfig(err, "role")
}

// uncached is the role's configuration with nothing in it that the node keeps
// beyond the role's end: what a permission with cache has once allowed, and
// every refusal for want of a permission, the node repeats until the realm
// stops, also when the role has been started anew with other rights.
func uncached(config map[string]any) wamp.Dict {
	out := wamp.Dict(maps.Clone(config))
	if config["permissions"] == nil {
		return out
	}
	given, _ := wamp.AsList(config["permissions"])
	permissions, all := wamp.List{}, false
	for _, v := range given {
		p, _ := wamp.AsDict(v)
		p = maps.Clone(p)
		delete(p, "cache")
		permissions = append(permissions, p)
		all = all || p["uri"] == "" || p["uri"] == "*"
	}
	if !all {
		permissions = append(permissions, wamp.Dict{"uri": "", "match": "prefix", "allow": wamp.Dict{}})
	}
	out["permissions"] = permissions
	return out
}

// stop takes the role's rights too. The node only forgets the role's name:
// sessions that have the role would go on with all its rights, and anonymous
// ones could even join. A role of that name without rights takes its place on
// the router, and stays there when it is stopped in turn.
func (roles) stop(ctx context.Context, s *site, id string, _ ops.StopOptions) (fate, error) {
	name, err := roleName(ctx, s, id)
	if err != nil {
		return freed, err
	}
	if err = s.n.memory.started(s.place(), id, map[string]any{"name": name}); err != nil {
		return freed, err
	}
	if err = endRole(ctx, s, id); err != nil {
		return freed, err
	}
	if _, err = s.call(ctx, "start_router_realm_role", s.parent, id, wamp.Dict{"name": name}); err != nil {
		return freed, err
	}
	return freed, endRole(ctx, s, id)
}

func endRole(ctx context.Context, s *site, id string) error {
	_, err := s.call(ctx, "stop_router_realm_role", s.parent, id)
	if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
		return nil
	}
	return err
}

// roleName is the name of a role that runs, or whose stop was interrupted.
func roleName(ctx context.Context, s *site, id string) (string, error) {
	d, err := s.get(ctx, s, id)
	if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
		if kept := s.n.memory.kept(s.place())[id]; kept != nil {
			return s.kind.Name(kept), nil
		}
	}
	if err != nil {
		return "", err
	}
	config, _ := wamp.AsDict(d["config"])
	return s.kind.Name(config), nil
}
