package docker

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

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
