package cli

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
)

// commandOf finds a command by its words.
func commandOf(t *testing.T, root *cobra.Command, words ...string) *cobra.Command {
	t.Helper()
	cmd, rest, err := root.Find(words)
	if err != nil || len(rest) > 0 {
		t.Fatalf("cfc %s: %v, left over: %v", strings.Join(words, " "), err, rest)
	}
	return cmd
}

func TestEveryRemoteRowIsACommand(t *testing.T) {
	root := (&app{}).root()
	for _, o := range catalog.All() {
		if o.Realm != catalog.Remote {
			continue
		}
		area, own := o.Group()
		for _, name := range append([]string{own, o.Name}, o.Aliases...) {
			cmd := commandOf(t, root, dashed(area), dashed(name))
			if commandOf(t, root, dashed(area), name) != cmd {
				t.Errorf("%s: - and _ lead to two commands", o.URI())
			}
			if !strings.Contains(cmd.Long, o.Doc) || !strings.Contains(cmd.Long, o.URI()) || cmd.Short != o.Summary() {
				t.Errorf("%s: its help is another one's", o.URI())
			}
		}
		cmd := commandOf(t, root, dashed(area), dashed(own))
		for _, a := range o.Args() {
			if f := cmd.Flags().Lookup(a.Name); f == nil || !strings.HasPrefix(f.Usage, a.Doc) {
				t.Errorf("%s: argument %s has no flag of its own", o.URI(), a.Name)
			}
			if root.PersistentFlags().Lookup(dashed(a.Name)) != nil {
				t.Errorf("%s: argument %s hides the flag of all commands", o.URI(), a.Name)
			}
		}
	}
}

func TestNoTwoCommandsHaveOneName(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		seen := map[string]bool{}
		for _, sub := range c.Commands() {
			for _, name := range append([]string{sub.Name()}, sub.Aliases...) {
				if seen[name] {
					t.Errorf("%s %s stands twice", c.CommandPath(), name)
				}
				seen[name] = true
			}
			walk(sub)
		}
	}
	walk((&app{}).root())
}

func TestOperands(t *testing.T) {
	config := wamp.Dict{"name": "com.example"}
	asMap := map[string]any(config)
	tests := []struct {
		line   []string
		uri    string
		args   wamp.List
		kwargs wamp.Dict
	}{
		{[]string{"node", "get-status", "n1"}, "cfc.remote.node.get_status", wamp.List{"n1"}, nil},
		{[]string{"node", "get_status", "7f1c3c9e-0d52-4c5e-9d7a-0b6f7a2f4f10"}, "cfc.remote.node.get_status", wamp.List{"7f1c3c9e-0d52-4c5e-9d7a-0b6f7a2f4f10"}, nil},
		{[]string{"node", "shutdown", "n1"}, "cfc.remote.node.shutdown", wamp.List{"n1"}, nil},
		{[]string{"node", "shutdown", "n1", "--restart"}, "cfc.remote.node.shutdown", wamp.List{"n1", true}, nil},
		{[]string{"node", "shutdown", "--restart=false", "n1"}, "cfc.remote.node.shutdown", wamp.List{"n1", false}, nil},
		{[]string{"node", "shutdown", "n1", "true"}, "cfc.remote.node.shutdown", wamp.List{"n1", true}, nil},
		{[]string{"node", "get-workers", "n1", "--filter-types", "router,guest"}, "cfc.remote.node.get_workers", wamp.List{"n1", []any{"router", "guest"}}, nil},
		{[]string{"node", "get-workers", "n1", "--filter_types=router"}, "cfc.remote.node.get_workers", wamp.List{"n1", []any{"router"}}, nil},
		{[]string{"node", "get-worker", "n1", "w1", "--include-stats"}, "cfc.remote.node.get_worker", wamp.List{"n1", "w1", true}, nil},
		{[]string{"node", "start-worker", "n1", "null", "{type: router}"}, "cfc.remote.node.start_worker", wamp.List{"n1", nil, map[string]any{"type": "router"}}, nil},
		{[]string{"node", "start-worker", "n1", "w1", "router", "--options", `{"title": "x"}`}, "cfc.remote.node.start_worker", wamp.List{"n1", "w1", "router", map[string]any{"title": "x"}}, nil},
		{[]string{"router", "start-router-realm", "n1", "w1", "realm1", "--config", "name: com.example"}, "cfc.remote.router.start_router_realm", wamp.List{"n1", "w1", "realm1", asMap}, nil},
		{[]string{"router", "start-router-realm", "n1", "w1", "--realm-id", "null", "--realm_config", "name: com.example"}, "cfc.remote.router.start_router_realm", wamp.List{"n1", "w1", nil, asMap}, nil},
		{[]string{"router", "start-router-realm", "n1", "--worker-id=w1", "realm1", "name: com.example"}, "cfc.remote.router.start_router_realm", wamp.List{"n1", "w1", "realm1", asMap}, nil},
	}
	for _, tt := range tests {
		r := newRig(t)
		r.answers[tt.uri] = nil
		r.good(tt.line...)
		c := r.lastCall()
		if c.uri != tt.uri || c.realm != "demo" || !reflect.DeepEqual(c.args, tt.args) || len(c.kwargs) != len(tt.kwargs) {
			t.Errorf("%v: %+v", tt.line, c)
		}
	}
}

