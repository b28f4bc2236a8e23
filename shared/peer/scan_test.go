package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

// hexed takes hex with spaces.
func hexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A CALL [48, 1, {}, "a.b", args…] with args to be filled in.
const (
	cborCall = "18 30 01 a0 63 61 2e 62"
	msgpCall = "30 01 80 a3 61 2e 62"
	cborOf5  = "85" + cborCall
	msgpOf5  = "95" + msgpCall
)

func TestWhatIsNoMessage(t *testing.T) {
	deep := func(n int, open, end string) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }
	for _, c := range []struct{ name, format, text, want string }{
		{"empty", "cbor", "", errShort.Error()},
		{"a map", "cbor", "a0", errList.Error()},
		{"a map of what belongs into a list", "cbor", "a2 18 30 01 a0 61 61", errList.Error()},
		{"a map of what belongs into a list", "msgpack", "82 30 01 80 a1 61", errList.Error()},
		{"a map of what belongs into a list", "json", `{48,1,{},"a"]`, errList.Error()},
		{"a number", "msgpack", "01", errList.Error()},
		{"an empty list", "cbor", "80", errList.Error()},
		{"a type alone", "cbor", "81 01", errList.Error()},
		{"a type of text", "cbor", "82 61 31 01", errList.Error()},
		{"a negative type", "cbor", "85 30 01 a0 61 61 80", errList.Error()},
		{"an unknown type", "cbor", "82 18 63 01", "no message has type 99"},
		{"a huge type", "cbor", "82 1b ff ff ff ff ff ff ff ff 01", "no message has type 18446744073709551615"},
		{"cut", "cbor", "85 18 30 01", errShort.Error()},
		{"cut in a head", "cbor", "82 19 01", errShort.Error()},
		{"a list of more than the frame holds", "cbor", cborOf5 + "9b 7f ff ff ff ff ff ff ff", errShort.Error()},
		{"a map of more than the frame holds", "cbor", cborOf5 + "bb ff ff ff ff ff ff ff ff", errShort.Error()},
		{"text of more than the frame holds", "cbor", cborOf5 + "81 7b ff ff ff ff ff ff ff ff", errShort.Error()},
		{"trailing bytes", "cbor", cborOf5 + "80 00", errMore.Error()},
		{"text that is none", "cbor", cborOf5 + "81 61 ff", errUTF8.Error()},
		{"a chunk of text that is none", "cbor", cborOf5 + "81 7f 61 c3 61 bc ff", errUTF8.Error()},
		{"a chunk of bytes in text", "cbor", cborOf5 + "81 7f 41 61 ff", errItem.Error()},
		{"a chunk of endless text in text", "cbor", cborOf5 + "81 7f 7f ff ff", errItem.Error()},
		{"a key that is a number", "cbor", cborOf5 + "81 a1 01 02", errKey.Error()},
		{"a key that is a tag", "cbor", cborOf5 + "81 a1 c1 61 61 02", errKey.Error()},
		{"a break in the middle of a pair", "cbor", cborOf5 + "81 bf 61 61 ff", errItem.Error()},
		{"a break that ends nothing", "cbor", cborOf5 + "81 ff", errItem.Error()},
		{"a break in the message", "cbor", "83 18 30 ff 00", errItem.Error()},
		{"an endless number", "cbor", cborOf5 + "81 1f", errItem.Error()},
		{"a reserved head", "cbor", cborOf5 + "81 1c", errItem.Error()},
		{"an unknown simple value", "cbor", cborOf5 + "81 e0", errItem.Error()},
		{"a tag of nothing", "cbor", cborOf5 + "81 c1", errShort.Error()},
		{"tags on end", "cbor", cborOf5 + "81" + strings.Repeat("c6", 100) + "00", errNesting.Error()},
		{"-2^64", "cbor", cborOf5 + "81 3b ff ff ff ff ff ff ff ff", errRange.Error()},
		{"less than -2^63", "cbor", cborOf5 + "81 3b 80 00 00 00 00 00 00 00", errRange.Error()},
		{"lists on end", "cbor", cborOf5 + deep(64, "81", "") + "00", errNesting.Error()},
		{"endless lists on end", "cbor", cborOf5 + deep(64, "9f", "ff"), errNesting.Error()},
		{"maps on end", "cbor", cborOf5 + "81" + strings.Repeat("a1 61 61", 63) + "00", errNesting.Error()},
		{"an empty list at the bottom", "cbor", cborOf5 + strings.Repeat("81", 63) + "80", errNesting.Error()},
		{"lists on end", "msgpack", msgpOf5 + strings.Repeat("91", 64) + "00", errNesting.Error()},
		{"an empty map at the bottom", "msgpack", msgpOf5 + strings.Repeat("91", 63) + "80", errNesting.Error()},
		{"a key that is a number", "msgpack", msgpOf5 + "91 81 01 02", errKey.Error()},
		{"text that is none", "msgpack", msgpOf5 + "91 a1 ff", errUTF8.Error()},
		{"the unused code", "msgpack", msgpOf5 + "91 c1", errItem.Error()},
		{"an ext that is cut", "msgpack", msgpOf5 + "91 c7 05 01 00", errShort.Error()},
		{"a list of more than the frame holds", "msgpack", msgpOf5 + "dd ff ff ff ff", errShort.Error()},
		{"trailing bytes", "msgpack", msgpOf5 + "90 c0", errMore.Error()},
		{"lists on end", "json", "[48,1,{},\"a\"," + deep(64, "[", "]") + "]", errNesting.Error()},
		{"trailing text", "json", "[48,1,{},\"a\"] x", errMore.Error()},
		{"a comma too many", "json", "[48,1,{},\"a\",[1,]]", errItem.Error()},
		{"a comma missing", "json", "[48,1,{} \"a\"]", errItem.Error()},
		{"a colon in a list", "json", "[48:1]", errItem.Error()},
		{"a colon missing", "json", "[48,1,{\"a\" 1},\"a\"]", errItem.Error()},
		{"a key that is a number", "json", "[48,1,{1:1},\"a\"]", errKey.Error()},
		{"the wrong bracket", "json", "[48,1,{},\"a\"}", errItem.Error()},
		{"a word", "json", "[48,1,{},\"a\",[nil]]", errItem.Error()},
		{"a leading zero", "json", "[48,1,{},\"a\",[01]]", errItem.Error()},
		{"a bare minus", "json", "[48,1,{},\"a\",[-]]", errItem.Error()},
		{"a bare point", "json", "[48,1,{},\"a\",[1.]]", errItem.Error()},
		{"a bare exponent", "json", "[48,1,{},\"a\",[1e]]", errItem.Error()},
		{"an unknown escape", "json", `[48,1,{},"\x"]`, errItem.Error()},
		{"a bad code point", "json", `[48,1,{},"\u00zz"]`, errItem.Error()},
		{"a cut code point", "json", `[48,1,{},"\u00`, errShort.Error()},
		{"a high half", "json", `[48,1,{},"a",["\ud800"]]`, errHalf.Error()},
		{"a low half", "json", `[48,1,{},"a",["\udc00x"]]`, errHalf.Error()},
		{"a high half before text", "json", `[48,1,{},"a",["\uD83Dxxxxxxxx"]]`, errHalf.Error()},
		{"a high half before an escape", "json", `[48,1,{},"a",["\ud800\n0000"]]`, errHalf.Error()},
		{"a high half before another character", "json", `[48,1,{},"a",["\ud800\u0041"]]`, errHalf.Error()},
		{"two high halves", "json", `[48,1,{},"a",["\ud800\ud800\udc00"]]`, errHalf.Error()},
		{"half a pair in a key", "json", `[48,1,{},"a",[{"\ud800":1}]]`, errHalf.Error()},
		{"half a pair in a procedure", "json", `[48,1,{},"\udfff"]`, errHalf.Error()},
		{"a cut pair", "json", `[48,1,{},"\ud800`, errShort.Error()},
		{"a pair with a bad half", "json", `[48,1,{},"\ud800\udczz"]`, errItem.Error()},
		{"a number that is too large", "json", `[48,1,{},"a",[1e999]]`, errRange.Error()},
		{"a number that is too small", "json", `[48,1,{},"a",[-1.7976931348623159e308]]`, errRange.Error()},
		{"an integer that is too large", "json", `[48,1,{},"a",[1` + strings.Repeat("0", 309) + `]]`, errRange.Error()},
		{"options that are too long", "json", `[48,1,{"x":"` + strings.Repeat("x", MaxDetails) + `"},"a"]`, "CALL has 65555 bytes beside its arguments, at most 65536 are taken"},
		{"options that are too long", "cbor", "83 06 a1 61 78 9a 00 01 00 00" + strings.Repeat("80", MaxDetails) + "61 61", "GOODBYE has 65548 bytes beside its arguments, at most 65536 are taken"},
		{"a topic that is too long", "msgpack", "94 20 01 80 db 00 01 00 00" + strings.Repeat("61", MaxDetails), "SUBSCRIBE has 65545 bytes beside its arguments, at most 65536 are taken"},
		{"a control character", "json", "[48,1,{},\"\n\"]", errItem.Error()},
		{"text that is none", "json", "[48,1,{},\"\xff\"]", errUTF8.Error()},
		{"no end", "json", "[48,1,{},\"a\"", errShort.Error()},
		{"an id of 0.5", "json", `[48,0.5,{},"a"]`, "part 1 of CALL is of a wrong kind or size"},
		{"an id below 0", "json", `[48,-1,{},"a"]`, "part 1 of CALL is of a wrong kind or size"},
		{"an id above 2^53", "json", `[48,9007199254740993,{},"a"]`, "part 1 of CALL is of a wrong kind or size"},
		{"options that are a list", "json", `[48,1,[],"a"]`, "part 2 of CALL is of a wrong kind or size"},
		{"a procedure that is a number", "json", `[48,1,{},65]`, "part 3 of CALL is of a wrong kind or size"},
		{"a procedure of bytes", "cbor", "84 18 30 01 a0 41 61", "part 3 of CALL is of a wrong kind or size"},
		{"args that are a dict", "json", `[48,1,{},"a",{}]`, "part 4 of CALL is of a wrong kind or size"},
		{"kwargs that are a list", "json", `[48,1,{},"a",[],[]]`, "part 5 of CALL is of a wrong kind or size"},
		{"no procedure", "json", `[48,1,{}]`, "CALL ends after 3 parts"},
		{"a part too many", "json", `[48,1,{},"a",[],{},1]`, "CALL has 1 parts too many"},
		{"many parts too many", "json", `[48,1,{},"a",[],{},1,2,3]`, errList.Error()},
	} {
		t.Run(c.format+" "+c.name, func(t *testing.T) {
			f := formatOf(c.format)
			b := []byte(c.text)
			if c.format != "json" {
				b = hexed(t, c.text)
			}
			for _, raw := range []bool{false, true} {
				if m, err := f.decode(b, MaxNesting, raw, &rawMessages{}); err == nil || err.Error() != c.want {
					t.Errorf("raw %v: got %v, %v; want %s", raw, m, err, c.want)
				}
			}
		})
	}
}

