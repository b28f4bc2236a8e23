package catalog

import (
	"slices"
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

// Arguments of what proxies have.
type (
	// StopProxyTransportIn is a transport to end.
	StopProxyTransportIn struct {
		OnTransport
		RestartWorker bool `wamp:"restart_worker,optional" doc:"let the worker be restarted, where the node cannot stop the transport otherwise"`
	}
	// OnConnection names a connection of a proxy.
	OnConnection struct {
		OnWorker
		ConnectionID ObjectID `wamp:"connection_id" doc:"the connection's id on the worker"`
	}
	// StartConnectionIn is a connection to be.
	StartConnectionIn struct {
		OnWorker
		ConnectionID *ObjectID      `wamp:"connection_id" doc:"its id on the worker; null makes one up"`
		Config       map[string]any `wamp:"connection_config" doc:"transport (type, endpoint, serializer) of the router that sessions are passed on to, and auth: anonymous-proxy (over a Unix socket) or cryptosign-proxy"`
	}
	// OnProxyRealm names a realm of which a proxy has routes.
	OnProxyRealm struct {
		OnWorker
		Realm string `wamp:"realm_name" doc:"the name of the WAMP realm"`
	}
	// OnRoute names a route of a proxy.
	OnRoute struct {
		OnProxyRealm
		RouteID ObjectID `wamp:"route_id" doc:"the route's id on the worker"`
	}
	// StopRouteIn is a route to end.
	StopRouteIn struct {
		OnRoute
		RestartWorker bool `wamp:"restart_worker,optional" doc:"let the worker be restarted, where the node would go on with the route otherwise"`
	}
	// StartRouteIn is a route to be.
	StartRouteIn struct {
		OnProxyRealm
		Config        map[string]any `wamp:"route_config" doc:"which connection the sessions of a role are passed on to: {role: connection id}"`
		RestartWorker bool           `wamp:"restart_worker,optional" doc:"let the worker be restarted, where the node would mix the route with one that was stopped otherwise"`
	}
)

// Place and Settings say where the object is and what it is to be.
func (in OnConnection) Place() Place {
	return Place{Worker: string(in.Worker), ID: string(in.ConnectionID)}
}
func (in StartConnectionIn) Place() Place {
	return Place{Worker: string(in.Worker), ID: orEmpty(in.ConnectionID)}
}
func (in StartConnectionIn) Settings() map[string]any { return in.Config }
func (in OnRoute) Place() Place                       { return Place{Worker: string(in.Worker), ID: string(in.RouteID)} }

// Events of proxies.
var (
	ProxyTransportLife  = life("proxy", "proxy_transport", "A transport of a proxy", "transport_id")
	ProxyPathLife       = life("proxy", "web_transport_service", "A path of a proxy's Web transport", "transport_id", "path_id")
	ProxyConnectionLife = life("proxy", "proxy_connection", "A connection of a proxy", "connection_id")
	ProxyRouteLife      = life("proxy", "proxy_route", "A route of a proxy, which details name by its realm,", "route_id")
)

// restarts is what a restart of the worker tells.
func restarts(names []string) []string {
	return slices.Concat(names, []string{ProxyTransportLife.Started.Name, ProxyConnectionLife.Started.Name, ProxyRouteLife.Started.Name})
}

// restartTimeout is for what may take the restart of a worker.
const restartTimeout = time.Minute

const restartDoc = " With restart_worker the worker is restarted where nothing less helps: all sessions that run through it end, and everything else in it is started again, as events tell."

var restartErrors = append([]cfcerr.Kind{cfcerr.NotSupported, cfcerr.CannotStart}, stopErrors...)

func proxy(op Op) Op {
	op.Realm, op.Area, op.Scope = Remote, "proxy", Worker
	return op
}

// Rows of the transports of proxies.
var (
	ProxyGetTransports = define[Workers, []string](proxy(Op{Name: "get_proxy_transports", Access: Read,
		Doc: "List the transports of a proxy.", Returns: "transport ids, sorted", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}}))
	ProxyGetTransport = define[OnTransport, Dict](proxy(Op{Name: "get_proxy_transport", Access: Read,
		Doc: "Show a transport of a proxy.", Returns: "id, type, config, created_at, listening_since, state", Secrets: transportSecrets, Errors: lookErrors}))
	ProxyStartTransport = define[StartTransportIn, Dict](proxy(Op{Name: "start_proxy_transport", Access: Write,
		Doc:     "Start a transport on a proxy: an endpoint on which clients are taken in. The paths of a Web transport are started too; when one fails the transport stays, without those that failed. Paths that run code of their author's (wsgi, resource, cgi), authenticators in Python, cookies kept in a file or database and endpoints of type onion, twisted, and unix (which removes what is at its path) unless within the node's directory, take the role owner.",
		Returns: "as get_proxy_transport", Secrets: transportSecrets, Emits: ProxyTransportLife.starts(), Errors: transportErrors,
		Repair: "The node starts no path but the root, and does not say why it cannot listen; the agent starts them, and says what the worker has logged."}))
	ProxyStopTransport = define[StopProxyTransportIn, Dict](proxy(Op{Name: "stop_proxy_transport", Access: Write, Timeout: restartTimeout,
		Doc:     "Stop a transport of a proxy. The node can do so only by restarting the worker, so it takes restart_worker=true: all sessions that run through the proxy end, and everything else in it is started again, as events tell.",
		Returns: "as get_proxy_transport, and stopped", Secrets: transportSecrets, Emits: restarts(ProxyTransportLife.stops()), Errors: restartErrors,
		Repair: "The node's own procedure fails always and there is no other; with restart_worker=true the worker is restarted without the transport, which ends all its sessions. Of a worker that this agent has not started the options are not known, so there it is not_supported."}))
)

