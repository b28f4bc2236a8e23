package catalog

import (
	"maps"
	"testing"
)

func init() {
	maps.Copy(contract[Remote], map[string]string{
		"cfc.remote.router.get_router_transports(node_id, worker_id)":                                                     "read",
		"cfc.remote.router.get_router_transport(node_id, worker_id, transport_id)":                                        "read",
		"cfc.remote.router.start_router_transport(node_id, worker_id, transport_id, transport_config, create_paths=true)": "write",
		"cfc.remote.router.stop_router_transport(node_id, worker_id, transport_id)":                                       "write",
		"cfc.remote.router.get_router_transport_paths(node_id, worker_id, transport_id)":                                  "read",
		"cfc.remote.router.get_router_transport_path(node_id, worker_id, transport_id, path_id)":                          "read",
		"cfc.remote.router.start_router_transport_path(node_id, worker_id, transport_id, path_id, path_config)":           "write",
		"cfc.remote.router.stop_router_transport_path(node_id, worker_id, transport_id, path_id)":                         "write",
	})
}

func TestPathsHaveTheNamesOfBothReferences(t *testing.T) {
	x := NewIndex()
	for _, uri := range []string{
		"cfc.remote.router.get_router_transport_paths", "cfc.remote.router.get_transport_paths",
		"crossbarfabriccenter.remote.router.get_transport_paths", "crossbarfabriccenter.remote.router.get_web_transport_services",
	} {
		if o, ok := x.Management(uri); !ok || o != TransportGetPaths.Op {
			t.Errorf("%s is %v", uri, o)
		}
	}
	if _, ok := x.Management("cfc.remote.router.get_web_transport_services"); ok {
		t.Error("Crossbar.io's name is ours too")
	}
}