func formatOf(name string) *format {
	for _, f := range formats {
		if f.name == name {
			return f
		}
	}
	panic(name)
}

func TestWhatIsAMessage(t *testing.T) {
	for _, c := range []struct{ name, format, text, want string }{
		{"HELLO to no realm", "json", `[1,null,{}]`, "&{ map[]}"},
		{"endless lists, maps and text", "cbor", "9f 18 30 01 bf ff 7f 61 61 62 2e 62 ff 9f 01 bf 61 78 5f 41 01 ff ff ff bf 61 6b 9f ff ff ff",
			"&{1 map[] a.b [1 map[x:[1]]] map[k:[]]}"},
		{"an id as float64", "cbor", "84 18 30 fb 43 40 00 00 00 00 00 00 a0 61 61", "&{9007199254740992 map[] a [] map[]}"},
		{"an id as int64", "msgpack", "94 30 d3 00 20 00 00 00 00 00 00 80 a1 61", "&{9007199254740992 map[] a [] map[]}"},
		{"an id as float64", "msgpack", "94 30 cb 43 40 00 00 00 00 00 00 80 a1 61", "&{9007199254740992 map[] a [] map[]}"},
		{"64 bits", "cbor", cborOf5 + "82 1b ff ff ff ff ff ff ff ff 3b 7f ff ff ff ff ff ff ff", "&{1 map[] a.b [18446744073709551615 -9223372036854775808] map[]}"},
		{"64 bits", "msgpack", msgpOf5 + "92 cf ff ff ff ff ff ff ff ff d3 80 00 00 00 00 00 00 00", "&{1 map[] a.b [18446744073709551615 -9223372036854775808] map[]}"},
		{"64 bits", "json", `[48,1,{},"a.b",[18446744073709551615,-9223372036854775808]]`, "&{1 map[] a.b [18446744073709551615 -9223372036854775808] map[]}"},
		{"space everywhere", "json", " [ 48 ,\t1 , { \"timeout\" : 5 } , \"a\" , [ 1 , { } ] , { \"k\" : [ ] } ] \n", "&{1 map[timeout:5] a [1 map[]] map[k:[]]}"},
		{"escapes", "json", `[48,1,{},"a\u002eb",["\ud83d\ude00\n"]]`, "&{1 map[] a.b [😀\n] map[]}"},
		{"the tag without a meaning", "cbor", cborOf5 + "82 00 d9 d9 f7 80", "&{1 map[] a.b [0 []] map[]}"},
		{"numbers beyond 64 bits", "json", `[48,1,{},"a",[1e308,-123456789012345678901234567890,1e-999,0.` + strings.Repeat("0", 400) + `1]]`,
			"&{1 map[] a [1e+308 -1.2345678901234568e+29 0 0] map[]}"},
		{"a key twice", "json", `[48,1,{"x":1,"x":true},"a",[],{"k":1,"k":[]}]`, "&{1 map[x:true] a [] map[k:[]]}"},
		{"a key twice", "cbor", "86 18 30 01 a2 61 78 01 61 78 f5 61 61 80 a2 61 6b 01 61 6b 80", "&{1 map[x:true] a [] map[k:[]]}"},
		{"a key twice", "msgpack", "96 30 01 82 a1 78 01 a1 78 c3 a1 61 90 82 a1 6b 01 a1 6b 90", "&{1 map[x:true] a [] map[k:[]]}"},
		{"null for no args", "json", `[48,1,{},"a",null,{"k":1}]`, "&{1 map[] a [] map[k:1]}"},
		{"null for no args", "cbor", "86 18 30 01 a0 61 61 f6 a1 61 6b 01", "&{1 map[] a [] map[k:1]}"},
		{"null for no args", "msgpack", "96 30 01 80 a1 61 c0 81 a1 6b 01", "&{1 map[] a [] map[k:1]}"},
		{"null for nothing at all", "json", `[48,1,{},"a",null,null]`, "&{1 map[] a [] map[]}"},
		{"the deepest", "json", "[48,1,{},\"a\"," + strings.Repeat("[", 63) + strings.Repeat("]", 63) + "]",
			"&{1 map[] a " + strings.Repeat("[", 63) + strings.Repeat("]", 63) + " map[]}"},
	} {
		t.Run(c.format+" "+c.name, func(t *testing.T) {
			f := formatOf(c.format)
			b := []byte(c.text)
			if c.format != "json" {
				b = hexed(t, c.text)
			}
			m, err := f.decode(b, MaxNesting, false, nil)
			if err != nil || fmt.Sprint(m) != c.want {
				t.Errorf("got %v, %v; want %s", m, err, c.want)
			}
			agree(t, f, b)
		})
	}
}

