package ops_test

import (
	"context"
	"errors"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/agent/crossbar"
	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/nodelink/nodetest"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// rig is Ops over a fake node.
type rig struct {
	*ops.Ops
	t    *testing.T
	node *nodetest.Node
	key  identity.Key
	addr string
	port *os.File // addr's, held while no agent listens: nobody else takes it
	end  func()   // of the agent's parts
	link *nodelink.Link

	mu     sync.Mutex
	events []string
}

func newRig(t *testing.T, adapt ...func(*ops.Config)) *rig {
	t.Helper()
	return newRigOf(t, 0, adapt...)
}

// newRigOf has a node whose controller is the process with this pid.
func newRigOf(t *testing.T, controller int, adapt ...func(*ops.Config)) *rig {
	t.Helper()
	key, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, key: key}
	r.hold()
	r.start(adapt...)
	t.Cleanup(func() { r.end() })
	if r.node, err = nodetest.Join(context.Background(), nodetest.Config{Addr: r.addr, Key: key, PID: controller}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.node.Err(); err != nil {
			t.Errorf("node: %v", err)
		}
		_ = r.node.Close()
	})
	r.until("the node is attached", func() bool { return r.link.Attached().Attached })
	return r
}

// hold takes the port on which one agent after the other listens.
func (r *rig) hold() {
	r.t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		r.t.Fatal(err)
	}
	defer ln.Close()
	if r.port, err = ln.File(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.port.Close() })
	r.addr = ln.Addr().String()
}

// start runs an agent's parts; the next one's have the same address.
func (r *rig) start(adapt ...func(*ops.Config)) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := net.FileListener(r.port)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.link, err = nodelink.New(nodelink.Config{Listener: ln, Pubkey: r.key.Public()}); err != nil {
		r.t.Fatal(err)
	}
	cfg := ops.Config{Link: r.link, Node: crossbar.New(crossbar.Config{Link: r.link, Poll: 50 * time.Millisecond}),
		NodeID: func() string { return "n1" }, Realm: func() string { return "demo" }, Publish: r.publish}
	for _, f := range adapt {
		f(&cfg)
	}
	if r.Ops, err = ops.New(cfg); err != nil {
		r.t.Fatal(err)
	}
	var done sync.WaitGroup
	for _, run := range []func(context.Context) error{r.link.Run, r.Run} {
		done.Go(func() { _ = run(ctx) })
	}
	r.end = func() {
		cancel()
		done.Wait()
	}
}

