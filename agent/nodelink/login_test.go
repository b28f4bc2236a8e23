package nodelink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/nodelink/nodetest"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
)

// raw is the far side of a connection, message by message.
type raw struct {
	t    *testing.T
	conn net.Conn
	s    *socket
}

func (b *bench) dial() *raw {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return shake(b.t, conn, 3)
}

func shake(t *testing.T, conn net.Conn, serializer byte) *raw {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{magic, 0xf0 | serializer, 0, 0}); err != nil {
		t.Fatal(err)
	}
	var b [4]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil || b[1]&0xf != serializer {
		t.Fatalf("handshake gives % x, %v", b, err)
	}
	s := &socket{conn: conn, codec: &serialize.CBORSerializer{}, maxSend: maxMessage, stall: 5 * time.Second}
	s.limit.Store(maxMessage)
	return &raw{t: t, conn: conn, s: s}
}

func (r *raw) send(m wamp.Message) {
	r.t.Helper()
	if err := r.s.say(m); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) hello(pubkey string) {
	r.t.Helper()
	r.send(&wamp.Hello{Details: wamp.Dict{"roles": wamp.Dict{"callee": wamp.Dict{}}, "authrole": "node", "authmethods": wamp.List{"cryptosign"}, "authextra": wamp.Dict{"pubkey": pubkey}}})
}

func receive[M wamp.Message](r *raw) M {
	r.t.Helper()
	m, err := r.s.read()
	want, ok := m.(M)
	if err != nil || !ok {
		r.t.Fatalf("got %T %+v, %v", m, m, err)
	}
	return want
}

