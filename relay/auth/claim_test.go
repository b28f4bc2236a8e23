package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func code(tok wire.Token) wamp.Dict { return wamp.Dict{"activation_code": tok.Secret()} }

func (r *rig) left(tok wire.Token, want int) {
	r.t.Helper()
	got, err := r.Store.Token(r.Ctx(), tok.ID)
	if err != nil || got.Left != want {
		r.t.Fatalf("token %+v, %v; want %d left", got, err, want)
	}
}

func TestUserClaims(t *testing.T) {
	r := newRig(t, nil)
	key := newKey(t)
	tok := r.Token(store.Token{Purpose: wire.ForUser, User: "bob", Realm: "r1", Role: wire.Viewer})
	k := caller{key: key, realm: "r1", extra: code(tok)}
	_, id := r.welcome(k)
	if id.AuthID != "bob" || id.Role != "viewer" || id.TokenID != tok.ID {
		t.Errorf("identity %+v", id)
	}
	r.left(tok, 0)
	// The answer was lost: the same again, and whatever becomes of the token.
	_, id = r.welcome(k)
	if id.AuthID != "bob" || id.TokenID != "" {
		t.Errorf("identity %+v", id)
	}
	if _, err := r.RevokeToken(r.Ctx(), tok.ID, r.Now); err != nil {
		t.Fatal(err)
	}
	r.welcome(k)
	k.extra = wamp.Dict{"activation_code": "mistyped"}
	r.welcome(k)
	// For others it is used up.
	r.refused(caller{key: newKey(t), extra: code(tok)}, badToken, "revoked")
}

func TestUserClaimRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AddressFailures, c.KeyFailures = 1e6, 1e6 })
	bob := r.known("bob")
	nodeKey, _ := r.node("r1", "n1")
	good := r.Token(store.Token{Purpose: wire.ForUser, User: "new", Realm: "r1", Role: wire.Viewer})
	used := r.Token(store.Token{Purpose: wire.ForUser, User: "used"})
	if _, err := r.ByUser(used, newKey(t).Public()); err != nil {
		t.Fatal(err)
	}
	revoked := r.Token(store.Token{Purpose: wire.ForUser, User: "revoked"})
	if _, err := r.RevokeToken(r.Ctx(), revoked.ID, r.Now); err != nil {
		t.Fatal(err)
	}
	taken := r.Token(store.Token{Purpose: wire.ForUser, User: "bob"})
	forNode := r.Token(store.Token{Purpose: wire.ForNode, Realm: "r1"})
	short := r.Token(store.Token{Purpose: wire.ForUser, User: "late", Expires: r.Now.Add(time.Second)})
	unknown, err := wire.NewToken(wire.ForUser)
	if err != nil {
		t.Fatal(err)
	}
	r.pass(2 * time.Second)
	forged := func(c string, ch []byte) (string, error) { return newKey(t).Sign(c, ch) }
	var texts []string
	for name, c := range map[string]struct {
		caller
		uri, why string
	}{
		"mistyped":         {caller{extra: wamp.Dict{"activation_code": "cfcu_x"}}, badToken, "mistyped"},
		"unknown":          {caller{extra: code(unknown)}, badToken, "unknown"},
		"expired":          {caller{extra: code(short)}, badToken, "expired"},
		"used":             {caller{extra: code(used)}, badToken, "used"},
		"revoked":          {caller{extra: code(revoked)}, badToken, "revoked"},
		"another purpose":  {caller{extra: code(forNode)}, badToken, "for another purpose"},
		"name taken":       {caller{extra: code(taken)}, nameTaken, "belongs to another key"},
		"no right":         {caller{extra: code(good), realm: "r2"}, notAllowed, ""},
		"somebody's key":   {caller{key: bob, extra: code(good)}, exists, "belongs to a user already"},
		"key of a node":    {caller{key: nodeKey, extra: code(good)}, exists, "remove that node"},
		"forged signature": {caller{extra: code(good), sign: forged}, authFailed, "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			r.in(t)
			if c.key.IsZero() {
				c.key = newKey(t)
			}
			abort := r.refused(c.caller, c.uri, c.why)
			if c.uri == badToken {
				texts = append(texts, fmt.Sprint(abort.Details))
			}
		})
	}
	for _, text := range texts {
		if text != texts[0] {
			t.Errorf("the claimer is told which check failed: %q, %q", text, texts[0])
		}
	}
	r.left(good, 1)
	r.left(forNode, 1)
	r.left(taken, 1)
	r.welcome(caller{key: newKey(t), realm: "r1", extra: code(good)})
}

