package docker

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// TestAContainersLife takes one through every operation, good and bad.
func TestAContainersLife(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	config := box(wamp.Dict{"command": []any{"wait"}, "env": wamp.Dict{"A": "1", "N": 2}, "labels": wamp.Dict{"team": "x"}})
	s := do(h, catalog.DockerStartContainer, "web", config)
	if s.Name != "web" || s.State != "running" || !s.Created || len(s.ID) != 64 || s.Image != "box:1" || s.Started == nil || s.ImageID == "" {
		t.Errorf("started %+v", s)
	}
	c := do(h, catalog.DockerGetContainer, "web")
	if c.ID != s.ID || c.PID == 0 || c.Env["A"] != "1" || c.Env["N"] != "2" || c.Env["SECRET"] != "hidden" || c.Labels["team"] != "x" ||
		c.Labels["fabric.center.node"] != "n1" || c.Labels["fabric.center.realm"] != "demo" || c.Labels["fabric.center.caller"] != "alice" || c.Labels["fabric.center.config"] != "" {
		t.Errorf("container %+v", c)
	}
	refuse(h, cfcerr.AlreadyRunning, "web running", catalog.DockerStartContainer, "web")
	refuse(h, cfcerr.AlreadyRunning, "running", catalog.DockerStartContainer, s.ID[:12], config)
	refuse(h, cfcerr.NotEmpty, "web force", catalog.DockerDestroyContainer, "web")
	refuse(h, cfcerr.NotRunning, "not paused", catalog.DockerUnpauseContainer, "web")
	if p := do(h, catalog.DockerPauseContainer, "web"); p.State != "paused" {
		t.Errorf("paused %+v", p)
	}
	refuse(h, cfcerr.NotRunning, "paused", catalog.DockerPauseContainer, "web")
	if p := do(h, catalog.DockerUnpauseContainer, s.ID); p.State != "running" {
		t.Errorf("unpaused %+v", p)
	}
	if r := do(h, catalog.DockerRestartContainer, "web", 5); r.State != "running" || *r.Started == *s.Started {
		t.Errorf("restarted %+v", r)
	}
	if x := do(h, catalog.DockerStopContainer, "web"); x.State != "exited" || x.ExitCode != 0 || x.Finished == nil {
		t.Errorf("stopped %+v", x)
	}
	refuse(h, cfcerr.NotRunning, "exited", catalog.DockerStopContainer, "web")
	refuse(h, cfcerr.AlreadyExists, "another config", catalog.DockerStartContainer, "web", box(wamp.Dict{"command": "wait"}))
	refuse(h, cfcerr.AlreadyExists, "already in use", catalog.DockerCreateContainer, "box:1", wamp.Dict{}, "web")
	if again := do(h, catalog.DockerStartContainer, "web", config); again.Created || again.ID != s.ID {
		t.Errorf("the same config: %+v", again)
	}
	if d := do(h, catalog.DockerDestroyContainer, "web", true); d.ID != s.ID || d.Name != "web" || d.By != "alice" {
		t.Errorf("destroyed %+v", d)
	}
	for _, row := range []catalog.Spec[catalog.OnContainer, catalog.DockerChanged]{catalog.DockerPauseContainer, catalog.DockerUnpauseContainer} {
		refuse(h, cfcerr.NoSuchObject, "web", row, "web")
	}
	refuse(h, cfcerr.NoSuchObject, "web", catalog.DockerGetContainer, "web")
	refuse(h, cfcerr.NoSuchObject, "web", catalog.DockerStopContainer, "web")
	refuse(h, cfcerr.NoSuchObject, "web", catalog.DockerRestartContainer, "web")
	refuse(h, cfcerr.NoSuchObject, "web", catalog.DockerDestroyContainer, "web")
	refuse(h, cfcerr.NoSuchObject, "no config", catalog.DockerStartContainer, "web")
}

