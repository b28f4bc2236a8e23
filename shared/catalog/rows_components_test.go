package catalog

import "maps"

func init() {
	maps.Copy(contract[Remote], map[string]string{
		"cfc.remote.router.get_router_components(node_id, worker_id)":                                  "read",
		"cfc.remote.router.get_router_component(node_id, worker_id, component_id)":                     "read",
		"cfc.remote.router.start_router_component(node_id, worker_id, component_id, component_config)": "admin",
		"cfc.remote.router.stop_router_component(node_id, worker_id, component_id=null)":               "write",
	})
}