// agree checks that what the undecoded path takes the decoder takes too, and
// that both find the same in it.
func agree(t testing.TB, f *format, b []byte) {
	t.Helper()
	if f.open(b, MaxNesting, &envelope{}) != nil {
		return
	}
	full, err := f.decode(bytes.Clone(b), MaxNesting, false, nil)
	if errors.Is(err, ErrCannotCarry) {
		refused(t, f, b)
		return
	}
	if err != nil {
		t.Fatalf("%s: the scanner takes % x, the decoder says %v", f.name, b, err)
	}
	raw, err := f.decode(b, MaxNesting, true, &rawMessages{})
	if err != nil {
		t.Fatalf("%s: % x is decoded, but not raw: %v", f.name, b, err)
	}
	switch raw.(type) {
	case *Call, *Yield, *Error:
	default:
		return
	}
	got, err := expanded(raw)
	if err != nil {
		t.Fatalf("%s: cannot expand % x: %v", f.name, b, err)
	}
	args, kwargs := payloadOf(got)
	wantArgs, wantKwargs := payloadOf(full)
	if !equal(*args, *wantArgs) || !equal(*kwargs, *wantKwargs) {
		t.Fatalf("%s: % x\nraw  %#v %#v\nfull %#v %#v", f.name, b, *args, *kwargs, *wantArgs, *wantKwargs)
	}
	passOn(t, f, raw, *args, *kwargs)
}

