package ops

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Transports of router workers and the paths of those that have some.
var (
	RouterTransport = &Kind{Key: "router_transport", Noun: "transport", Worker: "router", Prefix: "transport_",
		Life: catalog.RouterTransportLife, Check: checkTransport, Code: codeOf}
	TransportPath = &Kind{Key: "router_transport_path", Noun: "path", Worker: "router", Parent: RouterTransport,
		Life: catalog.TransportPathLife, Check: func(config map[string]any) error { return checkPath("path_config", config) }, Code: codeOf}
)

func (o *Ops) bindTransports() {
	bindKind(o, RouterTransport, catalog.RouterGetTransports, catalog.RouterGetTransport, catalog.RouterStartTransport, catalog.RouterStopTransport)
	bindKind(o, TransportPath, catalog.TransportGetPaths, catalog.TransportGetPath, catalog.TransportStartPath, catalog.TransportStopPath)
}

// Types of transports, endpoints and Web services that a stock node has.
var (
	transportTypes = []string{"websocket", "rawsocket", "web", "universal", "mqtt", "flashpolicy", "websocket.testee", "stream.testee"}
	endpointTypes  = []string{"tcp", "unix", "twisted", "onion"}
	serviceTypes   = []string{"archive", "caller", "catalog", "cgi", "json", "longpoll", "nodeinfo", "none", "pairme", "path", "publisher",
		"redirect", "resource", "reverseproxy", "static", "wap", "webhook", "websocket", "websocket-reverseproxy", "wsgi"}
	// leafServices answer for whatever is below their path too.
	leafServices = []string{"archive", "catalog", "nodeinfo", "redirect", "wap"}
)

// Root is the id of the path that comes with its transport.
const Root = "/"

// Leaf reports whether a Web service answers for whatever is below its path.
func Leaf(service map[string]any) bool {
	t, _ := service["type"].(string)
	return slices.Contains(leafServices, t)
}

// Paths are those of a transport's configuration; ok is false where a
// transport of this type has none.
func Paths(transport map[string]any) (paths map[string]any, ok bool) {
	switch transport["type"] {
	case "web":
	case "universal":
		web, given := wamp.AsDict(transport["web"])
		if !given || len(web) == 0 {
			return nil, false
		}
		transport = web
	default:
		return nil, false
	}
	paths, _ = wamp.AsDict(transport["paths"])
	return paths, true
}

// checkTransport refuses what the node would fail at without saying where.
func checkTransport(config map[string]any) error {
	if t, _ := config["type"].(string); !slices.Contains(transportTypes, t) {
		return cfcerr.Argument("transport_config.type", oneOf(transportTypes))
	}
	if err := checkEndpoint("transport_config.endpoint", config["endpoint"]); err != nil {
		return err
	}
	at := "transport_config.paths"
	if config["type"] == "universal" {
		if web, ok := wamp.AsDict(config["web"]); !ok || web == nil && config["web"] != nil {
			return cfcerr.Argument("transport_config.web", "a dict with paths")
		} else if web == nil {
			return nil
		}
		at = "transport_config.web.paths"
	}
	paths, hasPaths := Paths(config)
	if !hasPaths {
		return nil
	}
	if paths == nil {
		return cfcerr.Argument(at, "a dict of paths, each a dict with type")
	}
	return checkPaths(at, paths)
}

func checkEndpoint(at string, v any) error {
	endpoint, ok := wamp.AsDict(v)
	if !ok || endpoint == nil {
		return cfcerr.Argument(at, "a dict with type, and port or path")
	}
	switch t, _ := endpoint["type"].(string); t {
	case "tcp":
		return checkPort(at, endpoint)
	case "unix":
		if path, _ := endpoint["path"].(string); path == "" {
			return cfcerr.Argument(at+".path", "the path of a socket, absolute or from the node's directory")
		}
	default:
		if !slices.Contains(endpointTypes, t) {
			return cfcerr.Argument(at+".type", oneOf(endpointTypes))
		}
	}
	return nil
}

