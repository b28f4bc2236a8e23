// Package peer is the WAMP transport of this product: a wamp.Peer over a
// WebSocket, for the relay, the agent's local router and every client.
//
// Subprotocols wamp.2.cbor, wamp.2.msgpack and wamp.2.json, one message a
// frame (text for JSON, binary for the others), no compression. Why not the
// transport of nexus: there one peer that stops reading holds up whoever sends
// to it, pings wait behind the blocked write, and every payload is decoded and
// encoded again on its way through a router.
//
// Out: a message is encoded at once into one queue per connection, bounded in
// bytes (4 MiB and one message more). Whoever overruns it, or takes nothing for
// 10 s, is dropped; so a server's sending never waits for a client. (A client
// waits for room: it has one server, which it cannot do without.) Frames queued
// meanwhile leave in one write. A goroutine writes only while the kernel takes
// nothing more at once.
//
// In: one goroutine reads, checks size, nesting and shape of each message
// before anything is decoded, and hands it to Recv, or to the function given to
// Handle. HandleRaw leaves the payloads of CALL, YIELD and ERROR undecoded
// (see Call, Yield, Error and Payload), so that a router can pass them on.
//
// Values: what is carried is what JSON, MessagePack and CBOR all have. CBOR tags
// and MessagePack extensions are neither decoded nor passed on, to nobody, so
// that it does not depend on the far side what can be said: Write, Offer and
// Expand answer ErrCannotCarry, a request that is decoded here is answered with
// cfc.error.invalid_argument, an answer becomes an ERROR for who asked. NaN and
// the infinite are null in JSON. Of a key that is there twice the last value
// counts. What breaks the rules of its own serializer, or what no decoder would
// take (half a surrogate pair, numbers beyond a float64, integers below -2^63),
// is a breach of protocol.
//
// Bounds: 16 MiB a message both ways, 64 KiB of it beside args and kwargs, and
// MaxItems values in what is decoded. Payloads that are passed on as they came
// are bounded by their bytes alone.
//
// Life: a connection ends by Close (after what is queued), Finish (after one
// last message), the far side, a breach of protocol (ABORT, where it can still
// be told), a queue that overruns ("slow") or missed pings ("silent"). Done is
// closed when it is over; Reason says why. Whoever made a connection calls
// Close or Finish in the end.
package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// Limits. Sizes are of whole messages in bytes; nesting counts the message itself.
const (
	MaxHandshake        = 16 << 10 // before WELCOME
	MaxHandshakeNesting = 16
	MaxMessage          = 16 << 20 // after WELCOME
	MaxNesting          = 64
	MaxDetails          = 64 << 10 // of a message without its args and kwargs
	QueueBytes          = 4 << 20
	WriteTimeout        = 10 * time.Second
)

// Reasons for which a connection ends.
const (
	ReasonClosed    = "closed"    // by either side, or the network
	ReasonSilent    = "silent"    // two pings missed
	ReasonSlow      = "slow"      // the queue overran, or nothing was taken for WriteTimeout
	ReasonViolation = "violation" // what came was no WAMP, or over a limit
)

// Errors of Write.
var (
	ErrClosed = errors.New("cannot send: the connection is closed")
	ErrSlow   = errors.New("cannot send: the far side does not read; the connection is dropped")
)

// Options of the accepting side. The zero value of a field means its default.
type Options struct {
	// PingInterval is how often the far side is pinged; two pings missed end
	// the connection, 2.4 intervals after the last sign of life at the
	// latest. Zero: never.
	PingInterval time.Duration
	// Queue is the capacity of Send in messages; default 1,024.
	Queue int
	// QueueBytes bounds what is queued for the far side; default 4 MiB.
	QueueBytes int
	// WriteTimeout is how long the far side may take nothing; default 10 s.
	WriteTimeout time.Duration
	// ReadBuffer is the size of the read buffer in bytes; default 4,096.
	ReadBuffer int
	// CheckOrigin decides about browsers; nil admits only the own origin.
	CheckOrigin func(*http.Request) bool
}