// refused checks that a payload which is not decoded is not passed on either.
func refused(t testing.TB, f *format, b []byte) {
	t.Helper()
	m, err := f.decode(b, MaxNesting, true, &rawMessages{})
	if err != nil {
		return
	}
	p := payloadIn(m)
	if !p.foreign { // in what is dropped, or there are very many values
		return
	}
	if _, _, err := p.Expand(); !errors.Is(err, ErrCannotCarry) {
		t.Fatalf("%s: % x is expanded: %v", f.name, b, err)
	}
	for _, to := range formats {
		if _, _, err := to.encode(nil, &Result{Payload: p}); !errors.Is(err, ErrCannotCarry) {
			t.Fatalf("%s: % x is passed on to %s: %v", f.name, b, to.name, err)
		}
	}
}

func payloadIn(m wamp.Message) Payload {
	switch m := m.(type) {
	case *Call:
		return m.Payload
	case *Yield:
		return m.Payload
	case *Error:
		return m.Payload
	}
	return Payload{}
}

func equal[T wamp.List | wamp.Dict](a, b T) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) || fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b) // NaN
}

// passOn writes the payload as a RESULT and an INVOCATION of the same
// serializer, and reads these.
func passOn(t testing.TB, f *format, raw wamp.Message, args wamp.List, kwargs wamp.Dict) {
	t.Helper()
	p := payloadIn(raw)
	for _, m := range []wamp.Message{
		&Result{Request: 300, Progress: true, Payload: p},
		&Error{Type: wamp.CALL, Request: 70000, URI: "x.y", Payload: p},
		&Invocation{Request: 1 << 40, Registration: 2, Caller: 1 << 53, AuthID: strings.Repeat("ü", 20), AuthRole: "owner", Timeout: 30000, Progress: true, Procedure: "crossbarfabriccenter.remote.a.b", Op: "a.b", Payload: p},
	} {
		head, rest, err := f.encode(nil, m)
		if err != nil {
			t.Fatalf("%s: %T: %v", f.name, m, err)
		}
		b := rest.appendTo(bytes.Clone(head))
		back, err := f.decode(b, MaxNesting+1, false, nil)
		if err != nil {
			t.Fatalf("%s: %T became % x: %v", f.name, m, b, err)
		}
		a, k := payloadOf(back)
		want := args
		if _, ok := m.(*Invocation); ok {
			want = append(wamp.List{"a.b"}, args...)
		}
		if !equal(*a, want) || !equal(*k, kwargs) {
			t.Fatalf("%s: %T carries %#v %#v, want %#v %#v", f.name, m, *a, *k, want, kwargs)
		}
	}
}

