package peer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// stranger is a far side without any of our code above the WebSocket.
func stranger(t *testing.T, o peer.Options, protocols ...string) (*peer.Conn, *websocket.Conn) {
	t.Helper()
	conns := make(chan *peer.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := peer.Upgrade(w, r, o); err == nil {
			conns <- c
		}
	}))
	t.Cleanup(srv.Close)
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: 5 * time.Second}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := wait(t, conns, "connection")
	t.Cleanup(func() {
		ws.Close()
		c.Close()
		wait(t, c.Done(), "end")
	})
	return c, ws
}

func TestSubprotocol(t *testing.T) {
	c, ws := stranger(t, peer.Options{}, "wamp.3", "wamp.2.json", "wamp.2.cbor")
	if c.Serializer() != "json" || ws.Subprotocol() != "wamp.2.json" {
		t.Errorf("of json before cbor %s was chosen", c.Serializer())
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := peer.Upgrade(w, r, peer.Options{}); err == nil {
			t.Error("accepted")
		}
	}))
	defer srv.Close()
	url := "ws" + strings.TrimPrefix(srv.URL, "http")
	for _, p := range [][]string{nil, {"wamp.2.json.batched"}, {"chat"}} {
		d := websocket.Dialer{Subprotocols: p}
		if _, resp, err := d.Dial(url, nil); err == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestLimits(t *testing.T) {
	hello := func(n int) []byte { return []byte(`[1,"` + strings.Repeat("r", n-9) + `",{}]`) }
	call := func(n int) []byte { return []byte(`[48,1,{},"a",["` + strings.Repeat("r", n-18) + `"]]`) }
	deep := func(n int) []byte {
		return []byte(`[1,"r",{"a":` + strings.Repeat("[", n-2) + strings.Repeat("]", n-2) + `}]`)
	}
	for _, c := range []struct {
		name     string
		welcomed bool
		frame    []byte
		want     string // what comes back; empty: it is taken
	}{
		{"16 KiB before", false, hello(peer.MaxHandshake), ""},
		{"more before", false, hello(peer.MaxHandshake + 1), "close 1009"},
		{"nesting 16 before", false, deep(16), ""},
		{"nesting 17 before", false, deep(17), "nested too deeply"},
		{"16 MiB after", true, call(peer.MaxMessage), ""},
		{"more after", true, call(peer.MaxMessage + 1), "close 1009"},
		{"nesting 64 after", true, deep(64), ""},
		{"nesting 65 after", true, deep(65), "nested too deeply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, ws := stranger(t, peer.Options{}, "wamp.2.json")
			if c.welcomed {
				conn.Welcomed()
			}
			if err := ws.WriteMessage(websocket.TextMessage, c.frame); err != nil && c.want == "" {
				t.Fatal(err)
			}
			if c.want == "" {
				if m := wait(t, conn.Recv(), "message"); m == nil {
					t.Errorf("refused: %s", conn.Reason())
				}
				return
			}
			_, b, err := ws.ReadMessage()
			if got := fmt.Sprint(string(b), err); !strings.Contains(got, c.want) {
				t.Errorf("got %s", got)
			}
			ws.Close()
			wait(t, conn.Done(), "end")
			if conn.Reason() != peer.ReasonViolation {
				t.Errorf("reason %s", conn.Reason())
			}
		})
	}
}

func TestViolations(t *testing.T) {
	for _, c := range []struct {
		name, protocol string
		kind           int
		frame          string
	}{
		{"text where bytes are due", "wamp.2.cbor", websocket.TextMessage, "\x83\x01\x61r\xa0"},
		{"bytes where text is due", "wamp.2.json", websocket.BinaryMessage, `[1,"r",{}]`},
		{"garbage", "wamp.2.msgpack", websocket.BinaryMessage, "\xc1\xc1"},
		{"no WAMP", "wamp.2.json", websocket.TextMessage, `{"hello":1}`},
		{"an empty frame", "wamp.2.cbor", websocket.BinaryMessage, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, ws := stranger(t, peer.Options{}, c.protocol)
			if err := ws.WriteMessage(c.kind, []byte(c.frame)); err != nil {
				t.Fatal(err)
			}
			_, b, err := ws.ReadMessage()
			if err != nil || !strings.Contains(string(b), string(wamp.ErrProtocolViolation)) {
				t.Errorf("got %q, %v", b, err)
			}
			if _, _, err = ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				t.Errorf("after ABORT: %v", err)
			}
			ws.Close()
			wait(t, conn.Done(), "end")
			if conn.Reason() != peer.ReasonViolation {
				t.Errorf("reason %s", conn.Reason())
			}
		})
	}
}