// An argument behind one that is left out goes by name, as do those that have
// no position.
func TestOperandsBehindAGapGoByName(t *testing.T) {
	a := &app{}
	cmd := a.operation(catalog.NodeStartWorker.Op)
	if err := cmd.Flags().Parse([]string{"--options", "{}"}); err != nil {
		t.Fatal(err)
	}
	o := *catalog.NodeStartWorker.Op
	args, kwargs, err := (&operands{o: &o, flags: cmd.Flags()}).read([]string{"n1", "w1", "router"})
	if err != nil || len(args) != 4 || len(kwargs) != 0 {
		t.Errorf("%v, %v, %v", args, kwargs, err)
	}
	cmd = a.operation(catalog.NodeGetWorker.Op)
	if err := cmd.Flags().Parse([]string{"--include-stats", "--worker-id", "w1"}); err != nil {
		t.Fatal(err)
	}
	args, kwargs, err = (&operands{o: catalog.NodeGetWorker.Op, flags: cmd.Flags()}).read([]string{"n1"})
	if err != nil || !reflect.DeepEqual(args, wamp.List{"n1", "w1", true}) || len(kwargs) != 0 {
		t.Errorf("%v, %v, %v", args, kwargs, err)
	}
}

func TestBadOperands(t *testing.T) {
	token, err := wire.NewToken(wire.ForNode)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		exit int
		want string
		line []string
	}{
		{2, "NODE is missing", []string{"node", "get-status"}},
		{2, "WORKER is missing: the worker", []string{"node", "get-worker", "n1"}},
		{2, "REALM_CONFIG is missing", []string{"router", "start-router-realm", "n1", "w1", "r1"}},
		{2, `"more" is one argument too many`, []string{"node", "get-status", "n1", "more"}},
		{2, "a token is never given as an argument", []string{"node", "get-status", "n1", token.Secret()}},
		{2, `"more" is one argument too many`, []string{"realm", "show", "demo", "more"}},
		{2, `"more" is one argument too many`, []string{"logout", "local", "more"}},
		{2, "unknown flag: --nope", []string{"node", "get-status", "n1", "--nope"}},
		{2, `unknown command "get-statu", perhaps "get-status"`, []string{"node", "get-statu", "n1"}},
		{2, `unknown command "nothing"`, []string{"nothing"}},
		{2, `there is no command "nothing"`, []string{"help", "nothing"}},
		{2, `there is no command "node nothing"`, []string{"help", "node", "nothing"}},
		{2, `realm_config is "word": expected a dict`, []string{"router", "start-router-realm", "n1", "w1", "r1", "word"}},
		{2, `restart is "yes": expected true or false`, []string{"node", "shutdown", "n1", "--restart=yes"}},
		{2, "invalid argument \"soon\" for \"--timeout\"", []string{"node", "get-status", "n1", "--timeout", "soon"}},
		{2, "--timeout -1s: expected 1ms or more", []string{"node", "get-status", "n1", "--timeout", "-1s"}},
		{2, "--timeout 1ns: expected 1ms or more", []string{"node", "get-status", "n1", "--timeout", "1ns"}},
		{3, "invalid argument node_id: expected a node id", []string{"node", "get-status", "N1"}},
		{3, "invalid argument node_id", []string{"node", "get-status", "demo/n1"}},
		{3, "invalid argument worker_id", []string{"node", "get-worker", "n1", "w.1"}},
		{3, "invalid argument realm_id", []string{"router", "get-router-realm", "n1", "w1", "r.1"}},
	}
	for _, tt := range tests {
		r := newRig(t)
		if text := r.bad(tt.exit, tt.want, tt.line...); strings.Contains(text, token.Secret()) {
			t.Errorf("%s shows the token", tt.want)
		}
		if len(r.joins) > 0 {
			t.Errorf("%s: the relay was asked", tt.want)
		}
	}
}

func TestTimeoutGoesWithTheCall(t *testing.T) {
	for _, tt := range []struct {
		line []string
		want time.Duration
	}{
		{[]string{"node", "get-status", "n1"}, catalog.DefaultTimeout},
		{[]string{"node", "stop-worker", "n1", "w1"}, time.Minute},
		{[]string{"node", "stop-worker", "n1", "w1", "--timeout", "3s"}, 3 * time.Second},
		{[]string{"call", "cfc.remote.node.stop_worker", "n1", "w1"}, time.Minute},
		{[]string{"call", "com.example.f", "--timeout", "1500ms"}, 1500 * time.Millisecond},
		{[]string{"call", "com.example.f"}, 0}, // the session's own
		{[]string{"user", "ls", "--timeout", "2s"}, 2 * time.Second},
	} {
		r := newRig(t)
		r.answers = answersOfAll()
		r.answers["com.example.f"] = nil
		r.good(tt.line...)
		if got := r.lastCall().options.Timeout; got != tt.want {
			t.Errorf("%v: %s, want %s", tt.line, got, tt.want)
		}
	}
}

func TestInterruptCancelsTheCall(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	r := newRig(t)
	r.answers["cfc.remote.node.get_status"] = func(ctx context.Context, _ call) (any, error) {
		interrupt()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	_, errs, exit := r.runIn(ctx, "node", "get-status", "n1")
	if exit != 8 || errs != "cfc: cannot run node get-status: canceled\n" || r.leaves != 1 {
		t.Errorf("exit %d, %q, left %d times", exit, errs, r.leaves)
	}
}

func TestAreasHaveTheirGroups(t *testing.T) {
	root := (&app{}).root()
	node := commandOf(t, root, "node")
	var titles []string
	for _, g := range node.Groups() {
		titles = append(titles, g.Title)
	}
	if !slices.Equal(titles, []string{"Manage nodes:", "Look (viewers and up):", "Change (operators and up):", "Decide (owners):"}) {
		t.Errorf("%v", titles)
	}
	for _, c := range []*cobra.Command{root, node, commandOf(t, root, "router")} {
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && !c.ContainsGroup(sub.GroupID) {
				t.Errorf("%s is in group %q, which %s has not", sub.CommandPath(), sub.GroupID, c.Name())
			}
		}
	}
}
