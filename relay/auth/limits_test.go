package auth

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
)

func TestThrottleOfKey(t *testing.T) {
	r := newRig(t, nil)
	key := r.known("bob")
	bad := caller{key: key, sign: func(c string, ch []byte) (string, error) { return newKey(t).Sign(c, ch) }}
	for range 10 {
		r.refused(bad, authFailed, "does not match")
	}
	r.pass(20 * time.Second)
	a := r.refused(bad, limitReached, "does not match")
	if fmt.Sprint(a.Details["after"]) != "40" || !strings.Contains(fmt.Sprint(a.Details["message"]), "40 s") {
		t.Errorf("details %v", a.Details)
	}
	lines := len(r.audited.all)
	for range 5 {
		if _, abort := r.login(bad); abort == nil || abort.Reason != limitReached {
			t.Fatalf("answered %v", abort)
		}
		<-r.failures
	}
	if len(r.audited.all) != lines {
		t.Errorf("a flood fills the audit log: %+v", r.audited.last())
	}
	// A good key is let in all the same, and others have their own count.
	r.welcome(caller{key: key})
	r.refused(caller{key: newKey(t)}, authFailed, "unknown key")
	r.pass(40 * time.Second)
	r.refused(bad, authFailed, "does not match")
}

func TestThrottleOfAddress(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AddressFailures = 20 })
	key := r.known("bob")
	for range 20 {
		r.refused(caller{key: newKey(t)}, authFailed, "unknown key")
	}
	r.refused(caller{key: newKey(t)}, limitReached, "unknown key")
	r.welcome(caller{key: key})
	m, _ := r.say("192.0.2.1:7", nil, false, &wamp.Hello{Details: wamp.Dict{}})
	if a, ok := m.(*wamp.Abort); !ok || a.Reason != badArgument {
		t.Errorf("another address is answered %v", m)
	}
}

func TestThrottleForgets(t *testing.T) {
	th := newThrottle(1, 10)
	now := time.Unix(1000, 0)
	for i := range 3 * maxCounted {
		th.fail(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), fmt.Sprint("key", i), now)
		if len(th.keys.by) > maxCounted || len(th.addresses.by) > maxCounted || th.keys.order.Len() != len(th.keys.by) {
			t.Fatalf("keeps %d keys and %d addresses", len(th.keys.by), len(th.addresses.by))
		}
	}
	th.fail("h", "k", now)
	if v := th.fail("h", "k", now.Add(time.Second)); v != (verdict{59 * time.Second, true}) {
		t.Error("the newest key is not counted")
	}
	th.fail("h", "", now.Add(3*time.Minute))
	if th.fail("h", "k2", now.Add(3*time.Minute)); len(th.keys.by) != 1 || len(th.addresses.by) != 1 {
		t.Errorf("after three minutes it still has %d keys and %d addresses", len(th.keys.by), len(th.addresses.by))
	}
}

// An address over its limit cannot make the throttle forget keys.
func TestFloodFromOneAddress(t *testing.T) {
	th := newThrottle(1, 10)
	now := time.Unix(1000, 0)
	th.fail("10.0.0.1", "k", now)
	for i := range 2 * maxCounted {
		th.fail("2001:db8::1:"+fmt.Sprintf("%x", i&0xFFFF), fmt.Sprint("key", i), now)
	}
	if th.fail("10.0.0.1", "k", now).after == 0 {
		t.Error("the key was forgotten")
	}
}

func TestGate(t *testing.T) {
	g := NewGate(5, 2)
	var dropped []string
	enter := func(name, address string) func() { return g.Enter(address, func() { dropped = append(dropped, name) }) }
	want := func(names ...string) {
		t.Helper()
		if fmt.Sprint(dropped) != fmt.Sprint(names) {
			t.Fatalf("dropped %v, want %v", dropped, names)
		}
	}
	a1, a2 := enter("a1", "10.0.0.1"), enter("a2", "10.0.0.1")
	enter("a3", "10.0.0.1")
	want("a1")
	a1() // late, and without effect
	if g.Waiting() != 2 {
		t.Fatalf("%d wait", g.Waiting())
	}
	a2()
	a2()
	enter("a4", "10.0.0.1")
	want("a1")
	enter("b1", "10.0.0.2")
	enter("c1", "2001:db8::1")
	enter("c2", "2001:db8::2")
	want("a1")
	enter("d1", "10.0.0.4") // all are full: the oldest of all
	want("a1", "a3")
	enter("b2", "10.0.0.2") // all are full: the oldest of the same address
	want("a1", "a3", "b1")
	enter("c3", "2001:db8::3") // one network of IPv6 is one address
	want("a1", "a3", "b1", "c1")
	if g.Waiting() != 5 || g.Dropped() != 4 {
		t.Fatalf("%d wait, %d were dropped", g.Waiting(), g.Dropped())
	}
}

func TestGateAtOnce(t *testing.T) {
	g := NewGate(0, 0)
	var all sync.WaitGroup
	for i := range 600 {
		all.Go(func() {
			leave := g.Enter(fmt.Sprintf("10.0.%d.1", i%20), func() {})
			defer leave()
			if n := g.Waiting(); n > MaxHalfOpen {
				t.Errorf("%d wait", n)
			}
		})
	}
	all.Wait()
	if g.Waiting() != 0 || len(g.sites) != 0 {
		t.Errorf("%d still wait at %d sites", g.Waiting(), len(g.sites))
	}
}
