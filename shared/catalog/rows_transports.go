package catalog

import (
	"maps"
	"slices"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// Arguments of transports and their paths.
type (
	// OnTransport names a transport of a router worker.
	OnTransport struct {
		OnWorker
		TransportID ObjectID `wamp:"transport_id" doc:"the transport's id on the worker"`
	}
	// StartTransportIn is a transport to be.
	StartTransportIn struct {
		OnWorker
		TransportID *ObjectID      `wamp:"transport_id" doc:"its id on the worker; null makes one up"`
		Config      map[string]any `wamp:"transport_config" doc:"type, endpoint and what the type needs; the paths of a Web transport are started too"`
		CreatePaths bool           `wamp:"create_paths,optional" default:"true" doc:"false leaves all paths but the root out"`
	}
	// OnPath names a path of a Web transport.
	OnPath struct {
		OnTransport
		PathID PathID `wamp:"path_id" doc:"the path without its leading slash; / is the root"`
	}
	// StartPathIn is a path to be.
	StartPathIn struct {
		OnTransport
		PathID PathID         `wamp:"path_id" doc:"the path without its leading slash"`
		Config map[string]any `wamp:"path_config" doc:"type of the Web service, and what that needs"`
	}
)

// Place and Settings say where the object is and what it is to be.
func (in OnTransport) Place() Place {
	return Place{Worker: string(in.Worker), ID: string(in.TransportID)}
}
func (in StartTransportIn) Place() Place {
	return Place{Worker: string(in.Worker), ID: orEmpty(in.TransportID)}
}

// Settings are those of the transport, with the paths that are wanted.
func (in StartTransportIn) Settings() map[string]any {
	if in.CreatePaths {
		return in.Config
	}
	return rootAlone(in.Config)
}

func rootAlone(config map[string]any) map[string]any {
	out := maps.Clone(config)
	if web, _ := wamp.AsDict(config["web"]); web != nil {
		out["web"] = rootAlone(web)
	}
	if paths, _ := wamp.AsDict(config["paths"]); paths != nil {
		out["paths"] = map[string]any{}
		if root, ok := paths["/"]; ok {
			out["paths"] = map[string]any{"/": root}
		}
	}
	return out
}

func (in OnPath) Place() Place {
	return Place{string(in.Worker), string(in.TransportID), string(in.PathID)}
}
func (in StartPathIn) Place() Place {
	return Place{string(in.Worker), string(in.TransportID), string(in.PathID)}
}
func (in StartPathIn) Settings() map[string]any { return in.Config }

// Events of transports and their paths. The latter have Crossbar.io's name,
// since the reference has none.
var (
	RouterTransportLife = life("router", "router_transport", "A transport", "transport_id")
	TransportPathLife   = life("router", "web_transport_service", "A path of a Web transport", "transport_id", "path_id")
)

// transportSecrets are what a transport's configuration, or a path's, holds
// beyond what an operator has to see, however deep its paths are nested.
var transportSecrets = secretsBelow("config")

func secretsBelow(key string) []string {
	return []string{
		key + ".**.auth.ticket.principals.*.ticket",
		key + ".**.auth.wampcra.users.*.secret",
		key + ".**.auth.scram.principals.*.stored-key",
		key + ".**.auth.scram.principals.*.server-key",
		key + ".**.options.secret",
		key + ".**.options.github_secret",
		key + ".**.extra",
	}
}

var transportErrors = append(slices.Clone(startErrors), cfcerr.CannotListen)

// Rows of transports.
var (
	RouterGetTransports = define[Workers, []string](Op{Realm: Remote, Area: "router", Name: "get_router_transports", Scope: Worker, Access: Read,
		Doc: "List the transports of a router worker.", Returns: "transport ids, sorted", Crossbar: "a list of dicts, each as get_router_transport",
		Secrets: transportSecrets, Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}})
	RouterGetTransport = define[OnTransport, Dict](Op{Realm: Remote, Area: "router", Name: "get_router_transport", Scope: Worker, Access: Read,
		Doc: "Show a transport of a router worker.", Returns: "id, type, config, created_at, listening_since, state",
		Secrets: transportSecrets, Errors: lookErrors})
	RouterStartTransport = define[StartTransportIn, Dict](Op{Realm: Remote, Area: "router", Name: "start_router_transport", Scope: Worker, Access: Write,
		Doc:     "Start a transport on a router worker: an endpoint on which clients are taken in. The paths of a Web transport are started too; when one fails, all is taken back. Paths that run code of their author's (wsgi, resource, cgi), authenticators in Python, cookies kept in a file or database and endpoints of type onion, twisted, and unix (which removes what is at its path) unless within the node's directory, take the role owner.",
		Returns: "as get_router_transport", Secrets: transportSecrets, Emits: RouterTransportLife.starts(), Errors: transportErrors,
		Repair: "The node starts no path but the root, and does not say why it cannot listen: the agent starts the paths, and takes the reason from the worker's log."})
	RouterStopTransport = define[OnTransport, Dict](Op{Realm: Remote, Area: "router", Name: "stop_router_transport", Scope: Worker, Access: Write,
		Doc:     "Stop a transport of a router worker: nobody can connect through it any more. Connections that are open stay; its id and its address may be used again.",
		Returns: "as get_router_transport, and stopped", Secrets: transportSecrets, Emits: RouterTransportLife.stops(), Errors: stopErrors})
)

// Rows of the paths of a Web transport.
var (
	TransportGetPaths = define[OnTransport, []string](Op{Realm: Remote, Area: "router", Name: "get_router_transport_paths", Aliases: []string{"get_transport_paths"},
		Keys: []string{"router.get_web_transport_services"}, Scope: Worker, Access: Read,
		Doc: "List the paths of a Web transport. One of another type has none.", Returns: "path ids, sorted", Errors: lookErrors,
		Repair: "The node lists the paths of the start configuration, whether they run or not: the agent remembers what it has started, and asks the node of each."})
	TransportGetPath = define[OnPath, Dict](Op{Realm: Remote, Area: "router", Name: "get_router_transport_path", Aliases: []string{"get_transport_path"},
		Keys: []string{"router.get_web_transport_service"}, Scope: Worker, Access: Read,
		Doc: "Show a path of a Web transport.", Returns: "id, transport_id, path, config", Secrets: transportSecrets, Errors: lookErrors,
		Repair: "The node shows the transport instead: the agent shows the path."})
	TransportStartPath = define[StartPathIn, Dict](Op{Realm: Remote, Area: "router", Name: "start_router_transport_path", Aliases: []string{"start_transport_path"},
		Keys: []string{"router.start_web_transport_service"}, Scope: Worker, Access: Write,
		Doc:     "Start a path on a Web transport, or on a universal one that has a Web part. The root comes with the transport alone. A path that runs code of its author's (wsgi, resource, cgi), or gets at files of the host (an archive with an origin; archive, static and wap, unless in a folder within the node's directory), takes the role owner.",
		Returns: "as get_router_transport_path", Secrets: transportSecrets, Emits: TransportPathLife.starts(), Errors: startErrors})
	TransportStopPath = define[OnPath, Dict](Op{Realm: Remote, Area: "router", Name: "stop_router_transport_path", Aliases: []string{"stop_transport_path"},
		Keys: []string{"router.stop_web_transport_service"}, Scope: Worker, Access: Write,
		Doc:     "Stop a path of a Web transport: requests for it are answered with 404. Its WebSocket connections that are open stay. The root goes with the transport alone.",
		Returns: "as get_router_transport_path, and stopped", Secrets: transportSecrets, Emits: TransportPathLife.stops(), Errors: stopErrors})
)
