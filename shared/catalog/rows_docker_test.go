package catalog

import "maps"

func init() {
	maps.Copy(contract[Remote], map[string]string{
		"cfc.remote.docker.get_docker_status(node_id)":  "read",
		"cfc.remote.docker.get_docker_info(node_id)":    "read",
		"cfc.remote.docker.get_docker_ping(node_id)":    "read",
		"cfc.remote.docker.get_docker_version(node_id)": "read",
	})
}
