package route_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// stallable is a connection whose reads can be stopped: what a frozen process
// looks like from afar.
type stallable struct {
	net.Conn
	mu      sync.Mutex
	stalled chan struct{} // closed to go on
}

func (s *stallable) Read(b []byte) (int, error) {
	s.mu.Lock()
	wait := s.stalled
	s.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return s.Conn.Read(b)
}

// stall has reads wait until resume is called, or the test ends.
func (s *stallable) stall(t *testing.T) (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stalled := make(chan struct{})
	s.stalled = stalled
	resume = sync.OnceFunc(func() {
		s.mu.Lock()
		s.stalled = nil
		s.mu.Unlock()
		close(stalled)
	})
	t.Cleanup(resume)
	return resume
}

// stalling dials a session that can be stalled.
func (r *rig) stalling(authid, role string) (*raw, *stallable) {
	r.t.Helper()
	var s *stallable
	c, err := peer.Dial(r.t.Context(), fmt.Sprintf("%s/?realm=%s&authid=%s&role=%s", r.url, realmName, authid, role), peer.DialOptions{
		Serializer: "cbor", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			nc, err := d.DialContext(ctx, network, address)
			s = &stallable{Conn: nc}
			return s, err
		}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	a := &raw{Conn: c, t: r.t}
	a.Send() <- &wamp.Hello{Realm: realmName, Details: callee()}
	if m := a.next(); m.MessageType() != wamp.WELCOME {
		r.t.Fatalf("no WELCOME but %s", show(m))
	}
	return a, s
}

// latencies calls without pause until stop, and says how long the calls took.
func latencies(t *testing.T, c *client.Client, node string, stop <-chan struct{}) []time.Duration {
	var took []time.Duration
	for {
		select {
		case <-stop:
			slices.Sort(took)
			return took
		default:
		}
		began := time.Now()
		if _, err := c.Call(context.Background(), status, nil, wamp.List{node}, nil, nil); err != nil {
			t.Errorf("a healthy caller of %s got %v", node, err)
			return took
		}
		took = append(took, time.Since(began))
	}
}

// flood is how many messages of 64 KB meet a peer that does not read: some
// times more than queue and kernel hold.
const (
	flood = 600
	// patience is what a healthy caller may need on a machine that is busy
	// with such a flood.
	patience = 5 * time.Second
)

// A client stops reading while answers flow to it.
func TestClientThatStopsReading(t *testing.T) {
	r := newRig(t, route.Config{CallsPerSession: flood}, peer.Options{WriteTimeout: time.Second})
	r.addNode("n1", oid1)
	r.addNode("n2", "22222222-2222-4222-8222-222222222222")
	big := strings.Repeat("x", 64<<10)
	answer := func(_ context.Context, inv *wamp.Invocation) client.InvokeResult {
		if len(inv.Arguments) > 1 {
			return client.InvokeResult{Args: wamp.List{big}}
		}
		return client.InvokeResult{}
	}
	r.agent("n1", "cbor", answer)
	r.agent("n2", "cbor", answer)
	bad, nc := r.stalling("mallory", "viewer")
	nc.stall(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	took := make([][]time.Duration, 2)
	for i := range took {
		c := r.member(wire.Viewer, "cbor")
		wg.Go(func() { took[i] = latencies(t, c, fmt.Sprint("n", i+1), stop) })
	}
	for i := range wamp.ID(flood) {
		if err := bad.Write(call(i+1, status, "n1", "big")); err != nil {
			break // dropped already
		}
	}
	r.until("end of the stalled session", func() bool { return metric(t, r, "cfc_relay_sessions_ended_total", peer.ReasonSlow) == "1" })
	r.until("end of its calls", func() bool { return metric(t, r, "cfc_relay_calls_in_flight") <= "2" })
	close(stop)
	wg.Wait()
	for i, all := range took { // those of n1 wait for what their agent has to do
		if len(all) == 0 || i > 0 && all[len(all)-1] > patience {
			t.Errorf("calls of n%d took up to %v (%d calls)", i+1, all[max(0, len(all)-1):], len(all))
		}
	}
}

// A client that stops reading for a while has an answer to each call when it
// goes on: results as far as its queue had room, errors for the others.
func TestClientThatReadsAgain(t *testing.T) {
	r := newRig(t, route.Config{CallsPerSession: flood}, peer.Options{WriteTimeout: time.Minute})
	r.addNode("n1", oid1)
	big := strings.Repeat("x", 64<<10)
	r.agent("n1", "cbor", func(context.Context, *wamp.Invocation) client.InvokeResult {
		return client.InvokeResult{Args: wamp.List{big}}
	})
	c, nc := r.stalling("alice", "viewer")
	resume := nc.stall(t)
	for i := range wamp.ID(flood) {
		c.say(call(i+1, status, "n1"))
	}
	r.until("all calls", func() bool { return metric(t, r, "cfc_relay_calls_total") == fmt.Sprint(flood) })
	resume()
	answered, results := map[wamp.ID]bool{}, 0
	for len(answered) < flood {
		switch m := c.next().(type) {
		case *wamp.Result:
			answered[m.Request] = true
			results++
		case *wamp.Error:
			if got := show(m); !strings.HasSuffix(got, "cfc.error.limit_exceeded map[node_id:n1 reason:unread]") {
				t.Fatal(got)
			}
			answered[m.Request] = true
		default:
			t.Fatal(show(m))
		}
	}
	if results*len(big) < peer.QueueBytes || results == flood {
		t.Errorf("%d results had room", results)
	}
	c.quiet()
}

// An agent on a line that is slower than the calls for it keeps its session,
// whatever its callers do; they are told.
func TestCallsFasterThanTheAgentsLine(t *testing.T) {
	r := newRig(t, route.Config{CallsPerSession: flood}, peer.Options{WriteTimeout: time.Minute})
	r.addNode("n1", oid1)
	a, nc := r.stalling("n1", wire.RoleNode)
	if m := a.ask(&wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: "cfc.node.n1"}); m.MessageType() != wamp.REGISTERED {
		t.Fatal(show(m))
	}
	r.online("n1", true)
	resume := nc.stall(t)
	c := r.raw(realmName, "alice", "viewer", "cbor")
	big := strings.Repeat("x", 64<<10)
	for i := range flood {
		c.say(call(wamp.ID(i+1), status, "n1", big))
	}
	c.say(&wamp.Cancel{Request: 1, Options: wamp.Dict{"mode": "kill"}}) // its INTERRUPT has to find room
	refused := 0
	for {
		got := show(c.next())
		if got == "ERROR CALL 1 wamp.error.canceled map[]" {
			break
		}
		if !strings.HasSuffix(got, "cfc.error.limit_exceeded map[node_id:n1 reason:queue]") {
			t.Fatal(got)
		}
		refused++
	}
	if refused == 0 {
		t.Error("the queue of the agent has no end")
	}
	a.say(&wamp.Publish{Request: 7, Options: wamp.Dict{"acknowledge": true}, Topic: "cfc.on_node_detached", Arguments: wamp.List{"n1", wamp.Dict{}}})
	resume()
	left, interrupted, published := flood-refused, 0, 0
	for last := wamp.ID(0); left > 0 || interrupted+published < 2; {
		switch m := a.next().(type) {
		case *wamp.Invocation:
			if m.Request != last+1 {
				t.Errorf("INVOCATION %d follows %d", m.Request, last)
			}
			last = m.Request
			left--
			a.say(&wamp.Yield{Request: m.Request, Options: wamp.Dict{}})
		case *wamp.Interrupt:
			interrupted++
		case *wamp.Published:
			published++
		default:
			t.Fatal(show(m))
		}
	}
	for range flood - refused - 1 {
		if m := c.next(); m.MessageType() != wamp.RESULT {
			t.Fatal(show(m))
		}
	}
	c.quiet()
	if reason := a.Reason(); reason != "" {
		t.Errorf("the agent's session ended: %s", reason)
	}
	if n := metric(t, r, "cfc_relay_calls_in_flight"); n != "0" {
		t.Errorf("%s calls in flight", n)
	}
}

// One user fills what he may of the queue of a slow agent, by two sessions;
// others reach it all the same.
func TestOneUserDoesNotFillTheAgentsLine(t *testing.T) {
	r := newRig(t, route.Config{CallsPerSession: flood}, peer.Options{WriteTimeout: time.Minute})
	r.addNode("n1", oid1)
	a, nc := r.stalling("n1", wire.RoleNode)
	if m := a.ask(&wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: "cfc.node.n1"}); m.MessageType() != wamp.REGISTERED {
		t.Fatal(show(m))
	}
	r.online("n1", true)
	resume := nc.stall(t)
	big := strings.Repeat("x", 64<<10)
	for range 2 {
		hog := r.raw(realmName, "mallory", "viewer", "cbor")
		for i := range wamp.ID(flood / 2) {
			hog.say(call(i+1, status, "n1", big))
			hog.say(&wamp.Cancel{Request: i + 1, Options: wamp.Dict{}}) // what is taken back waits in the line still
		}
		for refused := 0; refused < 2; {
			if strings.HasSuffix(show(hog.next()), "cfc.error.limit_exceeded map[node_id:n1 reason:queue]") {
				refused++
			}
		}
	}
	others := []*raw{r.raw(realmName, "alice", "viewer", "cbor"), r.raw(realmName, "bob", "operator", "json")}
	for _, c := range others {
		c.say(call(1, status, "n1", "small"))
		c.say(call(2, status, "n1", big))
	}
	resume()
	for n := 0; n < 2*len(others); {
		if m, ok := a.next().(*wamp.Invocation); ok {
			a.say(&wamp.Yield{Request: m.Request, Options: wamp.Dict{}})
			if m.Details["caller_authid"] != "mallory" {
				n++
			}
		}
	}
	for _, c := range others {
		for range 2 {
			if m := c.next(); m.MessageType() != wamp.RESULT {
				t.Error(show(m))
			}
		}
	}
}

