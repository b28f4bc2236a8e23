package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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

// keeper knows one secret of everybody.
type keeper struct{}

func (keeper) AuthKey(string, string) ([]byte, error) { return []byte("the secret"), nil }
func (keeper) AuthRole(string) (string, error)        { return "tester", nil }
func (keeper) PasswordInfo(string) (string, int, int) { return "", 0, 0 }
func (keeper) Provider() string                       { return "test" }

// route makes a plain nexus router.
func route(t *testing.T) router.Router {
	t.Helper()
	r, err := router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{{URI: "test.realm", AnonymousAuth: true,
		Authenticators: []auth.Authenticator{signed{}, auth.NewTicketAuthenticator(keeper{}, time.Second), auth.NewCRAuthenticator(keeper{}, time.Second)}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// serve runs a router with one procedure that echoes and one that fails.
func serve(t *testing.T) (url string, callee *client.Client) {
	t.Helper()
	r := route(t)
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
	libraries, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := map[string]Client{}
	key := keyFile(t)
	for _, name := range Names() {
		c, err := libraries.Join(ctx, name, Login{URL: url, Realm: "test.realm", KeyFile: key})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() { c.Close() })
		all[name] = c
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
	libraries, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l := Login{URL: url, Realm: "no.such.realm", KeyFile: keyFile(t)}
	if _, err := libraries.Join(ctx, "nexus/cbor", l); err == nil {
		t.Error("nexus joined a realm that does not exist")
	}
	for _, name := range []string{"autobahn/cbor", "autobahn-js/cbor"} {
		_, err = libraries.Join(ctx, name, l)
		var left *Left
		if !errors.As(err, &left) || left.Reason != "wamp.error.no_such_realm" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := libraries.Join(ctx, "autobahn-basic/cbor", l); err == nil {
		t.Error("a library that does not exist joined")
	}
}

func TestEveryWayToLogIn(t *testing.T) {
	url, _ := serve(t)
	libraries, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ways := map[string]Login{"anonymous": {}, "key": {KeyFile: keyFile(t)}, "ticket": {AuthID: "anna", TicketFile: secret}, "secret": {AuthID: "anna", SecretFile: secret}}
	for _, library := range []string{"nexus/json", "autobahn/json", "autobahn-js/json"} {
		for way, l := range ways {
			l.URL, l.Realm = url, "test.realm"
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			c, err := libraries.Join(ctx, library, l)
			if err != nil {
				t.Errorf("%s by %s: %v", library, way, err)
				cancel()
				continue
			}
			want := "tester"
			if way == "anonymous" {
				want = "anonymous"
			}
			if who := c.Identity(); who.AuthRole != want {
				t.Errorf("%s by %s is %+v", library, way, who)
			}
			talk(ctx, t, c)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if _, err := c.Left(ctx); err != nil {
				t.Errorf("%s after Close: %v", library, err)
			}
			cancel()
		}
	}
}

// talk registers, calls, subscribes and publishes.
func talk(ctx context.Context, t *testing.T, c Client) {
	t.Helper()
	if err := c.Register(ctx, "test.mine"); err != nil {
		t.Fatal(err)
	}
	got, err := c.Call(ctx, "test.mine", []any{"hello"}, nil)
	if err != nil || got != "hello" {
		t.Errorf("its own procedure gives %v, %v", got, err)
	}
	var e *Error
	if _, err := c.Call(ctx, "test.nobodys", nil, nil); !errors.As(err, &e) || e.URI != "wamp.error.no_such_procedure" {
		t.Errorf("a procedure that nobody registered: %v", err)
	}
	if err := c.Subscribe(ctx, "test.on_mine", ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(ctx, "test.on_mine", []any{1}, map[string]any{"a": true}); err != nil {
		t.Error(err)
	}
}

func TestEveryTransport(t *testing.T) {
	r, dir := route(t), t.TempDir()
	ca, key, err := fleet.Certificate(dir)
	if err != nil {
		t.Fatal(err)
	}
	raw := router.NewRawSocketServer(r)
	closers := map[string]func(string) (io.Closer, error){
		"rs+unix://" + filepath.Join(dir, "raw.sock"): func(string) (io.Closer, error) { return raw.ListenAndServe("unix", filepath.Join(dir, "raw.sock")) },
		"rs://":  func(a string) (io.Closer, error) { return raw.ListenAndServe("tcp", a) },
		"rss://": func(a string) (io.Closer, error) { return raw.ListenAndServeTLS("tcp", a, nil, ca, key) },
		"ws://":  func(a string) (io.Closer, error) { return router.NewWebsocketServer(r).ListenAndServe(a) },
		"wss://": func(a string) (io.Closer, error) {
			return router.NewWebsocketServer(r).ListenAndServeTLS(a, nil, ca, key)
		},
	}
	libraries, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	for url, listen := range closers {
		port, err := fleet.FreePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := listen(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		if strings.HasSuffix(url, "://") {
			url += strings.Replace(address, "127.0.0.1", "localhost", 1)
		}
		for _, library := range []string{"nexus/json", "autobahn/json", "autobahn-js/json"} {
			if strings.HasPrefix(url, "rss") && library == "autobahn-js/json" {
				continue // it has no such transport
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			c, err := libraries.Join(ctx, library, Login{URL: url, Realm: "test.realm", CA: ca})
			if err != nil {
				t.Errorf("%s over %s: %v", library, url, err)
			} else if err := c.Close(); err != nil {
				t.Error(err)
			}
			cancel()
		}
	}
}
