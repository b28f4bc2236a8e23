package catalog

import "maps"

func init() {
	maps.Copy(contract[Remote], map[string]string{
		"cfc.remote.router.get_router_realm_by_name(node_id, worker_id, realm_name)":                                     "read",
		"cfc.remote.router.get_router_realm_stats(node_id, worker_id, realm_id=null)":                                    "read",
		"cfc.remote.router.kill_by_authid(node_id, worker_id, realm_id, authid, reason=wamp.close.killed, message=null)": "write",
		"cfc.remote.router.get_router_realm_links(node_id, worker_id, realm_id)":                                         "read",
		"cfc.remote.router.get_router_realm_link(node_id, worker_id, realm_id, link_id)":                                 "read",
		"cfc.remote.router.start_router_realm_link(node_id, worker_id, realm_id, link_id, link_config)":                  "write",
		"cfc.remote.router.stop_router_realm_link(node_id, worker_id, realm_id, link_id)":                                "write",
	})
}
