package peer

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

func fuzz(f *testing.F, format *format) {
	for _, m := range []wamp.Message{
		&wamp.Hello{Realm: "r", Details: wamp.Dict{"roles": wamp.Dict{"caller": wamp.Dict{}}}},
		&wamp.Call{Request: 1, Options: wamp.Dict{"timeout": 1000, "receive_progress": true}, Procedure: "cfc.remote.node.get_status",
			Arguments: wamp.List{"n1", 1, -1, 1.5, nil, true, []byte{0}, wamp.List{wamp.Dict{"a": "b"}}}, ArgumentsKw: wamp.Dict{"node_id": "n1"}},
		&wamp.Yield{Request: 1, Options: wamp.Dict{"progress": true}, Arguments: wamp.List{"x"}},
		&wamp.Error{Type: wamp.INVOCATION, Request: 1, Details: wamp.Dict{}, Error: "a.b", ArgumentsKw: wamp.Dict{"k": wamp.Dict{}}},
		&wamp.Event{Subscription: 1, Publication: 1 << 53, Details: wamp.Dict{}, Arguments: wamp.List{"x"}},
	} {
		b, err := format.serialize(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		agree(t, format, b)
		carve(t, format, b)
	})
}

// carve checks the parts of a CALL's payload that are taken out of it and
// passed on: they reach every serializer's decoder, or are refused.
func carve(t *testing.T, f *format, b []byte) {
	m, err := f.decode(b, MaxNesting, true, &rawMessages{})
	if err != nil {
		return
	}
	c, ok := m.(*Call)
	if !ok {
		return
	}
	_, times := c.Keyword("node_id")
	for i, p := range []Payload{c.Payload, c.Rest(), c.WithoutKeyword("node_id")} {
		for _, to := range formats {
			head, rest, err := to.encode(nil, &Invocation{Request: 1, Registration: 1, Op: "a.b", Payload: p})
			if errors.Is(err, ErrCannotCarry) {
				continue
			}
			if err != nil {
				t.Fatalf("%s: part %d of % x to %s: %v", f.name, i, b, to.name, err)
			}
			out := rest.appendTo(bytes.Clone(head))
			got, err := to.decode(out, MaxNesting, false, nil)
			if err != nil {
				t.Fatalf("%s: part %d of % x reaches %s as % x: %v", f.name, i, b, to.name, out, err)
			}
			inv := got.(*wamp.Invocation)
			if _, has := inv.ArgumentsKw["node_id"]; has != (times > 0 && i != 2) {
				t.Fatalf("%s: part %d of % x reaches %s as % x: node_id is there: %v", f.name, i, b, to.name, out, has)
			}
			want := 1 + c.Args()
			if i == 1 {
				want = max(1, c.Args())
			}
			if len(inv.Arguments) != want {
				t.Fatalf("%s: part %d of % x reaches %s as % x: %d arguments, want %d", f.name, i, b, to.name, out, len(inv.Arguments), want)
			}
		}
	}
}

// The decoder never panics, and finds in a message what the undecoded path
// finds and passes on.
func FuzzDecodeCBOR(f *testing.F) {
	f.Add(hexed(f, "9f 18 30 01 bf ff 7f 61 61 62 2e 62 ff 9f 01 bf 61 78 5f 41 01 ff ff ff bf 61 6b 9f ff ff ff"))
	f.Add(hexed(f, cborOf5+"84 c1 1a 00 00 00 00 f9 3c 00 d8 20 61 61 c2 41 01"))
	fuzz(f, cborFormat)
}

func FuzzDecodeMsgpack(f *testing.F) {
	f.Add(hexed(f, msgpOf5+"93 d4 01 00 d6 ff 00 00 00 00 ca 3f 80 00 00"))
	fuzz(f, msgpackFormat)
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(` [ 48 , 1 , { } , "a\u002eb" , [ "\u0000AAEC" , 1e3 , -0.5E-2 ] , { "k" : [ ] } ] `))
	fuzz(f, jsonFormat)
}
