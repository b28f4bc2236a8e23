package crossbar

import (
	"context"
	"errors"
	"fmt"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// proxyTransports are the transports of a proxy. The node starts them like
// those of a router, and has no way to stop one.
type proxyTransports struct{ transports }

func (x proxyTransports) start(ctx context.Context, s *site, id string, config map[string]any) error {
	err := x.transports.start(ctx, s, id, config)
	if err == nil || unfinished(err) {
		return err
	}
	// Whether it runs all the same is what the node says of it.
	if _, gone := x.get(ctx, s, id); gone == nil {
		return cfcerr.New(cfcerr.KindOf(err), "cannot start all of transport %s: it runs, since a stop takes the restart of its worker, but not all its paths: %w", s.n.memory.public(s.place(), id), err)
	}
	return err
}

// mayStop implements picky.
func (proxyTransports) mayStop(_ context.Context, _ *site, _ string, options ops.StopOptions) (anew bool, err error) {
	if !options.RestartWorker {
		return false, needsRestart("this node cannot stop a proxy's transport otherwise")
	}
	return true, nil
}

// stop is asked for by those alone who take a start back.
func (proxyTransports) stop(context.Context, *site, string, ops.StopOptions) (fate, error) {
	reason := "this node cannot stop a proxy's transport without a restart of the worker"
	return freed, cfcerr.New(cfcerr.NotSupported, "cannot stop the transport: %s", reason).With("reason", reason)
}

// needsRestart is the error of a change to which its caller has to consent.
func needsRestart(why string) error {
	return cfcerr.Argument("restart_worker", "true, since "+why+": the worker is restarted, which ends all sessions that run through it, and all else in it is started again")
}

// connections are what a proxy may pass sessions on through.
type connections struct{}

func (connections) probe() string { return "get_proxy_connections" }

func (connections) ids(ctx context.Context, s *site) ([]string, error) {
	return s.strings(ctx, "get_proxy_connections")
}

func (connections) get(ctx context.Context, s *site, id string) (catalog.Dict, error) {
	return s.dict(ctx, "get_proxy_connection", id)
}

func (connections) start(ctx context.Context, s *site, id string, config map[string]any) error {
	_, err := s.call(ctx, "start_proxy_connection", id, wamp.Dict(config))
	return badConfig(err, "connection")
}

// mayStop implements picky: the node would go on with a stopped connection to
// which a route leads.
func (connections) mayStop(ctx context.Context, s *site, id string, _ ops.StopOptions) (anew bool, err error) {
	all, err := routes{}.all(ctx, s.worker)
	if err != nil {
		return false, err
	}
	for _, x := range all {
		for role, connection := range x.roles {
			if connection == id {
				route := s.n.memory.public(s.site(ops.ProxyRoute, "", "").place(), x.id)
				return false, cfcerr.New(cfcerr.CannotStop, "cannot stop the connection: route %s of realm %s leads to it for role %s; stop that first", route, x.realm, role).
					With("route_id", route).With("realm_name", x.realm)
			}
		}
	}
	return false, nil
}

func (connections) stop(ctx context.Context, s *site, id string, _ ops.StopOptions) (fate, error) {
	_, err := s.call(ctx, "stop_proxy_connection", id)
	return freed, err
}

// routes are the routes of a proxy, of all its realms. The node gives them
// their ids, route000 and so on, and never one twice.
type routes struct{}

// route is one as the node has it.
type route struct {
	id, realm string
	roles     map[string]any // ids of connections on the node, by role
	told      wamp.Dict
}

func (routes) probe() string { return "get_proxy_routes" }

// nth implements numbering.
func (routes) nth(n int) string { return fmt.Sprintf("route%03d", n) }

func (routes) all(ctx context.Context, w *worker) ([]route, error) {
	realms, err := w.strings(ctx, "get_proxy_routes")
	if err != nil {
		return nil, err
	}
	var all []route
	for _, realm := range realms {
		v, err := w.call(ctx, "list_proxy_realm_routes", realm)
		if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		list, _ := wamp.AsList(v)
		for _, x := range list {
			d, _ := wamp.AsDict(x)
			r := route{realm: realm, told: wamp.NormalizeDict(d)}
			r.id, _ = wamp.AsString(d["id"])
			r.roles, _ = wamp.AsDict(d["config"])
			all = append(all, r)
		}
	}
	return all, nil
}

func (x routes) ids(ctx context.Context, s *site) ([]string, error) {
	all, err := x.all(ctx, s.worker)
	ids := make([]string, len(all))
	for i, r := range all {
		ids[i] = r.id
	}
	return ids, err
}

// get shows the realm as a part of the configuration, as a start takes it; the
// connections have the ids that callers use.
func (x routes) get(ctx context.Context, s *site, id string) (catalog.Dict, error) {
	all, err := x.all(ctx, s.worker)
	if err != nil {
		return nil, err
	}
	connections := s.site(ops.ProxyConnection, "", "").place()
	for _, r := range all {
		if r.id != id {
			continue
		}
		roles := map[string]any{}
		for role, connection := range r.roles {
			node, _ := wamp.AsString(connection)
			roles[role] = s.n.memory.public(connections, node)
		}
		d := catalog.Dict(r.told)
		d["config"] = map[string]any{"realm": r.realm, "roles": roles}
		return d, nil
	}
	return nil, ops.Ref{Kind: s.kind, Worker: s.id, ID: s.n.memory.public(s.place(), id)}.NoSuch()
}

func (x routes) start(ctx context.Context, s *site, id string, config map[string]any) error {
	realm, roles := x.split(s, config)
	if err := x.remember(ctx, s, realm, roles); err != nil {
		return err
	}
	d, err := s.dict(ctx, "start_proxy_realm_route", realm, wamp.Dict(roles))
	if err != nil {
		return badConfig(err, "route")
	}
	if given, _ := wamp.AsString(d["id"]); given != id {
		return s.n.memory.rename(s.place(), id, given)
	}
	return nil
}

// split is a route's configuration as the node takes it.
func (routes) split(s *site, config map[string]any) (realm string, roles map[string]any) {
	realm, _ = config["realm"].(string)
	given, _ := wamp.AsDict(config["roles"])
	connections, roles := s.site(ops.ProxyConnection, "", "").place(), map[string]any{}
	for role, connection := range given {
		public, _ := wamp.AsString(connection)
		roles[role] = s.n.memory.node(connections, public)
	}
	return realm, roles
}

func (x routes) stop(ctx context.Context, s *site, id string, _ ops.StopOptions) (fate, error) {
	all, err := x.all(ctx, s.worker)
	if err != nil {
		return burnt, err
	}
	for _, r := range all {
		if r.id == id {
			_, err := s.call(ctx, "stop_proxy_realm_route", r.realm, id)
			return burnt, errors.Join(err, x.remember(ctx, s, r.realm, r.roles))
		}
	}
	return burnt, nil
}