// A message that was sent before the log-in was over ends the session, or at
// least passes the hook.
func TestNothingSlipsPastHandle(t *testing.T) {
	for i := range 40 {
		conn, ws := stranger(t, peer.Options{}, "wamp.2.json")
		for _, m := range []string{`[1,"r",{}]`, `[5,"sig",{}]`, `[64,1,{},"cfc.node.n1"]`} {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		wait(t, conn.Recv(), "HELLO")
		wait(t, conn.Recv(), "AUTHENTICATE")
		time.Sleep(time.Duration(i%4) * time.Millisecond) // the third is mostly waiting to be received
		handled := make(chan wamp.Message, 1)
		conn.Handle(func(m wamp.Message) wamp.Message {
			handled <- m
			return nil
		})
		select {
		case <-handled:
		case m := <-conn.Recv():
			if m != nil {
				t.Fatalf("received %v", m)
			}
			ws.Close()
			wait(t, conn.Done(), "end")
			if conn.Reason() != peer.ReasonViolation {
				t.Errorf("reason %s", conn.Reason())
			}
		}
	}
}

func TestHandlers(t *testing.T) {
	server, cl := pair(t, peer.Options{}, peer.DialOptions{})
	server.HandleOut(func(m wamp.Message) wamp.Message {
		if _, ok := m.(*wamp.Published); ok {
			return nil
		}
		return m
	})
	server.Welcomed()
	server.HandleRaw(func(m wamp.Message) wamp.Message {
		if _, ok := m.(*wamp.Publish); ok {
			return nil
		}
		return m
	})
	cl.Send() <- &wamp.Publish{Request: 1, Options: wamp.Dict{}, Topic: "t"}
	cl.Send() <- &wamp.Call{Request: 2, Options: wamp.Dict{"timeout": 5}, Procedure: "p", Arguments: wamp.List{"a"}}
	if m := wait(t, server.Recv(), "CALL").(*wamp.Call); fmt.Sprint(m) != "&{2 map[timeout:5] p [a] map[]}" {
		t.Errorf("got %v", m)
	}
	server.Send() <- &wamp.Published{Request: 1}
	server.Send() <- &wamp.Subscribed{Request: 3}
	if m := wait(t, cl.Recv(), "SUBSCRIBED"); m.MessageType() != wamp.SUBSCRIBED {
		t.Errorf("got %v", m)
	}
	ended := make(chan string, 2)
	server.OnEnd(func(reason string) { ended <- reason })
	cl.Close()
	if reason := wait(t, ended, "end"); reason != peer.ReasonClosed {
		t.Errorf("ended by %s", reason)
	}
	server.OnEnd(func(reason string) { ended <- "late " + reason })
	if reason := wait(t, ended, "end"); reason != "late closed" {
		t.Errorf("ended by %s", reason)
	}
}

func TestFramesOfAllLengths(t *testing.T) {
	server, cl := pair(t, peer.Options{}, peer.DialOptions{})
	for _, n := range []int{0, 1, 100, 125, 126, 127, 4096, 65500, 65535, 65536, 70000, 5 << 20} {
		text := strings.Repeat("x", n)
		server.Send() <- &wamp.Event{Subscription: 1, Publication: 2, Details: wamp.Dict{}, Arguments: wamp.List{text}}
		if got := wait(t, cl.Recv(), "event").(*wamp.Event); got.Arguments[0] != text {
			t.Errorf("%d bytes became %d", n, len(got.Arguments[0].(string)))
		}
		if n > 5000 {
			server.Welcomed()
		}
		cl.Send() <- &wamp.Event{Subscription: 1, Publication: 2, Details: wamp.Dict{}, Arguments: wamp.List{text}}
		if got := wait(t, server.Recv(), "event").(*wamp.Event); got.Arguments[0] != text {
			t.Errorf("%d bytes became %d on the way to the server", n, len(got.Arguments[0].(string)))
		}
	}
}

func TestBinaryInJSON(t *testing.T) {
	server, cl := pair(t, peer.Options{}, peer.DialOptions{Serializer: "json"})
	args := wamp.List{[]byte{0, 255}, wamp.Dict{"b": []byte{}}, "\x00not base64"}
	server.Send() <- &wamp.Event{Subscription: 1, Publication: 2, Details: wamp.Dict{}, Arguments: args, ArgumentsKw: wamp.Dict{"b": []byte("x")}}
	got := wait(t, cl.Recv(), "event").(*wamp.Event)
	if fmt.Sprintf("%q", got.Arguments) != `["\x00\xff" map["b":""] "\x00not base64"]` || fmt.Sprintf("%T", got.Arguments[0]) != "[]uint8" ||
		fmt.Sprintf("%T", got.ArgumentsKw["b"]) != "[]uint8" {
		t.Errorf("got %q", got.Arguments)
	}
	if _, ok := args[0].([]byte); !ok {
		t.Error("the sender's own values were changed")
	}
}

func TestWhoDoesNotReadIsDropped(t *testing.T) {
	t.Run("queue", func(t *testing.T) {
		conn, _ := stranger(t, peer.Options{QueueBytes: 1 << 20}, "wamp.2.cbor")
		conn.Welcomed()
		m := &wamp.Event{Subscription: 1, Publication: 2, Details: wamp.Dict{}, Arguments: wamp.List{strings.Repeat("x", 64<<10)}}
		var err error
		began := time.Now()
		for range 10_000 {
			if err = conn.Write(m); err != nil {
				break
			}
		}
		if !errors.Is(err, peer.ErrSlow) || time.Since(began) > 5*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		wait(t, conn.Done(), "end")
		if conn.Reason() != peer.ReasonSlow {
			t.Errorf("reason %s", conn.Reason())
		}
		if err := conn.Write(m); !errors.Is(err, peer.ErrClosed) {
			t.Errorf("then %v", err)
		}
	})
	t.Run("time", func(t *testing.T) {
		conn, _ := stranger(t, peer.Options{QueueBytes: 64 << 20, WriteTimeout: 100 * time.Millisecond}, "wamp.2.cbor")
		conn.Welcomed()
		m := &wamp.Event{Subscription: 1, Publication: 2, Details: wamp.Dict{}, Arguments: wamp.List{strings.Repeat("x", 8<<20)}}
		for range 2 {
			if err := conn.Write(m); err != nil && !errors.Is(err, peer.ErrClosed) { // it may be over already
				t.Fatal(err)
			}
		}
		wait(t, conn.Done(), "end")
		if conn.Reason() != peer.ReasonSlow {
			t.Errorf("reason %s", conn.Reason())
		}
	})
}

// The side that connected waits for room, instead of dropping its only server.
func TestClientWaitsForRoom(t *testing.T) {
	server, cl := pair(t, peer.Options{}, peer.DialOptions{})
	server.Welcomed()
	text := strings.Repeat("x", 1<<20)
	const n = 16
	go func() {
		for i := range n {
			if i%2 == 0 {
				cl.Send() <- &wamp.Event{Publication: wamp.ID(i), Details: wamp.Dict{}, Arguments: wamp.List{text}}
			} else if err := cl.Write(&wamp.Event{Publication: wamp.ID(i), Details: wamp.Dict{}, Arguments: wamp.List{text}}); err != nil {
				t.Error(err)
			}
		}
	}()
	time.Sleep(50 * time.Millisecond) // the server is slow to read
	for range n {
		if e := wait(t, server.Recv(), "event"); e == nil {
			t.Fatal("the connection was dropped: " + cl.Reason())
		}
	}
}

func TestSilence(t *testing.T) {
	// This far side never reads, so it never answers a ping.
	conn, _ := stranger(t, peer.Options{PingInterval: 80 * time.Millisecond}, "wamp.2.cbor")
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := conn.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping: %v", err)
	}
	wait(t, conn.Done(), "end")
	if took := time.Since(began); conn.Reason() != peer.ReasonSilent || took < 160*time.Millisecond || took > 2*time.Second {
		t.Errorf("%s after %v", conn.Reason(), took)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a ping of a dead connection was answered")
	}
	// A blocked writer does not hold up the pings that find out about it.
	conn, _ = stranger(t, peer.Options{PingInterval: 80 * time.Millisecond, QueueBytes: 64 << 20}, "wamp.2.cbor")
	conn.Welcomed()
	_ = conn.Write(&wamp.Event{Details: wamp.Dict{}, Arguments: wamp.List{strings.Repeat("x", 15<<20)}})
	wait(t, conn.Done(), "end")
	if conn.Reason() != peer.ReasonSilent {
		t.Errorf("reason %s", conn.Reason())
	}
}