func (r *raw) login(key identity.Key) *wamp.Welcome {
	r.t.Helper()
	challenge := receive[*wamp.Challenge](r)
	text, _ := wamp.AsString(challenge.Extra["challenge"])
	signature, err := key.Sign(text, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(&wamp.Authenticate{Signature: signature})
	return receive[*wamp.Welcome](r)
}

func (r *raw) closed() {
	r.t.Helper()
	if m, err := r.s.read(); err == nil {
		r.t.Errorf("the connection goes on with %T %+v", m, m)
	} else if errors.Is(err, context.DeadlineExceeded) {
		r.t.Errorf("the connection stays open")
	}
}

func TestWelcome(t *testing.T) {
	b := newBench(t)
	r := b.dial()
	r.hello(b.key.Public())
	d := r.login(b.key).Details
	if d["authid"] != AuthID || d["realm"] != Realm || d["authrole"] != "node" {
		t.Errorf("WELCOME says %v", d)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	b := newBench(t)
	other, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	hello := func(change func(wamp.Dict)) *wamp.Hello {
		d := wamp.Dict{"authrole": "node", "authmethods": wamp.List{"cryptosign"}, "authextra": wamp.Dict{"pubkey": b.key.Public()}}
		change(d)
		return &wamp.Hello{Realm: "x", Details: d}
	}
	for name, c := range map[string]struct {
		message wamp.Message
		answer  *wamp.Authenticate
		reason  string
	}{
		"another key":          {hello(func(d wamp.Dict) { d["authextra"] = wamp.Dict{"pubkey": other.Public()} }), nil, "wamp.error.authentication_failed"},
		"upper case key":       {hello(func(d wamp.Dict) { d["authextra"] = wamp.Dict{"pubkey": strings.ToUpper(b.key.Public())} }), nil, "wamp.error.authentication_failed"},
		"no key":               {hello(func(d wamp.Dict) { delete(d, "authextra") }), nil, "wamp.error.authentication_failed"},
		"a key of wrong type":  {hello(func(d wamp.Dict) { d["authextra"] = wamp.Dict{"pubkey": 7} }), nil, "wamp.error.authentication_failed"},
		"another role":         {hello(func(d wamp.Dict) { d["authrole"] = "user" }), nil, "wamp.error.authentication_failed"},
		"no cryptosign":        {hello(func(d wamp.Dict) { d["authmethods"] = wamp.List{"anonymous"} }), nil, "wamp.error.authentication_failed"},
		"a wrong signature":    {hello(func(wamp.Dict) {}), &wamp.Authenticate{Signature: strings.Repeat("00", 96)}, "wamp.error.authentication_failed"},
		"a signature of 1":     {hello(func(wamp.Dict) {}), &wamp.Authenticate{Signature: "1"}, "wamp.error.authentication_failed"},
		"a call before HELLO":  {&wamp.Call{Request: 1, Options: wamp.Dict{}, Procedure: "x"}, nil, "wamp.error.protocol_violation"},
		"a HELLO without end":  {hello(func(d wamp.Dict) { d["x"] = strings.Repeat("x", maxUnknown) }), nil, ""},
		"details of all types": {&wamp.Hello{Details: wamp.Dict{"authrole": wamp.Dict{}, "authmethods": 3, "authextra": wamp.List{}}}, nil, "wamp.error.authentication_failed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.dial()
			r.t = t
			r.send(c.message)
			if c.answer != nil {
				receive[*wamp.Challenge](r)
				r.send(c.answer)
			}
			if c.reason != "" {
				if a := receive[*wamp.Abort](r); string(a.Reason) != c.reason {
					t.Errorf("aborted with %s", a.Reason)
				}
			}
			r.closed()
		})
	}
	if b.Attached().Attached {
		t.Error("somebody is attached")
	}
}

func TestAChallengeOfAnotherPlaceDoesNotServe(t *testing.T) {
	b := newBench(t)
	r := b.dial()
	r.hello(b.key.Public())
	receive[*wamp.Challenge](r)
	elsewhere, err := b.key.Sign(identity.NewChallenge(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.send(&wamp.Authenticate{Signature: elsewhere})
	receive[*wamp.Abort](r)
}

func TestHandshakes(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct{ send, want []byte }{
		"JSON":           {[]byte{magic, 0xf1, 0, 0}, []byte{magic, 0x10, 0, 0}},
		"UBJSON":         {[]byte{magic, 0xf4, 0, 0}, []byte{magic, 0x10, 0, 0}},
		"reserved":       {[]byte{magic, 0xf3, 0, 1}, []byte{magic, 0x30, 0, 0}},
		"HTTP":           {[]byte("GET "), nil},
		"nothing at all": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", b.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write(c.send)
			if c.send == nil {
				conn.(*net.TCPConn).CloseWrite()
			}
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("answered % x, %v", got, err)
			}
		})
	}
}

func TestSlowLoginsEnd(t *testing.T) {
	b := newBench(t, func(c *Config) { c.LoginTimeout = 50 * time.Millisecond })
	silent, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	half := b.dial()
	half.hello(b.key.Public())
	receive[*wamp.Challenge](half)
	half.closed()
	if got, err := io.ReadAll(silent); err != nil || len(got) > 0 {
		t.Errorf("a silent one gets %q, %v", got, err)
	}
}

func TestHalfOpenConnectionsAreBounded(t *testing.T) {
	b := newBench(t)
	var first *raw
	for i := range maxHalfOpen + 5 {
		r := b.dial()
		if i == 0 {
			first = r
		}
	}
	first.closed()
	b.node() // gets in all the same
}