func TestTakingTheNodeOut(t *testing.T) {
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			whole := &wamp.Call{Request: 1, Options: wamp.Dict{}, Procedure: "a",
				Arguments: wamp.List{"n1", 2, wamp.List{"x"}}, ArgumentsKw: wamp.Dict{"a": 1, "node_id": "n2", "z": wamp.Dict{"node_id": "n3"}}}
			b, err := f.serialize(whole)
			if err != nil {
				t.Fatal(err)
			}
			m, err := f.decode(b, MaxNesting, true, &rawMessages{})
			if err != nil {
				t.Fatal(err)
			}
			p := m.(*Call).Payload
			if p.Args() != 3 || p.First() != "n1" {
				t.Errorf("first of %d is %v", p.Args(), p.First())
			}
			args, _, err := p.Rest().Expand()
			if fmt.Sprint(args) != "[2 [x]]" || err != nil {
				t.Errorf("rest %v, %v", args, err)
			}
			if v, n := p.Keyword("node_id"); v != "n2" || n != 1 {
				t.Errorf("keyword %v, %d times", v, n)
			}
			if v, n := p.Keyword("node"); v != nil || n != 0 {
				t.Errorf("keyword %v, %d times", v, n)
			}
			rest := p.WithoutKeyword("node_id")
			args, kwargs, err := rest.Expand()
			if fmt.Sprint(args, kwargs) != "[n1 2 [x]] map[a:1 z:map[node_id:n3]]" || err != nil {
				t.Errorf("without keyword %v %v, %v", args, kwargs, err)
			}
			passOn(t, f, &Call{Payload: rest}, args, kwargs)
			one := p.Rest().Rest().Rest()
			if one.Args() != 0 || one.First() != nil || one.Rest().Args() != 0 {
				t.Errorf("%d left", one.Args())
			}
		})
	}
}

