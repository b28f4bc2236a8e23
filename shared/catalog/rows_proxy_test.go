package catalog

func init() {
	on := func(name, args, access string) {
		contract[Remote]["cfc.remote.proxy."+name+"(node_id, worker_id"+args+")"] = access
	}
	on("get_proxy_transports", "", "read")
	on("get_proxy_transport", ", transport_id", "read")
	on("start_proxy_transport", ", transport_id, transport_config, create_paths=true", "write")
	on("stop_proxy_transport", ", transport_id, restart_worker=false", "write")
	on("get_web_transport_services", ", transport_id", "read")
	on("get_web_transport_service", ", transport_id, path_id", "read")
	on("start_web_transport_service", ", transport_id, path_id, path_config", "write")
	on("stop_web_transport_service", ", transport_id, path_id", "write")
	on("get_proxy_connections", "", "read")
	on("get_proxy_connection", ", connection_id", "read")
	on("start_proxy_connection", ", connection_id, connection_config", "write")
	on("stop_proxy_connection", ", connection_id", "write")
	on("get_proxy_routes", "", "read")
	on("list_proxy_realm_routes", ", realm_name", "read")
	on("get_proxy_realm_route", ", realm_name, route_id", "read")
	on("start_proxy_realm_route", ", realm_name, route_config, restart_worker=false", "write")
	on("stop_proxy_realm_route", ", realm_name, route_id, restart_worker=false", "write")
}
