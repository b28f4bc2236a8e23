package nodeapi

import "testing"

// TestProxy has clients reach a realm through a proxy worker. What the node
// cannot stop goes by a restart of the worker, which has to be asked for.
func TestProxy(t *testing.T) {
	o := operate(t, "autobahn/msgpack")
	o.routed("behind")
	backend := unix(t, "backend")
	o.object("router", "router_transport", "behind").start("backend", map[string]any{"type": "rawsocket", "endpoint": backend.config, "serializers": []any{"cbor"},
		"auth": map[string]any{"anonymous-proxy": map[string]any{"type": "static"}}})
	o.worker("front", "proxy", nil)
	connections := o.object("proxy", "proxy_connection", "front")
	connections.start("conn1", map[string]any{"transport": map[string]any{"type": "rawsocket", "url": "rs://localhost", "serializer": "cbor", "endpoint": backend.config},
		"auth": map[string]any{"anonymous-proxy": map[string]any{}}})
	route, _ := o.dict("id realm config", "proxy.start_proxy_realm_route", "front", appRealm, map[string]any{"worker": "conn1", "listener": "conn1"})["id"].(string)
	o.list([]string{appRealm}, "proxy.get_proxy_routes", "front")
	o.list([]string{route}, "proxy.list_proxy_realm_routes", "front", appRealm)
	o.dict("id realm config", "proxy.get_proxy_realm_route", "front", appRealm, route)

	p, at := invite(t), tcp(t)
	transports := o.object("proxy", "proxy_transport", "front")
	web := map[string]any{"type": "web", "endpoint": at.config, "paths": map[string]any{"/": map[string]any{"type": "static", "directory": components(t)}}}
	transports.start("web", web)
	socket := map[string]any{"type": "websocket", "auth": p.auth}
	o.dict("id", "proxy.start_web_transport_service", "front", "web", "ws", socket)
	o.list([]string{"/", "ws"}, "proxy.get_web_transport_services", "front", "web")
	o.dict("id", "proxy.get_web_transport_service", "front", "web", "ws")
	used(t, "ws"+at.rest+"/ws", "", p)
	o.dict("id", "proxy.stop_web_transport_service", "front", "web", "ws")
	refused(t, "autobahn-js/json", p.everybody("ws"+at.rest+"/ws", "")["carl"])

	if _, err := o.try("proxy.stop_proxy_transport", "front", "web"); err == nil {
		t.Error("a proxy's transport is stopped without a restart")
	}
	transports.stop("web", true)
	second := tcp(t)
	transports.start("ws", map[string]any{"type": "websocket", "endpoint": second.config, "auth": p.auth})
	used(t, "ws"+second.rest, "", p) // connection and route have come again
	o.dict("id", "proxy.stop_proxy_realm_route", "front", appRealm, route, true)
	refused(t, "autobahn-js/json", p.everybody("ws"+second.rest, "")["carl"])
	connections.stop("conn1")
}