func TestSecondSession(t *testing.T) {
	b := newBench(t, func(c *Config) { c.ReplaceAfter = 200 * time.Millisecond })
	first := b.node()
	_, err := nodetest.Join(b.ctx, nodetest.Config{Addr: b.Addr().String(), Key: b.key})
	if err == nil || !strings.Contains(err.Error(), "connected already") {
		t.Fatalf("a second one beside a living first: %v", err)
	}
	if _, err := b.within(time.Second, "get_status"); err != nil {
		t.Fatalf("the first has suffered: %v", err)
	}

	first.Hang("utcnow") // what the link asks to see whether it lives
	second, err := nodetest.Join(b.ctx, nodetest.Config{Addr: b.Addr().String(), Key: b.key})
	if err != nil {
		t.Fatalf("a second one beside a dead first: %v", err)
	}
	defer second.Close()
	b.until("the second is ready", func() bool { return b.Attached().Attached })
	if _, err := b.within(time.Second, "get_status"); err != nil {
		t.Fatal(err)
	}
	if first.Calls("get_status")+second.Calls("get_status") < 2 || second.Calls("get_status") == 0 {
		t.Error("the first is still asked")
	}
	heard := strings.Join(b.heard(), " ")
	if !strings.Contains(heard, "detachedreplaced") {
		t.Errorf("heard %s", heard)
	}
}

// Taking the port while the agent is down: whoever holds the socket, as
// systemd does, keeps it, and a node that dials meanwhile waits.
func TestPortIsNeverFree(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := held.(*net.TCPListener).File() // the manager's own copy
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	addr := held.Addr().String()
	held.Close()
	handed := func() net.Listener {
		ln, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	free := func() bool {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return false
		}
		ln.Close()
		return true
	}
	var key identity.Key
	t.Run("the agent runs", func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Listener = handed() })
		key = b.key
		b.node()
	})
	if free() {
		t.Fatal("the agent is down and its port is free to take")
	}
	waiting, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("a node cannot wait for its agent: %v", err)
	}
	defer waiting.Close()
	t.Run("the agent is back", func(t *testing.T) {
		newBench(t, func(c *Config) { c.Listener, c.Pubkey = handed(), key.Public() })
		r := shake(t, waiting, 3)
		r.hello(key.Public())
		r.login(key)
	})
}

func TestWhatANodeMayDo(t *testing.T) {
	b := newBench(t)
	r := b.dial()
	r.hello(b.key.Public())
	r.login(b.key)
	const own = "crossbarfabriccenter.node.node."
	ack := wamp.Dict{"acknowledge": true}
	for name, m := range map[string]wamp.Message{
		"register beside":         &wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: "crossbarfabriccenter.node.node2.get_status"},
		"register the prefix":     &wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: own},
		"register by pattern":     &wamp.Register{Request: 1, Options: wamp.Dict{"match": "prefix"}, Procedure: own + "x"},
		"register the master's":   &wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: statusProcedure},
		"publish beside":          &wamp.Publish{Request: 1, Options: ack, Topic: "crossbarfabriccenter.node.other.on_x"},
		"another's heartbeat":     &wamp.Publish{Request: 1, Options: ack, Topic: "crossbarfabriccenter.node.on_heartbeat", Arguments: wamp.List{"other"}},
		"an empty heartbeat":      &wamp.Publish{Request: 1, Options: ack, Topic: "crossbarfabriccenter.node.on_heartbeat"},
		"call anything":           &wamp.Call{Request: 1, Options: wamp.Dict{}, Procedure: own + "get_status"},
		"call the meta API":       &wamp.Call{Request: 1, Options: wamp.Dict{}, Procedure: "wamp.session.list"},
		"subscribe":               &wamp.Subscribe{Request: 1, Options: wamp.Dict{}, Topic: own + "on_x"},
		"subscribe to everything": &wamp.Subscribe{Request: 1, Options: wamp.Dict{"match": "prefix"}, Topic: ""},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			r.send(m)
			if e := receive[*wamp.Error](r); e.Error != wamp.ErrNotAuthorized || e.Request != 1 {
				t.Errorf("answered %+v", e)
			}
		})
	}
	r.t = t
	r.send(&wamp.Publish{Request: 2, Options: wamp.Dict{}, Topic: "wamp.x"}) // refused without an answer
	r.send(&wamp.Register{Request: 3, Options: wamp.Dict{}, Procedure: own + "x"})
	receive[*wamp.Registered](r)
	r.send(&wamp.Register{Request: 4, Options: wamp.Dict{}, Procedure: own + "x"})
	if e := receive[*wamp.Error](r); e.Error != wamp.ErrProcedureAlreadyExists {
		t.Errorf("twice the same: %+v", e)
	}
	r.send(&wamp.Unregister{Request: 5, Registration: 4711})
	if e := receive[*wamp.Error](r); e.Error != wamp.ErrNoSuchRegistration {
		t.Errorf("an unknown registration: %+v", e)
	}
	if err := r.s.send(frame(framePing, []byte("are you there"))); err != nil {
		t.Fatal(err)
	}
	var pong [17]byte
	if _, err := io.ReadFull(r.conn, pong[:]); err != nil || pong[0] != framePong || string(pong[4:]) != "are you there" {
		t.Errorf("a ping is answered %q, %v", pong, err)
	}
	if heard := strings.Join(b.heard(), " "); strings.Contains(heard, "event") {
		t.Errorf("what is refused is heard: %s", heard)
	}
	r.send(&wamp.Hello{Details: wamp.Dict{}})
	r.closed()
}