func TestNodeClaims(t *testing.T) {
	r := newRig(t, nil)
	open := r.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", Uses: 5})
	host := wamp.Dict{"hostname": "Web1.example.com"}
	for want, extra := range map[string]wamp.Dict{"n1": {"node_id": "n1", "agent": host}, "web1": {"agent": host}} {
		key := newKey(t)
		extra["activation_code"] = open.Secret()
		d, id := r.welcome(caller{key: key, agent: true, extra: extra})
		if id.AuthID != want || id.Realm != "r1" || d["authid"] != want || !wire.ValidOID(id.NodeOID) {
			t.Errorf("%s: identity %+v", want, id)
		}
		_, again := r.welcome(caller{key: key, agent: true, extra: extra})
		if again.NodeOID != id.NodeOID {
			t.Errorf("%s: another node at the second time", want)
		}
	}
	r.left(open, 3)
	r.refused(caller{key: newKey(t), agent: true, extra: wamp.Dict{"activation_code": open.Secret(), "node_id": "n1"}}, nameTaken, "another key")
	r.refused(caller{key: newKey(t), agent: true, extra: code(open)}, badArgument, "node_id")
	r.refused(caller{key: newKey(t), agent: true, extra: code(open), realm: "r2"}, notAllowed, "")
	fixed := r.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", NodeID: "n7"})
	r.refused(caller{key: newKey(t), agent: true, extra: wamp.Dict{"activation_code": fixed.Secret(), "node_id": "n70"}}, badToken, "for another node")
	r.left(open, 3)
	r.left(fixed, 1)
	replace := r.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", NodeID: "n1", Replace: true})
	old, err := r.NodeNamed(r.Ctx(), "r1", "n1")
	if err != nil {
		t.Fatal(err)
	}
	_, id := r.welcome(caller{key: newKey(t), agent: true, extra: code(replace)})
	if id.NodeOID != old.OID {
		t.Error("a replaced host has another oid")
	}
	if h, _ := r.Holder(r.Ctx(), old.Pubkey); !h.Nobody() {
		t.Error("the old key is still paired")
	}
}

func TestTicket(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AddressFailures, c.KeyFailures = 1e6, 1e6 })
	r.known("bob")
	for realm, role := range map[string]wire.Role{"r1": wire.Operator, "r2": wire.Viewer} {
		if _, err := r.SetMember(r.Ctx(), realm, "bob", role); err != nil {
			t.Fatal(err)
		}
	}
	ticket := func(spec store.Token) wire.Token {
		spec.Purpose, spec.User, spec.By, spec.Uses = wire.ForTicket, "bob", "bob", 100
		return r.Token(spec)
	}
	with := func(tok wire.Token, realm string) caller {
		return caller{realm: realm, ticket: tok.Secret(), change: func(h *wamp.Hello) {
			h.Details["authmethods"], h.Details["authid"] = wamp.List{"ticket"}, "bob"
			delete(h.Details, "authextra")
		}}
	}
	plain, inR1 := ticket(store.Token{}), ticket(store.Token{Realm: "r1"})
	asViewer, asOwner := ticket(store.Token{Role: wire.Viewer}), ticket(store.Token{Role: wire.Owner, Realm: "r1"})
	for _, c := range []struct {
		tok         wire.Token
		realm, role string
	}{{plain, "", "user"}, {plain, "r1", "operator"}, {plain, "r2", "viewer"}, {inR1, "r1", "operator"}, {asViewer, "r1", "viewer"}, {asOwner, "r1", "operator"}} {
		d, id := r.welcome(with(c.tok, c.realm))
		if id.Role != c.role || d["authrole"] != c.role || id.AuthID != "bob" || id.Method != "ticket" || id.TokenID != c.tok.ID || id.Pubkey != "" {
			t.Errorf("realm %q: identity %+v, want %s", c.realm, id, c.role)
		}
		if err := r.auth.Check(r.Ctx(), id); err != nil {
			t.Error(err)
		}
	}
	revoked := ticket(store.Token{})
	if _, err := r.RevokeToken(r.Ctx(), revoked.ID, r.Now); err != nil {
		t.Fatal(err)
	}
	unknown, _ := wire.NewToken(wire.ForTicket)
	other := r.Token(store.Token{Purpose: wire.ForTicket, User: "root", By: "root"})
	invitation := r.Token(store.Token{Purpose: wire.ForUser, User: "bob"})
	nobody := with(plain, "")
	change := nobody.change
	nobody.change = func(h *wamp.Hello) { change(h); h.Details["authid"] = "nobody" }
	for name, c := range map[string]struct {
		caller
		uri, why string
	}{
		"narrower, users' realm": {with(inR1, ""), notAllowed, "narrower"},
		"narrower, other realm":  {with(inR1, "r2"), notAllowed, "narrower"},
		"role, users' realm":     {with(asViewer, ""), notAllowed, "narrower"},
		"no member":              {with(plain, "r9"), notAllowed, "not a member"},
		"revoked":                {with(revoked, ""), authFailed, "revoked"},
		"unknown":                {with(unknown, ""), authFailed, "unknown"},
		"of another":             {with(other, ""), authFailed, "another user"},
		"nobody":                 {nobody, authFailed, "another user"},
		"invitation":             {with(invitation, ""), authFailed, "another purpose"},
	} {
		t.Run(name, func(t *testing.T) {
			r.in(t)
			r.refused(c.caller, c.uri, c.why)
		})
	}
	bad := with(plain, "")
	bad.ticket = "guess"
	r.refused(bad, authFailed, "no ticket")
	r.left(plain, 97)
	once := r.Token(store.Token{Purpose: wire.ForTicket, User: "bob", By: "bob"})
	r.welcome(with(once, ""))
	r.refused(with(once, ""), authFailed, "used")
}

