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
	"github.com/gorilla/websocket"
)

// A message in MessagePack and what the far side is told; an ext is d4 00 01.
// None of them ends the session.
func TestRequestsThatAreRefused(t *testing.T) {
	conn, ws := stranger(t, peer.Options{}, "wamp.2.msgpack")
	conn.Welcomed()
	handled := make(chan wamp.Message, 16)
	conn.Handle(func(m wamp.Message) wamp.Message {
		handled <- m
		return nil
	})
	for _, c := range []struct {
		name, frame string
		answered    string // start of the ERROR; empty: there is none
	}{
		{"CALL", "\x95\x30\x07\x80\xa1a\x91\xd4\x00\x01", "\x97\x08\x30\x07"},
		{"PUBLISH", "\x95\x10\x07\x80\xa1a\x91\xd4\x00\x01", ""},
		{"PUBLISH to be acknowledged", "\x95\x10\x07\x81\xabacknowledge\xc3\xa1a\x91\xd4\x00\x01", "\x97\x08\x10\x07"},
		{"SUBSCRIBE", "\x94\x20\x07\x81\xa1x\xd4\x00\x01\xa1a", "\x97\x08\x20\x07"},
		{"REGISTER", "\x94\x40\x07\x81\xa1x\xd4\x00\x01\xa1a", "\x97\x08\x40\x07"},
		{"UNREGISTER", "\x94\x42\x07\x01\x81\xa1x\xd4\x00\x01", "\x97\x08\x42\x07"},
		{"EVENT", "\x95\x24\x07\x01\x80\x91\xd4\x00\x01", ""},
	} {
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte(c.frame)); err != nil {
			t.Fatal(c.name, err)
		}
		if c.answered == "" {
			continue
		}
		_, b, err := ws.ReadMessage()
		if err != nil || !strings.HasPrefix(string(b), c.answered) || !strings.Contains(string(b), "cfc.error.invalid_argument") {
			t.Errorf("%s: %q, %v", c.name, b, err)
		}
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, []byte("\x94\x20\x08\x80\xa1a")); err != nil {
		t.Fatal(err)
	}
	if m, ok := wait(t, handled, "message").(*wamp.Subscribe); !ok || m.Request != 8 {
		t.Errorf("handled %v", m)
	}
}

// Where nobody waits for an answer it is a breach of protocol; before the
// log-in everything is.
func TestRefusedWithoutAnAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		welcomed bool
		frame    string
	}{
		"HELLO":             {false, "\x93\x01\xa1r\x81\xa1x\xd4\x00\x01"},
		"CALL before HELLO": {false, "\x95\x30\x07\x80\xa1a\x91\xd4\x00\x01"},
		"GOODBYE":           {true, "\x93\x06\x81\xa1x\xd4\x00\x01\xa1a"},
		"CANCEL":            {true, "\x93\x31\x07\x81\xa1x\xd4\x00\x01"},
	} {
		conn, ws := stranger(t, peer.Options{}, "wamp.2.msgpack")
		if c.welcomed {
			conn.Welcomed()
		}
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte(c.frame)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := ws.ReadMessage(); err != nil || !strings.Contains(string(b), string(wamp.ErrProtocolViolation)) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// dialled is a far side of a dialled connection without any of our code above
// the WebSocket.
func dialled(t *testing.T, serializer string) (*peer.Conn, *websocket.Conn) {
	t.Helper()
	conns := make(chan *websocket.Conn, 1)
	up := websocket.Upgrader{Subprotocols: []string{"wamp.2." + serializer}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := up.Upgrade(w, r, nil); err == nil {
			conns <- ws
		}
	}))
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := peer.Dial(ctx, "ws"+strings.TrimPrefix(srv.URL, "http"), peer.DialOptions{Serializer: serializer})
	if err != nil {
		t.Fatal(err)
	}
	ws := wait(t, conns, "connection")
	t.Cleanup(func() {
		ws.Close()
		c.Close()
		wait(t, c.Done(), "end")
	})
	return c, ws
}

// Who asked gets an error in place of what cannot be decoded.
func TestAnswersThatAreRefused(t *testing.T) {
	c, ws := dialled(t, "msgpack")
	for _, frame := range []string{
		"\x94\x32\x07\x80\x91\xd4\x00\x01",            // RESULT
		"\x96\x08\x30\x08\x80\xa3a.b\x91\xd4\x00\x01", // ERROR
		"\x95\x24\x07\x01\x80\x91\xd4\x00\x01",        // EVENT
		"\x95\x44\x09\x01\x80\x91\xd4\x00\x01",        // INVOCATION
		"\x94\x32\x0a\x80\x91\xa1\x78",                // RESULT that is none of these
	} {
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	if e, ok := wait(t, c.Recv(), "error").(*wamp.Error); !ok || e.Type != wamp.CALL || e.Request != 7 || e.Error != "cfc.error.not_supported" {
		t.Errorf("RESULT became %v", e)
	}
	if e, ok := wait(t, c.Recv(), "error").(*wamp.Error); !ok || e.Type != wamp.CALL || e.Request != 8 || e.Error != "a.b" {
		t.Errorf("ERROR became %v", e)
	}
	if r, ok := wait(t, c.Recv(), "result").(*wamp.Result); !ok || r.Request != 10 {
		t.Errorf("then came %v", r)
	}
	if _, b, err := ws.ReadMessage(); err != nil || !strings.HasPrefix(string(b), "\x97\x08\x44\x09") || !strings.Contains(string(b), "cfc.error.invalid_argument") {
		t.Errorf("INVOCATION was answered %q, %v", b, err)
	}
}
