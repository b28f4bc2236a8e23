package route_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

const status = "cfc.remote.node.get_status"

func TestLimitOfCallsInFlight(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "cbor")
	c := r.raw(realmName, "alice", "viewer", "cbor")
	other := r.raw(realmName, "alice", "viewer", "cbor")
	for i := range wamp.ID(256) {
		c.say(call(i+1, status, "n1"))
	}
	if got := show(c.ask(call(257, status, "n1"))); got != "ERROR CALL 257 cfc.error.limit_exceeded map[limit:256]" {
		t.Errorf("got %s", got)
	}
	var first *wamp.Invocation
	for range 256 {
		inv := a.next().(*wamp.Invocation)
		if first == nil {
			first = inv
		}
	}
	other.say(call(1, status, "n1")) // each session has its own limit
	a.say(&wamp.Yield{Request: a.next().(*wamp.Invocation).Request, Options: wamp.Dict{}})
	other.next()
	a.say(&wamp.Yield{Request: first.Request, Options: wamp.Dict{}})
	c.next()
	c.say(call(258, status, "n1"))
	if inv := a.next(); inv.MessageType() != wamp.INVOCATION {
		t.Errorf("with room again: %s", show(inv))
	}
	if got := metric(t, r, "cfc_relay_calls_in_flight"); got != "256" {
		t.Errorf("%s in flight", got)
	}
}

func TestCancelModes(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "cbor")
	c := r.raw(realmName, "alice", "viewer", "json")
	for i, mode := range []any{"kill", "killnowait", "skip", nil, "nonsense", 5} {
		id := wamp.ID(i + 1)
		c.say(call(id, status, "n1"))
		inv := a.next().(*wamp.Invocation)
		options := wamp.Dict{}
		if mode != nil {
			options["mode"] = mode
		}
		if got := show(c.ask(&wamp.Cancel{Request: id, Options: options})); got != fmt.Sprintf("ERROR CALL %d wamp.error.canceled map[]", id) {
			t.Errorf("%v: %s", mode, got)
		}
		if mode != "skip" {
			if got := show(a.next()); got != fmt.Sprintf("INTERRUPT &{%d map[mode:killnowait reason:wamp.error.canceled]}", inv.Request) {
				t.Errorf("%v: the agent got %s", mode, got)
			}
		}
		// Late answers, doubled ones and ones to nothing are dropped.
		a.say(&wamp.Yield{Request: inv.Request, Options: wamp.Dict{}})
		a.say(&wamp.Yield{Request: inv.Request, Options: wamp.Dict{"progress": true}})
		a.say(&wamp.Error{Type: wamp.INVOCATION, Request: inv.Request, Details: wamp.Dict{}, Error: "a.b"})
		a.say(&wamp.Yield{Request: 12345, Options: wamp.Dict{}})
		c.say(&wamp.Cancel{Request: id, Options: wamp.Dict{}})
		c.say(&wamp.Cancel{Request: 999, Options: wamp.Dict{}})
		c.quiet()
	}
	if got := show(a.ask(&wamp.Unregister{Request: 7, Registration: 1})); !strings.Contains(got, "no_such_registration") {
		t.Errorf("the agent got %s", got)
	}
}

func TestProgressOnlyWhenAskedFor(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "msgpack")
	c := r.raw(realmName, "alice", "viewer", "cbor")
	for i, want := range []bool{true, false} {
		id := wamp.ID(i + 1)
		c.say(&wamp.Call{Request: id, Options: wamp.Dict{"receive_progress": want}, Procedure: status, Arguments: wamp.List{"n1"}})
		inv := a.next().(*wamp.Invocation)
		if asked, _ := inv.Details["receive_progress"].(bool); asked != want {
			t.Errorf("the agent was told %v", inv.Details)
		}
		a.say(&wamp.Yield{Request: inv.Request, Options: wamp.Dict{"progress": true}, Arguments: wamp.List{"half"}})
		a.say(&wamp.Yield{Request: inv.Request, Options: wamp.Dict{}, Arguments: wamp.List{"all"}})
		if want {
			if got := show(c.next()); got != fmt.Sprintf("RESULT &{%d map[progress:true] [half] map[]}", id) {
				t.Errorf("progress: %s", got)
			}
		}
		if got := show(c.next()); got != fmt.Sprintf("RESULT &{%d map[] [all] map[]}", id) {
			t.Errorf("result: %s", got)
		}
	}
}

