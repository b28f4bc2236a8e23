package peer

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// writeBuffers are what the WebSocket library wants for writes; ours do not
// pass through it.
var writeBuffers sync.Pool

// Upgrade makes a connection of a request, with the first subprotocol of the
// client's list that is known here. Where it answers an error, the request has
// been answered too.
func Upgrade(w http.ResponseWriter, r *http.Request, o Options) (*Conn, error) {
	o = o.withDefaults()
	f := choose(websocket.Subprotocols(r))
	if f == nil {
		http.Error(w, "none of the subprotocols wamp.2.cbor, wamp.2.msgpack, wamp.2.json is offered", http.StatusBadRequest)
		return nil, errors.New("cannot accept: no WAMP subprotocol that is known here")
	}
	up := websocket.Upgrader{Subprotocols: []string{f.protocol()}, ReadBufferSize: o.ReadBuffer,
		WriteBufferSize: 256, WriteBufferPool: &writeBuffers, CheckOrigin: o.CheckOrigin}
	h := &hijacker{ResponseWriter: w}
	ws, err := up.Upgrade(h, r, nil)
	if err != nil {
		return nil, err
	}
	return newConn(ws, h.nc, f, false, o), nil
}

func choose(offered []string) *format {
	for _, p := range offered {
		for _, f := range formats {
			if p == f.protocol() {
				return f
			}
		}
	}
	return nil
}

// hijacker wraps the connection that the library takes over.
type hijacker struct {
	http.ResponseWriter
	nc *netConn
}

// Hijack is what the library calls.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.nc = wrapConn(nc)
	return h.nc, rw, nil
}
