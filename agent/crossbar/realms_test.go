package crossbar

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

func TestRealmIDsCanBeUsedAgain(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	for i := range 5 {
		d := r.start("a", named("com.a"))
		options, _ := wamp.AsDict(d["config"].(wamp.Dict)["options"])
		if d["id"] != "a" || options["bridge_meta_api"] != true || options["enable_meta_api"] != true {
			t.Fatalf("round %d: %v", i, d)
		}
		r.start("b", named(fmt.Sprint("com.b", i)))
		if got := r.ids(); got != "a b" {
			t.Fatalf("round %d: realms are %s", i, got)
		}
		r.stop("a")
		if got := r.ids(); got != "b" {
			t.Fatalf("round %d: after the stop of a realms are %s", i, got)
		}
		if _, err := r.Object(r.within(time.Second), realm("a")); cfcerr.KindOf(err) != cfcerr.NoSuchObject {
			t.Errorf("round %d: a stopped realm shows: %v", i, err)
		}
		r.stop("b")
	}
	r.start("a", named("com.a"))
	if _, err := r.Object(r.within(time.Second), realm("r_a_5")); cfcerr.KindOf(err) != cfcerr.NoSuchObject {
		t.Errorf("a realm shows under the node's own id for it: %v", err)
	}
	r.start("r_a_5", named("com.c"))
	if got := r.ids(); got != "a r_a_5" {
		t.Errorf("realms are %s", got)
	}
	if got := r.fake.Running("w"); !slices.Equal(got, []string{"com.a", "com.c"}) {
		t.Errorf("at the node run %v", got)
	}
}

func TestSessionsOfAStoppedRealmAreTold(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", dict{"name": "com.a", "roles": []any{dict{"name": "anonymous", "permissions": []any{}}}})
	r.stop("a")
	if n := r.fake.CutOff("w"); n != 0 {
		t.Errorf("%d sessions are left connected to nothing", n)
	}
	if n := r.fake.Calls("worker.w.stop_router_realm_role"); n != 1 {
		t.Errorf("its role was stopped %d times", n)
	}
	r.start("b", dict{"name": "com.b", "options": dict{"bridge_meta_api": false}})
	r.stop("b") // nothing can be done about its sessions
}

func TestOptionsOfTheCallerStay(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	given := dict{"name": "com.a", "options": dict{"bridge_meta_api": false, "x": 1}}
	d := r.start("a", given)
	options, _ := wamp.AsDict(d["config"].(wamp.Dict)["options"])
	if options["bridge_meta_api"] != false || options["enable_meta_api"] != true || options["x"] == nil {
		t.Errorf("options are %v", options)
	}
	if len(given["options"].(dict)) != 2 {
		t.Errorf("the caller's own dict has changed: %v", given)
	}
}

func TestRolesAreStartedOrAllIsTakenBack(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	role := func(name string, more ...any) dict {
		d := dict{"name": name, "permissions": []any{}}
		if len(more) > 0 {
			d["id"] = more[0]
		}
		return d
	}
	d := r.start("a", dict{"name": "com.a", "roles": []any{role("anonymous"), role("a.b"), role("x", "mine"), role("mine")}})
	var ids []string
	roles, _ := wamp.AsList(d["roles"])
	for _, v := range roles {
		rd, _ := wamp.AsDict(v)
		ids = append(ids, rd["id"].(string))
	}
	if want := []string{"anonymous", "mine", "role002", "role004"}; !slices.Equal(ids, want) {
		t.Errorf("role ids are %v, expected %v", ids, want)
	}
	_, err := r.Start(r.within(time.Second), "alice", realm("b"), dict{"name": "com.b", "roles": []any{role("anonymous"), role("refused")}})
	if cfcerr.KindOf(err) != cfcerr.InvalidConfiguration || !strings.Contains(err.Error(), "neither static nor dynamic") {
		t.Errorf("a role that the node refuses: %v", err)
	}
	_, err = r.Start(r.within(time.Second), "alice", realm("c"), named("halfway"))
	if cfcerr.KindOf(err) != cfcerr.InvalidConfiguration {
		t.Errorf("a realm that fails halfway: %v", err)
	}
	if got := r.ids(); got != "a" {
		t.Errorf("realms are %s", got)
	}
	if got := r.fake.Running("w"); !slices.Equal(got, []string{"com.a"}) {
		t.Errorf("at the node run %v", got)
	}
	for _, id := range []string{"b", "c"} { // the ids are as good as new
		r.start(id, named("com."+id))
	}
}

