package docker

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"github.com/gammazero/nexus/v3/wamp"
)

// guarded is a host under rules that can change.
type guarded struct {
	*host
	rules policy.Docker
	home  string
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	real := enginetest.Start(t, enginetest.Options{})
	real.Build("box:1", nil)
	real.Build("evil:1", nil, "LABEL other=image")
	g := &guarded{home: real.Home}
	g.host = hostOf(t, real, func(c *engine.Config) { c.Rules = func() policy.Docker { return g.rules } })
	for _, dir := range []string{"listed", "listed/deep", "secret"} {
		if err := os.Mkdir(filepath.Join(g.home, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(g.home, "secret"), filepath.Join(g.home, "listed", "link")); err != nil {
		t.Fatal(err)
	}
	return g
}

// rule is the rule by which a start is refused, empty where it is not.
func (g *guarded) rule(name any, config ...any) string {
	g.t.Helper()
	s, err := try(g.host, within(g.t, time.Minute), catalog.DockerStartContainer, append([]any{name}, config...)...)
	var e *cfcerr.Error
	if errors.As(err, &e) && e.Kind == cfcerr.DeniedByHost {
		return e.Details["rule"].(string)
	}
	if err != nil {
		return err.Error()
	}
	do(g.host, catalog.DockerDestroyContainer, s.ID, true, true)
	return ""
}

// TestTheHostsRules asks for what each rule forbids, and for what it allows.
func TestTheHostsRules(t *testing.T) {
	g := newGuarded(t)
	listed, secret := filepath.Join(g.home, "listed"), filepath.Join(g.home, "secret")
	real := g.real
	real.Do(http.MethodPost, "/containers/create?name=other", map[string]any{"Image": "box:1", "HostConfig": map[string]any{"Binds": []string{secret + ":/s"}}}, nil)
	real.Do(http.MethodPost, "/containers/other/start", nil, nil)
	real.Do(http.MethodPost, "/volumes/create", map[string]any{"Name": "sly", "DriverOpts": map[string]string{"type": "none", "o": "bind", "device": secret}}, nil)
	var evil struct{ ID string }
	real.Do(http.MethodGet, "/images/evil:1/json", nil, &evil)
	var hostNetwork struct{ ID string }
	real.Do(http.MethodGet, "/networks/host", nil, &hostNetwork)
	volume := func(options wamp.Dict) wamp.Dict {
		return wamp.Dict{"volumes": []any{wamp.Dict{"source": "vol", "target": "/v", "driver": "local", "options": options}}}
	}
	only := policy.Docker{Images: []string{"box"}}
	for what, c := range map[string]struct {
		ask   wamp.Dict
		rules policy.Docker // by which it is refused
		want  string
		allow *policy.Docker // by which it is not
	}{
		"nothing":                     {nil, policy.Docker{}, "", nil},
		"image":                       {wamp.Dict{"image": "evil:1"}, only, "docker.images", &policy.Docker{Images: []string{"evil:1"}}},
		"image by id":                 {wamp.Dict{"image": evil.ID}, only, "docker.images", &policy.Docker{Images: []string{"evil:1"}}},
		"image by short id":           {wamp.Dict{"image": evil.ID[7:19]}, only, "docker.images", nil},
		"image that is not here":      {wamp.Dict{"image": "127.0.0.1:1/box:1"}, only, "docker.images", nil},
		"registry":                    {wamp.Dict{"image": "127.0.0.1:1/box:1"}, policy.Docker{Registries: []string{"docker.io"}}, "docker.registries", nil},
		"privileged":                  {wamp.Dict{"privileged": true}, policy.Docker{}, "docker.privileged", &policy.Docker{Privileged: true}},
		"capability":                  {wamp.Dict{"cap_add": []any{"SYS_ADMIN"}}, policy.Docker{Capabilities: []string{"NET_ADMIN"}}, "docker.capabilities", &policy.Docker{Capabilities: []string{"CAP_SYS_ADMIN"}}},
		"capability in small letters": {wamp.Dict{"cap_add": []any{"cap_sys_admin"}}, policy.Docker{}, "docker.capabilities", nil},
		"all capabilities":            {wamp.Dict{"cap_add": "all"}, policy.Docker{Capabilities: []string{"NET_ADMIN"}}, "docker.capabilities", nil},
		"host network":                {wamp.Dict{"network": "host"}, policy.Docker{}, "docker.host_namespaces", &policy.Docker{HostNamespaces: []string{"network"}}},
		"host pid":                    {wamp.Dict{"pid": "host"}, policy.Docker{HostNamespaces: []string{"network"}}, "docker.host_namespaces", &policy.Docker{HostNamespaces: []string{"pid"}}},
		"host ipc":                    {wamp.Dict{"ipc": "host"}, policy.Docker{}, "docker.host_namespaces", &policy.Docker{HostNamespaces: []string{"ipc"}}},
		"host users":                  {wamp.Dict{"userns": "host"}, policy.Docker{}, "docker.host_namespaces", nil},
		"host name":                   {wamp.Dict{"uts": "host"}, policy.Docker{}, "docker.host_namespaces", nil},
		"another's network":           {wamp.Dict{"network": "container:other"}, policy.Docker{}, "docker.container_namespaces", &policy.Docker{ContainerNamespaces: true}},
		"another's processes":         {wamp.Dict{"pid": "container:other"}, policy.Docker{}, "docker.container_namespaces", &policy.Docker{ContainerNamespaces: true}},
		"device":                      {wamp.Dict{"devices": []any{"/dev/zero"}}, policy.Docker{Devices: []string{"/dev/null"}}, "docker.devices", &policy.Docker{Devices: []string{"/dev/zero"}}},
		"device past the list":        {wamp.Dict{"devices": []any{"/dev/null/../zero"}}, policy.Docker{Devices: []string{"/dev/null"}}, "docker.devices", nil},
		"security option":             {wamp.Dict{"security_opt": []any{"seccomp=unconfined"}}, policy.Docker{}, "docker.security_options", &policy.Docker{SecurityOptions: []string{"seccomp=unconfined"}}},
		"cgroup":                      {wamp.Dict{"cgroup_parent": "/x"}, policy.Docker{}, "docker.cgroup_parents", nil},
		"runtime":                     {wamp.Dict{"runtime": "kata"}, policy.Docker{}, "docker.runtimes", nil},
		"folder":                      {wamp.Dict{"volumes": []any{secret + ":/s"}}, policy.Docker{Binds: []string{listed}}, "docker.binds", &policy.Docker{Binds: []string{secret}}},
		"the whole host":              {wamp.Dict{"volumes": []any{"/:/host"}}, policy.Docker{Binds: []string{listed}}, "docker.binds", nil},
		"folder in a listed one":      {wamp.Dict{"volumes": []any{listed + "/deep:/s:ro"}}, policy.Docker{}, "docker.binds", &policy.Docker{Binds: []string{listed}}},
		"folder by ..":                {wamp.Dict{"volumes": []any{listed + "/../secret:/s"}}, policy.Docker{Binds: []string{listed}}, "docker.binds", nil},
		"folder by a link":            {wamp.Dict{"volumes": []any{listed + "/link:/s"}}, policy.Docker{Binds: []string{listed}}, "docker.binds", nil},
		"folder by volume options":    {volume(wamp.Dict{"type": "none", "o": "bind", "device": secret}), policy.Docker{Binds: []string{listed}}, "docker.binds", nil},
		"folder by options and links": {volume(wamp.Dict{"type": "none", "o": "rbind,ro", "device": listed + "/link"}), policy.Docker{Binds: []string{listed}}, "docker.binds", nil},
		"folder with other options":   {volume(wamp.Dict{"type": "none", "o": "bind,shared", "device": listed}), policy.Docker{Binds: []string{listed}}, "docker.binds", nil},
		"disk by volume options":      {volume(wamp.Dict{"type": "ext4", "device": "/dev/vda"}), policy.Docker{}, "docker.volume_drivers", nil},
		"overlay by volume options":   {volume(wamp.Dict{"type": "overlay", "o": "lowerdir=/,upperdir=/tmp/a", "device": "overlay"}), policy.Docker{}, "docker.volume_drivers", nil},
		"volume that was sly":         {wamp.Dict{"volumes": []any{"sly:/s"}}, policy.Docker{Binds: []string{listed}}, "docker.binds", nil},
		"volumes of another":          {wamp.Dict{"volumes_from": []any{"other"}}, policy.Docker{Binds: []string{listed}}, "docker.binds", nil},
	} {
		ask := wamp.Dict{"image": "box:1"}
		for k, v := range c.ask {
			ask[k] = v
		}
		g.rules = c.rules
		if got := g.rule(nil, ask); got != c.want {
			t.Errorf("%s: refused by %q, expected %q", what, got, c.want)
		}
		if c.allow == nil {
			continue
		}
		g.rules = *c.allow
		if got := g.rule(nil, ask); strings.HasPrefix(got, "docker.") { // some a kernel does not let be
			t.Errorf("%s where it is allowed: %q", what, got)
		}
	}
	if ids := do(g.host, catalog.DockerGetContainers); len(ids) != 1 {
		t.Errorf("refused containers were left: %v", ids)
	}
	// The host's own network under its id is no way either.
	g.rules = policy.Docker{}
	if got := g.rule(nil, wamp.Dict{"image": "box:1", "network": hostNetwork.ID}); got == "" {
		t.Error("the host's network by its id was let through")
	}
}

// TestWhatIsThereIsJudgedToo: containers that somebody made at the engine
// itself, at start, restart and exec.
func TestWhatIsThereIsJudgedToo(t *testing.T) {
	g := newGuarded(t)
	secret := filepath.Join(g.home, "secret")
	for name, c := range map[string]struct {
		config map[string]any
		rules  policy.Docker
		want   string
	}{
		"privileged": {map[string]any{"HostConfig": map[string]any{"Privileged": true}}, policy.Docker{}, "docker.privileged"},
		"labelled as ours": {map[string]any{"Labels": map[string]string{"fabric.center.caller": "alice", "fabric.center.config": "x"},
			"HostConfig": map[string]any{"CapAdd": []string{"SYS_ADMIN"}}}, policy.Docker{}, "docker.capabilities"},
		"bind":          {map[string]any{"HostConfig": map[string]any{"Binds": []string{secret + ":/s"}}}, policy.Docker{}, "docker.binds"},
		"shared bind":   {map[string]any{"HostConfig": map[string]any{"Binds": []string{secret + ":/s:slave"}}}, policy.Docker{Binds: []string{"/srv"}}, "docker.binds"},
		"unmasked proc": {map[string]any{"HostConfig": map[string]any{"MaskedPaths": []string{}, "ReadonlyPaths": []string{}}}, policy.Docker{}, "docker.security_options"},
		"device rule":   {map[string]any{"HostConfig": map[string]any{"DeviceCgroupRules": []string{"a *:* rwm"}}}, policy.Docker{}, "docker.devices"},
		"cgroup":        {map[string]any{"HostConfig": map[string]any{"CgroupParent": "/x"}}, policy.Docker{}, "docker.cgroup_parents"},
		"image":         {map[string]any{"Image": "evil:1"}, policy.Docker{Images: []string{"box"}}, "docker.images"},
	} {
		body := map[string]any{"Image": "box:1"}
		for k, v := range c.config {
			body[k] = v
		}
		var made struct{ ID string }
		g.real.Do(http.MethodPost, "/containers/create", body, &made)
		g.rules = c.rules
		g.rules.Exec = true
		if got := g.rule(made.ID); got != c.want {
			t.Errorf("%s: start is refused by %q, expected %q", name, got, c.want)
		}
		_ = g.real.Try(http.MethodPost, "/containers/"+made.ID+"/start", nil, nil) // some a kernel does not let run
		refuse(g.host, cfcerr.DeniedByHost, c.want, catalog.DockerRestartContainer, made.ID)
		_, err := g.rows.Call(within(t, time.Minute), g.caller(), catalog.DockerExec.Key(), wamp.List{made.ID, []any{"/box", "exit"}}, nil)
		var e *cfcerr.Error
		if !errors.As(err, &e) || e.Details["rule"] != c.want {
			t.Errorf("%s: exec is refused by %v, expected %s", name, err, c.want)
		}
		do(g.host, catalog.DockerDestroyContainer, made.ID, true)
	}
}

// TestWhatIsFrozenIsJudgedBeforeItGoesOn: the rule came when it was frozen.
func TestWhatIsFrozenIsJudgedBeforeItGoesOn(t *testing.T) {
	g := newGuarded(t)
	do(g.host, catalog.DockerStartContainer, "web", box(wamp.Dict{"command": "wait"}))
	do(g.host, catalog.DockerPauseContainer, "web")
	g.rules = policy.Docker{Images: []string{"other"}}
	refuse(g.host, cfcerr.DeniedByHost, "docker.images", catalog.DockerUnpauseContainer, "web")
	if c := do(g.host, catalog.DockerGetContainer, "web"); c.State != "paused" {
		t.Errorf("it is %s", c.State)
	}
	g.rules = policy.Docker{Images: []string{"box"}}
	if c := do(g.host, catalog.DockerUnpauseContainer, "web"); c.State != "running" {
		t.Errorf("where it is allowed it is %s", c.State)
	}
}

// TestATagThatMoves: a container whose image has lost the allowed name is not
// started, and neither is the image that has it no more.
func TestATagThatMoves(t *testing.T) {
	g := newGuarded(t)
	g.rules = policy.Docker{Images: []string{"good:1"}, Exec: true}
	g.real.Tag("evil:1", "good:1")
	var old struct{ ID string }
	g.real.Do(http.MethodGet, "/images/good:1/json", nil, &old)
	c := do(g.host, catalog.DockerCreateContainer, "good:1", wamp.Dict{}, "web")
	g.real.Tag("box:1", "good:1")
	if got := g.rule(c.ID); got != "docker.images" {
		t.Errorf("the container: %q", got)
	}
	if got := g.rule(nil, wamp.Dict{"image": old.ID}); got != "docker.images" {
		t.Errorf("its image by id: %q", got)
	}
	if got := g.rule(nil, wamp.Dict{"image": "good:1"}); got != "" {
		t.Errorf("what the name leads to now: %q", got)
	}
	g.rules.Exec = false
	_, err := g.rows.Call(within(t, time.Minute), g.caller(), catalog.DockerExec.Key(), wamp.List{"web", []any{"/box"}}, nil)
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Details["rule"] != "docker.exec" {
		t.Errorf("exec: %v", err)
	}
}
