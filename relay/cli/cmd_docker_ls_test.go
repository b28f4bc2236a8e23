package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestDockerLists(t *testing.T) {
	r := newRig(t)
	const prefix = "cfc.remote.docker."
	containers := map[string]any{
		"c1": wamp.Dict{"id": strings.Repeat("c1", 32), "name": "web", "image": "nginx:1.27", "state": "running", "health": "healthy", "started": "2026-03-01T10:00:00.000Z", "restarts": 2,
			"ports": []any{wamp.Dict{"container": 80, "protocol": "tcp", "address": "127.0.0.1", "host": 8080}, wamp.Dict{"container": 443, "protocol": "tcp", "address": "", "host": 0}}},
		"c2": wamp.Dict{"id": "c2", "name": "job\x1b[2J", "image": "box:1", "state": "exited", "exit_code": 7, "started": nil},
		"c3": cfcerr.New(cfcerr.NoSuchObject, "it was removed meanwhile"),
	}
	var asked []string
	r.answers[prefix+"get_docker_containers"] = func(_ context.Context, c call) (any, error) {
		asked = append(asked, fmt.Sprint(c.args))
		return []any{"c1", "c2", "c3"}, nil
	}
	r.answers[prefix+"get_docker_container"] = func(_ context.Context, c call) (any, error) {
		v := containers[c.args[1].(string)]
		if err, failed := v.(error); failed {
			return nil, err
		}
		return v, nil
	}
	want := "NAME        IMAGE       STATE              STARTED                   RESTARTS  PORTS                           ID\n" +
		"web         nginx:1.27  running (healthy)  2026-03-01T10:00:00.000Z  2         127.0.0.1:8080->80/tcp 443/tcp  c1c1c1c1c1c1\n" +
		"job\\x1b[2J  box:1       exited (7)         -                         0         -                               c2\n"
	if out := r.good("docker", "ps", "n1", "-a"); out != want {
		t.Errorf("containers:\n%s", out)
	}
	r.good("docker", "ps", "n1")
	if got := strings.Join(asked, " "); got != "[n1 true] [n1 false]" {
		t.Errorf("asked for %s", got)
	}
	if out := r.good("docker", "ps", "n1", "--json"); strings.Count(out, `"name"`) != 2 || !strings.Contains(out, `"exit_code": 7`) {
		t.Errorf("as JSON: %s", out)
	}
	r.answers[prefix+"get_docker_images"] = []any{"sha256:0123456789abcdef", "sha256:1"}
	r.answers[prefix+"get_docker_image"] = func(_ context.Context, c call) (any, error) {
		return map[string]any{"sha256:0123456789abcdef": wamp.Dict{"id": c.args[1], "tags": []any{"nginx:1.27", "nginx:latest"}, "created": "2026-03-01T10:00:00.000Z", "size": 3 << 20},
			"sha256:1": wamp.Dict{"id": c.args[1], "tags": []any{}, "size": 12}}[c.args[1].(string)], nil
	}
	want = "IMAGE                    CREATED                   SIZE     ID\n" +
		"nginx:1.27 nginx:latest  2026-03-01T10:00:00.000Z  3.0 MiB  0123456789ab\n" +
		"-                        -                         12 B     1\n"
	if out := r.good("docker", "images", "n1"); out != want {
		t.Errorf("images:\n%s", out)
	}
	r.answers[prefix+"get_docker_image"] = cfcerr.New(cfcerr.Unavailable, "Docker is not available")
	r.bad(13, "Docker is not available", "docker", "images", "n1")
	r.bad(2, "NODE is missing", "docker", "ps")
	r.bad(3, "invalid argument node_id", "docker", "images", "N 1")
}
