package peer

import (
	"encoding/binary"
	"encoding/json"
	"strconv"

	"github.com/gammazero/nexus/v3/wamp"
)

// encoder appends the few things that raw messages are made of. Lists and
// dicts are closed by end, which only JSON needs.
type encoder struct {
	f *format
	b []byte
}

// tail is what follows the head of a frame: bodies that stay where they are
// until they are copied into the queue, and what stands between them.
type tail struct{ args, mid, kwargs, end []byte }

func (t *tail) len() int { return len(t.args) + len(t.mid) + len(t.kwargs) + len(t.end) }

func (t *tail) appendTo(b []byte) []byte {
	b = append(b, t.args...)
	b = append(b, t.mid...)
	b = append(b, t.kwargs...)
	return append(b, t.end...)
}

// sep puts what JSON has between items.
func (e *encoder) sep() *encoder {
	if e.f != jsonFormat || len(e.b) == 0 {
		return e
	}
	switch e.b[len(e.b)-1] {
	case '[', '{', ':', ',':
	default:
		e.b = append(e.b, ',')
	}
	return e
}

func (e *encoder) message(t wamp.MessageType, parts int, kwargs bool) {
	if kwargs {
		parts++
	}
	e.list(parts).uint(uint64(t))
}

func (e *encoder) list(n int) *encoder {
	switch e.sep(); e.f {
	case cborFormat:
		e.b = cborAppend(e.b, 4, uint64(n))
	case msgpackFormat:
		e.b = msgpackAppend(e.b, 0x90, 0xdc, n)
	default:
		e.b = append(e.b, '[')
	}
	return e
}

func (e *encoder) dict(n int) *encoder {
	switch e.sep(); e.f {
	case cborFormat:
		e.b = cborAppend(e.b, 5, uint64(n))
	case msgpackFormat:
		e.b = msgpackAppend(e.b, 0x80, 0xde, n)
	default:
		e.b = append(e.b, '{')
	}
	return e
}

func (e *encoder) end(c byte) *encoder {
	if e.f == jsonFormat {
		e.b = append(e.b, c)
	}
	return e
}

func (e *encoder) uint(v uint64) *encoder {
	switch e.sep(); e.f {
	case cborFormat:
		e.b = cborAppend(e.b, 0, v)
	case msgpackFormat:
		switch {
		case v < 0x80:
			e.b = append(e.b, byte(v))
		case v <= 0xff:
			e.b = append(e.b, 0xcc, byte(v))
		case v <= 0xffff:
			e.b = binary.BigEndian.AppendUint16(append(e.b, 0xcd), uint16(v))
		case v <= 0xffffffff:
			e.b = binary.BigEndian.AppendUint32(append(e.b, 0xce), uint32(v))
		default:
			e.b = binary.BigEndian.AppendUint64(append(e.b, 0xcf), v)
		}
	default:
		e.b = strconv.AppendUint(e.b, v, 10)
	}
	return e
}

func (e *encoder) bool(v bool) *encoder {
	switch e.sep(); e.f {
	case cborFormat:
		e.b = append(e.b, 0xf4+b2i(v))
	case msgpackFormat:
		e.b = append(e.b, 0xc2+b2i(v))
	default:
		e.b = strconv.AppendBool(e.b, v)
	}
	return e
}

func b2i(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// key appends the key of a dict.
func (e *encoder) key(s string) *encoder {
	if e.str(s); e.f == jsonFormat {
		e.b = append(e.b, ':')
	}
	return e
}

func (e *encoder) str(s string) *encoder {
	switch e.f {
	case cborFormat:
		e.b = append(cborAppend(e.b, 3, uint64(len(s))), s...)
	case msgpackFormat:
		if n := len(s); n >= 32 && n <= 0xff {
			e.b = append(e.b, 0xd9, byte(n))
		} else {
			e.b = msgpackAppendSized(e.b, 0xa0, 32, 0xda, n)
		}
		e.b = append(e.b, s...)
	default:
		q, _ := json.Marshal(s)
		e.sep()
		e.b = append(e.b, q...)
	}
	return e
}

func (e *encoder) body(p body) *encoder {
	e.b = append(e.b, p.b...)
	return e
}

// finish closes a message whose list of args is open, with p.
func (e *encoder) finish(p Payload) ([]byte, tail) {
	t := tail{args: p.args.b}
	if p.args.n > 0 {
		e.sep()
	}
	head := len(e.b)
	e.end(']')
	if p.kwargs.n > 0 {
		e.dict(p.kwargs.n / 2)
		t.kwargs = p.kwargs.b
	}
	mid := len(e.b)
	if p.kwargs.n > 0 {
		e.end('}')
	}
	e.end(']')
	t.mid, t.end = e.b[head:mid], e.b[mid:]
	return e.b[:head], t
}

func cborAppend(b []byte, major byte, v uint64) []byte {
	major <<= 5
	switch {
	case v < 24:
		return append(b, major|byte(v))
	case v <= 0xff:
		return append(b, major|24, byte(v))
	case v <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(v))
	case v <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), v)
}

func msgpackAppend(b []byte, small, large byte, n int) []byte {
	return msgpackAppendSized(b, small, 16, large, n)
}

func msgpackAppendSized(b []byte, small byte, limit int, large byte, n int) []byte {
	switch {
	case n < limit:
		return append(b, small|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, large), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, large+1), uint32(n))
}