// Decoded values must not lie in the read buffer, which the next message overwrites.
func TestDecodedValuesAreCopies(t *testing.T) {
	for _, f := range formats {
		b, err := f.serialize(&wamp.Publish{Request: 1, Options: wamp.Dict{}, Topic: "topic", Arguments: wamp.List{"text", []byte("bytes"), wamp.Dict{"key": "value"}}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := f.decode(b, MaxNesting, true, &rawMessages{})
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint(m)
		for i := range b {
			b[i] = 'x'
		}
		if got := fmt.Sprint(m); got != want {
			t.Errorf("%s: %s became %s", f.name, want, got)
		}
	}
}

func TestOptionsOfCall(t *testing.T) {
	for _, c := range []struct {
		options wamp.Dict
		want    Call
	}{
		{wamp.Dict{}, Call{}},
		{wamp.Dict{"timeout": 1500, "receive_progress": true, "disclose_me": "odd", "x": wamp.List{1}}, Call{Timeout: 1500, Progress: true}},
		{wamp.Dict{"timeout": nil, "receive_progress": nil}, Call{}},
		{wamp.Dict{"timeout": uint64(1) << 63}, Call{Timeout: maxID}},
		{wamp.Dict{"timeout": -1}, Call{BadOption: "timeout"}},
		{wamp.Dict{"timeout": "1"}, Call{BadOption: "timeout"}},
		{wamp.Dict{"timeout": 1.5}, Call{BadOption: "timeout"}},
		{wamp.Dict{"receive_progress": 1}, Call{BadOption: "receive_progress"}},
	} {
		for _, f := range formats {
			b, err := f.serialize(&wamp.Call{Request: 1, Options: c.options, Procedure: "a"})
			if err != nil {
				t.Fatal(err)
			}
			m, err := f.decode(b, MaxNesting, true, &rawMessages{})
			if err != nil {
				t.Fatal(err)
			}
			got := m.(*Call)
			if got.Timeout != c.want.Timeout || got.Progress != c.want.Progress || got.BadOption != c.want.BadOption {
				t.Errorf("%s: %v: got %+v", f.name, c.options, got)
			}
		}
	}
}
