package crossbar

import (
	"context"

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
	_, err := s.call(ctx, "start_router_realm_role", s.parent, id, wamp.Dict(config))
	return badConfig(err, "role")
}

func (roles) stop(ctx context.Context, s *site, id string, _ ops.StopOptions) (fate, error) {
	_, err := s.call(ctx, "stop_router_realm_role", s.parent, id)
	if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
		err = nil
	}
	return freed, err
}