func TestANodeThatTakesNothingIsDropped(t *testing.T) {
	b := newBench(t, func(c *Config) { c.StallTimeout = 100 * time.Millisecond })
	r := b.dial()
	r.hello(b.key.Public())
	r.login(b.key)
	r.send(&wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: "crossbarfabriccenter.node.node.get_status"})
	r.send(&wamp.Register{Request: 2, Options: wamp.Dict{}, Procedure: "crossbarfabriccenter.node.node.echo"})
	r.send(&wamp.Call{Request: 3, Options: wamp.Dict{}, Procedure: statusProcedure})
	for range 3 {
		if _, err := r.s.read(); err != nil {
			t.Fatal(err)
		}
	}
	i := receive[*wamp.Invocation](r)
	r.send(&wamp.Yield{Request: i.Request, Options: wamp.Dict{}, Arguments: wamp.List{wamp.Dict{"title": "x 1.0"}}})
	b.until("it is ready", func() bool { return b.Attached().Attached })
	got := make(chan error, 8)
	for range cap(got) {
		go func() { got <- second(b.within(10*time.Second, "echo", strings.Repeat("x", 8<<20))) }()
	}
	for range cap(got) {
		if k := cfcerr.KindOf(<-got); k != cfcerr.ConnectionLost && k != cfcerr.Busy && k != cfcerr.NodeDetached {
			t.Errorf("a call that it never took ends as %s", k.URI())
		}
	}
	b.until("it is dropped", func() bool { return !b.Attached().Attached })
	if a := b.Attached(); a.Reason != "stalled" {
		t.Errorf("dropped as %q", a.Reason)
	}
}

// Whatever a stranger sends, the link neither panics nor lets him in.
func FuzzStranger(f *testing.F) {
	key, err := identity.New()
	if err != nil {
		f.Fatal(err)
	}
	hello, err := (&serialize.CBORSerializer{}).Serialize(&wamp.Hello{Details: wamp.Dict{"authrole": "node", "authmethods": wamp.List{"cryptosign"}, "authextra": wamp.Dict{"pubkey": key.Public()}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{magic, 0xf3, 0, 0}, frame(frameMessage, hello)...))
	f.Add([]byte{magic, 0xf2, 0, 0, 0, 0, 0, 1, 0x91})
	f.Add(binary.BigEndian.AppendUint32([]byte{magic, 0xf3, 0, 0}, 1<<24))
	l := &Link{cfg: Config{Pubkey: key.Public(), LoginTimeout: time.Second, StallTimeout: time.Second}}
	f.Fuzz(func(t *testing.T, data []byte) {
		here, there := net.Pipe()
		go func() {
			_, _ = there.Write(data)
			there.Close()
		}()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		if s, err := l.login(context.Background(), here); err == nil {
			t.Errorf("let in as %+v", s)
		}
		here.Close()
	})
}
