package server

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"fabric.center/cfc/shared/identity"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// stage is where a transcript is played: a relay with realm demo, whose owner
// admin owns the relay too, its operator oscar and viewer vera, and its nodes
// n1 and n2, of which none is connected; eve and nova are nobody yet.
type stage struct {
	t         *testing.T
	relay     *relay
	keys      map[string]identity.Key
	conns     map[string]*websocket.Conn
	joined    map[string]bool
	challenge map[string]string // the last, by connection
	values    map[string]string // by name
	count     map[string]int    // of names, by kind
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, relay: start(t, defaults(t, t.TempDir())), keys: map[string]identity.Key{}, conns: map[string]*websocket.Conn{},
		joined: map[string]bool{}, challenge: map[string]string{}, values: map[string]string{}, count: map[string]int{}}
	admin, owner := s.relay.owner()
	s.keys["admin"] = admin
	call(t, owner, "cfc.create_management_realm", "demo")
	for _, name := range []string{"oscar", "vera", "n1", "n2", "eve", "nova"} {
		s.keys[name] = newKey(t)
	}
	for name, role := range map[string]string{"oscar": "operator", "vera": "viewer"} {
		c := s.relay.as(s.keys[name], "")
		c.Token = token(t, owner, "user", wamp.Dict{"user": name, "realm": "demo", "role": role})
		s.relay.join(c)
	}
	for _, node := range []string{"n1", "n2"} {
		call(t, owner, "cfc.pair_node", s.keys[node].Public(), "demo", node)
	}
	s.values["<token nova>"] = token(t, owner, "node", wamp.Dict{"realm": "demo", "node_id": "n3"})
	s.values["<token eve>"] = token(t, owner, "user", wamp.Dict{"user": "eve", "realm": "demo", "role": "viewer"})
	return s
}

func newDecoder(b []byte) *json.Decoder {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d
}

func newEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
