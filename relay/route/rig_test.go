package route_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	realmName = "demo"
	oid1      = "11111111-1111-4111-8111-111111111111"
)

var serializers = []string{"cbor", "msgpack", "json"}

// rig is a hub behind a server whose log-in believes what the URL says.
type rig struct {
	t   *testing.T
	hub *route.Hub
	url string

	mu       sync.Mutex
	presence []route.Presence
	attached chan error
	stop     context.CancelFunc
	stopped  chan struct{} // closed when Run has returned
}

func newRig(t *testing.T, cfg route.Config, o peer.Options) *rig {
	t.Helper()
	return serveRig(t, httptest.NewUnstartedServer, cfg, o)
}

// serveRig is newRig with a server of another network.
func serveRig(t *testing.T, serve func(http.Handler) *httptest.Server, cfg route.Config, o peer.Options) *rig {
	t.Helper()
	r := &rig{t: t, attached: make(chan error, 10_000)}
	cfg.Log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	on := cfg.OnPresence
	cfg.OnPresence = func(oid string, p route.Presence) {
		if on != nil {
			on(oid, p)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.presence = append(r.presence, p)
	}
	r.hub = route.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.stopped = cancel, make(chan struct{})
	go func() {
		defer close(r.stopped)
		if err := r.hub.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	if err := r.hub.AddRealm(realmName); err != nil {
		t.Fatal(err)
	}
	srv := serve(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c, err := peer.Upgrade(w, req, o)
		if err != nil {
			return
		}
		r.attached <- r.login(req.Context(), c, req.URL.Query())
	}))
	srv.Start()
	t.Cleanup(func() {
		cancel()
		wait(t, r.stopped, "end of the hub")
		srv.Close()
	})
	r.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	return r
}

func (r *rig) login(ctx context.Context, c *peer.Conn, q url.Values) error {
	hello, ok := (<-c.Recv()).(*wamp.Hello)
	if !ok {
		c.Close()
		return errors.New("no HELLO")
	}
	return r.hub.Attach(ctx, c, route.Identity{Realm: q.Get("realm"), AuthID: q.Get("authid"), Role: q.Get("role"), Method: "cryptosign",
		Address: c.RemoteAddr(), Hello: hello.Details, Extra: wamp.Dict{"x": 1}, Agent: catalog.AgentInfo{Hostname: "h"}})
}

// addNode pairs a node that was never seen.
func (r *rig) addNode(id, oid string) {
	r.t.Helper()
	if err := r.hub.AddNode(realmName, id, oid, route.Presence{}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) dial(realm, authid, role, ser string) *peer.Conn {
	r.t.Helper()
	q := url.Values{"realm": {realm}, "authid": {authid}, "role": {role}}
	c, err := peer.Dial(r.t.Context(), r.url+"/?"+q.Encode(), peer.DialOptions{Serializer: ser})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

// join is a session of nexus' client.
func (r *rig) join(realm, authid, role, ser string) *client.Client {
	r.t.Helper()
	c, err := client.NewClient(r.dial(realm, authid, role, ser), client.Config{Realm: realm, ResponseTimeout: 10 * time.Second,
		Logger: zap.NewStdLog(zap.NewNop())})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *rig) member(role wire.Role, ser string) *client.Client {
	return r.join(realmName, "alice", string(role), ser)
}

// agent joins as the node's agent and registers.
func (r *rig) agent(node, ser string, h client.InvocationHandler) *client.Client {
	r.t.Helper()
	c := r.join(realmName, node, wire.RoleNode, ser)
	if err := c.Register(wire.NodeProcedure(node), h, nil); err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) online(node string, want bool) {
	r.t.Helper()
	r.until(fmt.Sprintf("online=%v of %s", want, node), func() bool {
		p, _ := r.hub.Presence(realmName, node)
		return p.Online == want
	})
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("no %s within 20 s", what)
		}
	}
}

func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s within 10 s", what)
		panic("unreachable")
	}
}

// rpcError is the ERROR that a call got.
func rpcError(t *testing.T, err error) *wamp.Error {
	t.Helper()
	var e client.RPCError
	if !errors.As(err, &e) {
		t.Fatalf("want an ERROR, got %v", err)
	}
	return e.Err
}

// raw is a session without a client behind it: what is sent and received are messages.
type raw struct {
	*peer.Conn
	t       *testing.T
	welcome *wamp.Welcome
}

func (r *rig) raw(realm, authid, role, ser string) *raw {
	r.t.Helper()
	c := &raw{Conn: r.dial(realm, authid, role, ser), t: r.t}
	c.Send() <- &wamp.Hello{Realm: wamp.URI(realm), Details: wamp.Dict{"roles": wamp.Dict{"caller": wamp.Dict{}, "publisher": wamp.Dict{}}}}
	m := c.next()
	w, ok := m.(*wamp.Welcome)
	if !ok {
		r.t.Fatalf("no WELCOME but %v", m)
	}
	c.welcome = w
	return c
}

// rawAgent is the agent of a node, registered.
func (r *rig) rawAgent(node, ser string) *raw {
	r.t.Helper()
	a := r.raw(realmName, node, wire.RoleNode, ser)
	if m := a.ask(&wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: wamp.URI(wire.NodeProcedure(node))}); m.MessageType() != wamp.REGISTERED {
		r.t.Fatalf("not registered: %v", m)
	}
	r.online(node, true)
	return a
}

// next is what comes next; nil is the end.
func (c *raw) next() wamp.Message {
	c.t.Helper()
	return wait(c.t, c.Recv(), "message")
}

func (c *raw) say(m wamp.Message) {
	c.t.Helper()
	if err := c.Write(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *raw) ask(m wamp.Message) wamp.Message {
	c.t.Helper()
	c.say(m)
	return c.next()
}

// quiet fails when there is anything left to receive.
func (c *raw) quiet() {
	c.t.Helper()
	if got := show(c.ask(call(1<<50, "cfc.nothing"))); got != "ERROR CALL 1125899906842624 wamp.error.no_such_procedure map[]" {
		c.t.Errorf("unexpected %s", got)
	}
}

func (c *raw) goodbye() *wamp.Goodbye {
	c.t.Helper()
	for {
		switch m := c.next().(type) {
		case *wamp.Goodbye:
			return m
		case nil:
			c.t.Fatal("the end, without GOODBYE")
		}
	}
}

func call(request wamp.ID, uri string, args ...any) *wamp.Call {
	return &wamp.Call{Request: request, Options: wamp.Dict{}, Procedure: wamp.URI(uri), Arguments: args}
}

// show is a message in one line, the text for people left out.
func show(m wamp.Message) string {
	switch m := m.(type) {
	case *wamp.Error:
		return fmt.Sprintf("ERROR %s %d %s %v", m.Type, m.Request, m.Error, plain(m.ArgumentsKw))
	case nil:
		return "end"
	}
	return fmt.Sprintf("%s %v", m.MessageType(), m)
}
