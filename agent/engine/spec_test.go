package engine

import (
	"errors"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// TestOptionsAreAClosedList: what is unknown or wrong is named with its path.
func TestOptionsAreAClosedList(t *testing.T) {
	for at, config := range map[string]wamp.Dict{
		"image":                       {"image": 7},
		"imgae":                       {"imgae": "x"},
		"command":                     {"command": []any{"a", 1}},
		"entrypoint":                  {"entrypoint": strings.Repeat("x", 128<<10)},
		"health.test":                 {"health": wamp.Dict{}},
		"env.LONG":                    {"env": wamp.Dict{"LONG": strings.Repeat("x", 128<<10)}},
		"env.A=B":                     {"env": wamp.Dict{"A=B": "x"}},
		"env.A":                       {"env": wamp.Dict{"A": []any{}}},
		"env":                         {"env": []any{"HOME"}}, // would be the engine's own value
		"labels.fabric.center.caller": {"labels": wamp.Dict{"fabric.center.caller": "root"}},
		"restart":                     {"restart": "always:3"},
		"limits":                      {"limits": 1},
		"limits.memory":               {"limits": wamp.Dict{"memory": "64 megs"}},
		"limits.cpus":                 {"limits": wamp.Dict{"cpus": -1}},
		"limits.pids":                 {"limits": wamp.Dict{"pids": 1.5}},
		"limits.swap":                 {"limits": wamp.Dict{"swap": 1}},
		"health.interval":             {"health": wamp.Dict{"test": "none", "interval": "soon"}},
		"health.shell":                {"health": wamp.Dict{"test": "none", "shell": true}},
		"pull":                        {"pull": "maybe"},
		"stop_timeout":                {"stop_timeout": "never"},
		"read_only":                   {"read_only": "yes"},
		"tmpfs":                       {"tmpfs": wamp.Dict{"/tmp": "exec,dev"}},
		"volumes":                     {"volumes": "data:/data"},
		"volumes[0]":                  {"volumes": []any{"data"}},
		"volumes[1]":                  {"volumes": []any{"aa:/a", "data:/data:rshared"}},
		"volumes[0].mode":             {"volumes": []any{wamp.Dict{"source": "aa", "target": "/a", "mode": "z"}}},
		"ports":                       {"ports": "80"},
		"ports[0]":                    {"ports": []any{"80-90:80-90"}},
		"ports[1]":                    {"ports": []any{"80", "x:80"}},
		"devices":                     {"devices": []any{"dev/null"}},
		"init":                        {"init": "yes"},
		"network":                     {"network": "ns:/proc/1/ns/net"},
		"pid":                         {"pid": "HOST"},
		"ipc":                         {"ipc": "container:"},
		"userns":                      {"userns": "container:x"},
		"uts":                         {"uts": "private"},
		"hostname":                    {"hostname": "a\x00"},
		"sysctls":                     {"sysctls": wamp.Dict{}},
		"security_opt":                {"security_opt": wamp.Dict{}},
	} {
		if config["image"] == nil {
			config["image"] = "box:1"
		}
		_, err := newSpec(config)
		var e *cfcerr.Error
		if !errors.As(err, &e) || e.Kind != cfcerr.InvalidArgument || e.Details["argument"] != "container_config."+at {
			t.Errorf("%s: %v", at, err)
		}
	}
	for _, path := range []string{"data/../..", "../etc", "./x", "/etc/:/x", "x:relative", "x:/", "x:/a/../b", "a:/b:ro:z", "a", "-x:/a", ":/a"} {
		if _, err := newSpec(wamp.Dict{"image": "box:1", "volumes": []any{path + ":/v"}}); path != "/etc/:/x" && err == nil {
			t.Errorf("the volume %s was taken", path)
		}
	}
}

func TestTheSameConfigHasTheSameHash(t *testing.T) {
	hash := func(config wamp.Dict) string {
		t.Helper()
		config["image"] = "box:1"
		s, err := newSpec(config)
		if err != nil {
			t.Fatal(err)
		}
		return s.hash()
	}
	same := []wamp.Dict{
		{"env": wamp.Dict{"A": "1", "B": "2"}, "command": "wait", "limits": wamp.Dict{"memory": "1MiB"}},
		{"env": []any{"B=2", "A=1"}, "command": []any{"wait"}, "limits": wamp.Dict{"memory": uint64(1 << 20)}, "pull": "always"},
		{"env": wamp.Dict{"B": 2, "A": 1.0}, "command": []any{"wait"}, "limits": map[string]any{"memory": float64(1 << 20)}, "user": nil},
	}
	for _, c := range same[1:] {
		if hash(c) != hash(same[0]) {
			t.Errorf("%v is another one than %v", c, same[0])
		}
	}
	for _, c := range []wamp.Dict{{}, {"env": wamp.Dict{"A": "1"}}, {"privileged": true}, {"volumes": []any{"aa:/a"}}, {"ports": []any{"80"}}, {"init": false}, {"init": true}} {
		h := hash(c)
		for _, d := range []wamp.Dict{same[0], {"command": "wait"}, {"labels": wamp.Dict{"a": "b"}}} {
			if h == hash(d) {
				t.Errorf("%v is the same as %v", c, d)
			}
		}
	}
}