func TestAContainerWithoutANameGetsOne(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	a, b := do(h, catalog.DockerStartContainer, nil, box(nil)), do(h, catalog.DockerCreateContainer, "box:1")
	if a.Name == b.Name || a.Name == "" || b.State != "created" || b.Started != nil {
		t.Errorf("%+v, %+v", a, b)
	}
	if s := do(h, catalog.DockerStartContainer, b.ID); s.Created || s.State != "running" {
		t.Errorf("started %+v", s)
	}
	refuse(h, cfcerr.InvalidArgument, "container_config.image", catalog.DockerStartContainer, nil, wamp.Dict{"command": "wait"})
	refuse(h, cfcerr.InvalidArgument, "container_config.image", catalog.DockerCreateContainer, "box:1", wamp.Dict{"image": "box:1"})
	// A name that by chance begins the id of another is a name.
	if s := do(h, catalog.DockerStartContainer, a.ID[:4], box(nil)); !s.Created || s.Name != a.ID[:4] {
		t.Errorf("started %+v", s)
	}
}

// TestEveryOption looks at what the engine made of each.
func TestEveryOption(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	h.real.Network("front")
	s := do(h, catalog.DockerStartContainer, "all", box(wamp.Dict{"command": []any{"serve"}, "entrypoint": "/box", "env": []any{"A=b=c"}, "ports": []any{"127.0.0.1::8080", "127.0.0.1:0:9/udp"},
		"volumes": []any{"data:/data", "logs:/logs:ro", wamp.Dict{"source": "mem", "target": "/mem", "driver": "local", "options": wamp.Dict{"type": "tmpfs", "device": "tmpfs"}}},
		"network": "front", "labels": wamp.Dict{"a": true}, "restart": "on-failure:3", "limits": wamp.Dict{"memory": "64MiB", "cpus": 0.5, "pids": 64}, "user": "0:0",
		"working_dir": "/data", "hostname": "h", "health": wamp.Dict{"test": []any{"/box", "exit", "0"}, "interval": 1, "timeout": "1s", "retries": 2, "start_period": "100ms"},
		"pull": "never", "stop_signal": "SIGINT", "stop_timeout": 3, "read_only": true, "tmpfs": wamp.Dict{"/tmp": 65536}, "cap_drop": []any{"NET_RAW"},
		"security_opt": []any{"no-new-privileges"}, "tty": true, "stdin": true, "init": false}))
	c := do(h, catalog.DockerGetContainer, "all")
	if len(c.Mounts) != 3 || c.Mounts[0].Target != "/data" || !c.Mounts[1].ReadOnly || c.Restart != "on-failure:3" || c.Limits != (catalog.DockerLimits{Memory: 64 << 20, CPUs: 0.5, PIDs: 64}) ||
		c.Env["A"] != "b=c" || c.Hostname != "h" || c.User != "0:0" || c.WorkingDir != "/data" || c.Network != "front" || c.Networks["front"] == "" || c.Labels["a"] != "true" || !c.TTY {
		t.Errorf("container %+v", c)
	}
	at := slices.IndexFunc(s.Ports, func(p catalog.DockerPort) bool { return p.Container == 8080 && p.Host != 0 })
	if at < 0 || len(s.Ports) != 2 {
		t.Fatalf("ports %+v", s.Ports)
	}
	h.eventually("its answer", func() error {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", s.Ports[at].Host))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return err
	})
	http.DefaultClient.CloseIdleConnections()
	h.eventually("its health", func() error {
		if c := do(h, catalog.DockerGetContainer, "all"); c.Health == nil || *c.Health != "healthy" {
			return fmt.Errorf("health %v", c.Health)
		}
		return nil
	})
	var own struct {
		Config struct {
			StopSignal  string
			StopTimeout int
		}
		HostConfig struct {
			ReadonlyRootfs bool
			CapDrop        []string
			Tmpfs          map[string]string
		}
	}
	h.real.Do(http.MethodGet, "/containers/all/json", nil, &own)
	if own.Config.StopSignal != "SIGINT" || own.Config.StopTimeout != 3 || !own.HostConfig.ReadonlyRootfs || own.HostConfig.Tmpfs["/tmp"] != "size=65536" || !strings.HasSuffix(own.HostConfig.CapDrop[0], "NET_RAW") {
		t.Errorf("the engine has %+v", own)
	}
}

