package driver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/router/auth"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signed lets in whoever signs the challenge with the key that he names.
type signed struct{}

func (signed) AuthMethod() string { return "cryptosign" }

func (signed) Authenticate(_ wamp.ID, details wamp.Dict, p wamp.Peer) (*wamp.Welcome, error) {
	extra, _ := wamp.AsDict(details["authextra"])
	pubkey, _ := wamp.AsString(extra["pubkey"])
	challenge := identity.NewChallenge()
	p.Send() <- &wamp.Challenge{AuthMethod: "cryptosign", Extra: wamp.Dict{"challenge": challenge}}
	a, ok := (<-p.Recv()).(*wamp.Authenticate)
	if !ok {
		return nil, errors.New("expected AUTHENTICATE")
	}
	if err := identity.Verify(pubkey, challenge, a.Signature, nil); err != nil {
		return nil, err
	}
	return &wamp.Welcome{Details: wamp.Dict{"authid": pubkey[:8], "authrole": "tester", "authmethod": "cryptosign", "authprovider": "test"}}, nil
}

// serve runs a plain nexus router with one procedure that echoes and one that fails.
func serve(t *testing.T) (url string, callee *client.Client) {
	t.Helper()
	r, err := router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{{
		URI: "test.realm", AnonymousAuth: true, Authenticators: []auth.Authenticator{signed{}}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: router.NewWebsocketServer(r)}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-served })
	callee, err = client.ConnectLocal(r, client.Config{Realm: "test.realm"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { callee.Close() })
	err = callee.Register("test.echo", func(_ context.Context, inv *wamp.Invocation) client.InvokeResult {
		return client.InvokeResult{Args: wamp.List{wamp.Dict{"args": inv.Arguments, "kwargs": inv.ArgumentsKw}}}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = callee.Register("test.fail", func(context.Context, *wamp.Invocation) client.InvokeResult {
		return client.InvokeResult{Err: "test.error.wanted", Args: wamp.List{"cannot: on purpose"}, Kwargs: wamp.Dict{"limit": 3}}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return "ws://" + l.Addr().String() + "/ws", callee
}

func keyFile(t *testing.T) string {
	t.Helper()
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "user.key")
	if err := k.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// clients joins one client of each library over each serializer.
func clients(t *testing.T, url string) map[string]Client {
	t.Helper()
	tools, err := fleet.FindNode()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := map[string]Client{}
	key := keyFile(t)
	for _, s := range Serializers {
		l := Login{URL: url, Realm: "test.realm", KeyFile: key, Serializer: s}
		n, err := Nexus(ctx, l)
		if err != nil {
			t.Fatalf("nexus over %s: %v", s, err)
		}
		t.Cleanup(func() { n.Close() })
		a, err := Autobahn(ctx, tools.Python, "../autobahn/client.py", l)
		if err != nil {
			t.Fatalf("Autobahn over %s: %v", s, err)
		}
		t.Cleanup(func() { a.Close() })
		all["nexus/"+s], all["autobahn/"+s] = n, a
	}
	return all
}

func TestEveryClientOverEverySerializer(t *testing.T) {
	url, callee := serve(t)
	for name, c := range clients(t, url) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if who := c.Identity(); who.AuthRole != "tester" || who.AuthID == "" {
				t.Errorf("joined as %+v", who)
			}
			got, err := c.Call(ctx, "test.echo", []any{"a", 1, nil, map[string]any{"x": []any{true}}}, map[string]any{"node_id": "n1"})
			if err != nil {
				t.Fatal(err)
			}
			d, _ := got.(map[string]any)
			args, _ := d["args"].([]any)
			kwargs, _ := d["kwargs"].(map[string]any)
			if len(args) != 4 || args[1] != 1.0 || args[2] != nil || kwargs["node_id"] != "n1" {
				t.Errorf("echoed %v", got)
			}
			_, err = c.Call(ctx, "test.fail", nil, nil)
			var e *Error
			if !errors.As(err, &e) || e.URI != "test.error.wanted" || e.Args[0] != "cannot: on purpose" || e.Kwargs["limit"] != 3.0 {
				t.Errorf("failed with %#v", err)
			}
			if err := c.Subscribe(ctx, "test.on_thing", ""); err != nil {
				t.Fatal(err)
			}
			if err := callee.Publish("test.on_thing", nil, wamp.List{"n1", wamp.Dict{"seq": 7}}, nil); err != nil {
				t.Fatal(err)
			}
			ev, err := c.Events().Wait(ctx, func(e Event) bool { return e.Name() == "on_thing" })
			if err != nil || ev.Args[0] != "n1" || ev.Details()["seq"] != 7.0 {
				t.Errorf("event %+v, %v", ev, err)
			}
		})
	}
}

func TestRefusedLogIn(t *testing.T) {
	url, _ := serve(t)
	tools, err := fleet.FindNode()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l := Login{URL: url, Realm: "no.such.realm", KeyFile: keyFile(t), Serializer: "cbor"}
	if _, err := Nexus(ctx, l); err == nil {
		t.Error("nexus joined a realm that does not exist")
	}
	_, err = Autobahn(ctx, tools.Python, "../autobahn/client.py", l)
	var left *Left
	if !errors.As(err, &left) || left.Reason != "wamp.error.no_such_realm" {
		t.Errorf("Autobahn: %v", err)
	}
}
