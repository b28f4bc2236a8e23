package policy

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
)

var update = flag.Bool("update", false, "write the generated files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

var owner = catalog.Caller{AuthID: "alice", Role: wire.Owner}

// rule is the rule by which a call is refused, empty where it is allowed.
func rule(t *testing.T, p *Policy, op *catalog.Op, args ...any) string {
	t.Helper()
	err := p.Allow(op, owner, args, nil)
	if err == nil {
		return ""
	}
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != cfcerr.DeniedByHost {
		t.Fatalf("refused by %v", err)
	}
	return e.Details["rule"].(string)
}

func TestRules(t *testing.T) {
	read, start, stop, shut := catalog.NodeGetStatus.Op, catalog.NodeStartWorker.Op, catalog.RouterStopRealm.Op, catalog.NodeShutdownOp.Op
	guest := []any{"w1", wamp.Dict{"type": "guest"}}
	for name, c := range map[string]struct {
		file string
		op   *catalog.Op
		args []any
		want string
	}{
		"nothing forbidden":           {"", shut, nil, ""},
		"guests by default":           {"", start, guest, ""},
		"read only, read":             {"read_only: true", read, nil, ""},
		"read only, change":           {"read_only: true", start, nil, "read_only"},
		"area off, read":              {"areas: {node: off}", read, nil, "areas.node"},
		"area off, another":           {"areas: {node: off}", stop, nil, ""},
		"area quoted":                 {`areas: {node: "off"}`, read, nil, "areas.node"},
		"area read-only, read":        {"areas: {router: read-only}", catalog.RouterGetRealms.Op, nil, ""},
		"area read-only, change":      {"areas: {router: read-only}", stop, nil, "areas.router"},
		"area on":                     {"areas: {router: on}", stop, nil, ""},
		"area of a later version":     {"areas: {docker: off}", stop, nil, ""},
		"docker unless it is on":      {"", catalog.DockerGetStatus.Op, nil, "areas.docker"},
		"docker on":                   {"areas: {docker: on}", catalog.DockerGetStatus.Op, nil, ""},
		"docker read-only":            {"areas: {docker: read-only}", catalog.DockerGetStatus.Op, nil, ""},
		"denied":                      {"deny: [node.shutdown]", shut, nil, "deny"},
		"another denied":              {"deny: [node.shutdown]", stop, nil, ""},
		"guest forbidden":             {"guest_workers: false", start, guest, "guest_workers"},
		"guest by type":               {"guest_workers: false", start, []any{nil, "guest"}, "guest_workers"},
		"another python":              {"guest_workers: false", start, []any{"w1", "router", wamp.Dict{"python": "/bin/x"}}, "guest_workers"},
		"another python in config":    {"guest_workers: false", start, []any{"w1", wamp.Dict{"type": "router", "options": wamp.Dict{"python": "/bin/x"}}}, "guest_workers"},
		"another environment":         {"guest_workers: false", start, []any{"w1", "router", wamp.Dict{"env": wamp.Dict{"vars": wamp.Dict{"LD_PRELOAD": "/x.so"}}}}, "guest_workers"},
		"other modules in config":     {"guest_workers: false", start, []any{"w1", wamp.Dict{"type": "router", "pythonpath": wamp.List{"/x"}}}, "guest_workers"},
		"other modules in options":    {"guest_workers: false", start, []any{"w1", wamp.Dict{"type": "router", "options": wamp.Dict{"pythonpath": wamp.List{"/x"}}}}, "guest_workers"},
		"options of no consequence":   {"guest_workers: false", start, []any{"w1", "router", wamp.Dict{"title": "x", "cpu_affinity": wamp.List{0}}}, ""},
		"router where guests may not": {"guest_workers: false", start, []any{"w1", "router"}, ""},
	} {
		p := Open(write(t, "version: 1\n"+c.file+"\n"), false, zaptest.NewLogger(t))
		if err := p.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := rule(t, p, c.op, c.args...); got != c.want {
			t.Errorf("%s: refused by %q, expected %q", name, got, c.want)
		}
	}
	p := Open(write(t, "version: 1\nguest_workers: false\n"), false, zaptest.NewLogger(t))
	for _, kwargs := range []wamp.Dict{{"config": wamp.Dict{"type": "guest"}}, {"config": "router", "options": wamp.Dict{"python": "/bin/x"}}} {
		if p.Allow(start, owner, wamp.List{"w1"}, kwargs) == nil {
			t.Errorf("%v was let through", kwargs)
		}
	}
}

// SECURITY.md promises that with its policy nobody brings code in. Each row that
// could, but for those whose names say that they only end or tune what runs, is
// denied there, or stands here because it cannot.
func TestThePolicyAgainstCode(t *testing.T) {
	page, err := os.ReadFile("../../shared/docs/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	p := Open(write(t, text), false, zaptest.NewLogger(t))
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	harmless := regexp.MustCompile(`^(stop|restart|kill|remove|set|trigger)_|^(kill|shutdown)$`)
	var left []string
	for _, op := range catalog.All() {
		if op.Realm == catalog.Remote && op.Mutates() && !harmless.MatchString(op.Name[strings.LastIndex(op.Name, ".")+1:]) && rule(t, p, op) == "" {
			left = append(left, op.Key())
		}
	}
	slices.Sort(left)
	want := []string{
		"node.start_worker", // of the node's own kind: guest_workers
		"proxy.start_proxy_connection", "proxy.start_proxy_realm_route",
		"router.start_router_realm", "router.start_router_realm_link", "router.start_router_realm_role",
		"worker.start_profiler",
	}
	if !slices.Equal(left, want) {
		t.Errorf("left are %v, expected %v", left, want)
	}
	if p.rules.Guests {
		t.Error("any program may be a worker")
	}
}

func TestAWrongFileAllowsReadingAlone(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"unknown key":       {"version: 1\nreadonly: true\n", "readonly"},
		"no version":        {"read_only: false\n", "version"},
		"no YAML":           {"version: 1\nareas: {\n", "YAML"},
		"unknown area":      {"version: 1\nareas: {nodes: off}\n", "nodes"},
		"unknown mode":      {"version: 1\nareas: {node: readonly}\n", "read-only"},
		"unknown operation": {"version: 1\ndeny: [node.shutdwon]\n", "shutdwon"},
		"wrong type":        {"version: 1\nread_only: maybe\n", "true or false"},
		"empty":             {"", "empty"},
	} {
		p := Open(write(t, c.file), true, zaptest.NewLogger(t))
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v", name, err)
		}
		if got := rule(t, p, catalog.NodeStartWorker.Op); got != "policy" {
			t.Errorf("%s: a change is refused by %q", name, got)
		}
		if got := rule(t, p, catalog.NodeGetStatus.Op); got != "" {
			t.Errorf("%s: reading is refused by %q", name, got)
		}
	}
}

