// Package cfcerr is the failures of this product: one kind for each that a
// caller must be able to tell apart, and the one table from kind to WAMP URI
// and exit code.
//
// On the wire args[0] is a sentence for people, "cannot X: why", and kwargs
// hold what a program needs (node_id, since, reason, argument, expected, …).
// An error that is not of this package reaches a caller as Internal: with an
// id under which the log has its text, never with the text itself.
package cfcerr

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/google/uuid"
)

// Error is a failure that may be shown to its caller.
type Error struct {
	Kind    Kind
	Message string
	Details map[string]any

	uri   string // of a NodeError
	cause error
}

// New makes an error; the errors among the arguments of %w stay its causes.
func New(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Message: err.Error(), cause: err}
}

// Argument says which argument is wrong and what was expected.
func Argument(name, expected string) *Error {
	return New(InvalidArgument, "invalid argument %s: expected %s", name, expected).
		With("argument", name).With("expected", expected)
}

// With adds a detail for programs.
func (e *Error) With(key string, value any) *Error {
	d := maps.Clone(e.Details)
	if d == nil {
		d = map[string]any{}
	}
	d[key] = value
	c := *e
	c.Details = d
	return &c
}

// Error is the sentence for people.
func (e *Error) Error() string { return e.Message }

// Unwrap is the error as it was formatted, which wraps the causes.
func (e *Error) Unwrap() error { return e.cause }

// URI is the error's name on the wire.
func (e *Error) URI() string {
	if e.Kind == NodeError && e.uri != "" {
		return e.uri
	}
	return e.Kind.URI()
}

// Is makes errors.Is(err, cfcerr.Of(kind)) compare kinds.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Kind == e.Kind
}

// Of is a target for errors.Is.
func Of(k Kind) error { return &Error{Kind: k} }

// KindOf is the kind of err, Internal for a foreign one and 0 for nil.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Internal
}

// Public is err as its caller may see it. A foreign error becomes Internal
// with a fresh id; the caller of Public logs err under that id.
func Public(err error) (e *Error, id string) {
	if errors.As(err, &e) {
		return e, ""
	}
	switch KindOf(err) {
	case Timeout:
		return New(Timeout, "cannot finish in time: the deadline passed; what was done is not known"), ""
	case Canceled:
		return New(Canceled, "canceled by the caller"), ""
	}
	id = uuid.NewString()
	return New(Internal, "cannot carry this out: internal error %s; the log has it", id).With("id", id), id
}

// Args and Kwargs are the error's payload on the wire.
func (e *Error) Args() wamp.List { return wamp.List{e.Message} }

// Kwargs are what a program needs.
func (e *Error) Kwargs() wamp.Dict {
	if len(e.Details) == 0 {
		return nil
	}
	return wamp.Dict(maps.Clone(e.Details))
}

// Wamp is the ERROR that answers a failed request of type t.
func (e *Error) Wamp(t wamp.MessageType, request wamp.ID) *wamp.Error {
	return &wamp.Error{Type: t, Request: request, Details: wamp.Dict{}, Error: wamp.URI(e.URI()), Arguments: e.Args(), ArgumentsKw: e.Kwargs()}
}

// FromWamp reads an error off the wire; a URI that the table does not have is
// a NodeError that keeps it.
func FromWamp(uri string, args wamp.List, kwargs wamp.Dict) *Error {
	e := &Error{Kind: NodeError, uri: uri}
	if i, ok := byURI[uri]; ok {
		e.Kind = i.Kind
	}
	if len(args) > 0 && args[0] != nil {
		e.Message = fmt.Sprint(args[0])
	}
	if e.Message == "" {
		e.Message = uri
	}
	if len(kwargs) > 0 {
		e.Details = wamp.NormalizeDict(kwargs)
	}
	return e
}

// FromCall makes what nexus' client returns from a call into an error of this
// package where the far side answered, and leaves all else as it is.
func FromCall(err error) error {
	var rpc client.RPCError
	if errors.As(err, &rpc) && rpc.Err != nil {
		return FromWamp(string(rpc.Err.Error), rpc.Err.Arguments, rpc.Err.ArgumentsKw)
	}
	return err
}
