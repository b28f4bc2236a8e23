package pairing_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/relay/auth"
	"fabric.center/cfc/relay/pairing"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/relay/store/storetest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// relay is everything between store and connections, real: what happens to
// living sessions is seen by real clients.
type relay struct {
	*storetest.World
	t    *testing.T
	url  string
	keys map[string]identity.Key
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "data", "relay.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := &relay{World: storetest.NewWorld(t, s), t: t, keys: map[string]identity.Key{}}
	r.Now = time.Now()
	table := catalog.NewTable()
	var login *auth.Auth
	hub := route.New(route.Config{Table: table, Check: func(ctx context.Context, id route.Identity) error { return login.Check(ctx, id) }})
	m := pairing.New(pairing.Config{Store: s, Hub: hub, Audit: &auditor{}, OwnerTokenFile: filepath.Join(t.TempDir(), "t")})
	m.Bind(table)
	if err := m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	login = auth.New(auth.Config{Store: s, Claims: m, Audit: &auditor{}, AddressFailures: 1e6})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(ctx) }()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if c, err := peer.Upgrade(w, q, peer.Options{}); err == nil {
			if id, err := login.Handshake(ctx, c, q.URL.Path == wire.AgentPath); err == nil {
				_ = hub.Attach(ctx, c, id)
			}
		}
	}))
	t.Cleanup(func() {
		stop()
		web.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	r.url = "ws" + strings.TrimPrefix(web.URL, "http")
	for _, name := range []string{"ann", "bob"} {
		r.claim(name, store.Token{Purpose: wire.ForUser, User: name})
	}
	r.call(r.join("ann", ""), "create_management_realm", "r1")
	return r
}

// claim brings a fresh key in by a token, over the wire.
func (r *relay) claim(name string, spec store.Token) *session.Session {
	r.t.Helper()
	k, err := identity.New()
	r.OK(err)
	c := session.Config{URL: r.url, Key: k, Token: r.Token(spec).Secret()}
	if spec.Purpose == wire.ForNode {
		c.Role = wire.RoleNode
	}
	r.keys[name] = k
	return r.open(c)
}

func (r *relay) open(c session.Config) *session.Session {
	r.t.Helper()
	s, err := session.Join(r.t.Context(), c)
	r.OK(err)
	r.t.Cleanup(func() { s.Close() })
	return s
}

// join logs a user in; the users realm is "".
func (r *relay) join(name, realm string) *session.Session {
	r.t.Helper()
	return r.open(session.Config{URL: r.url, Key: r.keys[name], Realm: realm})
}

func (r *relay) call(s *session.Session, name string, args ...any) *wamp.Result {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	out, err := s.Call(ctx, wire.Prefix+name, args, nil, session.CallOptions{})
	r.OK(err)
	return out
}

func (r *relay) ends(s *session.Session, reason string) {
	r.t.Helper()
	select {
	case <-s.Done():
	case <-time.After(5 * time.Second):
		r.t.Fatalf("the session of %s in %s lives on, want %s", s.AuthID(), s.Realm(), reason)
	}
	if got := s.Ended().Reason; got != reason {
		r.t.Fatalf("the session of %s in %s ended with %s, want %s", s.AuthID(), s.Realm(), got, reason)
	}
}

func (r *relay) lives(all ...*session.Session) {
	r.t.Helper()
	for _, s := range all {
		if err := s.Ping(r.t.Context()); err != nil || s.Err() != nil {
			r.t.Fatalf("the session of %s in %s ended: %v, %v", s.AuthID(), s.Realm(), err, s.Err())
		}
	}
}

func TestLostRightsEndSessions(t *testing.T) {
	r := newRelay(t)
	ann, annIn := r.join("ann", ""), r.join("ann", "r1")
	bob := r.join("bob", "")
	ticket := func(options wamp.Dict, realm string) (*session.Session, string) {
		made, _ := wamp.AsDict(r.call(bob, "create_token", "ticket", options).Arguments[0])
		secret, _ := made["token"].(string)
		id, _ := made["id"].(string)
		return r.open(session.Config{URL: r.url, AuthID: "bob", Ticket: secret, Realm: realm}), id
	}
	r.call(ann, "add_member", "r1", "bob", "viewer")
	in := r.join("bob", "r1")
	script, _ := ticket(wamp.Dict{"realm": "r1"}, "r1")
	r.call(ann, "add_member", "r1", "bob", "operator")
	r.ends(in, wire.CloseRoleChanged)
	r.ends(script, wire.CloseRoleChanged)
	r.lives(ann, annIn, bob)

	in = r.join("bob", "r1")
	if in.AuthRole() != "operator" {
		t.Errorf("bob is %s", in.AuthRole())
	}
	script, id := ticket(wamp.Dict{"realm": "r1"}, "r1")
	r.call(bob, "revoke_token", id)
	r.ends(script, wire.CloseTokenRevoked)
	r.lives(in)
	script, _ = ticket(nil, "r1")
	r.call(ann, "remove_member", "r1", "bob")
	r.ends(in, wire.CloseMemberRemoved)
	r.ends(script, wire.CloseMemberRemoved)
	r.lives(ann, annIn, bob)
	if _, err := session.Join(t.Context(), session.Config{URL: r.url, Key: r.keys["bob"], Realm: "r1"}); cfcerr.KindOf(err) != cfcerr.NotAuthorized {
		t.Errorf("a removed member: %v", err)
	}

	// Somebody else's key for bob, by the relay's owner.
	again := r.claim("bob", store.Token{Purpose: wire.ForUser, User: "bob", Replace: true})
	r.ends(bob, wire.CloseReplaced)
	r.lives(again)
	root := r.claim("root2", store.Token{Purpose: wire.ForUser, User: "root", By: "root", Add: true})
	r.call(root, "delete_user", "bob")
	r.ends(again, wire.CloseUserDeleted)
	if _, err := session.Join(t.Context(), session.Config{URL: r.url, Key: r.keys["bob"]}); cfcerr.KindOf(err) != cfcerr.AuthenticationFailed {
		t.Errorf("a deleted user: %v", err)
	}
	r.call(ann, "delete_management_realm", "r1")
	r.ends(annIn, wire.CloseRealmDeleted)
	r.lives(ann)
}

func TestLostPairingsEndSessions(t *testing.T) {
	r := newRelay(t)
	ann := r.join("ann", "")
	node := store.Token{Purpose: wire.ForNode, Realm: "r1", NodeID: "n1", By: "ann"}
	first := r.claim("n1", node)
	if first.AuthID() != "n1" || first.AuthRole() != wire.RoleNode || !wire.ValidOID(first.Extra()["node_oid"].(string)) {
		t.Errorf("WELCOME %v", first.Welcome())
	}
	node.Replace = true
	second := r.claim("n1", node)
	r.ends(first, wire.CloseNodeUnpaired)
	if a, b := first.Extra()["node_oid"], second.Extra()["node_oid"]; a != b {
		t.Errorf("the oid changed from %v to %v", a, b)
	}
	r.call(ann, "unpair_node", "r1/n1")
	r.ends(second, wire.CloseNodeUnpaired)
	if _, err := session.Join(t.Context(), session.Config{URL: r.url, Key: r.keys["n1"], Role: wire.RoleNode}); cfcerr.KindOf(err) != cfcerr.NodeUnpaired {
		t.Errorf("an unpaired node: %v", err)
	}
	third := r.claim("n1", node)
	r.call(ann, "delete_management_realm", "r1", true)
	r.ends(third, wire.CloseRealmDeleted)
}

// TestLoginDuringRemoval: of a log-in and a removal at the same moment, in
// whatever order they fall, no session is left that has no right to be.
func TestLoginDuringRemoval(t *testing.T) {
	r := newRelay(t)
	ann := r.join("ann", "")
	for range 40 {
		r.call(ann, "add_member", "r1", "bob", "viewer")
		joined := make(chan *session.Session, 1)
		go func() {
			s, err := session.Join(t.Context(), session.Config{URL: r.url, Key: r.keys["bob"], Realm: "r1"})
			if err != nil {
				s = nil
			}
			joined <- s
		}()
		r.call(ann, "remove_member", "r1", "bob")
		if s := <-joined; s != nil {
			select {
			case <-s.Done():
			case <-time.After(5 * time.Second):
				t.Fatal("a session of a removed member lives on")
			}
			s.Close()
		}
	}
}

// A ticket cannot be made into a key that outlives it.
func TestTicketSessionMakesNoKey(t *testing.T) {
	r := newRelay(t)
	made, _ := wamp.AsDict(r.call(r.join("bob", ""), "create_token", "ticket", wamp.Dict{"ttl": "5m"}).Arguments[0])
	secret, _ := made["token"].(string)
	script := r.open(session.Config{URL: r.url, AuthID: "bob", Ticket: secret})
	_, err := script.Call(r.Ctx(), "cfc.create_token", wamp.List{"user", wamp.Dict{"add": true}}, nil, session.CallOptions{})
	if cfcerr.KindOf(err) != cfcerr.NotAuthorized {
		t.Errorf("got %v", err)
	}
	r.call(script, "get_tokens")
}
