package peer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
)

// What is offered is refused when the queue is full, what is insisted on is
// not, and the far side lives on; it is dropped only when it takes nothing.
func TestOffer(t *testing.T) {
	conn, ws := stranger(t, peer.Options{QueueBytes: 1 << 20, WriteTimeout: 2 * time.Second}, "wamp.2.cbor")
	conn.Welcomed()
	big := &wamp.Event{Subscription: 1, Publication: 1, Details: wamp.Dict{}, Arguments: wamp.List{strings.Repeat("x", 256<<10)}}
	var b peer.Batch
	sent := 0
	var err error
	for ; err == nil && sent < 1000; sent++ {
		err = b.Offer(conn, big)
		b.Flush()
	}
	if err != peer.ErrFull {
		t.Fatalf("after %d messages %v", sent, err)
	}
	// Nothing is encoded for one that takes nothing, or this would be said of it.
	if err := b.Offer(conn, &wamp.Event{Details: wamp.Dict{}, Arguments: wamp.List{make(chan int)}}); err != peer.ErrFull {
		t.Errorf("what cannot be encoded: %v", err)
	}
	small := &wamp.Interrupt{Request: 1, Options: wamp.Dict{}}
	if err := b.Insist(conn, small); err != nil {
		t.Error(err)
	}
	if err := conn.Insist(small); err != nil {
		t.Error(err)
	}
	for range sent - 1 + 2 {
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	if reason := conn.Reason(); reason != "" {
		t.Errorf("dropped: %s", reason)
	}
	// The network may take for a while what nobody reads.
	for end := time.Now().Add(20 * time.Second); conn.Reason() == "" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		_ = b.Offer(conn, big)
		b.Flush()
	}
	wait(t, conn.Done(), "end of a connection that takes nothing")
	if reason := conn.Reason(); reason != peer.ReasonSlow {
		t.Errorf("reason %q", reason)
	}
	if err := b.Offer(conn, small); err != peer.ErrClosed {
		t.Errorf("offered late: %v", err)
	}
	if err := b.Insist(conn, small); err != peer.ErrClosed {
		t.Errorf("insisted late: %v", err)
	}
}

func TestInsistIsBounded(t *testing.T) {
	conn, _ := stranger(t, peer.Options{}, "wamp.2.cbor")
	conn.Welcomed()
	big := &wamp.Event{Subscription: 1, Publication: 1, Details: wamp.Dict{}, Arguments: wamp.List{strings.Repeat("x", 8<<20)}}
	var err error
	for range 10 {
		if err = conn.Insist(big); err != nil {
			break
		}
	}
	if err != peer.ErrSlow || conn.Reason() != peer.ReasonSlow {
		t.Errorf("%v, %s", err, conn.Reason())
	}
}

// An event is encoded once for all who speak the same serializer.
func TestEventOfOnePayload(t *testing.T) {
	args := wamp.List{"n1", []byte{1}, wamp.Dict{"a": "b"}}
	var b peer.Batch
	for _, ser := range []string{"cbor", "msgpack", "json"} {
		server, cl := pair(t, peer.Options{}, peer.DialOptions{Serializer: ser})
		p, err := server.Payload(args)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"", "a.b"} {
			if err := b.Write(server, &peer.Event{Subscription: 1, Publication: 2, Topic: topic, Payload: p}); err != nil {
				t.Fatal(err)
			}
		}
		b.Flush()
		for _, details := range []string{"map[]", "map[topic:a.b]"} {
			if e := wait(t, cl.Recv(), "event").(*wamp.Event); fmt.Sprint(e) != "&{1 2 "+details+" [n1 [1] map[a:b]] map[]}" {
				t.Errorf("%s: %v", ser, e)
			}
		}
		for _, other := range []string{"cbor", "msgpack", "json"} {
			server, cl := pair(t, peer.Options{}, peer.DialOptions{Serializer: other})
			q, err := p.For(server)
			if err != nil {
				t.Fatal(err)
			}
			if same := q.Size() == p.Size(); ser == other && !same {
				t.Errorf("%s: %d bytes became %d", ser, p.Size(), q.Size())
			}
			for _, x := range []peer.Payload{p, q, {}} {
				if err := server.Write(&peer.Event{Subscription: 1, Publication: 2, Payload: x}); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range []string{"[n1 [1] map[a:b]]", "[n1 [1] map[a:b]]", "[]"} {
				if e := wait(t, cl.Recv(), "event").(*wamp.Event); fmt.Sprint(e.Arguments) != want {
					t.Errorf("%s for %s: %v", ser, other, e)
				}
			}
		}
	}
}

func TestWhatIsLongIsNotDecoded(t *testing.T) {
	server, cl := pair(t, peer.Options{}, peer.DialOptions{})
	got := make(chan string, 10)
	server.Welcomed()
	server.HandleRaw(func(m wamp.Message) wamp.Message {
		c := m.(*peer.Call)
		v, n := c.Keyword("node_id")
		got <- fmt.Sprintln(c.First(), v, n)
		return nil
	})
	for _, tt := range []struct {
		arg  any
		want string
	}{{"n1", "n1 n1 1"}, {strings.Repeat("x", 2000), "<nil> <nil> 1"}, {wamp.List{wamp.List{}}, "<nil> <nil> 1"}, {7, "<nil> <nil> 1"}, {nil, "<nil> <nil> 1"}} {
		if err := cl.Write(&wamp.Call{Request: 1, Options: wamp.Dict{}, Procedure: "a.b", Arguments: wamp.List{tt.arg}, ArgumentsKw: wamp.Dict{"node_id": tt.arg}}); err != nil {
			t.Fatal(err)
		}
		if v := wait(t, got, "call"); v != tt.want+"\n" {
			t.Errorf("%.20v: %v", tt.arg, v)
		}
	}
}
