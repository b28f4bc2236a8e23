package ops

import (
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// checkConnecting checks a transport that leads from a worker to a router.
func checkConnecting(at string, v any) error {
	transport, ok := wamp.AsDict(v)
	if !ok || transport == nil {
		return cfcerr.Argument(at, "a dict with type (websocket or rawsocket), endpoint, and url or serializer")
	}
	switch transport["type"] {
	case "websocket":
		if url, _ := transport["url"].(string); url == "" {
			return cfcerr.Argument(at+".url", "the WebSocket URL: ws://… or wss://…")
		}
	case "rawsocket":
		if s, given := transport["serializer"]; given {
			if _, ok := s.(string); !ok {
				return cfcerr.Argument(at+".serializer", "cbor, msgpack, json or ubjson")
			}
		}
	default:
		return cfcerr.Argument(at+".type", "websocket or rawsocket")
	}
	return checkTarget(at+".endpoint", transport["endpoint"])
}

// checkTarget checks an endpoint that is connected to.
func checkTarget(at string, v any) error {
	endpoint, ok := wamp.AsDict(v)
	if !ok || endpoint == nil {
		return cfcerr.Argument(at, "a dict with type, and host and port, or path")
	}
	switch endpoint["type"] {
	case "tcp":
		if host, _ := endpoint["host"].(string); host == "" {
			return cfcerr.Argument(at+".host", "a name or an address")
		}
		if port, ok := wamp.AsInt64(endpoint["port"]); !ok || port < 1 || port > 65535 {
			return cfcerr.Argument(at+".port", "a port, 1 to 65535")
		}
	case "unix":
		if path, _ := endpoint["path"].(string); path == "" {
			return cfcerr.Argument(at+".path", "the path of a socket, absolute or from the node's directory")
		}
	default:
		return cfcerr.Argument(at+".type", "tcp or unix")
	}
	return nil
}