func TestEndsInTheMiddle(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	t.Run("agent", func(t *testing.T) {
		a := r.rawAgent("n1", "cbor")
		alice, bob := r.raw(realmName, "alice", "viewer", "cbor"), r.raw(realmName, "bob", "viewer", "json")
		for i := range wamp.ID(20) {
			alice.say(call(i+1, status, "n1"))
			bob.say(call(i+1, status, oid1))
			a.next()
			a.next()
		}
		began := time.Now()
		a.Close()
		for _, c := range []*raw{alice, bob} {
			left := map[wamp.ID]bool{}
			for range 20 {
				e := c.next().(*wamp.Error)
				if e.Error != "cfc.error.connection_lost" || e.ArgumentsKw["node_id"] != "n1" {
					t.Errorf("got %s", show(e))
				}
				left[e.Request] = true
			}
			if len(left) != 20 {
				t.Errorf("%d calls of 20 were answered", len(left))
			}
			c.quiet()
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("answered after %v", took)
		}
	})
	t.Run("caller", func(t *testing.T) {
		r.online("n1", false)
		a := r.rawAgent("n1", "cbor")
		alice, bob := r.raw(realmName, "alice", "viewer", "cbor"), r.raw(realmName, "bob", "viewer", "cbor")
		alice.say(call(1, status, "n1"))
		lost := a.next().(*wamp.Invocation)
		bob.say(call(1, status, "n1"))
		kept := a.next().(*wamp.Invocation)
		alice.Close()
		if i, ok := a.next().(*wamp.Interrupt); !ok || i.Request != lost.Request {
			t.Errorf("no INTERRUPT of %d: %v", lost.Request, i)
		}
		a.say(&wamp.Yield{Request: kept.Request, Options: wamp.Dict{}, Arguments: wamp.List{"bob's"}})
		if got := show(bob.next()); got != "RESULT &{1 map[] [bob's] map[]}" {
			t.Errorf("bob got %s", got)
		}
	})
}

func TestRequestIDsAreUsedOnce(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	r.rawAgent("n1", "cbor")
	c := r.raw(realmName, "alice", "viewer", "cbor")
	c.say(call(1, status, "n1"))
	if m := c.ask(call(1, status, "n1")); m.MessageType() != wamp.ABORT {
		t.Errorf("got %s", show(m))
	}
}