// Rows of the paths of a proxy's Web transport.
var (
	ProxyGetPaths = define[OnTransport, []string](proxy(Op{Name: "get_web_transport_services", Aliases: []string{"get_proxy_transport_paths"}, Access: Read,
		Doc: "List the paths of a proxy's Web transport. One of another type has none.", Returns: "path ids, sorted", Errors: lookErrors,
		Repair: "The node tells the paths of the configuration, whether they run or not, and no others; the agent asks for each."}))
	ProxyGetPath = define[OnPath, Dict](proxy(Op{Name: "get_web_transport_service", Aliases: []string{"get_proxy_transport_path"}, Access: Read,
		Doc: "Show a path of a proxy's Web transport.", Returns: "id, transport_id, path, config", Secrets: transportSecrets, Errors: lookErrors,
		Repair: "The node shows the transport instead."}))
	ProxyStartPath = define[StartPathIn, Dict](proxy(Op{Name: "start_web_transport_service", Aliases: []string{"start_proxy_transport_path"}, Access: Write,
		Doc:     "Start a path on a proxy's Web transport. A path that runs code of its author's (wsgi, resource, cgi), or gets at files of the host (an archive with an origin; archive, static and wap, unless in a folder within the node's directory), takes the role owner.",
		Returns: "as get_web_transport_service", Secrets: transportSecrets, Emits: ProxyPathLife.starts(), Errors: startErrors}))
	ProxyStopPath = define[OnPath, Dict](proxy(Op{Name: "stop_web_transport_service", Aliases: []string{"stop_proxy_transport_path"}, Access: Write,
		Doc:     "Stop a path of a proxy's Web transport: requests for it are answered with 404. The root goes with the transport alone.",
		Returns: "as get_web_transport_service, and stopped", Secrets: transportSecrets, Emits: ProxyPathLife.stops(), Errors: stopErrors}))
)

// connectionSecrets are those of a connection's configuration.
var connectionSecrets = []string{"config.auth.*", "config.transport.headers", "config.transport.options"}