func TestStartsThatFailLeaveNothing(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	refuse(h, cfcerr.CannotStart, "no such file", catalog.DockerStartContainer, "xx", box(wamp.Dict{"entrypoint": "/none"}))
	refuse(h, cfcerr.NoSuchObject, "none", catalog.DockerStartContainer, "xx", wamp.Dict{"image": "none:1", "pull": "never"})
	refuse(h, cfcerr.NoSuchObject, "network", catalog.DockerStartContainer, "xx", box(wamp.Dict{"network": "none-such"}))
	refuse(h, cfcerr.InvalidConfiguration, "", catalog.DockerCreateContainer, "box:1", wamp.Dict{"stop_signal": "SIGNONE"})
	refuse(h, cfcerr.InvalidArgument, "grace", catalog.DockerStopContainer, "xx", -1)
	if ids := do(h, catalog.DockerGetContainers); len(ids) != 0 {
		t.Errorf("left: %v", ids)
	}
}

// TestTheCallersRoleDecides: who may start what is there may not make anything.
func TestTheCallersRoleDecides(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	config := box(wamp.Dict{"env": wamp.Dict{"TOKEN": "t0ken"}})
	do(h, catalog.DockerCreateContainer, "box:1", wamp.Dict{"env": wamp.Dict{"TOKEN": "t0ken"}}, "web")
	h.role = wire.Operator
	refuse(h, cfcerr.NotAuthorized, "owner", catalog.DockerStartContainer, nil, config)
	refuse(h, cfcerr.NotAuthorized, "", catalog.DockerCreateContainer, "box:1")
	do(h, catalog.DockerStartContainer, "web", config)
	ctx := within(t, time.Minute)
	v, err := h.rows.Call(ctx, catalog.Caller{Role: wire.Operator}, catalog.DockerGetContainer.Key(), wamp.List{"web"}, nil)
	d, _ := v.(catalog.Dict)
	env, _ := d["env"].(catalog.Dict)
	if err != nil || env["TOKEN"] != "***" || env["SECRET"] != "***" || d["name"] != "web" {
		t.Errorf("an operator sees %v, %v", v, err)
	}
	byAlias := catalog.Caller{Role: wire.Viewer, Procedure: "crossbarfabriccenter.remote.docker.get_container"}
	for key, args := range map[string]wamp.List{catalog.DockerGetContainer.Key(): {"web"}, catalog.DockerGetImage.Key(): {"box:1"}} {
		v, err = h.rows.Call(ctx, byAlias, key, args, nil)
		d, _ = v.(catalog.Dict)
		own, _ := d["Config"].(catalog.Dict)
		list, _ := own["Env"].(wamp.List)
		if err != nil || d["Id"] == nil || len(list) == 0 || list[0] != "***" {
			t.Errorf("a viewer sees by Crossbar.io's name %v, %v", v, err)
		}
	}
	h.role = wire.Viewer
	refuse(h, cfcerr.NotAuthorized, "", catalog.DockerStopContainer, "web")
}

func TestManyContainersAreListedInOrder(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	var made sync.WaitGroup
	turns := make(chan struct{}, 8)
	for i := range 200 {
		turns <- struct{}{}
		made.Go(func() {
			defer func() { <-turns }()
			if err := h.real.Try(http.MethodPost, fmt.Sprintf("/containers/create?name=c%03d", i), map[string]any{"Image": "box:1"}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	made.Wait()
	do(h, catalog.DockerStartContainer, "c007")
	ids := do(h, catalog.DockerGetContainers)
	if len(ids) != 200 || !slices.IsSorted(ids) || !slices.Equal(ids, do(h, catalog.DockerGetContainers, true)) {
		t.Errorf("%d ids", len(ids))
	}
	if running := do(h, catalog.DockerGetContainers, false); len(running) != 1 || !slices.Contains(ids, running[0]) {
		t.Errorf("running: %v", running)
	}
}