func TestRows(t *testing.T) {
	started, release := make(chan struct{}, 1000), make(chan struct{})
	ended := make(chan error, 10)
	table := catalog.NewTable()
	catalog.Bind(table, catalog.RealmGetStatus, func(_ context.Context, c catalog.Caller, _ catalog.None) (catalog.RealmStatus, error) {
		return catalog.RealmStatus{Realm: c.Realm, OID: c.AuthID + " " + string(c.Role)}, nil
	})
	catalog.Bind(table, catalog.RealmGetNodes, func(_ context.Context, _ catalog.Caller, in catalog.NodesIn) ([]string, error) {
		if in.Status != nil {
			return nil, errors.New("secret trouble")
		}
		return nil, cfcerr.New(cfcerr.NoSuchRealm, "cannot: gone").With("realm", "x")
	})
	catalog.Bind(table, catalog.RealmGetNode, func(ctx context.Context, _ catalog.Caller, in catalog.NodeIn) (catalog.NodeInfo, error) {
		if in.Node == "boom" {
			panic("a defect")
		}
		started <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return catalog.NodeInfo{}, ctx.Err()
	})
	catalog.Bind(table, catalog.CreateManagementRealm, func(ctx context.Context, c catalog.Caller, in catalog.CreateRealmIn) (catalog.RealmInfo, error) {
		started <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		ended <- ctx.Err()
		return catalog.RealmInfo{Name: string(in.Name), Owner: c.AuthID + string(c.Role)}, nil
	})
	r := newRig(t, route.Config{Table: table, CallsPerSession: 8}, peer.Options{})
	for _, ser := range serializers {
		c := r.raw(realmName, "alice", "viewer", ser)
		m := c.ask(call(1, "cfc.get_status"))
		d := wamp.NormalizeDict(m.(*wamp.Result).Arguments[0])
		if d["realm"] != realmName || d["oid"] != "alice viewer" {
			t.Errorf("%s: %s", ser, show(m))
		}
		for want, m := range map[string]*wamp.Call{
			"ERROR CALL 2 cfc.error.no_such_realm map[realm:x]":                               call(2, "cfc.get_nodes"),
			"ERROR CALL 3 cfc.error.internal map[id:":                                         call(3, "cfc.get_nodes", "online"),
			"ERROR CALL 4 cfc.error.invalid_argument map[argument:status expected:":           call(4, "cfc.get_nodes", "sideways"),
			"ERROR CALL 5 cfc.error.internal map[id: ":                                        call(5, "cfc.get_node", "boom"),
			"ERROR CALL 6 cfc.error.invalid_argument map[argument:args[0] expected:at most 0": call(6, "cfc.get_status", "x"),
		} {
			got := c.ask(m)
			if !strings.HasPrefix(show(got), strings.TrimSuffix(want, " ")) || strings.Contains(fmt.Sprint(got), "secret") || strings.Contains(fmt.Sprint(got), "defect") {
				t.Errorf("%s: got %s, want %s", ser, show(got), want)
			}
		}
	}
	c := r.raw(realmName, "alice", "viewer", "cbor")

	t.Run("a read is canceled", func(t *testing.T) {
		c.say(call(1, "cfc.get_node", "n1"))
		wait(t, started, "handler")
		if got := show(c.ask(&wamp.Cancel{Request: 1, Options: wamp.Dict{}})); got != "ERROR CALL 1 wamp.error.canceled map[]" {
			t.Errorf("got %s", got)
		}
		if err := wait(t, ended, "end of the handler"); !errors.Is(err, context.Canceled) {
			t.Errorf("it ended by %v", err)
		}
	})
	t.Run("a read has its deadline", func(t *testing.T) {
		began := time.Now()
		got := show(c.ask(&wamp.Call{Request: 2, Options: wamp.Dict{"timeout": 150}, Procedure: "cfc.get_node", Arguments: wamp.List{"n1"}}))
		if took := time.Since(began); got != "ERROR CALL 2 wamp.error.timeout map[]" || took < 150*time.Millisecond || took > 250*time.Millisecond {
			t.Errorf("got %s after %v", got, took)
		}
		wait(t, started, "handler")
		wait(t, ended, "end of the handler")
	})
	t.Run("a read ends with its caller", func(t *testing.T) {
		gone := r.raw(realmName, "alice", "viewer", "cbor")
		gone.say(call(1, "cfc.get_node", "n1"))
		wait(t, started, "handler")
		gone.Close()
		wait(t, ended, "end of the handler")
	})
	t.Run("a change is finished", func(t *testing.T) {
		u := r.raw(wire.UsersRealm, "alice", wire.RoleUser, "cbor")
		for i := range wamp.ID(8) {
			u.say(call(i+1, "cfc.create_management_realm", "acme"))
			wait(t, started, "handler")
			if got := show(u.ask(&wamp.Cancel{Request: i + 1, Options: wamp.Dict{}})); got != fmt.Sprintf("ERROR CALL %d wamp.error.canceled map[]", i+1) {
				t.Errorf("got %s", got)
			}
		}
		// They still work: the caller has no room for more.
		if got := show(u.ask(call(9, "cfc.create_management_realm", "acme"))); got != "ERROR CALL 9 cfc.error.limit_exceeded map[limit:8]" {
			t.Errorf("got %s", got)
		}
		close(release)
		for range 8 {
			if err := wait(t, ended, "end of the handler"); err != nil {
				t.Errorf("it ended by %v", err)
			}
		}
		r.until("room", func() bool {
			m := u.ask(call(wamp.GlobalID(), "cfc.create_management_realm", "acme"))
			if m.MessageType() != wamp.RESULT {
				return false
			}
			<-started
			<-ended
			return strings.Contains(show(m), "alice")
		})
	})
	if got := show(c.ask(call(99, "crossbarfabriccenter.mrealm.get_status"))); !strings.HasPrefix(got, "RESULT &{99") {
		t.Errorf("under the other prefix: %s", got)
	}
}