func (o Options) withDefaults() Options {
	o.Queue = orDefault(o.Queue, 1024)
	o.QueueBytes = orDefault(o.QueueBytes, QueueBytes)
	o.WriteTimeout = orDefault(o.WriteTimeout, WriteTimeout)
	o.ReadBuffer = orDefault(o.ReadBuffer, 4096)
	return o
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// Conn is one connection. It implements wamp.Peer.
type Conn struct {
	ws     *websocket.Conn
	nc     *netConn
	format *format
	client bool // the side that masks
	opt    Options

	hs chan wamp.Message // what is received before Handle
	in chan wamp.Message // and after

	welcomed atomic.Bool
	hooks    atomic.Pointer[hooks]
	hooked   chan struct{} // closed by Handle

	mu      sync.Mutex
	room    *sync.Cond // of mu: there may be room in the queue
	out     queue
	send    chan wamp.Message // nil until it is used
	pumped  chan struct{}     // closed when Send is drained for the last time
	reason  string
	state   state
	ended   bool
	told    bool // the end, to onEnd
	code    int  // of the close frame, when it is not the normal one
	onEnd   func(reason string)
	pings   map[uint64]chan struct{} // who waits for the answer, by number
	pinged  uint64
	beating *time.Timer
	life    liveness

	closing  chan struct{} // closed when the connection is to end
	released chan struct{} // closed when nobody sends any more
	readDone chan struct{}
	done     chan struct{}

	release sync.Once
	pinging sync.Mutex // held while a ping is numbered and queued

	// Of the reader alone.
	raw   rawMessages
	batch Batch // whom it has queued something for
}

type state uint8

const (
	open      state = iota
	draining        // ending: what stands in Send is still taken
	finishing       // what is queued still goes out, nothing more is taken
	dead
)

type hooks struct {
	in  func(wamp.Message) wamp.Message
	raw bool
	out func(wamp.Message) wamp.Message
}

func newConn(ws *websocket.Conn, nc *netConn, f *format, client bool, o Options) *Conn {
	c := &Conn{ws: ws, nc: nc, format: f, client: client, opt: o, pings: map[uint64]chan struct{}{},
		hs: make(chan wamp.Message), in: make(chan wamp.Message),
		hooked: make(chan struct{}), closing: make(chan struct{}), released: make(chan struct{}),
		readDone: make(chan struct{}), done: make(chan struct{})}
	c.room = sync.NewCond(&c.mu)
	c.welcomed.Store(client)
	nc.attach(c)
	ws.SetPongHandler(c.pong)
	c.startBeat()
	go c.read()
	return c
}

// Recv is where messages come out; it is closed when the connection ends.
// After Handle it is another channel than before.
func (c *Conn) Recv() <-chan wamp.Message {
	select {
	case <-c.hooked:
		return c.in
	default:
		return c.hs
	}
}

// IsLocal is false: nexus trusts local peers.
func (c *Conn) IsLocal() bool { return false }

// Welcomed raises the limits to those of a session. A WELCOME that is sent
// does the same.
func (c *Conn) Welcomed() { c.welcomed.Store(true) }

// Handle gives every message that is read from now on to h, in the reader's
// goroutine; what h returns goes to Recv, nil to nobody. A message that was
// read before, but not received, ends the connection: nothing slips past h.
// Handle is called at most once.
func (c *Conn) Handle(h func(wamp.Message) wamp.Message) { c.handle(h, false) }

// HandleRaw is Handle, and CALL, YIELD and ERROR come as *Call, *Yield and
// *Error with their payloads undecoded. These are valid until h returns.
func (c *Conn) HandleRaw(h func(wamp.Message) wamp.Message) { c.handle(h, true) }

func (c *Conn) handle(h func(wamp.Message) wamp.Message, raw bool) {
	n := &hooks{in: h, raw: raw}
	if o := c.hooks.Load(); o != nil {
		n.out = o.out
	}
	c.hooks.Store(n)
	close(c.hooked)
}

// HandleOut gives every message that comes through Send to h before it is
// queued; what h returns goes out, nil nothing. Call it before Handle.
func (c *Conn) HandleOut(h func(wamp.Message) wamp.Message) { c.hooks.Store(&hooks{out: h}) }

// OnEnd has f called once, in the reader's goroutine, when the connection is
// over and before Recv is closed; at once when it is over already.
func (c *Conn) OnEnd(f func(reason string)) {
	c.mu.Lock()
	told, reason := c.told, c.reason
	c.onEnd = f
	c.mu.Unlock()
	if told {
		f(reason)
	}
}

// Done is closed when the connection is over.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Reason says why the connection ended; empty while it lives.
func (c *Conn) Reason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// TLS is the state of the connection's encryption, nil on plain text.
func (c *Conn) TLS() *tls.ConnectionState {
	t, ok := c.nc.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	s := t.ConnectionState()
	return &s
}

// RemoteAddr is the far side's address, host:port.
func (c *Conn) RemoteAddr() string {
	if a := c.nc.Conn.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Serializer is "cbor", "msgpack" or "json".
func (c *Conn) Serializer() string { return c.format.name }

var _ wamp.Peer = (*Conn)(nil)

// Dialer opens the network connection, for tests and for links over other transports.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)