// checkPort wants a port also beside a portrange: without it the node starts
// the transport and then stumbles.
func checkPort(at string, endpoint map[string]any) error {
	if name, ok := endpoint["port"].(string); ok && len(name) > 1 && name[0] == '$' {
		return nil // from the node's environment
	}
	if port, ok := wamp.AsInt64(endpoint["port"]); !ok || port < 1 || port > 65535 {
		return cfcerr.Argument(at+".port", "a port, 1 to 65535, or $NAME, a variable of the node's environment")
	}
	v, given := endpoint["tls"]
	if !given {
		return nil
	}
	tls, ok := wamp.AsDict(v)
	if !ok || tls == nil {
		return cfcerr.Argument(at+".tls", "a dict with key and certificate, paths of files on the node's host")
	}
	for _, key := range []string{"key", "certificate"} {
		if path, _ := tls[key].(string); path == "" {
			return cfcerr.Argument(at+".tls."+key, "the path of a file on the node's host")
		}
	}
	return nil
}

func checkPaths(at string, paths map[string]any) error {
	for _, id := range slices.Sorted(maps.Keys(paths)) {
		here := fmt.Sprintf("%s.%s", at, id)
		if !wire.ValidPathID(id) {
			return cfcerr.Argument(here, wire.PathIDForm)
		}
		service, ok := wamp.AsDict(paths[id])
		if !ok || service == nil {
			return cfcerr.Argument(here, "a dict with type")
		}
		if err := checkPath(here, service); err != nil {
			return err
		}
		if id == Root && Leaf(service) && len(paths) > 1 {
			return cfcerr.Argument(here+".type", fmt.Sprintf("another service, since %s answers for all paths below it", service["type"]))
		}
	}
	return nil
}

// checkPath checks one path and those within it.
func checkPath(at string, service map[string]any) error {
	t, _ := service["type"].(string)
	if !slices.Contains(serviceTypes, t) {
		return cfcerr.Argument(at+".type", oneOf(serviceTypes))
	}
	if t != "path" {
		return nil
	}
	paths, ok := wamp.AsDict(service["paths"])
	if !ok || paths == nil {
		return cfcerr.Argument(at+".paths", "a dict of paths, each a dict with type")
	}
	return checkPaths(at+".paths", paths)
}

// codeOf says what in a transport's or a path's configuration runs code of its
// author's, or gets at files of the host: Web services that load code, authenticators
// that are functions, what becomes a file wherever it says (an archive that is fetched,
// a store of cookies, an onion's key), a folder that is shown, which may be the one of the
// agent's keys, and what stands where a socket is to be: the node removes it, a folder
// with all that is in it.
func codeOf(config map[string]any) string {
	switch t, _ := config["type"].(string); t {
	case "wsgi", "resource", "cgi":
		return "a path of type " + t + " runs code on the host"
	case "archive":
		switch {
		case config["origin"] != nil:
			return "a path of type archive with an origin writes a file on the host"
		case outside(config["archive"]):
			return "a path of type archive shows files of the host, unless in a folder of the node's own"
		}
	case "static", "wap":
		switch {
		case config["sandbox"] == false:
			return "a path of type wap without its sandbox runs code on the host"
		case slices.ContainsFunc(filesOf(config), outside):
			return "a path of type " + t + " shows files of the host, unless in a folder of the node's own"
		}
	case "file", "database":
		if config["filename"] != nil || config["path"] != nil {
			return "a cookie store of type " + t + " writes a file on the host"
		}
	case "unix":
		if outside(config["path"]) {
			return "an endpoint of type unix removes what is at its path, unless in a folder of the node's own"
		}
	case "twisted":
		return "an endpoint of type twisted may be a socket anywhere on the host"
	case "onion":
		return "an endpoint of type onion writes a file on the host"
	case "function":
		return "an authenticator of type function runs code on the host"
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if d, ok := wamp.AsDict(config[key]); ok {
			if what := codeOf(d); what != "" {
				return what
			}
		}
	}
	return ""
}

// filesOf are the paths in a service that shows files.
func filesOf(service map[string]any) []any {
	options, _ := wamp.AsDict(service["options"])
	templates := service["templates"]
	if d, ok := wamp.AsDict(templates); ok {
		templates = d["resource"]
	}
	return []any{service["directory"], service["resource"], options["default_file"], templates}
}

// ownFolder is a path that stays within a directory and leaves the directory's
// own files alone: among the node's are its keys. The node drops all but ASCII
// from it.
var ownFolder = regexp.MustCompile(`^([A-Za-z0-9_-][A-Za-z0-9._-]*/?)+$`)

func outside(file any) bool {
	path, ok := wamp.AsString(file)
	return file != nil && !(ok && ownFolder.MatchString(path))
}
