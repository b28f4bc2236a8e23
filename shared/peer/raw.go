package peer

import (
	"github.com/gammazero/nexus/v3/wamp"
)

// Call is a CALL with its options read and its payload undecoded.
type Call struct {
	Request   wamp.ID
	Procedure wamp.URI
	Timeout   int64 // ms, 0 when there is none
	Progress  bool  // receive_progress
	BadOption string
	Payload
}

// Yield is a YIELD with its payload undecoded.
type Yield struct {
	Request  wamp.ID
	Progress bool
	Payload
}

// Error is an ERROR with its payload undecoded; its details are dropped.
type Error struct {
	Type    wamp.MessageType
	Request wamp.ID
	URI     wamp.URI
	Payload
}

// Invocation is an INVOCATION of the operation Op: args are Op and then those
// of the payload.
type Invocation struct {
	Request, Registration wamp.ID
	Caller                wamp.ID
	AuthID, AuthRole      string
	Timeout               int64  // ms
	Progress              bool   // receive_progress
	Procedure             string // by which name it was called, where the agent is to know; else empty
	Op                    string
	Payload
}

// Result is a RESULT that passes a payload on.
type Result struct {
	Request  wamp.ID
	Progress bool
	Payload
}

// MessageType makes them messages.
func (*Call) MessageType() wamp.MessageType       { return wamp.CALL }
func (*Yield) MessageType() wamp.MessageType      { return wamp.YIELD }
func (*Error) MessageType() wamp.MessageType      { return wamp.ERROR }
func (*Invocation) MessageType() wamp.MessageType { return wamp.INVOCATION }
func (*Result) MessageType() wamp.MessageType     { return wamp.RESULT }

// rawMessages are written over by each message that comes in.
type rawMessages struct {
	call  Call
	yield Yield
	err   Error
}

// fill makes a raw message, nil for one that has no payload to pass on.
func (r *rawMessages) fill(e *envelope) wamp.Message {
	switch e.typ {
	case wamp.CALL:
		r.call = Call{Request: e.id(1), Procedure: wamp.URI(e.text(3)), Payload: e.payload(4)}
		r.call.options(e)
		return &r.call
	case wamp.YIELD:
		r.yield = Yield{Request: e.id(1), Payload: e.payload(3)}
		e.pairs(2, func(key, value []byte, k itemKind) {
			if string(key) == wamp.OptProgress && k == kindBool {
				r.yield.Progress = e.f.scan.bool(value)
			}
		})
		return &r.yield
	case wamp.ERROR:
		r.err = Error{Type: wamp.MessageType(e.id(1)), Request: e.id(2), URI: wamp.URI(e.text(4)), Payload: e.payload(5)}
		return &r.err
	}
	return nil
}

// options reads those of a CALL that mean something here; null is as good as none.
func (c *Call) options(e *envelope) {
	e.pairs(2, func(key, value []byte, k itemKind) {
		switch string(key) {
		case wamp.OptTimeout:
			if k == kindNull {
				return
			}
			v, ok := uint64(0), false
			if k == kindInt {
				v, ok = e.f.scan.uint(value)
			}
			if !ok {
				c.BadOption = wamp.OptTimeout
				return
			}
			c.Timeout = int64(min(v, maxID))
		case wamp.OptReceiveProgress:
			if k == kindBool {
				c.Progress = e.f.scan.bool(value)
			} else if k != kindNull {
				c.BadOption = wamp.OptReceiveProgress
			}
		}
	})
}

// pairs walks the dict in part i.
func (e *envelope) pairs(i int, f func(key, value []byte, k itemKind)) {
	p := Payload{f: e.f, kwargs: e.f.bodyOf(e.bytes(i), true)}
	p.pairs(func(key, value []byte, k itemKind, _ []byte) { f(e.f.scan.text(key), value, k) })
}

// rawMessage is what encode can pass on without decoding it.
type rawMessage interface {
	wamp.Message
	payload() *Payload
	appendTo(e *encoder) ([]byte, tail)
	expand() (wamp.Message, error)
}

