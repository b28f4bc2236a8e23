package peer_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fabric.center/cfc/shared/badline"
	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// overLine is stranger at the end of a line.
func overLine(t *testing.T, line badline.Line, secret bool, o peer.Options) (*peer.Conn, *websocket.Conn) {
	t.Helper()
	line.Start(t)
	conns := make(chan *peer.Conn, 1)
	srv := badline.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := peer.Upgrade(w, r, o); err == nil {
			conns <- c
		}
	}))
	if secret {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	d := websocket.Dialer{Subprotocols: []string{"wamp.2.cbor"}, HandshakeTimeout: 10 * time.Second,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // its certificate is for other addresses
	ws, _, err := d.Dial(strings.Replace(badline.FarURL(srv.URL), "http", "ws", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := wait(t, conns, "connection")
	c.Welcomed()
	t.Cleanup(func() {
		ws.Close()
		c.Close()
		wait(t, c.Done(), "end")
	})
	return c, ws
}

// alive is Alive within d.
func alive(t *testing.T, c *peer.Conn, d time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return c.Alive(ctx) == nil
}

// A line that takes little is not one that takes nothing, and not one without
// life, although all is in the kernel at once and a ping waits behind it for
// seconds. Who stops reading has none.
func TestSlowLineShowsLife(t *testing.T) {
	t.Parallel()
	for _, secret := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "TLS"}[secret], func(t *testing.T) {
			t.Parallel()
			if !badline.Within(t) {
				return
			}
			const perSecond, size, interval = 200_000, 1_000_000, time.Second
			line := badline.Line{Rate: perSecond, Delay: 50 * time.Millisecond, Queue: 32 << 10}
			conn, ws := overLine(t, line, secret, peer.Options{PingInterval: interval, WriteTimeout: interval})
			if err := conn.Write(&wamp.Event{Details: wamp.Dict{}, Arguments: wamp.List{strings.Repeat("x", size)}}); err != nil {
				t.Fatal(err)
			}
			_, r, err := ws.NextReader()
			if err != nil {
				t.Fatal(err)
			}
			lives := make(chan bool, 1)
			go func() { lives <- alive(t, conn, interval/2) }()
			began := time.Now()
			if n, err := io.Copy(io.Discard, r); err != nil || n < size || conn.Reason() != "" {
				t.Errorf("%d bytes came in %s, then %v; the connection has ended: %q", n, time.Since(began), err, conn.Reason())
			}
			if took := time.Since(began); took < 3*interval {
				t.Errorf("all came in %s, which has shown nothing", took)
			}
			if !wait(t, lives, "answer") {
				t.Error("a far side that takes what is sent does not count as alive")
			}
			wait(t, conn.Done(), "end of who does not read")
			if conn.Reason() != peer.ReasonSilent {
				t.Errorf("it ended: %s", conn.Reason())
			}
		})
	}
}

// A host that is frozen has a kernel that goes on for as long as its buffer has
// room, and acknowledges what never stops coming.
func TestAFrozenHostHasNoLife(t *testing.T) {
	t.Parallel()
	if !badline.Within(t) {
		return
	}
	const interval = time.Second
	conn, _ := overLine(t, badline.Line{Delay: 150 * time.Millisecond}, false, peer.Options{PingInterval: interval})
	began := time.Now()
	go func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
			if conn.Write(&wamp.Event{Details: wamp.Dict{}, Arguments: wamp.List{"x"}}) != nil {
				return
			}
		}
	}()
	if alive(t, conn, interval/2) {
		t.Error("it counts as alive")
	}
	wait(t, conn.Done(), "end")
	if took := time.Since(began); conn.Reason() != peer.ReasonSilent || took > 5*interval {
		t.Errorf("it ended after %s: %s", took, conn.Reason())
	}
}

// What is lost is repeated soon, again and again: a line that loses much is not
// silent for long.
func TestWhatIsLostIsRepeatedSoon(t *testing.T) {
	t.Parallel()
	if !badline.Within(t) {
		return
	}
	var cut atomic.Bool
	lost := make(chan struct{}, 100)
	line := badline.Line{Delay: 10 * time.Millisecond, Lost: func() bool {
		if cut.Load() {
			lost <- struct{}{}
		}
		return cut.Load()
	}}
	conn, ws := overLine(t, line, false, peer.Options{PingInterval: 8 * time.Second})
	for range 10 { // so that the line's own delay is known
		if err := conn.Write(&wamp.Event{Details: wamp.Dict{}, Arguments: wamp.List{"x"}}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	cut.Store(true)
	defer cut.Store(false)
	began := time.Now()
	if err := conn.Write(&wamp.Event{Details: wamp.Dict{}, Arguments: wamp.List{"x"}}); err != nil {
		t.Fatal(err)
	}
	const repetitions = 6
	for range 1 + repetitions {
		wait(t, lost, "packet")
	}
	// Twice the time each time would be 12 s, of the kernel's least.
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("%d repetitions took %s", repetitions, took)
	}
}