// An agent stops reading for good while calls come for it.
func TestAgentThatStopsReading(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{WriteTimeout: time.Second})
	r.addNode("n1", oid1)
	r.addNode("n2", "22222222-2222-4222-8222-222222222222")
	r.agent("n2", "cbor", echo)
	bad, nc := r.stalling("n1", wire.RoleNode)
	if m := bad.ask(&wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: "cfc.node.n1"}); m.MessageType() != wamp.REGISTERED {
		t.Fatal(show(m))
	}
	r.online("n1", true)
	nc.stall(t)
	stop := make(chan struct{})
	var healthy sync.WaitGroup
	var took []time.Duration
	c := r.member(wire.Viewer, "cbor")
	healthy.Go(func() { took = latencies(t, c, "n2", stop) })

	big := strings.Repeat("x", 64<<10)
	var mu sync.Mutex
	answers := map[string]int{}
	var callers sync.WaitGroup
	for range 6 {
		c := r.member(wire.Viewer, "cbor")
		for range flood / 6 {
			callers.Go(func() {
				_, err := c.Call(context.Background(), status, nil, wamp.List{"n1", big}, nil, nil)
				mu.Lock()
				answers[string(rpcError(t, err).Error)]++
				mu.Unlock()
			})
		}
	}
	callers.Wait()
	close(stop)
	healthy.Wait()
	lost, refused := answers["cfc.error.connection_lost"], answers["cfc.error.limit_exceeded"]
	if lost == 0 || lost+refused+answers["cfc.error.node_offline"] != flood {
		t.Errorf("%d calls were answered %v", flood, answers)
	}
	r.offline("n1", peer.ReasonSlow)
	if len(took) == 0 || took[len(took)-1] > patience {
		t.Errorf("calls of n2 took up to %v (%d calls)", took[max(0, len(took)-1):], len(took))
	}
}

