package peer

import (
	"github.com/gammazero/nexus/v3/wamp"
)

// Payload is args and kwargs of a message as they came, undecoded. It belongs
// to the message that it came with and is valid as long as that is.
type Payload struct {
	f       *format
	args    body
	kwargs  body
	foreign bool
	items   int
}

// holds takes note of what is in args or kwargs.
func (p *Payload) holds(it item) {
	p.foreign = p.foreign || it.foreign
	p.items += it.count
}

// body is the inside of a list or dict: items without head and end.
type body struct {
	b []byte
	n int // how many items; keys and values of a dict both count
}

func (f *format) bodyOf(b []byte, dict bool) body {
	n, at, _ := f.scan.open(b, 0, dict) // it was scanned
	end := len(b)
	if n < 0 {
		n, _, _ = f.items(b, 0, MaxNesting, dict, nil)
		end-- // the break, or the bracket
	}
	return body{b[at:end], n}
}

func (p Payload) empty() bool { return p.args.n == 0 && p.kwargs.n == 0 }

// Args is the number of positional arguments.
func (p Payload) Args() int { return p.args.n }

// maxText is how long a text may be that is decoded of a payload, in bytes on
// the wire: names are shorter, and nothing else is looked at.
const maxText = 1 << 10

// First is args[0] where that is a short text, else nil.
func (p Payload) First() any {
	it := p.first()
	return p.f.decodeItem(p.args.b[it.from:it.to], it.kind)
}

func (p Payload) first() item {
	if p.args.n == 0 {
		return item{}
	}
	it, _ := p.f.scan.skip(p.args.b, 0, MaxNesting) // it was scanned
	return it
}

func (f *format) decodeItem(b []byte, k itemKind) any {
	if k != kindString || len(b) > maxText {
		return nil
	}
	if f != jsonFormat {
		return string(f.scan.text(b))
	}
	v, _ := f.value(b)
	return v
}

// Rest is the payload without args[0].
func (p Payload) Rest() Payload {
	end := p.first().to
	p.args.n = max(0, p.args.n-1)
	p.args.b = p.args.b[end:]
	if p.f == jsonFormat {
		if at := jsonSpace(p.args.b, 0); at < len(p.args.b) { // a comma
			p.args.b = p.args.b[at+1:]
		}
	}
	return p
}

// Keyword is a keyword argument as First gives it, and how often it is there.
func (p Payload) Keyword(name string) (v any, times int) {
	p.pairs(func(key, value []byte, k itemKind, _ []byte) {
		if string(p.f.scan.text(key)) == name {
			v, times = p.f.decodeItem(value, k), times+1
		}
	})
	return v, times
}

// WithoutKeyword is the payload without a keyword argument.
func (p Payload) WithoutKeyword(name string) Payload {
	rest := body{}
	p.pairs(func(key, _ []byte, _ itemKind, pair []byte) {
		if string(p.f.scan.text(key)) == name {
			return
		}
		if rest.n > 0 && p.f == jsonFormat {
			rest.b = append(rest.b, ',')
		}
		rest.b = append(rest.b, pair...)
		rest.n += 2
	})
	p.kwargs = rest
	return p
}

// pairs walks the keyword arguments.
func (p Payload) pairs(f func(key, value []byte, k itemKind, pair []byte)) {
	b, at := p.kwargs.b, 0
	for n := 0; n < p.kwargs.n; n += 2 {
		var it [2]item
		for i := range it {
			if p.f == jsonFormat {
				at = jsonSpace(b, at)
				if n+i > 0 && at < len(b) { // comma or colon
					at = jsonSpace(b, at+1)
				}
			}
			var err error
			if it[i], err = p.f.scan.skip(b, at, MaxNesting); err != nil {
				return
			}
			at = it[i].to
		}
		key, value := it[0], it[1]
		f(b[key.from:key.to], b[value.from:value.to], value.kind, b[key.from:value.to])
	}
}

// Expand decodes all of it. An error is ErrCannotCarry.
func (p Payload) Expand() (wamp.List, wamp.Dict, error) {
	if err := p.decodable(); err != nil {
		return nil, nil, err
	}
	args, kwargs, err := p.values()
	if err != nil {
		err = notCarried(err.Error())
	}
	return args, kwargs, err
}

func (p Payload) values() (wamp.List, wamp.Dict, error) {
	var list wamp.List
	var dict wamp.Dict
	if p.args.n > 0 {
		v, err := p.f.value((&encoder{f: p.f}).list(p.args.n).body(p.args).end(']').b)
		if err != nil {
			return nil, nil, err
		}
		list, _ = v.([]any)
	}
	if p.kwargs.n > 0 {
		v, err := p.f.value((&encoder{f: p.f}).dict(p.kwargs.n / 2).body(p.kwargs).end('}').b)
		if err != nil {
			return nil, nil, err
		}
		dict, _ = v.(map[string]any)
	}
	return list, dict, nil
}