// A far side that has several pings before it answers may answer the last one
// only; whoever waits for an earlier one has his answer by that.
func TestOneAnswerToSeveralPings(t *testing.T) {
	conn, ws := stranger(t, peer.Options{}, "wamp.2.cbor")
	const n = 3
	came := make(chan string, n)
	ws.SetPingHandler(func(data string) error { came <- data; return nil })
	go func() { _, _, _ = ws.ReadMessage() }()
	ended := make(chan error, n)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var last string
	for range n {
		go func() { ended <- conn.Ping(ctx) }()
		last = wait(t, came, "ping")
	}
	for _, data := range []string{"", "zz", "somebody", last} { // the first ones are nobody's
		if len(ended) > 0 {
			t.Errorf("a ping ended before %q: %v", data, <-ended)
		}
		if err := ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if err := wait(t, ended, "answer"); err != nil {
			t.Error(err)
		}
	}
}

func TestPingsKeepAlive(t *testing.T) {
	t.Parallel()
	// Three eighths of it are an answer's time, twice: enough on a busy machine.
	const every = 600 * time.Millisecond
	server, cl := pair(t, peer.Options{PingInterval: every}, peer.DialOptions{PingInterval: every})
	for end := time.Now().Add(3 * every); time.Now().Before(end); {
		if err := server.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := cl.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// What was written before the end arrives, though the far side has sent what
// is never read.
func TestLastWordsArrive(t *testing.T) {
	for range 20 {
		conn, ws := stranger(t, peer.Options{}, "wamp.2.json")
		for range 50 {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(`[1,"`+strings.Repeat("r", 10000)+`",{}]`)); err != nil {
				t.Fatal(err)
			}
		}
		conn.Finish(&wamp.Abort{Reason: "a.b", Details: wamp.Dict{}})
		conn.Finish(&wamp.Abort{Reason: "not.this", Details: wamp.Dict{}})
		if _, b, err := ws.ReadMessage(); err != nil || string(b) != `[3,{},"a.b"]` {
			t.Fatalf("%s %v", b, err)
		}
		if _, b, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Fatalf("%s %v", b, err)
		}
	}
}

