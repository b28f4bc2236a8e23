package peer

import (
	"errors"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// MaxItems is how many values, keys and lists one message may have that is
// decoded, or encoded anew for another serializer: a byte on the wire can take
// 100 and more in memory. Payloads that are passed on as they came have no such
// limit.
const MaxItems = 200_000

// ErrCannotCarry is what errors.Is finds in an error about a message that is
// not sent, or a payload that is not decoded, because of what is in it: a value
// that not every serializer has (a CBOR tag, a MessagePack extension, what no
// decoder would take), too many of them, or too many bytes. The connection lives on.
var ErrCannotCarry = errors.New("cannot carry this message")

// notCarried says why.
type notCarried string

func (e notCarried) Error() string        { return string(e) }
func (e notCarried) Is(target error) bool { return target == ErrCannotCarry }

const (
	errForeign = notCarried("it has a tagged or extension value, which not every serializer has")
	errItems   = notCarried("it has more than 200,000 values")
)

func (p Payload) decodable() error {
	switch {
	case p.foreign:
		return errForeign
	case p.items > MaxItems:
		return errItems
	}
	return nil
}

func (e *envelope) decodable() error {
	var p Payload
	for _, it := range e.part[:e.n] {
		p.holds(it)
	}
	return p.decodable()
}

// refusal is about a message that came and is not decoded. Nobody's session is
// to end because of what somebody else has put into a message, so whoever waits
// for something gets an error in its place.
type refusal struct {
	about
	why error
}

func (r *refusal) Error() string { return r.why.Error() }
func (r *refusal) Unwrap() error { return r.why }

// about is what is known of a message without decoding it.
type about struct {
	typ     wamp.MessageType
	request wamp.ID
	answer  bool // the far side waits for an answer
	of      wamp.MessageType
	uri     wamp.URI
}

func (e *envelope) about() about {
	a := about{typ: e.typ}
	switch e.typ {
	case wamp.CALL, wamp.SUBSCRIBE, wamp.UNSUBSCRIBE, wamp.REGISTER, wamp.UNREGISTER, wamp.INVOCATION:
		a.request, a.answer = e.id(1), true
	case wamp.PUBLISH:
		a.request = e.id(1)
		e.pairs(2, func(key, value []byte, k itemKind) {
			if string(key) == wamp.OptAcknowledge && k == kindBool {
				a.answer = e.f.scan.bool(value)
			}
		})
	case wamp.RESULT:
		a.request = e.id(1)
	case wamp.ERROR:
		a.of, a.request, a.uri = wamp.MessageType(e.id(1)), e.id(2), wamp.URI(e.text(4))
	}
	return a
}

// refuse answers the far side, or gives what is received instead; an error
// where the message can only be a breach of protocol.
func (c *Conn) refuse(r *refusal) (instead wamp.Message, err error) {
	if !c.welcomed.Load() {
		return nil, r.why
	}
	switch {
	case r.answer:
		e := cfcerr.New(cfcerr.InvalidArgument, "cannot take this %s: %w", r.typ, r.why).
			With("argument", "args").With("expected", "at most 200,000 values that JSON, MessagePack and CBOR all have")
		_ = c.batch.Write(c, e.Wamp(r.typ, r.request))
	case r.typ == wamp.PUBLISH, r.typ == wamp.EVENT: // nobody waits
	case r.typ == wamp.RESULT:
		return cfcerr.New(cfcerr.NotSupported, "cannot take the answer: %w", r.why).Wamp(wamp.CALL, r.request), nil
	case r.typ == wamp.ERROR:
		return &wamp.Error{Type: r.of, Request: r.request, Details: wamp.Dict{}, Error: r.uri,
			Arguments: wamp.List{"cannot take the text of this error: " + r.why.Error()}}, nil
	default:
		return nil, r.why
	}
	return nil, nil
}