// publish keeps events, but for those that say again what another one says, by
// the worker's type.
func (r *rig) publish(e *catalog.Event, args ...any) {
	for _, pair := range catalog.WorkerStarts {
		if e == pair[0] || e == pair[1] {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	line := e.Name
	for _, id := range args[1 : len(args)-1] {
		line += " " + id.(string)
	}
	r.events = append(r.events, line)
}

func (r *rig) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

func as(role wire.Role) catalog.Caller {
	return catalog.Caller{AuthID: "alice", Role: role, Realm: "demo"}
}

func (r *rig) within(d time.Duration, role wire.Role, key string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return r.Call(ctx, as(role), key, args, nil)
}

func (r *rig) call(key string, args ...any) (any, error) {
	return r.within(5*time.Second, wire.Owner, key, args...)
}

func (r *rig) must(key string, args ...any) any {
	r.t.Helper()
	v, err := r.call(key, args...)
	if err != nil {
		r.t.Fatalf("%s %v: %v", key, args, err)
	}
	return v
}

func (r *rig) refused(kind cfcerr.Kind, key string, args ...any) *cfcerr.Error {
	r.t.Helper()
	v, err := r.call(key, args...)
	return wantKind(r.t, kind, v, err)
}

func wantKind(t *testing.T, kind cfcerr.Kind, v any, err error) *cfcerr.Error {
	t.Helper()
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got %v, %v; expected %s", v, err, kind.URI())
	}
	return e
}

func TestRolesDecide(t *testing.T) {
	r := newRig(t)
	r.node.Boot("rtr1", "router")
	guest := map[string]any{"type": "guest", "executable": "x"}
	for _, c := range []struct {
		key  string
		args []any
		min  wire.Role
	}{
		{"node.get_status", nil, wire.Viewer},
		{"node.get_workers", nil, wire.Viewer},
		{"node.get_worker", []any{"rtr1"}, wire.Viewer},
		{"router.get_router_realms", []any{"rtr1"}, wire.Viewer},
		{"router.start_router_realm", []any{"rtr1", nil, map[string]any{"name": "com.x"}}, wire.Operator},
		{"node.start_worker", []any{"c1", "container"}, wire.Operator},
		{"node.stop_worker", []any{"c1"}, wire.Operator},
		{"node.start_worker", []any{nil, guest}, wire.Owner},
		{"node.start_worker", []any{nil, "guest", map[string]any{"executable": "x"}}, wire.Owner},
		{"node.start_worker", []any{nil, map[string]any{"type": "router", "python": "/bin/x"}}, wire.Owner},
		{"node.start_worker", []any{nil, map[string]any{"type": "router", "options": map[string]any{"pythonpath": []any{"/tmp"}}}}, wire.Owner},
		{"node.start_worker", []any{nil, "proxy", map[string]any{"env": map[string]any{"vars": map[string]any{"LD_PRELOAD": "/tmp/x.so"}}}}, wire.Owner},
		{"node.shutdown", []any{true}, wire.Owner}, // not supported, but allowed
	} {
		for _, role := range []wire.Role{"", "nonsense", wire.Viewer, wire.Operator, wire.Owner} {
			v, err := r.within(5*time.Second, role, c.key, c.args...)
			if denied := cfcerr.KindOf(err) == cfcerr.NotAuthorized; denied != (role.Rank() < c.min.Rank()) {
				t.Errorf("%s %v as %q gives %v, %v", c.key, c.args, role, v, err)
			}
			if c.key == "node.start_worker" && err == nil && c.args[0] != nil && role == wire.Operator {
				r.must("node.stop_worker", c.args[0])
			}
		}
	}
}

func TestEveryRemoteRowIsCarriedOut(t *testing.T) {
	r := newRig(t)
	for _, op := range catalog.All() {
		if op.Realm != catalog.Remote {
			continue
		}
		for _, name := range append([]string{op.Name}, op.Aliases...) {
			_, err := r.within(2*time.Second, wire.Owner, op.Area+"."+name, "x", "superfluous", 1, 2, 3, 4, 5, 6, 7, 8, 9)
			if k := cfcerr.KindOf(err); k != cfcerr.InvalidArgument {
				t.Errorf("%s.%s with wrong arguments gives %v", op.Area, name, err)
			}
		}
	}
}

type deny struct{ key string }

func (d deny) Allow(op *catalog.Op, c catalog.Caller, _ wamp.List, _ wamp.Dict) error {
	if op.Key() == d.key {
		return cfcerr.New(cfcerr.DeniedByHost, "cannot do this: the host forbids it").With("rule", d.key).With("caller", c.AuthID)
	}
	return nil
}

func TestTheHostDecidesFirst(t *testing.T) {
	r := newRig(t, func(c *ops.Config) { c.Policy = deny{"node.start_worker"} })
	e := r.refused(cfcerr.DeniedByHost, "node.start_worker", "not even", "right", "arguments", "are", "looked at")
	if e.Details["rule"] != "node.start_worker" || e.Details["caller"] != "alice" {
		t.Errorf("its details are %v", e.Details)
	}
	if n := r.node.Calls("start_worker"); n != 0 {
		t.Errorf("the node was asked %d times", n)
	}
	r.must("node.get_workers")
}

func TestWorkersOfATypeThatThereIsNot(t *testing.T) {
	r := newRig(t)
	r.must("node.get_workers", []any{"router", "guest", "hostmonitor"})
	if e := r.refused(cfcerr.InvalidArgument, "node.get_workers", []any{"router", "rooter"}); e.Details["argument"] != "filter_types[1]" {
		t.Errorf("its details are %v", e.Details)
	}
}

func TestForwardedRows(t *testing.T) {
	r := newRig(t)
	d, _ := wamp.AsDict(r.must("node.get_status"))
	if d["management_node_id"] != "n1" || d["management_realm"] != "demo" {
		t.Errorf("the status names the local link: %v", d)
	}
	r.node.Boot("rtr1", "router")
	d, _ = wamp.AsDict(r.must("node.get_worker", "rtr1"))
	if d["status"] != "started" || d["started"] == nil {
		t.Errorf("a started worker shows as %v", d)
	}
	v, err := r.Call(context.Background(), as(wire.Viewer), "node.get_worker", nil, wamp.Dict{"worker_id": "rtr1", "include_stats": true})
	if err != nil || v == nil {
		t.Errorf("by name: %v, %v", v, err)
	}
	e := r.refused(cfcerr.NoSuchWorker, "node.get_worker", "x")
	if e.Details["worker_id"] != "x" || !strings.HasPrefix(e.Message, "cannot ") {
		t.Errorf("an unknown worker: %v %v", e, e.Details)
	}
	r.refused(cfcerr.InvalidArgument, "node.get_worker", "rtr1", true, "more")
	r.refused(cfcerr.NoSuchProcedure, "node.nonsense")
	r.refused(cfcerr.NoSuchProcedure, "get_nodes") // a row of the relay
	for _, name := range []string{"sign", "sign_challenge", "start_manhole", "get_manhole"} {
		r.refused(cfcerr.NoSuchProcedure, "node."+name)
	}
}

func TestAWorkerThatHasNotStartedHasNoStart(t *testing.T) {
	r := newRig(t)
	done := make(chan error, 1)
	go func() {
		_, err := r.within(300*time.Millisecond, wire.Owner, "node.start_worker", "w", "router", map[string]any{"stuck": true})
		done <- err
	}()
	r.until("it is starting", func() bool { return r.node.Worker("w") != nil })
	d, _ := wamp.AsDict(r.must("node.get_worker", "w"))
	if d["status"] != "starting" || d["started"] != nil || d["uptime"] != nil {
		t.Errorf("it shows as %v", d)
	}
	r.refused(cfcerr.NotRunning, "router.get_router_realms", "w")
	wantKind(t, cfcerr.Timeout, nil, <-done)
	if got := r.told(); !slices.Contains(got, "on_worker_starting w") || !slices.Contains(got, "on_worker_stopped w") {
		t.Errorf("told %v", got)
	}
}

func TestWorkersOfTheWrongType(t *testing.T) {
	r := newRig(t)
	r.node.Boot("c1", "container")
	r.node.Boot("g1", "guest")
	for _, id := range []string{"c1", "g1"} {
		e := r.refused(cfcerr.InvalidArgument, "router.get_router_realms", id)
		if e.Details["argument"] != "worker_id" || e.Details["expected"] != "a router worker" {
			t.Errorf("%s: %v", id, e.Details)
		}
	}
	r.refused(cfcerr.NoSuchWorker, "router.stop_router_realm", "nobody", "x")
}

func TestStartWorkerArguments(t *testing.T) {
	r := newRig(t)
	type d = map[string]any
	for name, args := range map[string][]any{
		"type alone":              {"w", "router"},
		"type and options":        {"w", "router", d{"title": "x"}},
		"a dict":                  {"w", d{"type": "router"}},
		"a dict with options":     {"w", d{"type": "router", "options": d{"title": "x"}}},
		"a dict of options":       {"w", d{"type": "router", "title": "x"}},
		"a guest":                 {"w", d{"type": "guest", "executable": "x", "arguments": []any{"y"}}},
		"a guest's configuration": {"w", "guest", d{"executable": "x"}},
		"a pinned worker":         {"w", "container", d{"cpu_affinity": []any{1}}},
		"an id of null":           {nil, "proxy"},
	} {
		v := r.must("node.start_worker", args...)
		w := v.(catalog.Dict)
		id, _ := w["id"].(string)
		if !wire.ValidObjectID(id) || w["who"] != "alice" || w["pid"] == nil || w["created"] == nil {
			t.Errorf("%s gives %v", name, w)
		}
		if name == "a pinned worker" && !reflect.DeepEqual(r.node.Worker(id).CPUs, wamp.List{uint64(1)}) {
			t.Errorf("it runs on CPUs %v", r.node.Worker(id).CPUs)
		}
		r.must("node.stop_worker", id)
	}
	for name, c := range map[string]struct {
		args     []any
		argument string
	}{
		"nothing":               {nil, "worker_id"},
		"no config":             {[]any{"w"}, "config"},
		"an id with a dot":      {[]any{"a.b", "router"}, "worker_id"},
		"the controller's id":   {[]any{"controller", "router"}, "worker_id"},
		"a number":              {[]any{"w", 3}, "config"},
		"null":                  {[]any{"w", nil}, "config"},
		"no type":               {[]any{"w", d{}}, "config.type"},
		"a type of no type":     {[]any{"w", d{"type": 3}}, "config.type"},
		"an unknown type":       {[]any{"w", d{"type": "rotor"}}, "config.type"},
		"an unknown type alone": {[]any{"w", "rotor"}, "config"},
		"options twice":         {[]any{"w", d{"type": "router"}, d{"title": "x"}}, "options"},
		"options and others":    {[]any{"w", d{"type": "router", "options": d{}, "title": "x"}}, "config.title"},
		"options of no dict":    {[]any{"w", d{"type": "router", "options": 3}}, "config.options"},
		"a guest of nothing":    {[]any{"w", d{"type": "guest"}}, "config.executable"},
		"CPUs of no list":       {[]any{"w", "router", d{"cpu_affinity": 1}}, "options.cpu_affinity"},
		"a CPU of no number":    {[]any{"w", "router", d{"cpu_affinity": []any{"x"}}}, "options.cpu_affinity[0]"},
		"a negative CPU":        {[]any{"w", "router", d{"cpu_affinity": []any{-1}}}, "options.cpu_affinity[0]"},
	} {
		e := r.refused(cfcerr.InvalidArgument, "node.start_worker", c.args...)
		if e.Details["argument"] != c.argument {
			t.Errorf("%s: it blames %v: %v", name, e.Details["argument"], e)
		}
	}
	e := r.refused(cfcerr.NotSupported, "node.start_worker", "w", "hostmonitor")
	if e.Details["reason"] == nil {
		t.Errorf("it does not say why: %v", e.Details)
	}
}

func TestRealmArguments(t *testing.T) {
	r := newRig(t)
	r.node.Boot("rtr1", "router")
	type d = map[string]any
	role := d{"name": "a", "permissions": []any{}}
	for name, c := range map[string]struct {
		config   any
		argument string
	}{
		"no dict":              {"com.x", "realm_config"},
		"no name":              {d{}, "realm_config.name"},
		"an empty name":        {d{"name": ""}, "realm_config.name"},
		"options of no dict":   {d{"name": "com.x", "options": 3}, "realm_config.options"},
		"roles of no list":     {d{"name": "com.x", "roles": d{}}, "realm_config.roles"},
		"a role of no dict":    {d{"name": "com.x", "roles": []any{"x"}}, "realm_config.roles[0]"},
		"a role without name":  {d{"name": "com.x", "roles": []any{d{"permissions": []any{}}}}, "realm_config.roles[0].name"},
		"a role twice":         {d{"name": "com.x", "roles": []any{role, role}}, "realm_config.roles[1].name"},
		"a role that may what": {d{"name": "com.x", "roles": []any{d{"name": "a"}}}, "realm_config.roles[0]"},
		"a bad id of a role":   {d{"name": "com.x", "roles": []any{d{"name": "a", "id": "a.b", "permissions": []any{}}}}, "realm_config.roles[0].id"},
	} {
		e := r.refused(cfcerr.InvalidArgument, "router.start_router_realm", "rtr1", "x", c.config)
		if e.Details["argument"] != c.argument {
			t.Errorf("%s: it blames %v: %v", name, e.Details["argument"], e)
		}
	}
	if n := r.node.Calls("worker.rtr1.start_router_realm"); n != 0 {
		t.Errorf("the node was asked %d times", n)
	}
	made := r.must("router.start_router_realm", "rtr1", nil, d{"name": "com.x"}).(catalog.Dict)
	if id, _ := made["id"].(string); !strings.HasPrefix(id, "realm_") || !wire.ValidObjectID(id) {
		t.Errorf("a realm without id became %v", made["id"])
	}
}

func TestChangesOfOneWorkerGoInOrder(t *testing.T) {
	r := newRig(t)
	r.node.Boot("a", "router")
	r.node.Boot("b", "router")
	release := r.node.Hang("worker.a.start_router_realm")
	defer release()
	var wg sync.WaitGroup
	start := func(d time.Duration, i int) error {
		_, err := r.within(d, wire.Owner, "router.start_router_realm", "a", nil, map[string]any{"name": "com.x" + string(rune('a'+i))})
		return err
	}
	wg.Go(func() {
		if err := start(10*time.Second, 0); err != nil {
			t.Errorf("the first: %v", err)
		}
	})
	r.until("the first is at the node", func() bool { return r.node.Calls("worker.a.start_router_realm") == 1 })
	busy := make(chan error, 40)
	for i := range cap(busy) {
		wg.Go(func() { busy <- start(300*time.Millisecond, 1+i%20) })
	}
	// Reads of the worker and changes of others go on meanwhile.
	r.must("router.get_router_realms", "a")
	r.must("router.start_router_realm", "b", "x", map[string]any{"name": "com.x"})
	kinds := map[cfcerr.Kind]int{}
	for range cap(busy) {
		kinds[cfcerr.KindOf(<-busy)]++
	}
	if kinds[cfcerr.Busy] != cap(busy)-16 || kinds[cfcerr.Timeout] != 16 {
		t.Errorf("16 wait until their deadline and %d are told at once: %v", cap(busy)-16, kinds)
	}
	if n := r.node.Calls("worker.a.start_router_realm"); n != 1 {
		t.Errorf("the node was asked %d times", n)
	}
	release()
	wg.Wait()
	if err := start(5*time.Second, 9); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Whoever waits for a frozen worker, a day if need be, keeps nobody from another.
func TestPatienceWithOneWorkerLeavesTheOthersReachable(t *testing.T) {
	r := newRig(t)
	r.node.Boot("a", "router")
	r.node.Boot("b", "router")
	r.until("both are ready", func() bool { return r.link.Has("worker.a.utcnow") && r.link.Has("worker.b.utcnow") })
	release := r.node.Hang("worker.a.get_router_realms")
	defer release()
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	defer cancel()
	const patient = 1024 // as many as the agent's session carries out
	busy := make(chan struct{}, patient)
	var wg sync.WaitGroup
	for range patient {
		wg.Go(func() {
			if _, err := r.Call(ctx, as(wire.Viewer), "router.get_router_realms", wamp.List{"a"}, nil); cfcerr.KindOf(err) == cfcerr.Busy {
				busy <- struct{}{}
			}
		})
	}
	r.until("some are told that they are too many", func() bool { return len(busy) == patient-500 })
	r.must("router.get_router_realms", "b")
	r.must("router.start_router_realm", "b", "x", map[string]any{"name": "com.x"})
	r.must("node.stop_worker", "a") // the cure
	cancel()
	wg.Wait()
}

func TestAChangeThatIsNeverAnswered(t *testing.T) {
	r := newRig(t)
	r.node.Boot("a", "router")
	release := r.node.Hang("worker.a.start_router_realm")
	v, err := r.Call(r.node.Asked(r.t.Context(), "worker.a.start_router_realm"), as(wire.Owner), "router.start_router_realm", wamp.List{"a", "x", map[string]any{"name": "com.x"}}, nil)
	wantKind(t, cfcerr.Timeout, v, err)
	release()
	// It came true after all, was not wanted any more, and is taken back.
	r.until("it is taken back", func() bool { return len(r.node.Running("a")) == 0 && r.node.Calls("worker.a.stop_router_realm") > 0 })
	r.must("router.start_router_realm", "a", "x", map[string]any{"name": "com.x"})
}

func TestEventsOfOperations(t *testing.T) {
	r := newRig(t)
	r.until("the node is told", func() bool { return slices.Contains(r.told(), "on_node_attached") })
	hang := r.node.Hang("start_worker")
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.must("node.start_worker", "w", "router")
	}()
	r.until("the start is told before the node is asked", func() bool { return slices.Contains(r.told(), "on_worker_starting w") })
	hang()
	<-done
	r.must("router.start_router_realm", "w", "x", map[string]any{"name": "com.x"})
	r.must("router.stop_router_realm", "w", "x")
	r.refused(cfcerr.InvalidConfiguration, "router.start_router_realm", "w", "y", map[string]any{"name": "halfway"})
	r.must("node.stop_worker", "w")
	asked := r.node.Calls("get_workers")
	r.until("the node was asked some more times", func() bool { return r.node.Calls("get_workers") > asked+3 }) // and nothing may follow
	want := []string{"on_node_starting", "on_node_started", "on_node_attached",
		"on_worker_starting w", "on_worker_started w",
		"on_router_realm_starting w x", "on_router_realm_started w x", "on_router_realm_stopping w x", "on_router_realm_stopped w x",
		"on_router_realm_starting w y", "on_router_realm_stopped w y",
		"on_worker_stopping w", "on_worker_stopped w"}
	if got := r.told(); !slices.Equal(got, want) {
		t.Errorf("told\n%s, expected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestShutdown(t *testing.T) {
	r := newRig(t)
	r.node.Boot("w", "router")
	r.until("the worker is told", func() bool { return slices.Contains(r.told(), "on_worker_started w") })
	e := r.refused(cfcerr.NotSupported, "node.shutdown", true)
	if e.Details["reason"] == nil {
		t.Errorf("it does not say why: %v", e.Details)
	}
	d, ok := r.must("node.shutdown").(catalog.NodeShutdown)
	if !ok || d.NodeID != "n1" || d.By != "alice" || d.Stopped == "" || d.Restarting {
		t.Errorf("it gives %+v", d)
	}
	r.refused(cfcerr.NodeDetached, "node.get_status")
	r.until("all ends are told", func() bool {
		return slices.Contains(r.told(), "on_worker_stopped w") && slices.Contains(r.told(), "on_node_detached")
	})
}
