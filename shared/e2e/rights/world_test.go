// Package rights tries, on a real relay and against what WIRE.md promises, who
// may do what: a generated matrix of every row, role, realm and message, and a
// list of attacks. The nodes behind it are sessions of this test that log in as
// agents do, so that no real node is needed.
package rights

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	realm = "m1" // of boss, with n1 and n10
	other = "m2" // of stranger, with an n1 of its own
)

// roles of the users in realm.
var roles = map[string]wire.Role{"boss": wire.Owner, "olga": wire.Owner, "oscar": wire.Operator, "vera": wire.Viewer, "stranger": ""}

// world is the relay that all tests share.
type world struct {
	relay *fleet.Relay
	keys  map[string]identity.Key // users by name, agents by "realm/node"
	owner string                  // authid of the relay's owner
}

var w world

func TestMain(m *testing.M) {
	if os.Getenv(floodEnv) != "" {
		if err := floods(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(fleet.Main(context.Background(), m, 5*time.Minute,
		func(ctx context.Context, home string) error { return w.build(ctx, home, fleet.RelayOptions{}) },
		func(bool) error { return (&fleet.Stage{Relay: w.relay}).Stop() },
		func() string { return (&fleet.Stage{Relay: w.relay}).LastWords() }))
}

// build starts the relay with its users, realms and pairings.
func (w *world) build(ctx context.Context, home string, o fleet.RelayOptions) error {
	tools, err := fleet.Find(ctx)
	if err != nil {
		return err
	}
	if w.relay, err = fleet.StartRelay(ctx, tools, home, o); err != nil {
		return err
	}
	w.keys = map[string]identity.Key{}
	token, err := w.relay.OwnerToken()
	if err != nil {
		return err
	}
	boss, err := w.claim(ctx, "boss", token)
	if err != nil {
		return err
	}
	defer boss.Close()
	w.owner = boss.AuthID()
	if err := do(ctx, boss, catalog.CreateManagementRealm.Op, realm); err != nil {
		return err
	}
	for _, u := range []string{"olga", "oscar", "vera", "stranger"} {
		options := wamp.Dict{"user": u}
		if r := roles[u]; r != "" {
			options["realm"], options["role"] = realm, string(r)
		}
		token, err := w.token(ctx, boss, wire.ForUser, options)
		if err != nil {
			return err
		}
		s, err := w.claim(ctx, u, token)
		if err != nil {
			return err
		}
		defer s.Close()
		if u != "stranger" {
			continue
		}
		if err := do(ctx, s, catalog.CreateManagementRealm.Op, other); err != nil {
			return err
		}
		if err := w.pair(ctx, s, other, "n1"); err != nil {
			return err
		}
	}
	for _, n := range []string{"n1", "n10"} {
		if err := w.pair(ctx, boss, realm, n); err != nil {
			return err
		}
	}
	return nil
}

// claim joins the users realm with a new key and a token.
func (w *world) claim(ctx context.Context, name, token string) (*session.Session, error) {
	key, err := identity.New()
	if err != nil {
		return nil, err
	}
	s, err := session.Join(ctx, session.Config{URL: w.relay.URL(), Key: key, Token: token})
	if err != nil {
		return nil, fmt.Errorf("%s claims a token: %w", name, err)
	}
	w.keys[name] = key
	return s, nil
}

func (w *world) token(ctx context.Context, s *session.Session, p wire.Purpose, options wamp.Dict) (string, error) {
	r, err := s.Call(ctx, catalog.CreateToken.URI(), wamp.List{string(p), options}, nil, session.CallOptions{})
	if err != nil {
		return "", err
	}
	d, _ := wamp.AsDict(r.Arguments[0])
	text, _ := wamp.AsString(d["token"])
	return text, nil
}

// pair pairs a node by token, and leaves it offline.
func (w *world) pair(ctx context.Context, owner *session.Session, realm, node string) error {
	token, err := w.token(ctx, owner, wire.ForNode, wamp.Dict{"realm": realm, "node_id": node})
	if err != nil {
		return err
	}
	key, err := identity.New()
	if err != nil {
		return err
	}
	w.keys[realm+"/"+node] = key
	s, err := session.Join(ctx, w.agent(key, token))
	if err != nil {
		return fmt.Errorf("%s/%s claims a token: %w", realm, node, err)
	}
	return s.Close()
}

// agent is how an agent logs in.
func (w *world) agent(key identity.Key, token string) session.Config {
	return agentAt(w.relay.URL(), key, token)
}

func agentAt(url string, key identity.Key, token string) session.Config {
	return session.Config{URL: url, Role: wire.RoleNode, Key: key, Token: token, Extra: wamp.Dict{"agent": wamp.Dict{
		"version": "test", "protocol": wire.Protocol, "os": "linux", "arch": "amd64", "hostname": "host", "started": wire.Time(time.Now()),
		"node": wamp.Dict{"kind": nil, "version": "", "attached": false}}}}
}

func do(ctx context.Context, s *session.Session, o *catalog.Op, args ...any) error {
	_, err := s.Call(ctx, o.URI(), args, nil, session.CallOptions{})
	return err
}

// within bounds what a test may take.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// join joins as a user, for the length of the test.
func join(t *testing.T, user, realm string) *session.Session {
	t.Helper()
	s, err := session.Join(within(t, 20*time.Second), session.Config{URL: w.relay.URL(), Realm: realm, Key: w.keys[user]})
	if err != nil {
		t.Fatalf("%s joins %s: %v", user, realm, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// attach joins as the agent of a node that answers each call with what it got.
func attach(t *testing.T, realm, node string) *session.Session {
	t.Helper()
	ctx := within(t, 20*time.Second)
	s, err := session.Join(ctx, w.agent(w.keys[realm+"/"+node], ""))
	if err != nil {
		t.Fatalf("agent of %s joins: %v", node, err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Register(ctx, wire.NodeProcedure(node), nil, echo(node)); err != nil {
		t.Fatalf("agent of %s registers: %v", node, err)
	}
	return s
}

func echo(node string) session.Handler {
	return func(_ context.Context, inv *session.Invocation) (any, error) {
		return wamp.Dict{"node": node, "args": inv.Args, "kwargs": inv.Kwargs, "authid": inv.Caller.AuthID, "role": string(inv.Caller.Role)}, nil
	}
}

// fresh pairs a node of its own with the realm and returns its key.
func fresh(t *testing.T, node string) identity.Key {
	t.Helper()
	if err := w.pair(within(t, 20*time.Second), join(t, "boss", wire.UsersRealm), realm, node); err != nil {
		t.Fatal(err)
	}
	return w.keys[realm+"/"+node]
}

// newUser makes a user of the test's own.
func newUser(t *testing.T, name string, role wire.Role) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	options := wamp.Dict{"user": name}
	if role != "" {
		options["realm"], options["role"] = realm, string(role)
	}
	token, err := w.token(ctx, join(t, "boss", wire.UsersRealm), wire.ForUser, options)
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.claim(ctx, name, token)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// refused checks an error's kind.
func refused(t *testing.T, what string, err error, kinds ...cfcerr.Kind) {
	t.Helper()
	for _, k := range kinds {
		if err != nil && cfcerr.KindOf(err) == k {
			return
		}
	}
	want := ""
	for _, k := range kinds {
		want += " " + k.URI()
	}
	t.Errorf("%s: %v; expected%s", what, err, want)
}