func TestCloseSendsWhatIsQueued(t *testing.T) {
	conn, ws := stranger(t, peer.Options{}, "wamp.2.json")
	for i := range 100 {
		conn.Send() <- &wamp.Published{Request: wamp.ID(i)}
	}
	conn.Close()
	conn.Close()
	for i := range 100 {
		if _, b, err := ws.ReadMessage(); err != nil || string(b) != fmt.Sprintf("[17,%d,0]", i) {
			t.Fatalf("%d: %s %v", i, b, err)
		}
	}
	if err := conn.Write(&wamp.Published{}); !errors.Is(err, peer.ErrClosed) {
		t.Errorf("write after the end: %v", err)
	}
	ws.Close()
	wait(t, conn.Done(), "end")
	select { // sending on is harmless
	case conn.Send() <- &wamp.Published{}:
	default:
	}
}

func TestWritersAtOnce(t *testing.T) {
	server, cl := pair(t, peer.Options{QueueBytes: 64 << 20}, peer.DialOptions{})
	server.Welcomed()
	var wg sync.WaitGroup
	const writers, each = 8, 500
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := server.Write(&wamp.Event{Subscription: wamp.ID(w), Publication: wamp.ID(i), Details: wamp.Dict{},
					Arguments: wamp.List{strings.Repeat("y", i*7)}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var next [writers]wamp.ID
	for range writers * each {
		e := wait(t, cl.Recv(), "event").(*wamp.Event)
		if e.Publication != next[e.Subscription] || len(e.Arguments[0].(string)) != int(e.Publication)*7 {
			t.Fatalf("of writer %d came %d instead of %d", e.Subscription, e.Publication, next[e.Subscription])
		}
		next[e.Subscription]++
	}
	wg.Wait()
}
