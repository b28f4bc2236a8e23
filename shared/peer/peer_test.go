package peer_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a connection, both ends.
func pair(t *testing.T, o peer.Options, d peer.DialOptions) (server, client *peer.Conn) {
	t.Helper()
	conns := make(chan *peer.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := peer.Upgrade(w, r, o)
		if err != nil {
			t.Error(err)
			return
		}
		conns <- c
	}))
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := peer.Dial(ctx, "ws"+strings.TrimPrefix(srv.URL, "http"), d)
	if err != nil {
		t.Fatal(err)
	}
	server = <-conns
	t.Cleanup(func() {
		client.Close()
		server.Close()
		wait(t, client.Done(), "the client's end")
		wait(t, server.Done(), "the server's end")
	})
	return server, client
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

func TestMessagesCross(t *testing.T) {
	for _, ser := range []string{"cbor", "msgpack", "json"} {
		t.Run(ser, func(t *testing.T) {
			server, client := pair(t, peer.Options{}, peer.DialOptions{Serializer: ser})
			client.Send() <- &wamp.Hello{Realm: "r", Details: wamp.Dict{"roles": wamp.Dict{"caller": wamp.Dict{}}}}
			if h := wait(t, server.Recv(), "HELLO").(*wamp.Hello); h.Realm != "r" {
				t.Errorf("got %v", h)
			}
			server.Send() <- &wamp.Welcome{ID: 1 << 53, Details: wamp.Dict{}}
			if w := wait(t, client.Recv(), "WELCOME").(*wamp.Welcome); w.ID != 1<<53 {
				t.Errorf("got %v", w)
			}
			server.Finish(&wamp.Goodbye{Reason: "cfc.close.replaced", Details: wamp.Dict{}})
			if g := wait(t, client.Recv(), "GOODBYE").(*wamp.Goodbye); g.Reason != "cfc.close.replaced" {
				t.Errorf("got %v", g)
			}
			if m, ok := <-client.Recv(); ok {
				t.Errorf("after the last message came %v", m)
			}
			wait(t, server.Done(), "end")
		})
	}
}
