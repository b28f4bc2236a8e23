package peer

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// accepted is a connection before WELCOME, and its far side.
func accepted(t *testing.T) (*Conn, *websocket.Conn) {
	t.Helper()
	conns := make(chan *Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := Upgrade(w, r, Options{}); err == nil {
			conns <- c
		}
	}))
	t.Cleanup(srv.Close)
	d := websocket.Dialer{Subprotocols: []string{"wamp.2.cbor"}, HandshakeTimeout: 5 * time.Second}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := <-conns
	t.Cleanup(func() {
		ws.Close()
		c.Close()
		<-c.Done()
	})
	return c, ws
}

func (c *Conn) queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.taken + c.out.pending() + len(c.out.pong)
}

// Whoever sends pings and reads nothing has no more than one answer waiting,
// and in the end it is that to the last.
func TestPingFlood(t *testing.T) {
	c, ws := accepted(t)
	ping := append([]byte{0x89, 0x80 | 125, 0, 0, 0, 0}, bytes.Repeat([]byte("x"), 125)...)
	flood := bytes.Repeat(ping, 1000)
	const rounds = 100
	for range rounds {
		if _, err := ws.NetConn().Write(flood); err != nil {
			t.Fatal(err)
		}
		if n := c.queued(); n > 1024 {
			t.Fatalf("%d bytes are queued", n)
		}
	}
	if err := ws.WriteControl(websocket.PingMessage, []byte("last"), time.Now().Add(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	pongs := 0
	ended := errors.New("the last one was answered")
	ws.SetPongHandler(func(data string) error {
		if pongs++; data == "last" {
			return ended
		}
		return nil
	})
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, _, err := ws.ReadMessage(); err != ended {
		t.Fatalf("after %d answers: %v", pongs, err)
	}
	if pongs >= rounds*1000 {
		t.Errorf("all %d were answered: the network has taken everything, and this has shown nothing", pongs)
	}
}

func TestQueueBeforeWelcome(t *testing.T) {
	c, _ := accepted(t)
	m := &wamp.Challenge{AuthMethod: "x", Extra: wamp.Dict{"x": strings.Repeat("x", 10_000)}}
	var err error
	for n := 0; n < 10_000 && err == nil; n++ {
		if err = c.Write(m); c.queued() > handshakeQueue+11_000 {
			t.Fatalf("%d bytes are queued", c.queued())
		}
	}
	if !errors.Is(err, ErrSlow) || c.Reason() != ReasonSlow {
		t.Errorf("%v, reason %q", err, c.Reason())
	}
}

// What the far side would end the connection for is not sent.
func TestWhatIsTooBigIsNotSent(t *testing.T) {
	c, ws := accepted(t)
	c.Welcomed()
	event := func(n int) wamp.Message {
		const around = 12
		return &wamp.Event{Subscription: 1, Publication: 2, Details: wamp.Dict{}, Arguments: wamp.List{strings.Repeat("x", n-around)}}
	}
	var b Batch
	if err := b.Write(c, event(MaxMessage+1)); !errors.Is(err, ErrCannotCarry) || err.Error() != "it has 16777217 bytes, at most 16777216 are taken" {
		t.Errorf("over the limit: %v", err)
	}
	if err := b.Offer(c, event(MaxMessage+1)); !errors.Is(err, ErrCannotCarry) {
		t.Errorf("offered over the limit: %v", err)
	}
	if err := c.Write(event(MaxMessage)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, m, err := ws.ReadMessage(); err != nil || len(m) != MaxMessage {
		t.Errorf("%d bytes came, %v", len(m), err)
	}
}
