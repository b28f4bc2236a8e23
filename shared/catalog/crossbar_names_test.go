package catalog

import (
	"strings"
	"testing"

	"fabric.center/cfc/shared/wire"
)

// crossbarNames are the remote procedures that the master of Crossbar.io
// 26.10.1 has, by area, but those that are never forwarded (manholes) and those
// of tracing.
var crossbarNames = map[string]string{
	"node": `get_cpu_count get_cpu_affinity set_cpu_affinity get_process_info get_process_stats set_process_stats_monitoring trigger_gc
		get_status get_system_stats shutdown get_worker_log get_workers get_worker start_worker stop_worker`,
	"worker": `shutdown get_status get_pythonpath add_pythonpath get_cpu_affinity set_cpu_affinity get_profilers start_profiler get_profile
		get_process_info get_process_stats set_process_stats_monitoring`,
	"router": `get_router_realms get_router_realm get_router_realm_stats get_router_realm_by_name start_router_realm stop_router_realm
		get_router_realm_roles get_router_realm_role start_router_realm_role stop_router_realm_role
		get_router_transports get_router_transport start_router_transport stop_router_transport
		get_web_transport_services get_web_transport_service start_web_transport_service stop_web_transport_service
		get_router_components get_router_component start_router_component stop_router_component
		get_router_realm_links get_router_realm_link start_router_realm_link stop_router_realm_link`,
	"container": `get_components get_component start_component stop_component`,
	"proxy": `get_proxy_transports get_proxy_transport start_proxy_transport stop_proxy_transport
		get_web_transport_services get_web_transport_service start_web_transport_service stop_web_transport_service
		get_proxy_routes get_proxy_realm_route list_proxy_realm_routes start_proxy_realm_route stop_proxy_realm_route
		get_proxy_connections get_proxy_connection start_proxy_connection stop_proxy_connection`,
	"docker": `get_info get_ping get_version get_df get_containers get_container get_images get_image create start stop restart pause unpause
		destroy delete_image prune_images`,
}

// crossbarEvents are its events, of the same areas.
var crossbarEvents = map[string]string{
	"node": `on_node_starting on_node_started on_node_heartbeat on_node_stopping on_node_stopped on_router_starting on_router_started
		on_container_starting on_container_started on_guest_starting on_guest_started on_proxy_starting on_proxy_started`,
	"worker": `on_worker_log on_profile_started on_profile_finished`,
	"router": `on_router_realm_starting on_router_realm_started on_router_realm_stopping on_router_realm_stopped
		on_router_realm_role_starting on_router_realm_role_started on_router_realm_role_stopping on_router_realm_role_stopped
		on_router_transport_starting on_router_transport_started on_router_transport_stopping on_router_transport_stopped
		on_web_transport_service_starting on_web_transport_service_started on_web_transport_service_stopping on_web_transport_service_stopped
		on_router_component_starting on_router_component_started on_router_component_stopping on_router_component_stopped`,
	"container": `on_container_component_starting on_container_component_started on_container_component_stopping on_container_component_stopped`,
	"proxy":     `on_proxy_transport_starting on_proxy_transport_started on_proxy_transport_stopping on_proxy_transport_stopped`,
	"docker": `on_container_create on_container_start on_container_attach on_container_commit on_container_kill on_container_die on_container_stop
		on_container_destroy on_container_pause on_container_unpause on_image_untag on_image_delete on_image_pull on_image_tag
		on_docker_image_update_started on_docker_image_update_progress on_docker_image_update_finished
		on_docker_image_remove_started on_docker_image_remove_progress on_docker_image_remove_finished`,
}

func TestCrossbarsNamesAreAnswered(t *testing.T) {
	x := NewIndex()
	for area, names := range crossbarNames {
		for _, name := range strings.Fields(names) {
			if _, ok := x.Management(wire.AliasRemote + area + "." + name); !ok {
				t.Errorf("%s%s.%s is no operation", wire.AliasRemote, area, name)
			}
		}
	}
}

func TestCrossbarsEventsAreTold(t *testing.T) {
	topics := map[string]bool{}
	for _, e := range Events() {
		for _, uri := range e.AliasURIs() {
			topics[uri] = true
		}
	}
	for area, names := range crossbarEvents {
		for _, name := range strings.Fields(names) {
			if !topics[wire.AliasRemote+area+"."+name] {
				t.Errorf("%s%s.%s is no event", wire.AliasRemote, area, name)
			}
		}
	}
}
