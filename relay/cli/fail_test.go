package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

const statusURI = "cfc.remote.node.get_status"

// Every kind of answer has its exit code and its one line.
func TestExitCodes(t *testing.T) {
	for _, i := range cfcerr.Table {
		uri := i.URI
		if i.Kind == cfcerr.NodeError {
			uri = "crossbar.error.odd"
		}
		r := newRig(t)
		r.answers[statusURI] = cfcerr.FromWamp(uri, wamp.List{"cannot ask n1: why"}, wamp.Dict{"node_id": "n1"})
		if errs := r.bad(i.Exit, "cfc: cannot ask n1: why", "node", "get-status", "n1"); strings.Contains(errs, uri) {
			t.Errorf("%s is shown to people: %s", uri, errs)
		}

		_, errs, exit := r.run("node", "get-status", "n1", "--json")
		var f failure
		if err := json.Unmarshal([]byte(errs), &f); err != nil || exit != i.Exit || f.URI != uri || f.Message != "cannot ask n1: why" || f.Details["node_id"] != "n1" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit %d, %s", uri, exit, errs)
		}
	}
}

func TestFailuresOfThisSide(t *testing.T) {
	refused := cfcerr.New(cfcerr.AuthenticationFailed, "the key is not known")
	tests := []struct {
		name   string
		refuse error
		exit   int
		uri    string
		want   string
	}{
		{"unreachable", errors.New("dial tcp 127.0.0.1:8080: connect: connection refused"), 1, errorLocal, "cannot reach the relay: dial tcp 127.0.0.1:8080: connect: connection refused"},
		{"its own sentence", errors.New("cannot join relay x: no answer"), 1, errorLocal, "cannot join relay x: no answer"},
		{"refused", refused, 4, "wamp.error.authentication_failed", "cannot run node get-status: the key is not known"},
		{"refused within", fmt.Errorf("outer: %w", refused), 4, "wamp.error.authentication_failed", "cannot run node get-status: the key is not known"},
	}
	for _, tt := range tests {
		r := newRig(t)
		r.refuse = tt.refuse
		r.bad(tt.exit, "cfc: "+tt.want+"\n", "node", "get-status", "n1")
		_, errs, exit := r.run("node", "get-status", "n1", "--json")
		var f failure
		if err := json.Unmarshal([]byte(errs), &f); err != nil || exit != tt.exit || f.URI != tt.uri || f.Details == nil {
			t.Errorf("%s: exit %d, %s", tt.name, exit, errs)
		}
	}
	for line, want := range map[string]string{
		"--json node get-status":                    "cannot run node get-status: NODE is missing",
		"node ls --nope --json":                     "cannot run node ls: unknown flag: --nope",
		"nope --json":                               `cannot run cfc: unknown command "nope"`,
		"login --json " + newToken(t, wire.ForUser): "cannot run cfc: a token is never given",
	} {
		r := newRig(t)
		_, errs, exit := r.run(strings.Split(line, " ")...)
		var f failure
		if err := json.Unmarshal([]byte(errs), &f); err != nil || exit != 2 || f.URI != errorUsage || !strings.HasPrefix(f.Message, want) {
			t.Errorf("%s: exit %d, %s", line, exit, errs)
		}
	}
}

func TestErrorOfAnotherMachineCannotWriteTheTerminal(t *testing.T) {
	r := newRig(t)
	r.answers[statusURI] = cfcerr.FromWamp("crossbar.error.odd", wamp.List{"cannot do:\nroot# \x1b[2J"}, nil)
	r.bad(16, `cannot do:\nroot# \x1b[2J`, "node", "get-status", "n1")
}

func TestAnswerOfAnotherShape(t *testing.T) {
	r := newRig(t)
	r.answers["cfc.get_users"] = "none"
	r.bad(1, "cannot read the answer of cfc.get_users", "user", "ls")
	r.answers["cfc.get_nodes"] = []any{1}
	r.bad(1, "cannot read the answer of cfc.get_nodes", "node", "ls")
}

func TestNodeThatGoesWhileNodesAreListed(t *testing.T) {
	r := newRig(t)
	r.answers["cfc.get_nodes"] = []any{"n1", "n2"}
	r.answers["cfc.get_node"] = cfcerr.New(cfcerr.NoSuchNode, "cannot find it")
	if out := r.good("node", "ls"); strings.Count(out, "\n") != 1 {
		t.Errorf("%s", out)
	}
	r.answers["cfc.get_node"] = cfcerr.New(cfcerr.NotAuthorized, "cannot look")
	r.bad(4, "cannot look", "node", "ls")
}

func TestKeyThatIsGoneOrOpenToOthers(t *testing.T) {
	r := newRig(t)
	r.env[envKey] = r.dir + "/none.key"
	r.bad(1, "its key "+r.dir+"/none.key is gone; log in again", "status")
	if err := os.WriteFile(r.dir+"/open.key", []byte(strings.Repeat("ab", 32)), 0o644); err != nil {
		t.Fatal(err)
	}
	r.env[envKey] = r.dir + "/open.key"
	r.bad(1, "others can read it", "status")
	if len(r.joins) > 0 {
		t.Error("the relay was asked")
	}
}
