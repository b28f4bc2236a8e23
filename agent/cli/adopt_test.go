package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
)

const nodeConfig = "{\n    \"version\": 2,\n    \"workers\": []\n}\n"

// newNode is a host with a node directory and a crossbar command that checks.
func newNode(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.listen("127.0.0.1:4711")
	for _, dir := range []string{"node", "units"} {
		if err := os.Mkdir(h.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.write("node/config.json", nodeConfig)
	h.write("node/key.pub", "x")
	h.write("crossbar", "#!/bin/sh\ngrep -q bad \"$4/$6\" || exit 0\necho 'Error: it is bad'\nexit 1\n")
	if err := os.Chmod(h.path("crossbar"), 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

// listen has the node dial there.
func (h *host) listen(address string) { h.configure("listen: 127.0.0.1:0", "listen: "+address) }

func (h *host) configure(was, is string) {
	h.t.Helper()
	b, err := os.ReadFile(h.path("agent.yaml"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.write("agent.yaml", strings.Replace(string(b), was, is, 1))
}

func (h *host) adopt(args ...string) (code int, out, errs string) {
	h.t.Helper()
	return h.run(append([]string{"adopt", "--cbdir", h.path("node"), "--crossbar", h.path("crossbar")}, args...)...)
}

func (h *host) content() string {
	h.t.Helper()
	b, err := os.ReadFile(h.path("node/config.json"))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

func TestAdopt(t *testing.T) {
	h := newNode(t)
	for _, step := range []struct {
		args    []string
		say     string
		managed bool
	}{
		{[]string{"--dry-run"}, "nothing was changed", false},
		{nil, "is adopted", true},
		{nil, "nothing to do", true},
		{[]string{"--undo", "--dry-run"}, "nothing was changed", true},
		{[]string{"--undo"}, "is undone", false},
		{[]string{"--undo"}, "nothing to do", false},
	} {
		code, out, errs := h.adopt(step.args...)
		if code != 0 || errs != "" || !strings.Contains(out, step.say) {
			t.Errorf("%v: exit %d, %q, %q", step.args, code, out, errs)
		}
		if (h.content() != nodeConfig) != step.managed {
			t.Errorf("after %v the configuration is %s", step.args, h.content())
		}
		if shown := strings.Contains(out, "rs://127.0.0.1:4711"); shown == strings.Contains(step.say, "to do") {
			t.Errorf("%v shows %q", step.args, out)
		}
	}
}

// The running agent knows best where it listens.
func TestAdoptAsksTheRunningAgent(t *testing.T) {
	h := newNode(t)
	h.configure("listen: 127.0.0.1:4711", "listen: 127.0.0.1:0")
	if code, _, errs := h.adopt(); code != exitUsage || !strings.Contains(errs, "no fixed port") {
		t.Fatalf("without it: exit %d, %q", code, errs)
	}
	h.daemon()
	_, out, _ := h.run("status", "--json")
	var s struct {
		Agent struct {
			Listen string `json:"node_listen"`
			Dir    string `json:"cbdir"`
		}
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := h.adopt(); code != 0 || !strings.Contains(h.content(), `"rs://`+s.Agent.Listen+`"`) || !strings.Contains(out, "node.cbdir: "+h.path("node")) {
		t.Errorf("exit %d, %q, %q: %s", code, out, errs, h.content())
	}
}

func TestAdoptRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		make func(h *host)
		args []string
		code int
		say  string
	}{
		"what is no node":        {func(h *host) { h.write("node/config.json", "{") }, nil, exitFailure, "config.json"},
		"what edge does not run": {func(h *host) { h.write("node/config.json", `{"bad": 1}`) }, nil, exitFailure, "edge check says: it is bad"},
		"another uplink": {func(h *host) {
			h.write("node/config.json", `{"controller": {"fabric": {"transport": {"type": "websocket", "url": "ws://other"}}}}`)
		}, nil, cfcerr.AlreadyExists.Exit(), "--replace"},
		"a unit of standalone": {func(h *host) {
			h.write("units/crossbar.service", "[Service]\nExecStart=/opt/bin/crossbar start --cbdir "+h.path("node")+"\n")
		}, nil, exitFailure, "change the unit as shown"},
		"undoing with more":      {func(*host) {}, []string{"--undo", "--restart"}, exitUsage, "--undo goes with"},
		"an argument":            {func(*host) {}, []string{"more"}, exitUsage, "more"},
		"an agent on a socket":   {func(h *host) { h.configure("127.0.0.1:4711", "unix:/x") }, nil, exitUsage, "TCP only"},
		"undoing under an agent": {func(h *host) { h.configure("node:\n", "node:\n  supervise: true\n  cbdir: "+h.path("node")+"\n") }, []string{"--undo"}, exitFailure, "node.supervise"},
		"a restart of nothing":   {func(*host) {}, []string{"--restart"}, exitFailure, "does not run"},
	} {
		t.Run(what, func(t *testing.T) {
			h := newNode(t)
			c.make(h)
			before := h.content()
			code, out, errs := h.adopt(c.args...)
			if code != c.code || !strings.Contains(errs, c.say) || strings.Count(errs, "\n") != 1 {
				t.Errorf("exit %d, %q", code, errs)
			}
			if h.content() != before {
				t.Error("something was changed")
			}
			if shown := strings.Contains(out, "ExecStart=/opt/bin/crossbar edge start --cbdir "+h.path("node")); shown != strings.Contains(c.say, "as shown") {
				t.Errorf("it shows %q", out)
			}
		})
	}
	h := newNode(t)
	if code, _, errs := h.run("adopt"); code != exitUsage || !strings.Contains(errs, "--cbdir") {
		t.Errorf("without a directory: exit %d, %q", code, errs)
	}
}

func TestUndoShowsWhatItCannotTakeOut(t *testing.T) {
	h := newNode(t)
	if code, _, errs := h.adopt(); code != 0 {
		t.Fatal(errs)
	}
	edited := strings.Replace(h.content(), `"port": 4711`, `"port": 4712`, 1)
	h.write("node/config.json", edited)
	code, out, errs := h.adopt("--undo")
	if code != exitFailure || !strings.Contains(errs, "edited since") || !strings.Contains(out, `-                    "port": 4712`) || h.content() != edited {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}
