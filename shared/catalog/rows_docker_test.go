package catalog

import (
	"maps"
	"testing"
)

func init() {
	maps.Copy(contract[Remote], map[string]string{
		"cfc.remote.docker.get_docker_status(node_id)":                                                      "read",
		"cfc.remote.docker.get_docker_info(node_id)":                                                        "read",
		"cfc.remote.docker.get_docker_ping(node_id)":                                                        "read",
		"cfc.remote.docker.get_docker_version(node_id)":                                                     "read",
		"cfc.remote.docker.get_docker_df(node_id)":                                                          "read",
		"cfc.remote.docker.get_docker_containers(node_id, all=true)":                                        "read",
		"cfc.remote.docker.get_docker_container(node_id, container_id)":                                     "read",
		"cfc.remote.docker.start_docker_container(node_id, container_id, container_config={})":              "write",
		"cfc.remote.docker.create_docker_container(node_id, image, container_config={}, container_id=null)": "admin",
		"cfc.remote.docker.stop_docker_container(node_id, container_id, grace=10)":                          "write",
		"cfc.remote.docker.restart_docker_container(node_id, container_id, grace=10)":                       "write",
		"cfc.remote.docker.pause_docker_container(node_id, container_id)":                                   "write",
		"cfc.remote.docker.unpause_docker_container(node_id, container_id)":                                 "write",
		"cfc.remote.docker.destroy_docker_container(node_id, container_id, force=false, volumes=false)":     "write",
		"cfc.remote.docker.get_docker_images(node_id)":                                                      "read",
		"cfc.remote.docker.get_docker_image(node_id, image_id)":                                             "read",
		"cfc.remote.docker.update_docker_image(node_id, image_id)":                                          "write",
		"cfc.remote.docker.remove_docker_image(node_id, image_id, force=false)":                             "write",
		"cfc.remote.docker.prune_docker_images(node_id, all=false)":                                         "write",
	})
}

// TestCrossbarsNamesOfDocker are those of its master's area docker, but for
// files and terminals, which are streams.
func TestCrossbarsNamesOfDocker(t *testing.T) {
	x := NewIndex()
	for name, row := range map[string]*Op{
		"get_info": DockerGetInfo.Op, "get_ping": DockerGetPing.Op, "get_version": DockerGetVersion.Op, "get_df": DockerGetUsage.Op,
		"get_containers": DockerGetContainers.Op, "get_container": DockerGetContainer.Op, "get_images": DockerGetImages.Op, "get_image": DockerGetImage.Op,
		"create": DockerCreateContainer.Op, "start": DockerStartContainer.Op, "stop": DockerStopContainer.Op, "restart": DockerRestartContainer.Op,
		"pause": DockerPauseContainer.Op, "unpause": DockerUnpauseContainer.Op, "destroy": DockerDestroyContainer.Op,
		"delete_image": DockerRemoveImage.Op, "prune_images": DockerPruneImages.Op,
	} {
		if o, ok := x.Management("crossbarfabriccenter.remote.docker." + name); !ok || o != row {
			t.Errorf("%s is no name of %s", name, row.Name)
		}
	}
	if len(DockerEvents) != 14 || DockerEvents["container die"].URI() != "cfc.remote.docker.on_container_die" {
		t.Errorf("events of the engine: %v", DockerEvents)
	}
}

func TestDockerNames(t *testing.T) {
	for name, ok := range map[string]bool{"web": true, "3f2a": true, "a.b_c-d": true, "": false, "a": false, "/web": false, "a/b": false, "../x": false, "-x": false, "a b": false, "ä": false, "x?force=1": false} {
		if DockerName(name).Valid() != ok {
			t.Errorf("container %q: valid is %v", name, !ok)
		}
	}
	for name, ok := range map[string]bool{"web": true, "127.0.0.1:5000/a/b:1": true, "a@sha256:00": true, "": false, "/a": false, "a b": false, "a?x=1": false, "a%2f": false} {
		if DockerImageName(name).Valid() != ok {
			t.Errorf("image %q: valid is %v", name, !ok)
		}
	}
}
