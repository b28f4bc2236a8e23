package peer

import "github.com/gammazero/nexus/v3/wamp"

// Size is how many bytes the payload has on the wire.
func (p Payload) Size() int { return len(p.args.b) + len(p.kwargs.b) }

// For is the payload as c will write it: itself where both sides speak the
// same serializer, else transcoded into memory of its own. A message made of
// it costs no more than copying, which may be done under a lock.
func (p Payload) For(c *Conn) (Payload, error) {
	switch {
	case p.foreign:
		return Payload{}, errForeign
	case p.f == c.format, p.empty():
		return p, nil
	}
	return c.format.payload(&Result{Payload: p})
}

// Payload encodes arguments as c will write them, for the use of every
// connection with the same serializer.
func (c *Conn) Payload(args wamp.List) (Payload, error) {
	return c.format.payload(&wamp.Result{Details: wamp.Dict{}, Arguments: args})
}

// payload is that of a RESULT in this format.
func (f *format) payload(m wamp.Message) (Payload, error) {
	b, rest, err := f.encode(nil, m)
	if err != nil {
		return Payload{}, err
	}
	var e envelope
	if err := f.open(rest.appendTo(b), MaxNesting, &e); err != nil {
		return Payload{}, err
	}
	return e.payload(3), nil
}

// Event is an EVENT of a payload that many get.
type Event struct {
	Subscription, Publication wamp.ID
	Topic                     string // told to those who subscribed by a pattern
	Payload
}

// MessageType makes it a message.
func (*Event) MessageType() wamp.MessageType { return wamp.EVENT }

func (m *Event) payload() *Payload { return &m.Payload }

func (m *Event) appendTo(e *encoder) ([]byte, tail) {
	parts := 4
	if !m.empty() {
		parts = 5
	}
	e.message(wamp.EVENT, parts, m.kwargs.n > 0)
	e.uint(uint64(m.Subscription)).uint(uint64(m.Publication))
	if m.Topic == "" {
		e.dict(0).end('}')
	} else {
		e.dict(1).key("topic").str(m.Topic).end('}')
	}
	if m.empty() {
		return e.end(']').b, tail{}
	}
	e.list(m.args.n)
	return e.finish(m.Payload)
}

func (m *Event) expand() (wamp.Message, error) {
	args, kwargs, err := m.Expand()
	d := wamp.Dict{}
	if m.Topic != "" {
		d["topic"] = m.Topic
	}
	return &wamp.Event{Subscription: m.Subscription, Publication: m.Publication, Details: d, Arguments: args, ArgumentsKw: kwargs}, err
}