func TestAFileThatOthersCanWriteIsNotTrusted(t *testing.T) {
	path := write(t, "version: 1\n")
	for _, place := range []string{path, filepath.Dir(path)} {
		if err := os.Chmod(place, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := Open(path, false, zaptest.NewLogger(t)).Err(); err == nil || !strings.Contains(err.Error(), place+": mode") {
			t.Errorf("%s: %v", place, err)
		}
		if err := os.Chmod(place, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := Open(path, false, zaptest.NewLogger(t))
	p.uid = os.Getuid() + 1
	if err := p.ownedWell(); os.Getuid() != 0 && err == nil {
		t.Error("a file of another user was trusted")
	}
}

func TestNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := Open(path, true, zaptest.NewLogger(t)).Err(); err != nil {
		t.Errorf("where there need be none: %v", err)
	}
	p := Open(path, false, zaptest.NewLogger(t))
	if p.Err() == nil || rule(t, p, catalog.NodeShutdownOp.Op) != "policy" {
		t.Error("a policy that was named and is not there forbids nothing")
	}
}

// A link is in place of a file: where it leads nowhere, and where others could
// make it lead elsewhere.
func TestALinkIsAFile(t *testing.T) {
	link := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.Symlink(filepath.Join(t.TempDir(), "gone"), link); err != nil {
		t.Fatal(err)
	}
	p := Open(link, true, zaptest.NewLogger(t))
	if got := rule(t, p, catalog.NodeShutdownOp.Op); got != "policy" || Check(link, true) == nil {
		t.Errorf("a link to nothing: refused by %q", got)
	}
	if err := errors.Join(os.Remove(link), os.Symlink(write(t, "version: 1\n"), link)); err != nil {
		t.Fatal(err)
	}
	if p.Reload(); p.Err() != nil {
		t.Error(p.Err())
	}
	if err := os.Chmod(filepath.Dir(link), 0o777); err != nil {
		t.Fatal(err)
	}
	if p.Reload(); p.Err() == nil || !strings.Contains(p.Err().Error(), filepath.Dir(link)+": mode") {
		t.Errorf("a link that others can replace: %v", p.Err())
	}
}

// What is wrong with who may write it is set right, or comes about, without a
// change of the file itself.
func TestTrustIsLookedAtAgain(t *testing.T) {
	path := write(t, "version: 1\n")
	synctest.Test(t, func(t *testing.T) {
		p := Open(path, false, zaptest.NewLogger(t))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		for _, c := range []struct {
			mode fs.FileMode
			want string
		}{{0o777, "policy"}, {0o755, ""}} {
			if err := os.Chmod(filepath.Dir(path), c.mode); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * lookEvery)
			synctest.Wait()
			if got := rule(t, p, catalog.NodeShutdownOp.Op); got != c.want {
				t.Errorf("with %#o it is refused by %q, expected %q", c.mode, got, c.want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAChangeIsSeen(t *testing.T) {
	path := write(t, "version: 1\n")
	synctest.Test(t, func(t *testing.T) {
		p := Open(path, false, zaptest.NewLogger(t))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		for _, c := range []struct{ file, want string }{{"read_only: true", "read_only"}, {"deny: [node.shutdown]", "deny"}, {"deny: 7", "policy"}, {"", ""}} {
			if err := os.WriteFile(path, []byte("version: 1\n"+c.file+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * lookEvery)
			synctest.Wait()
			if got := rule(t, p, catalog.NodeShutdownOp.Op); got != c.want {
				t.Errorf("after %q it is refused by %q, expected %q", c.file, got, c.want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestEveryAreaOfTheCatalogueIsKnown(t *testing.T) {
	for _, op := range catalog.All() {
		if op.Realm == catalog.Remote && (Rules{Areas: map[string]Mode{op.Area: Off}}).Validate() != nil {
			t.Errorf("area %s cannot be spoken of", op.Area)
		}
	}
}

// TestPage keeps the policy's part of CONFIG.md.
func TestPage(t *testing.T) {
	if err := config.UpdateRegion("../../shared/docs/CONFIG.md", "policy.yaml", config.Markdown(Rules{}, "", false), *update); err != nil {
		t.Error(err)
	}
}
