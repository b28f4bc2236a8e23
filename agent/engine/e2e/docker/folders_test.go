package docker

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/catalog"
	"github.com/gammazero/nexus/v3/wamp"
)

// TestAFolderBelowOneThatAContainerWrites could be replaced by a link to
// anywhere, which the engine follows whenever it starts the container again.
func TestAFolderBelowOneThatAContainerWrites(t *testing.T) {
	g := newGuarded(t)
	listed := filepath.Join(g.home, "listed")
	deep := listed + "/deep"
	if err := os.Mkdir(listed+"/other", 0o755); err != nil {
		t.Fatal(err)
	}
	volume := func(name, device string) any {
		return wamp.Dict{"source": name, "target": "/v", "driver": "local", "options": wamp.Dict{"type": "none", "o": "bind", "device": device}}
	}
	g.rules = policy.Docker{Binds: []string{listed, deep}}
	for what, c := range map[string]struct {
		there, asked []any
		want         string
	}{
		"below":                      {[]any{listed + ":/l"}, []any{deep + ":/d"}, "docker.binds"},
		"below, read only":           {[]any{listed + ":/l"}, []any{deep + ":/d:ro"}, "docker.binds"},
		"above":                      {[]any{deep + ":/d"}, []any{listed + ":/l"}, "docker.binds"},
		"above, read only":           {[]any{deep + ":/d"}, []any{listed + ":/l:ro"}, ""},
		"below what is read only":    {[]any{listed + ":/l:ro"}, []any{deep + ":/d"}, ""},
		"the same":                   {[]any{listed + ":/l"}, []any{listed + ":/l"}, ""},
		"beside":                     {[]any{listed + "/other:/l"}, []any{deep + ":/d"}, ""},
		"below a volume":             {[]any{volume("v1", listed)}, []any{deep + ":/d"}, "docker.binds"},
		"by a volume":                {[]any{listed + ":/l"}, []any{volume("v2", deep)}, "docker.binds"},
		"by a volume that was there": {[]any{listed + ":/l"}, []any{"v2:/v"}, "docker.binds"},
		"both in one":                {nil, []any{listed + ":/l", deep + ":/d"}, "docker.binds"},
		"both in one, the other way": {nil, []any{deep + ":/d", volume("v3", listed)}, "docker.binds"},
	} {
		if what == "by a volume that was there" {
			g.real.Do(http.MethodPost, "/volumes/create", map[string]any{"Name": "v2", "DriverOpts": map[string]string{"type": "none", "o": "bind", "device": deep}}, nil)
		}
		if c.there != nil {
			do(g.host, catalog.DockerStartContainer, "there", wamp.Dict{"image": "box:1", "volumes": c.there})
		}
		if got := g.rule(nil, wamp.Dict{"image": "box:1", "volumes": c.asked}); got != c.want {
			t.Errorf("%s: refused by %q, expected %q", what, got, c.want)
		}
		if c.there != nil {
			do(g.host, catalog.DockerDestroyContainer, "there", true)
		}
		for _, name := range []string{"v1", "v2", "v3"} {
			_ = g.real.Try(http.MethodDelete, "/volumes/"+name, nil, nil) // not all are there
		}
	}
}

// TestAVolumeIsJudgedBeforeItIsFilled: the engine puts the image's files into
// an empty one when it makes the container, before it starts.
func TestAVolumeIsJudgedBeforeItIsFilled(t *testing.T) {
	g := newGuarded(t)
	secret := filepath.Join(g.home, "secret")
	g.real.Build("full:1", nil, "COPY box /data/box")
	g.real.Do(http.MethodPost, "/volumes/create", map[string]any{"Name": "sly", "DriverOpts": map[string]string{"type": "none", "o": "bind", "device": secret}}, nil)
	fill := wamp.Dict{"image": "full:1", "volumes": []any{"sly:/data"}}
	if got := g.rule(nil, fill); got != "docker.binds" {
		t.Errorf("refused by %q", got)
	}
	if files, err := os.ReadDir(secret); err != nil || len(files) > 0 {
		t.Errorf("the folder holds %v, %v", files, err)
	}
	g.rules.Binds = []string{secret}
	if got := g.rule(nil, fill); got != "" {
		t.Errorf("where it is allowed: refused by %q", got)
	}
	if files, err := os.ReadDir(secret); err != nil || len(files) != 1 {
		t.Errorf("where it is allowed, the folder holds %v, %v", files, err)
	}
}

// strangerEnv has this program be mountAsStranger, for the engine with that socket.
const strangerEnv = "CFC_TEST_STRANGER"

// mountAsStranger starts a container that mounts the folder in the argument,
// and prints why not.
func mountAsStranger() {
	e := engine.New(engine.Config{Socket: os.Getenv(strangerEnv), Rules: func() policy.Docker { return policy.Docker{Binds: []string{os.Args[1]}} }})
	defer e.Close()
	order := engine.Order{Config: wamp.Dict{"image": "box:1", "volumes": []any{os.Args[1] + ":/l"}}, MayCreate: func() error { return nil }}
	_, err := e.Start(context.Background(), order)
	fmt.Println(err)
}

// TestAnAgentInAContainer sees other files under the same names than the engine
// outside: what it finds there says nothing of what would be mounted.
func TestAnAgentInAContainer(t *testing.T) {
	g := newGuarded(t)
	for flags, want := range map[uintptr]string{0: "<nil>", syscall.CLONE_NEWPID: "outside of the agent's container"} {
		cmd := exec.CommandContext(within(t, time.Minute), os.Args[0], filepath.Join(g.home, "listed"))
		cmd.Env = append(os.Environ(), strangerEnv+"="+g.real.Socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s, %v; expected %s", out, err, want)
		}
	}
}
