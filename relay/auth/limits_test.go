package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
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
	if last := r.audited.last(); !strings.Contains(last.Reason, "only counted") {
		t.Errorf("that it is over the limit is not told: %+v", last)
	}
	// A good key is let in all the same, and others have their own count.
	r.welcome(caller{key: key})
	r.refused(caller{key: newKey(t)}, authFailed, "unknown key")
	r.pass(40 * time.Second)
	r.refused(bad, authFailed, "does not match")
	// In the next minute it is told how many there were.
	sum := r.audited.all[len(r.audited.all)-2]
	if sum.Key != key.Public() || sum.Kind != limitReached || !strings.HasPrefix(sum.Reason, "5 more within a minute") {
		t.Errorf("the summary is %+v", sum)
	}
}

func TestSummaryOfAddress(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AddressFailures = 3 })
	fail := func(address string) {
		if m, _ := r.say(address, nil, false, &wamp.Hello{Details: wamp.Dict{}}); m.(*wamp.Abort).Reason == "" {
			t.Fatal("no reason")
		}
	}
	for range 100 {
		fail("[2001:db8::1]:7")
	}
	if n := len(r.audited.all); n != 4 {
		t.Fatalf("%d lines for 100 failures", n)
	}
	r.pass(time.Minute)
	fail("192.0.2.1:7") // whoever it is
	if sum := r.audited.all[4]; sum.Address != "2001:db8::/64" || !strings.HasPrefix(sum.Reason, "96 more") || len(r.audited.all) != 6 {
		t.Errorf("the summary is %+v", sum)
	}
}

// What a stranger sends makes no line long, nor one that cannot be read.
func TestLinesOfStrangersAreShort(t *testing.T) {
	r := newRig(t, nil)
	bob := r.known("bob")
	token := r.Token(store.Token{Purpose: wire.ForUser, User: "new", Uses: 9}).Secret()
	for name, c := range map[string]struct {
		caller
		realm, user string
	}{
		"no characters": {caller{realm: strings.Repeat("\x01", 254), key: bob}, `"\x01\x01`, "bob"},
		"quotes":        {caller{realm: strings.Repeat(`"`, 254), key: bob}, `"\"\"`, "bob"},
		"long":          {caller{realm: strings.Repeat("R", 5000), key: bob}, `"RRRR`, "bob"},
		"with a token":  {caller{realm: strings.Repeat("\x01", 253), key: newKey(t), extra: wamp.Dict{"activation_code": token}}, `"\x01`, ""},
		"a user":        {caller{change: ticketOf(strings.Repeat("é", 127)), ticket: "x"}, "", `"\u00e9`},
		"good names":    {caller{realm: "none.such", key: bob}, "none.such", "bob"},
	} {
		t.Run(name, func(t *testing.T) {
			r.in(t)
			if _, abort := r.login(c.caller); abort == nil {
				t.Fatal("let in")
			}
			<-r.failures
			e := r.audited.last()
			text, err := json.Marshal(e)
			if err != nil || len(text) > 800 {
				t.Errorf("a line of %d bytes: %s, %v", len(text), text, err)
			}
			if !strings.HasPrefix(e.Realm, c.realm) || !strings.HasPrefix(e.User, c.user) || len(e.Realm) > 70 || len(e.User) > 70 {
				t.Errorf("got %+v", e)
			}
			if all := fmt.Sprint(e); strings.ContainsFunc(all, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
				t.Errorf("cannot be read: %q", all)
			}
		})
	}
}

func TestNamesInLines(t *testing.T) {
	key := newKey(t).Public()
	for in, want := range map[string]string{
		"": "", "bob": "bob", "bob@example.com": "bob@example.com", "com.crossbario.fabric": "com.crossbario.fabric", key: key,
		"\xff\xfe": `"\xff\xfe"`, "a b": `"a b"`, "R1": `"R1"`, "\u202e": `"\u202e"`, "\n{}": `"\n{}"`,
		strings.Repeat("x", 300): `"` + strings.Repeat("x", 63) + "…",
	} {
		if got := name(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"cannot: “so” 3 s": "cannot: “so” 3 s", "realm \x01\xff\n": `realm \x01\xff\n`, strings.Repeat("é", 200): strings.Repeat("é", 128) + "…"} {
		if got := printable(in, maxReason); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// A relay that stops says so to those who have not logged in yet.
func TestStopDuringLogin(t *testing.T) {
	r := newRig(t, nil)
	l := &line{in: make(chan wamp.Message), address: "192.0.2.1:7"}
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		l.in <- &wamp.Hello{Details: caller{key: newKey(t)}.hello().Details}
		stop()
	}()
	if _, err := r.auth.handshake(ctx, l, false); err == nil || !l.closed {
		t.Fatalf("got %v, closed %v", err, l.closed)
	}
	if a, ok := l.out[len(l.out)-1].(*wamp.Abort); !ok || a.Reason != wamp.CloseSystemShutdown {
		t.Errorf("answered %v", l.out)
	}
	if len(r.audited.all) != 0 {
		t.Errorf("counted as a failure: %+v", r.audited.last())
	}
}

func ticketOf(user string) func(*wamp.Hello) {
	return func(h *wamp.Hello) {
		h.Details["authmethods"], h.Details["authid"] = wamp.List{"ticket"}, user
	}
}

// What the hub does not take is written down too, within the same limits.
func TestRefusedByHub(t *testing.T) {
	r := newRig(t, nil)
	_, n := r.node("r1", "n1")
	id := route.Identity{Realm: "r1", AuthID: "n1", Role: wire.RoleNode, Method: methodKey, Pubkey: n.Pubkey, NodeOID: n.OID, Address: "10.0.0.7:4711"}
	for range 50 {
		r.auth.Refused(id, cfcerr.New(cfcerr.DuplicateIdentity, "cannot join: twice"))
	}
	if len(r.audited.all) != 11 {
		t.Fatalf("%d lines", len(r.audited.all))
	}
	want := audit.Event{Event: audit.LoginRefused, Address: "10.0.0.7", Realm: "r1", Node: "n1", OID: n.OID, Key: n.Pubkey,
		Kind: "cfc.error.duplicate_identity", Reason: "cannot join: twice"}
	if r.audited.all[0] != want {
		t.Errorf("got %+v", r.audited.all[0])
	}
	r.auth.Refused(route.Identity{Realm: "r1", AuthID: "bob", Method: methodTicket, TokenID: "abcdefgh", Address: "10.0.0.7:4711"}, store.NoRight("r1"))
	if e := r.audited.last(); e.User != "bob" || e.Token != "abcdefgh" || e.Kind != notAllowed {
		t.Errorf("got %+v", e)
	}
	before := len(r.audited.all)
	for _, err := range []error{context.Canceled, errors.New("defect"), cfcerr.New(cfcerr.Unavailable, "the relay is stopping")} {
		r.auth.Refused(route.Identity{AuthID: "eve"}, err)
	}
	if len(r.audited.all) != before {
		t.Errorf("what is nobody's fault is written down: %+v", r.audited.last())
	}
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
	if v, _ := th.fail("h", "k", now.Add(time.Second)); v != (verdict{59 * time.Second, true}) {
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
	if v, _ := th.fail("10.0.0.1", "k", now); v.after == 0 {
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