// TestCheck: a right that is lost between log-in and session.
func TestCheck(t *testing.T) {
	r := newRig(t, nil)
	bob := r.known("bob")
	if _, err := r.SetMember(r.Ctx(), "r1", "bob", wire.Operator); err != nil {
		t.Fatal(err)
	}
	nodeKey, n := r.node("r1", "n1")
	tok := r.Token(store.Token{Purpose: wire.ForTicket, User: "bob", By: "bob", Role: wire.Viewer})
	_, member := r.welcome(caller{key: bob, realm: "r1"})
	_, user := r.welcome(caller{key: bob})
	_, agent := r.welcome(caller{key: nodeKey, agent: true})
	_, script := r.welcome(caller{realm: "r1", ticket: tok.Secret(), change: func(h *wamp.Hello) {
		h.Details["authmethods"], h.Details["authid"] = wamp.List{"ticket"}, "bob"
	}})
	kinds := func(what string, of ...cfcerr.Kind) {
		t.Helper()
		for i, id := range []string{"member", "user", "agent", "script"} {
			err := r.auth.Check(r.Ctx(), []any{member, user, agent, script}[i].(route.Identity))
			if cfcerr.KindOf(err) != of[i] {
				t.Errorf("%s: %s: %v", what, id, err)
			}
		}
	}
	kinds("nothing changed", 0, 0, 0, 0)
	set := func(role wire.Role) {
		if _, err := r.SetMember(r.Ctx(), "r1", "bob", role); err != nil {
			t.Fatal(err)
		}
	}
	set(wire.Owner)
	kinds("more rights", cfcerr.NotAuthorized, 0, 0, 0)
	set(wire.Viewer)
	kinds("fewer rights", cfcerr.NotAuthorized, 0, 0, 0)
	if err := r.RemoveMember(r.Ctx(), "r1", "bob"); err != nil {
		t.Fatal(err)
	}
	kinds("removed", cfcerr.NotAuthorized, 0, 0, cfcerr.NotAuthorized)
	if _, err := r.RevokeToken(r.Ctx(), tok.ID, r.Now); err != nil {
		t.Fatal(err)
	}
	kinds("ticket revoked", cfcerr.NotAuthorized, 0, 0, cfcerr.AuthenticationFailed)
	if _, err := r.UnpairNode(r.Ctx(), n.OID); err != nil {
		t.Fatal(err)
	}
	kinds("unpaired", cfcerr.NotAuthorized, 0, cfcerr.NodeUnpaired, cfcerr.AuthenticationFailed)
	if _, err := r.DeleteUser(r.Ctx(), "bob", ""); err != nil {
		t.Fatal(err)
	}
	kinds("deleted", cfcerr.AuthenticationFailed, cfcerr.AuthenticationFailed, cfcerr.NodeUnpaired, cfcerr.AuthenticationFailed)
}

// TestInternal: a failure of our own is told as such and not counted against
// the client.
func TestInternal(t *testing.T) {
	r := newRig(t, nil)
	key := r.known("bob")
	r.auth.cfg.Store = brokenStore{r.auth.cfg.Store}
	_, abort := r.login(caller{key: key})
	if abort == nil || abort.Reason != "cfc.error.internal" || strings.Contains(fmt.Sprint(abort.Details), "secret text") {
		t.Fatalf("answered %v", abort)
	}
	if len(r.auth.throttle.keys.by) != 0 {
		t.Error("our failure counts against the client")
	}
}

type brokenStore struct{ Store }

func (brokenStore) Holder(context.Context, string) (store.Holder, error) {
	return store.Holder{}, errors.New("secret text")
}

// TestTwoClaimsAtOnce: two connections with one token, each with a key of its
// own; one gets in, the other has used nothing up.
func TestTwoClaimsAtOnce(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AddressFailures, c.KeyFailures = 1e6, 1e6 })
	for try := range 50 {
		tok := r.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", NodeID: fmt.Sprintf("n%d", try)})
		conns, keys := make([]*peer.Conn, 2), []caller{{}, {}}
		for i := range keys {
			keys[i] = caller{key: newKey(t), agent: true, extra: code(tok)}
			conns[i] = r.connect(keys[i])
		}
		aborts := make([]*wamp.Abort, 2)
		var both sync.WaitGroup
		for i := range keys {
			both.Go(func() { _, aborts[i] = r.loginOn(conns[i], keys[i]) })
		}
		both.Wait()
		<-r.ids
		<-r.failures
		for i := range keys {
			h, err := r.Holder(r.Ctx(), keys[i].key.Public())
			if err != nil || h.Nobody() != (aborts[i] != nil) || aborts[i] != nil && aborts[i].Reason != badToken {
				t.Fatalf("try %d: key %d belongs to %+v, %v, answer %v", try, i, h, err, aborts[i])
			}
		}
	}
}
