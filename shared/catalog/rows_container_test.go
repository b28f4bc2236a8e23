package catalog

func init() {
	on := func(name, args, access string) {
		contract[Remote]["cfc.remote.container."+name+"(node_id, worker_id"+args+")"] = access
	}
	on("get_container_components", "", "read")
	on("get_container_component", ", component_id", "read")
	on("start_container_component", ", component_id=null, component_config={}", "admin")
	on("stop_container_component", ", component_id", "write")
	on("restart_container_component", ", component_id", "write")
}