func TestMemoryOutlivesTheAgentButNotTheWorker(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	for range 2 {
		r.start("a", named("com.a"))
		r.stop("a")
	}
	r.start("a", named("com.a"))
	r.start("b", named("com.b"))
	r.stop("b")
	r.watch()
	r.until("the new one has looked", func() bool { return r.seen.all() == "w router a=com.a" })
	if got := r.ids(); got != "a" {
		t.Errorf("after a restart of the agent realms are %s", got)
	}
	r.stop("a")
	r.start("b", named("com.b"))
	if got := r.ids(); got != "b" {
		t.Errorf("realms are %s", got)
	}
	r.fake.Die("w")
	r.fake.Boot("w", "router")
	r.fake.BootRealm("w", "a", "com.a")
	r.until("the new worker is seen", func() bool { return r.seen.all() == "w router a=com.a" })
	r.until("the old worker is forgotten", func() bool {
		b, err := os.ReadFile(filepath.Join(r.state, memoryFile))
		return err == nil && !strings.Contains(string(b), "r_a")
	})
}

func TestOnlyTheNodesOwnErrorSaysThatARealmIsDown(t *testing.T) {
	for _, err := range []error{nil, cfcerr.New(cfcerr.Timeout, "cannot finish in time")} {
		if down(err, "") { // of a realm that could not be looked at either
			t.Errorf("%v is taken for the end of a realm", err)
		}
	}
	if !down(cfcerr.New(cfcerr.NodeError, "cannot").With("text", "com.a"), "com.a") {
		t.Error("the node's stumbling over the name is not")
	}
}

func TestAStopThatNobodyAwaitedIsFinished(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	release := r.fake.Hang("worker.w.stop_router_realm")
	if _, err := r.Stop(r.fake.Asked(r.ctx, "worker.w.stop_router_realm"), "alice", realm("a"), ops.StopOptions{}); cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Fatalf("a stop that is not answered: %v", err)
	}
	if got := r.ids(); got != "a" {
		t.Errorf("before the answer realms are %q", got)
	}
	r.watch() // an agent that knows it from its memory alone
	release()
	r.until("the realm is down", func() bool { return r.ids() == "" && len(r.fake.Running("w")) == 0 })
	r.start("a", named("com.a"))
}

func TestAStartThatNobodyAwaitedIsTakenBack(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	release := r.fake.Hang("worker.w.start_router_realm")
	if _, err := r.Start(r.fake.Asked(r.ctx, "worker.w.start_router_realm"), "alice", realm("a"), named("com.a")); cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Fatalf("a start that is not answered: %v", err)
	}
	release()
	r.until("the realm is down again", func() bool { return r.fake.Calls("worker.w.stop_router_realm") > 0 && len(r.fake.Running("w")) == 0 })
	if got := r.ids(); got != "" {
		t.Errorf("realms are %q", got)
	}
	r.start("a", named("com.a"))
}

func TestDamagedMemoryIsSetAside(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON":         "[",
		"another version": `{"version": 9, "workers": {}}`,
		"unknown key":     `{"version": 1, "workers": {}, "x": 1}`,
		"a null":          `{"version": 1, "workers": {"w": null}}`,
		"two of them":     `{"version": 1, "workers": {}} {}`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, memoryFile)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if m := openMemory(dir, zap.NewNop()); len(m.workers) != 0 {
			t.Errorf("%s is read as %v", name, m.workers)
		}
		if aside, err := filepath.Glob(path + ".damaged-*"); err != nil || len(aside) != 1 {
			t.Errorf("%s is not kept for a look: %v %v", name, aside, err)
		}
	}
}

func TestMemoryThatCannotBeKept(t *testing.T) {
	r := newRig(t, 0)
	r.fake.Boot("w", "router")
	r.start("a", named("com.a"))
	r.memory.path = filepath.Join(r.state, "nowhere", memoryFile)
	if _, err := r.Stop(r.within(time.Second), "alice", realm("a"), ops.StopOptions{}); cfcerr.KindOf(err) != cfcerr.Unavailable || !strings.Contains(err.Error(), "no such file") || strings.Contains(err.Error(), r.state) {
		t.Errorf("a stop that cannot be kept: %v", err)
	}
	if got := r.fake.Running("w"); len(got) != 1 {
		t.Error("it was carried out all the same")
	}
}
