package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// shell is Crossbar.io's own command line, unmodified, with a home of its own.
type shell struct {
	t    *testing.T
	home string
}

func (s shell) run(args ...string) string {
	s.t.Helper()
	ctx := within(s.t, 30*time.Second)
	cmd := exec.CommandContext(ctx, stage.Node.Crossbar, append([]string{"shell"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+s.home, "CROSSBAR_FABRIC_URL="+stage.Relay.URL()+wire.UserPath, "NO_COLOR=1")
	var noise strings.Builder
	cmd.Stderr = &noise
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("crossbar shell %s: %v\n%s\n%s", args[0], err, out, noise.String())
	}
	return string(out)
}

// shows wants the command to print this value.
func (s shell) shows(want any, args ...string) {
	s.t.Helper()
	out := s.run(args...)
	begin, end := strings.IndexAny(out, "[{"), strings.LastIndexAny(out, "]}")
	var got any
	if begin < 0 || json.Unmarshal([]byte(out[begin:end+1]), &got) != nil || !reflect.DeepEqual(got, want) {
		s.t.Errorf("crossbar shell %s prints\n%s\nexpected %v", strings.Join(args, " "), out, want)
	}
}

// A user of Crossbar.io's master finds his own tool working: it logs in with a
// one-time token, and looks at realms, nodes, workers and what runs in them.
func TestCrossbarsOwnShell(t *testing.T) {
	s := shell{t, t.TempDir()}
	token := userToken(t, "shell", realm, string(wire.Owner))
	s.run("init", "--yes")
	if out := s.run("auth", "--code", token); !strings.Contains(out, "shell") || !strings.Contains(out, wire.UsersRealm) {
		t.Errorf("after the log-in it prints\n%s", out)
	}
	c := client(t, "nexus/json", realm)
	ctx := within(t, time.Minute)
	node := show(ctx, t, c, catalog.RealmGetNode.URI(), "n1")
	status := show(ctx, t, c, catalog.RealmGetStatus.URI())
	must := func(uri string, args ...any) {
		t.Helper()
		if _, err := c.Call(ctx, uri, args, nil); err != nil {
			t.Fatal(err)
		}
	}
	must(catalog.NodeStartWorker.URI(), "n1", "shell1", map[string]any{"type": "router"})
	defer must(catalog.NodeStopWorker.URI(), "n1", "shell1")
	must(catalog.RouterStartRealm.URI(), "n1", "shell1", "realm1", map[string]any{"name": "com.example.shell"})

	s.shows([]any{realm}, "list", "mrealms", "--names")
	s.shows([]any{status["oid"]}, "list", "mrealms")
	s.shows([]any{node["oid"]}, "--realm", realm, "list", "nodes")
	s.shows([]any{"n1"}, "--realm", realm, "list", "nodes", "--names")
	s.shows([]any{"realm1"}, "--realm", realm, "list", "router-realms", "n1", "shell1")
	if out := s.run("--realm", realm, "list", "workers", "n1"); !strings.Contains(out, `"shell1"`) {
		t.Errorf("workers are %s", out)
	}
	for _, want := range []string{`"status": "online"`, node["oid"].(string)} {
		if out := s.run("--realm", realm, "show", "node", "n1"); !strings.Contains(out, want) {
			t.Errorf("the node is shown as %s", out)
		}
	}
}

func show(ctx context.Context, t *testing.T, c driver.Client, uri string, args ...any) map[string]any {
	t.Helper()
	v, err := c.Call(ctx, uri, args, nil)
	d, ok := v.(map[string]any)
	if err != nil || !ok {
		t.Fatalf("%s gives %v, %v", uri, v, err)
	}
	return d
}

// userToken is a token for a new user, a member of the realm from the start.
func userToken(t *testing.T, user, realm, role string) string {
	t.Helper()
	s := join(t, "")
	r, err := s.Call(within(t, 10*time.Second), catalog.CreateToken.URI(),
		wamp.List{string(wire.ForUser), wamp.Dict{"user": user, "realm": realm, "role": role}}, nil, session.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := wamp.AsDict(r.Arguments[0])
	token, _ := wamp.AsString(d["token"])
	return token
}
