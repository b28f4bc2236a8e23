package catalog

import (
	"maps"
	"strings"
	"testing"
)

func init() {
	maps.Copy(contract[Remote], map[string]string{
		"cfc.remote.docker.open_docker_logs(node_id, container_id, since=null, tail=null, follow=false, after=null)":                                     "read",
		"cfc.remote.docker.read_docker_logs(node_id, stream, from, max=262144, wait=0)":                                                                  "read",
		"cfc.remote.docker.close_docker_logs(node_id, stream)":                                                                                           "read",
		"cfc.remote.docker.exec_docker_container(node_id, container_id, cmd, tty=false, input=false, env={}, user=null, workdir=null, rows=24, cols=80)": "admin",
		"cfc.remote.docker.read_docker_exec(node_id, stream, from, max=262144, wait=0)":                                                                  "admin",
		"cfc.remote.docker.write_docker_exec(node_id, stream, data, at=null, eof=false)":                                                                 "admin",
		"cfc.remote.docker.resize_docker_exec(node_id, stream, rows, cols)":                                                                              "admin",
		"cfc.remote.docker.close_docker_exec(node_id, stream)":                                                                                           "admin",
	})
}

// What a stream's steps may is what its opening took, and they all name it alike.
func TestStreamsAreOfOneKind(t *testing.T) {
	for _, s := range []Stream{DockerLogs, DockerExecs} {
		for _, step := range []*Op{s.Read.Op, s.Close.Op, s.Write.Op, s.Resize.Op} {
			if step == nil {
				continue
			}
			if step.Access != s.Open.Access || step.Area != s.Open.Area || step.Host != s.Open.Host || !step.OnStream || step.Args()[0].Name != "stream" {
				t.Errorf("%s is no step through the streams of %s", step.URI(), s.Open.URI())
			}
		}
		if s.Open.OnStream || !strings.HasPrefix(s.Kind(), s.Open.Area) {
			t.Errorf("%s opens a stream", s.Open.URI())
		}
	}
}
