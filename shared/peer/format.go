package peer

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/ugorji/go/codec"
)

// format is one serializer: a scanner and a decoder for what comes, nexus' own
// for messages that go out, and an encoder for those whose payload is passed on.
type format struct {
	name     string
	std      serialize.Serializer
	scan     scanner
	handle   codec.Handle
	decoders sync.Pool
}

var (
	cborFormat    = &format{name: "cbor", std: &serialize.CBORSerializer{}, scan: cborScanner{}, handle: cborHandle()}
	msgpackFormat = &format{name: "msgpack", std: &serialize.MessagePackSerializer{}, scan: msgpackScanner{}, handle: msgpackHandle()}
	jsonFormat    = &format{name: "json", std: &serialize.JSONSerializer{}, scan: jsonScanner{}, handle: jsonHandle()}

	// formats in the order in which a client offers them.
	formats = []*format{cborFormat, msgpackFormat, jsonFormat}
)

func (f *format) protocol() string { return "wamp.2." + f.name }

var dictType = reflect.TypeFor[map[string]any]()

// The handles differ from those of nexus in one thing: of a key that is there
// twice the last value counts. Nexus' decoders fail where the two are of
// different types, and to find such keys would cost more than to take them.

func cborHandle() codec.Handle {
	h := &codec.CborHandle{}
	h.MapType, h.InterfaceReset = dictType, true
	return h
}

func msgpackHandle() codec.Handle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.MapType, h.InterfaceReset = dictType, true
	return h
}

func jsonHandle() codec.Handle {
	h := &codec.JsonHandle{}
	h.MapType, h.InterfaceReset = dictType, true
	return h
}

// value decodes one item that was scanned.
func (f *format) value(b []byte) (v any, err error) {
	defer recovered(&err)
	d, ok := f.decoders.Get().(*codec.Decoder)
	if !ok {
		d = codec.NewDecoderBytes(nil, f.handle)
	}
	d.ResetBytes(b)
	if err = d.Decode(&v); err == nil {
		d.ResetBytes(nil) // the pool keeps no message
		f.decoders.Put(d)
	}
	if f == jsonFormat {
		v = binaryFromJSON(v)
	}
	return v, err
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("cannot decode: %v", p)
	}
}

// shapes are the messages: i an id, d a dict, u a URI or other text, n text or
// null, t a message type, L and K args and kwargs, which may be missing or null
// (what nexus' client sends for none), D a dict that may be missing.
var shapes = map[wamp.MessageType]string{
	wamp.HELLO: "nd", wamp.WELCOME: "id", wamp.ABORT: "duLK", wamp.CHALLENGE: "ud", wamp.AUTHENTICATE: "uD", wamp.GOODBYE: "duLK",
	wamp.ERROR: "tiduLK", wamp.PUBLISH: "iduLK", wamp.PUBLISHED: "ii",
	wamp.SUBSCRIBE: "idu", wamp.SUBSCRIBED: "ii", wamp.UNSUBSCRIBE: "iiD", wamp.UNSUBSCRIBED: "iD", wamp.EVENT: "iidLK",
	wamp.CALL: "iduLK", wamp.CANCEL: "id", wamp.RESULT: "idLK",
	wamp.REGISTER: "idu", wamp.REGISTERED: "ii", wamp.UNREGISTER: "iiD", wamp.UNREGISTERED: "iD",
	wamp.INVOCATION: "iidLK", wamp.INTERRUPT: "id", wamp.YIELD: "idLK",
}

const maxID = 1 << 53

// envelope is a message whose parts are found and checked, but not decoded.
type envelope struct {
	b    []byte
	f    *format
	typ  wamp.MessageType
	n    int
	part [8]item // part[0] is the type
}

func (f *format) open(b []byte, nesting int, e *envelope) error {
	e.b, e.f = b, f
	n, end, err := f.items(b, 0, nesting, false, e.part[:])
	if err != nil {
		return err
	}
	if f == jsonFormat {
		end = jsonSpace(b, end)
	}
	e.n = n
	switch {
	case end != len(b):
		return errMore
	case n < 2 || n > len(e.part) || e.part[0].kind != kindInt:
		return errList
	}
	typ, ok := f.scan.uint(e.bytes(0))
	if !ok {
		return errList
	}
	e.typ = wamp.MessageType(min(typ, 1000))
	shape, ok := shapes[e.typ]
	if !ok {
		return fmt.Errorf("no message has type %d", typ)
	}
	return e.check(shape)
}

func (e *envelope) bytes(i int) []byte { return e.b[e.part[i].from:e.part[i].to] }

