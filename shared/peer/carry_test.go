package peer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/ugorji/go/codec"
)

// framed is a CALL of a.b with one item as argument.
func framed(t *testing.T, f *format, text string) []byte {
	t.Helper()
	switch f {
	case cborFormat:
		return hexed(t, cborOf5+"81"+text)
	case msgpackFormat:
		return hexed(t, msgpOf5+"91"+text)
	}
	return []byte(`[48,1,{},"a.b",[` + text + `]]`)
}

// What one serializer can say reaches every other one's decoder, or is refused
// to who says it. Nothing in between: there a session ends.
func TestCrossing(t *testing.T) {
	const no = "refused"
	for _, c := range []struct{ name, format, item, want string }{
		{"ext 0", "msgpack", "d4 00 01", no},
		{"ext 1", "msgpack", "d4 01 01", no},
		{"ext 5", "msgpack", "d4 05 01", no},
		{"ext 100", "msgpack", "d4 64 01", no},
		{"ext -2", "msgpack", "d4 fe 01", no},
		{"ext of any length", "msgpack", "c7 02 07 01 02", no},
		{"ext in a list in a dict", "msgpack", "81 a1 78 91 d5 00 00 00", no},
		{"timestamp", "msgpack", "d6 ff 00 00 00 01", no},
		{"timestamp of a wrong size", "msgpack", "d4 ff 00", no},
		{"NaN", "msgpack", "cb 7f f8 00 00 00 00 00 01", "NaN NaN <nil>"},
		{"infinite", "msgpack", "ca 7f 80 00 00", "+Inf +Inf <nil>"},
		{"2^64-1", "msgpack", "cf ff ff ff ff ff ff ff ff", "18446744073709551615"},
		{"-2^63", "msgpack", "d3 80 00 00 00 00 00 00 00", "-9223372036854775808"},
		{"-2^63", "cbor", "3b 7f ff ff ff ff ff ff ff", "-9223372036854775808"},
		{"NaN", "cbor", "f9 7e 00", "NaN NaN <nil>"},
		{"time in text", "cbor", "c0 74 39 39 39 39 2d 31 32 2d 33 31 54 32 33 3a 35 39 3a 35 39 5a", no},
		{"time", "cbor", "c1 fb 7e 37 e4 3c 88 00 75 9c", no},
		{"big number", "cbor", "c2 49 01 00 00 00 00 00 00 00 00", no},
		{"negative big number", "cbor", "c3 49 01 00 00 00 00 00 00 00 00", no},
		{"decimal fraction", "cbor", "c4 82 21 19 6a b3", no},
		{"big float", "cbor", "c5 82 1b 00 00 01 00 00 00 00 00 01", no},
		{"tag 6", "cbor", "c6 01", no},
		{"tag 24", "cbor", "d8 18 41 a0", no},
		{"tag 300", "cbor", "d9 01 2c 01", no},
		{"tag 2^64-1", "cbor", "db ff ff ff ff ff ff ff ff 01", no},
		{"tag of a list", "cbor", "d8 64 82 01 02", no},
		{"tag in a list", "cbor", "82 01 c6 01", no},
		{"self-described", "cbor", "d9 d9 f7 01", "1"},
		{"undefined", "cbor", "f7", "<nil>"},
		{"text in chunks", "cbor", "7f 61 61 61 62 ff", "ab"},
		{"bytes in chunks", "cbor", "5f 41 61 41 62 ff", "[97 98]"},
		{"largest float", "cbor", "fb 7f ef ff ff ff ff ff ff", "1.7976931348623157e+308"},
		{"smallest half float", "cbor", "f9 00 01", "5.960464477539063e-08"},
		{"line separator", "cbor", "63 e2 80 a8", "\u2028"},
		{"large integer", "json", "123456789012345678901234567890", "1.2345678901234568e+29"},
		{"large negative integer", "json", "-123456789012345678901234567890", "-1.2345678901234568e+29"},
		{"largest float", "json", "1.7976931348623157e308", "1.7976931348623157e+308"},
		{"a pair", "json", `"\ud83d\ude00"`, "😀"},
		{"NUL", "json", `"\u0000"`, "[]"},
		{"NUL and more in a key", "json", `{"\u0000QUJD":1}`, "map[\x00QUJD:1]"},
		{"DEL", "json", "\"\x7f\"", "\x7f"},
		{"no character", "json", "\"\xef\xbf\xbf\"", "\uffff"},
	} {
		t.Run(c.format+" "+c.name, func(t *testing.T) {
			from := formatOf(c.format)
			m, err := from.decode(framed(t, from, c.item), MaxNesting, true, &rawMessages{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, to := range formats {
				v, err := through(t, m.(*Call).Payload, to)
				if c.want == no {
					if !errors.Is(err, ErrCannotCarry) {
						t.Errorf("to %s: %v, %v", to.name, v, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("to %s: %v", to.name, err)
				}
				got = append(got, fmt.Sprint(v))
			}
			if c.want == no {
				return
			}
			if s := strings.Join(got, " "); s != c.want && s != c.want+" "+c.want+" "+c.want {
				t.Errorf("cbor, msgpack and json get %s, want %s", s, c.want)
			}
		})
	}
}

// through writes the one value of p as an INVOCATION and reads that.
func through(t *testing.T, p Payload, to *format) (any, error) {
	t.Helper()
	head, rest, err := to.encode(nil, &Invocation{Request: 1, Registration: 1, Op: "a.b", Payload: p})
	if err != nil {
		return nil, err
	}
	b := rest.appendTo(bytes.Clone(head))
	m, err := to.decode(b, MaxNesting, false, nil)
	if err != nil {
		t.Fatalf("%s cannot read % x: %v", to.name, b, err)
	}
	return m.(*wamp.Invocation).Arguments[1], nil
}

// What a program hands over is looked at too before it goes out.
func TestWhatIsNotSent(t *testing.T) {
	deep := func(n int) (v any) {
		for range n {
			v = wamp.List{v}
		}
		return v
	}
	type knot struct{ K chan int }
	for name, v := range map[string]any{
		"extension": codec.RawExt{Tag: 5, Data: []byte{1}}, "pointer to an extension": &codec.RawExt{Tag: 0, Data: []byte{1}}, "text that is none": "\xff",
		"key that is no text": map[int]any{1: 2}, "too deep": deep(63), "what has no form": knot{},
	} {
		for _, f := range formats {
			m := &wamp.Yield{Request: 1, Options: wamp.Dict{}, Arguments: wamp.List{v}}
			head, rest, err := f.encode(nil, m)
			if err != nil {
				if !errors.Is(err, ErrCannotCarry) {
					t.Errorf("%s in %s: %v", name, f.name, err)
				}
				continue
			}
			b := rest.appendTo(bytes.Clone(head))
			if _, err := f.decode(b, MaxNesting, false, nil); err != nil { // JSON has a form for some of them
				t.Errorf("%s in %s: % x is sent, which is %v", name, f.name, b, err)
			}
		}
	}
	// Times are tags in CBOR and extensions in MessagePack.
	for f, ok := range map[*format]bool{cborFormat: false, msgpackFormat: false, jsonFormat: true} {
		_, err := f.serialize(&wamp.Yield{Request: 1, Options: wamp.Dict{}, Arguments: wamp.List{time.Unix(1, 0)}})
		if (err == nil) != ok {
			t.Errorf("a time in %s: %v", f.name, err)
		}
	}
}

// However few bytes it takes, what is decoded is bounded.
func TestManyValues(t *testing.T) {
	for _, c := range []struct {
		f    *format
		many func(n int) []byte
	}{
		{cborFormat, func(n int) []byte {
			return append(cborAppend(hexed(t, cborOf5+"81"), 4, uint64(n)), bytes.Repeat([]byte{0xa0}, n)...)
		}},
		{msgpackFormat, func(n int) []byte {
			return append(msgpackAppend(hexed(t, msgpOf5+"91"), 0x90, 0xdc, n), bytes.Repeat([]byte{0x80}, n)...)
		}},
		{jsonFormat, func(n int) []byte {
			return []byte(`[48,1,{},"a.b",[[` + strings.Repeat("{},", n-1) + `{}]]]`)
		}},
	} {
		t.Run(c.f.name, func(t *testing.T) {
			const around = 10 // what is in the message beside them counts too
			for n, ok := range map[int]bool{MaxItems - around: true, MaxItems: false} {
				b := c.many(n)
				m, err := c.f.decode(b, MaxNesting, true, &rawMessages{})
				if err != nil {
					t.Fatal(err)
				}
				p := m.(*Call).Payload
				if _, _, err := p.Expand(); ok != (err == nil) || err != nil && !errors.Is(err, ErrCannotCarry) {
					t.Errorf("%d values are expanded: %v", n, err)
				}
				if ok {
					continue
				}
				if _, err := c.f.decode(b, MaxNesting, false, nil); !errors.Is(err, ErrCannotCarry) {
					t.Errorf("%d values are decoded: %v", n, err)
				}
				for _, to := range formats {
					if _, _, err := to.encode(nil, &Result{Payload: p}); (err == nil) != (to == c.f) {
						t.Errorf("%d values go to %s: %v", n, to.name, err)
					}
				}
			}
		})
	}
}