func (m *Invocation) payload() *Payload { return &m.Payload }
func (m *Result) payload() *Payload     { return &m.Payload }
func (m *Error) payload() *Payload      { return &m.Payload }

func (m *Invocation) appendTo(e *encoder) ([]byte, tail) {
	n := 4
	if m.Progress {
		n++
	}
	if m.Procedure != "" {
		n++
	}
	e.message(wamp.INVOCATION, 5, m.kwargs.n > 0)
	e.uint(uint64(m.Request)).uint(uint64(m.Registration))
	e.dict(n).key("caller").uint(uint64(m.Caller)).key("caller_authid").str(m.AuthID).
		key("caller_authrole").str(m.AuthRole).key("timeout").uint(uint64(m.Timeout))
	if m.Progress {
		e.key("receive_progress").bool(true)
	}
	if m.Procedure != "" {
		e.key("procedure").str(m.Procedure)
	}
	e.end('}').list(1 + m.args.n).str(m.Op)
	return e.finish(m.Payload)
}

func (m *Result) appendTo(e *encoder) ([]byte, tail) {
	parts := 3
	if !m.empty() {
		parts = 4
	}
	e.message(wamp.RESULT, parts, m.kwargs.n > 0)
	e.uint(uint64(m.Request))
	if m.Progress {
		e.dict(1).key("progress").bool(true).end('}')
	} else {
		e.dict(0).end('}')
	}
	if m.empty() {
		return e.end(']').b, tail{}
	}
	e.list(m.args.n)
	return e.finish(m.Payload)
}

func (m *Error) appendTo(e *encoder) ([]byte, tail) {
	parts := 5
	if !m.empty() {
		parts = 6
	}
	e.message(wamp.ERROR, parts, m.kwargs.n > 0)
	e.uint(uint64(m.Type)).uint(uint64(m.Request)).dict(0).end('}').str(string(m.URI))
	if m.empty() {
		return e.end(']').b, tail{}
	}
	e.list(m.args.n)
	return e.finish(m.Payload)
}

func (m *Invocation) expand() (wamp.Message, error) {
	args, kwargs, err := m.Expand()
	d := wamp.Dict{"caller": m.Caller, "caller_authid": m.AuthID, "caller_authrole": m.AuthRole, "timeout": m.Timeout}
	if m.Progress {
		d["receive_progress"] = true
	}
	if m.Procedure != "" {
		d["procedure"] = m.Procedure
	}
	return &wamp.Invocation{Request: m.Request, Registration: m.Registration, Details: d,
		Arguments: append(wamp.List{m.Op}, args...), ArgumentsKw: kwargs}, err
}

func (m *Result) expand() (wamp.Message, error) {
	args, kwargs, err := m.Expand()
	d := wamp.Dict{}
	if m.Progress {
		d["progress"] = true
	}
	return &wamp.Result{Request: m.Request, Details: d, Arguments: args, ArgumentsKw: kwargs}, err
}

func (m *Error) expand() (wamp.Message, error) {
	args, kwargs, err := m.Expand()
	return &wamp.Error{Type: m.Type, Request: m.Request, Details: wamp.Dict{}, Error: m.URI, Arguments: args, ArgumentsKw: kwargs}, err
}

// expanded is m as others know it, with nothing undecoded.
func expanded(m wamp.Message) (wamp.Message, error) {
	switch m := m.(type) {
	case *Call:
		args, kwargs, err := m.Expand()
		o := wamp.Dict{}
		if m.Timeout > 0 {
			o[wamp.OptTimeout] = m.Timeout
		}
		if m.Progress {
			o[wamp.OptReceiveProgress] = true
		}
		return &wamp.Call{Request: m.Request, Options: o, Procedure: m.Procedure, Arguments: args, ArgumentsKw: kwargs}, err
	case *Yield:
		args, kwargs, err := m.Expand()
		o := wamp.Dict{}
		if m.Progress {
			o[wamp.OptProgress] = true
		}
		return &wamp.Yield{Request: m.Request, Options: o, Arguments: args, ArgumentsKw: kwargs}, err
	case rawMessage:
		return m.expand()
	}
	return m, nil
}