func (e *envelope) check(shape string) error {
	if e.n-1 > len(shape) {
		return fmt.Errorf("%s has %d parts too many", e.typ, e.n-1-len(shape))
	}
	size := len(e.b) // without args and kwargs
	for i, want := range shape {
		if i+1 >= e.n {
			if want == 'L' || want == 'K' || want == 'D' {
				break
			}
			return fmt.Errorf("%s ends after %d parts", e.typ, e.n)
		}
		ok := false
		switch k := e.part[i+1].kind; want {
		case 'i', 't':
			if k == kindInt {
				v, whole := e.f.scan.uint(e.bytes(i + 1))
				ok = whole && v <= maxID
			}
		case 'd', 'D':
			ok = k == kindDict
		case 'K':
			ok = k == kindDict || k == kindNull
			size -= len(e.bytes(i + 1))
		case 'u':
			ok = k == kindString
		case 'n':
			ok = k == kindString || k == kindNull
		case 'L':
			ok = k == kindList || k == kindNull
			size -= len(e.bytes(i + 1))
		}
		if !ok {
			return fmt.Errorf("part %d of %s is of a wrong kind or size", i+1, e.typ)
		}
	}
	if size > MaxDetails {
		return fmt.Errorf("%s has %d bytes beside its arguments, at most %d are taken", e.typ, size, MaxDetails)
	}
	return nil
}

func (e *envelope) id(i int) wamp.ID {
	v, _ := e.f.scan.uint(e.bytes(i))
	return wamp.ID(v)
}

func (e *envelope) text(i int) string { return string(e.f.scan.text(e.bytes(i))) }

// payload is parts i and i+1, as far as they are there.
func (e *envelope) payload(i int) Payload {
	p := Payload{f: e.f}
	if i < e.n && e.part[i].kind != kindNull {
		p.args = e.f.bodyOf(e.bytes(i), false)
		p.holds(e.part[i])
	}
	if i+1 < e.n && e.part[i+1].kind != kindNull {
		p.kwargs = e.f.bodyOf(e.bytes(i+1), true)
		p.holds(e.part[i+1])
	}
	return p
}

// decode checks b and makes a message of it. Raw messages are written over
// those that came before.
func (f *format) decode(b []byte, nesting int, raw bool, keep *rawMessages) (wamp.Message, error) {
	var e envelope
	if err := f.open(b, nesting, &e); err != nil {
		return nil, err
	}
	if raw {
		if m := keep.fill(&e); m != nil {
			return m, nil
		}
	}
	if err := e.decodable(); err != nil {
		return nil, &refusal{e.about(), err}
	}
	return e.message()
}

// message decodes the parts into the fields of a message, which stand in the
// same order.
func (e *envelope) message() (wamp.Message, error) {
	m := wamp.NewMessage(e.typ)
	fields := reflect.ValueOf(m).Elem()
	for i := range min(fields.NumField(), e.n-1) {
		var v any
		switch e.part[i+1].kind {
		case kindNull:
			continue
		case kindInt:
			v = e.id(i + 1)
		case kindString:
			v = e.text(i + 1)
		default:
			var err error
			if v, err = e.f.value(e.bytes(i + 1)); err != nil {
				return nil, err
			}
		}
		fields.Field(i).Set(reflect.ValueOf(v).Convert(fields.Field(i).Type()))
	}
	return m, nil
}

// encode appends m to b; parts of it may stay where they are.
func (f *format) encode(b []byte, m wamp.Message) ([]byte, tail, error) {
	if r, ok := m.(rawMessage); ok {
		p := r.payload()
		if p.foreign {
			return b, tail{}, errForeign
		}
		if p.f == f || p.empty() {
			b, t := r.appendTo(&encoder{f: f, b: b})
			return b, t, nil
		}
		var err error
		if m, err = r.expand(); err != nil {
			return b, tail{}, err
		}
	}
	out, err := f.serialize(m)
	return append(b, out...), tail{}, err
}

// serialize has the result scanned, so that what nobody can read ends here and
// not the session of who gets it.
func (f *format) serialize(m wamp.Message) ([]byte, error) {
	b, err := f.marshal(m)
	if err != nil {
		return nil, notCarried(err.Error())
	}
	it, err := f.scan.skip(b, 0, MaxNesting)
	switch {
	case err != nil:
		return nil, notCarried(err.Error())
	case it.to != len(b):
		return nil, notCarried(errMore.Error())
	case it.foreign:
		return nil, errForeign
	}
	return b, nil
}

func (f *format) marshal(m wamp.Message) (b []byte, err error) {
	defer recovered(&err)
	if f == jsonFormat {
		m = withPayload(m, binaryToJSON)
	}
	return f.std.Serialize(m)
}
