package peer

import (
	"fmt"

	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
)

// format is one serializer.
type format struct {
	name string
	std  serialize.Serializer
}

var (
	cborFormat    = &format{name: "cbor", std: &serialize.CBORSerializer{}}
	msgpackFormat = &format{name: "msgpack", std: &serialize.MessagePackSerializer{}}
	jsonFormat    = &format{name: "json", std: &serialize.JSONSerializer{}}

	// formats in the order in which a client offers them.
	formats = []*format{cborFormat, msgpackFormat, jsonFormat}
)

func (f *format) protocol() string { return "wamp.2." + f.name }

type rawMessages struct{}

type tail struct{}

func (tail) len() int                 { return 0 }
func (tail) appendTo(b []byte) []byte { return b }

func (f *format) encode(b []byte, m wamp.Message) ([]byte, tail, error) {
	out, err := f.std.Serialize(m)
	return append(b, out...), tail{}, err
}

func (f *format) decode(b []byte, nesting int, raw bool, _ *rawMessages) (m wamp.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot decode: %v", p)
		}
	}()
	return f.std.Deserialize(b)
}

func expanded(m wamp.Message) (wamp.Message, error) { return m, nil }