func TestRowsThatThisRelayDoesNotHave(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	c := r.raw(realmName, "alice", "viewer", "cbor")
	if got := show(c.ask(call(1, "cfc.get_status"))); !strings.HasPrefix(got, "ERROR CALL 1 cfc.error.not_supported") {
		t.Errorf("got %s", got)
	}
}

// Many callers, two agents, all serializers, at once: every call gets its own answer.
func TestEveryCallGetsItsOwnAnswer(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	r.addNode("n2", "22222222-2222-4222-8222-222222222222")
	r.agent("n1", "cbor", echo)
	r.agent("n2", "json", echo)
	var wg sync.WaitGroup
	for w := range 9 {
		c := r.join(realmName, fmt.Sprint("user", w), "viewer", serializers[w%3])
		for k := range 4 {
			wg.Go(func() {
				for i := range 50 {
					node := fmt.Sprint("n", i%2+1)
					text := strings.Repeat(fmt.Sprint(w, k, i), i*10)
					res, err := c.Call(t.Context(), status, nil, wamp.List{node, text}, wamp.Dict{"w": w}, nil)
					if err != nil || len(res.Arguments) != 2 || res.Arguments[1] != text || fmt.Sprint(res.ArgumentsKw["w"]) != fmt.Sprint(w) {
						t.Errorf("%d/%d/%d: %v %v", w, k, i, res, err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	if got := metric(t, r, "cfc_relay_calls_total", "ok"); got != "1800" {
		t.Errorf("%s calls counted", got)
	}
	if got := metric(t, r, "cfc_relay_calls_in_flight"); got != "0" {
		t.Errorf("%s in flight", got)
	}
	if got := metric(t, r, "cfc_relay_call_seconds"); got != "1800" {
		t.Errorf("%s calls measured", got)
	}
}

// A call that is long to transcode for an agent holds up no other's.
func TestTranscodingHoldsUpNobody(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	r.agent("n1", "cbor", echo)
	c := r.member(wire.Viewer, "cbor")
	one := func() time.Duration {
		began := time.Now()
		if _, err := c.Call(context.Background(), status, nil, wamp.List{"n1"}, nil, nil); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	one()
	deep := make(wamp.List, 1<<18)
	for i := range deep {
		deep[i] = wamp.List{}
	}
	bad := r.raw(realmName, "mallory", "viewer", "json")
	bad.say(call(1, status, "n1", deep))
	done := make(chan wamp.Message, 1)
	began := time.Now()
	go func() { done <- <-bad.Recv() }()
	var longest time.Duration
	for {
		longest = max(longest, one())
		select {
		case m := <-done:
			if took := time.Since(began); m == nil || longest > took/2 && longest > 500*time.Millisecond {
				t.Errorf("%.100s took %v, and another call %v meanwhile", show(m), took, longest)
			}
			return
		default:
		}
	}
}