// Rows of connections.
var (
	ProxyGetConnections = define[Workers, []string](proxy(Op{Name: "get_proxy_connections", Access: Read,
		Doc: "List the connections of a proxy: the routers that it may pass sessions on to.", Returns: "connection ids, sorted", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}}))
	ProxyGetConnection = define[OnConnection, Dict](proxy(Op{Name: "get_proxy_connection", Access: Read,
		Doc: "Show a connection of a proxy.", Returns: "id, config, state, started, stopped", Secrets: connectionSecrets, Errors: lookErrors}))
	ProxyStartConnection = define[StartConnectionIn, Dict](proxy(Op{Name: "start_proxy_connection", Access: Write,
		Doc:     "Start a connection of a proxy: name a router that it may pass sessions on to. The router is connected to with each session, not before.",
		Returns: "as get_proxy_connection", Secrets: connectionSecrets, Emits: ProxyConnectionLife.starts(),
		Errors: []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.AlreadyRunning, cfcerr.DeniedByHost},
		Repair: "The node takes any configuration, and fails with the first session; the agent checks it first."}))
	ProxyStopConnection = define[OnConnection, Dict](proxy(Op{Name: "stop_proxy_connection", Access: Write,
		Doc:     "Stop a connection of a proxy to which no route leads any more. Sessions that run through it go on. Its id may be used again.",
		Returns: "as get_proxy_connection, and stopped", Secrets: connectionSecrets, Emits: ProxyConnectionLife.stops(),
		Errors: append([]cfcerr.Kind{cfcerr.CannotStop}, stopErrors...),
		Repair: "The node would stop one that routes lead to, and go on passing sessions on to it; that is refused."}))
)

// Rows of routes.
var (
	ProxyGetRoutes = define[Workers, []string](proxy(Op{Name: "get_proxy_routes", Access: Read,
		Doc: "List the realms of which a proxy has routes.", Returns: "names of WAMP realms, sorted", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}}))
	ProxyListRoutes = define[OnProxyRealm, []string](proxy(Op{Name: "list_proxy_realm_routes", Access: Read,
		Doc: "List the routes of a realm on a proxy.", Returns: "route ids, sorted", Crossbar: "a list of dicts, each as get_proxy_realm_route", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}}))
	ProxyGetRoute = define[OnRoute, Dict](proxy(Op{Name: "get_proxy_realm_route", Access: Read,
		Doc: "Show a route of a realm on a proxy.", Returns: "id, realm, config, state, started, stopped", Errors: lookErrors,
		Repair: "The node's own procedure fails always; the route is taken from the list."}))
	ProxyStartRoute = define[StartRouteIn, Dict](proxy(Op{Name: "start_proxy_realm_route", Access: Write, Timeout: restartTimeout,
		Doc:     "Start a route of a realm on a proxy. Sessions of its roles in the realm are passed on through its connections, in turns where several routes have the same role." + restartDoc,
		Returns: "as get_proxy_realm_route", Emits: ProxyRouteLife.starts(), Errors: append([]cfcerr.Kind{cfcerr.NotSupported, cfcerr.CannotStart}, startErrors...),
		Repair: "The node goes on using connections that routes had which are stopped, as soon as there is a route of the same realm and role again. Where that would be another connection the start takes restart_worker=true."}))
	ProxyStopRoute = define[StopRouteIn, Dict](proxy(Op{Name: "stop_proxy_realm_route", Access: Write, Timeout: restartTimeout,
		Doc:     "Stop a route of a proxy: its roles can no longer join the realm through it. Sessions that run go on." + restartDoc,
		Returns: "as get_proxy_realm_route, and stopped", Emits: restarts(ProxyRouteLife.stops()), Errors: restartErrors,
		Repair: "The node goes on using the connection of a route that is stopped while another has the same realm and role; that takes restart_worker=true."}))
)
