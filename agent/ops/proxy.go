package ops

import (
	"context"
	"slices"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// Kinds of objects in proxies.
var (
	ProxyConnection = &Kind{Key: "proxy_connection", Noun: "connection", Worker: "proxy", Prefix: "connection_",
		Life: catalog.ProxyConnectionLife, Check: checkConnection}
	ProxyRoute = &Kind{Key: "proxy_route", Noun: "route", Worker: "proxy", Prefix: "route_",
		Life: catalog.ProxyRouteLife, Check: checkRoute, Name: func(config map[string]any) string { realm, _ := config["realm"].(string); return realm }, Shared: true}
	ProxyTransport = &Kind{Key: "proxy_transport", Noun: "transport", Worker: "proxy", Prefix: "transport_",
		Life: catalog.ProxyTransportLife, Check: checkTransport, Code: codeOf}
	ProxyPath = &Kind{Key: "proxy_path", Noun: "path", Worker: "proxy", Parent: ProxyTransport,
		Life: catalog.ProxyPathLife, Check: TransportPath.Check, Code: codeOf}
)

func (o *Ops) bindProxy() {
	bindKind(o, ProxyConnection, catalog.ProxyGetConnections, catalog.ProxyGetConnection, catalog.ProxyStartConnection, catalog.ProxyStopConnection)
	bindKind(o, ProxyPath, catalog.ProxyGetPaths, catalog.ProxyGetPath, catalog.ProxyStartPath, catalog.ProxyStopPath)
	bindLook(o, ProxyTransport, catalog.ProxyGetTransports, catalog.ProxyGetTransport)
	bindStart(o, ProxyTransport, catalog.ProxyStartTransport)
	catalog.Bind(o.table, catalog.ProxyStopTransport, func(ctx context.Context, c catalog.Caller, in catalog.StopProxyTransportIn) (catalog.Dict, error) {
		return o.stopObject(ctx, c, ProxyTransport.at(in.Place()), StopOptions{RestartWorker: in.RestartWorker})
	})
	o.bindRoutes()
}

// What a connection's configuration may have.
var (
	connectionKeys = []string{"transport", "auth"}
	connectionAuth = []string{"anonymous-proxy", "cryptosign-proxy"}
	backendKeys    = []string{"type", "url", "endpoint", "serializer", "serializers", "options", "headers", "proxy",
		"max_retries", "max_retry_delay", "initial_retry_delay", "retry_delay_growth", "retry_delay_jitter"}
)

// checkConnection refuses what the node would take, to fail at each session.
func checkConnection(config map[string]any) error {
	const at = "connection_config"
	if err := onlyKeys(at, config, connectionKeys); err != nil {
		return err
	}
	if err := checkConnecting(at+".transport", config["transport"]); err != nil {
		return err
	}
	transport, _ := wamp.AsDict(config["transport"])
	if err := onlyKeys(at+".transport", transport, backendKeys); err != nil {
		return err
	}
	auth, ok := wamp.AsDict(config["auth"])
	if !ok {
		return cfcerr.Argument(at+".auth", "a dict: "+oneOf(connectionAuth))
	}
	if err := onlyKeys(at+".auth", auth, connectionAuth); err != nil {
		return err
	}
	if config["auth"] != nil && len(auth) == 0 {
		return cfcerr.Argument(at+".auth", oneOf(connectionAuth))
	}
	endpoint, _ := wamp.AsDict(transport["endpoint"])
	if _, signs := auth["cryptosign-proxy"]; !signs && endpoint["type"] != "unix" {
		return cfcerr.Argument(at+".auth", "cryptosign-proxy, since anonymous-proxy is for Unix sockets only")
	}
	return nil
}

func checkRoute(config map[string]any) error {
	const at = "route_config"
	if realm, _ := config["realm"].(string); realm == "" {
		return cfcerr.Argument("realm_name", "the name of a WAMP realm")
	}
	roles, _ := wamp.AsDict(config["roles"])
	if len(roles) == 0 {
		return cfcerr.Argument(at, "a dict of at least one role and the connection that leads there: {role: connection id}")
	}
	for role, connection := range roles {
		if id, _ := connection.(string); id == "" || role == "" {
			return cfcerr.Argument(at+"."+role, "the id of a connection")
		}
	}
	return nil
}

// bindRoutes binds what differs from other kinds: a route is found by its realm
// too, and shown with its roles alone for a configuration.
func (o *Ops) bindRoutes() {
	t := o.table
	catalog.Bind(t, catalog.ProxyGetRoutes, func(ctx context.Context, _ catalog.Caller, in catalog.Workers) ([]string, error) {
		all, err := o.objects(ctx, ProxyRoute.within(in.Place()))
		realms := make([]string, 0, len(all))
		for _, x := range all {
			realms = append(realms, x.Name)
		}
		slices.Sort(realms)
		return slices.Compact(realms), err
	})
	catalog.Bind(t, catalog.ProxyListRoutes, o.listRoutes)
	catalog.BindCrossbar(t, catalog.ProxyListRoutes, o.showRoutes)
	catalog.Bind(t, catalog.ProxyGetRoute, func(ctx context.Context, _ catalog.Caller, in catalog.OnRoute) (catalog.Dict, error) {
		return o.getRoute(ctx, in)
	})
	catalog.Bind(t, catalog.ProxyStartRoute, o.startRoute)
	catalog.Bind(t, catalog.ProxyStopRoute, func(ctx context.Context, c catalog.Caller, in catalog.StopRouteIn) (catalog.Dict, error) {
		if _, err := o.getRoute(ctx, in.OnRoute); err != nil {
			return nil, err
		}
		d, err := o.stopObject(ctx, c, ProxyRoute.at(in.Place()), StopOptions{RestartWorker: in.RestartWorker})
		return routeShown(d), err
	})
}

func (o *Ops) listRoutes(ctx context.Context, _ catalog.Caller, in catalog.OnProxyRealm) ([]string, error) {
	all, err := o.objects(ctx, ProxyRoute.within(in.Place()))
	ids := []string{}
	for _, x := range all {
		if x.Name == in.Realm {
			ids = append(ids, x.ID)
		}
	}
	slices.Sort(ids)
	return ids, err
}

func (o *Ops) showRoutes(ctx context.Context, c catalog.Caller, in catalog.OnProxyRealm) ([]catalog.Dict, error) {
	ids, err := o.listRoutes(ctx, c, in)
	list := make([]catalog.Dict, 0, len(ids))
	for _, id := range ids {
		d, err := o.getRoute(ctx, catalog.OnRoute{OnProxyRealm: in, RouteID: catalog.ObjectID(id)})
		if err == nil {
			list = append(list, d)
		} else if cfcerr.KindOf(err) != cfcerr.NoSuchObject { // else gone meanwhile
			return nil, err
		}
	}
	return list, err
}

func (o *Ops) getRoute(ctx context.Context, in catalog.OnRoute) (catalog.Dict, error) {
	r := ProxyRoute.at(in.Place())
	d, err := o.getObject(ctx, r)
	if err == nil && d["realm"] != in.Realm {
		return nil, r.NoSuch()
	}
	return routeShown(d), err
}

// routeShown is a route as Crossbar.io shows it.
func routeShown(d catalog.Dict) catalog.Dict {
	if config, _ := wamp.AsDict(d["config"]); config != nil {
		d["config"] = config["roles"]
	}
	return d
}

func (o *Ops) startRoute(ctx context.Context, caller catalog.Caller, in catalog.StartRouteIn) (catalog.Dict, error) {
	r := Ref{Kind: ProxyRoute, Worker: string(in.Worker), ID: madeUp(ProxyRoute.Prefix)}
	config := map[string]any{"realm": in.Realm, "roles": in.Config}
	if err := o.mayStart(r, caller, config); err != nil {
		return nil, err
	}
	if err := o.needKind(ctx, r); err != nil {
		return nil, err
	}
	anew, err := o.cfg.Node.MayStart(ctx, r, config, StopOptions{RestartWorker: in.RestartWorker})
	if err != nil {
		return nil, named(err, r.Worker)
	}
	if anew {
		if err := o.restartWorker(ctx, caller.AuthID, r.Worker, Ref{}); err != nil {
			return nil, err
		}
	}
	d, err := o.begin(ctx, caller.AuthID, r, config)
	return routeShown(d), err
}