// Events for a session that stops reading are dropped with it, others get all of theirs.
func TestSubscriberThatStopsReading(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "cbor")
	good := r.raw(realmName, "alice", "viewer", "cbor")
	bad, nc := r.stalling("mallory", "viewer")
	good.subscribe("cfc.remote.", "prefix")
	bad.subscribe("cfc.remote.", "prefix")
	nc.stall(t)
	big := strings.Repeat("x", 64<<10)
	const n = 500
	go func() {
		for i := range n {
			if a.Write(&wamp.Publish{Request: wamp.ID(i + 1), Options: wamp.Dict{}, Topic: "cfc.remote.node.on_worker_started",
				Arguments: wamp.List{"n1", "w1", wamp.Dict{"seq": i, "big": big}}}) != nil {
				return
			}
			if i%20 == 19 { // an agent does not outrun its own queue
				_ = a.Ping(context.Background())
			}
		}
	}()
	for i := range n {
		e := good.next().(*wamp.Event)
		if d := wamp.NormalizeDict(e.Arguments[2]); fmt.Sprint(d["seq"]) != fmt.Sprint(i) {
			t.Fatalf("event %v came as number %d", d["seq"], i)
		}
	}
	r.until("end of the stalled session", func() bool { return metric(t, r, "cfc_relay_sessions_ended_total", peer.ReasonSlow) == "1" })
}
