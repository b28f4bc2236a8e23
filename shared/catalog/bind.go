package catalog

import (
	"context"
	"fmt"
	"strings"

	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Caller is who called, as the relay verified it.
type Caller struct {
	Session wamp.ID
	AuthID  string
	// Role is the member's role in the management realm; empty in the users realm.
	Role  wire.Role
	Realm string
	// Method is how the session logged in, "cryptosign" or "ticket"; empty where
	// that is not known.
	Method string
	// Procedure is the name by which a remote row was called, where its result
	// depends on that; else empty.
	Procedure string
}

// WantsNames is what the caller of a list says of names and oids. Who says
// nothing gets names, but by Crossbar.io's names of the rows, oids.
func (c Caller) WantsNames(said *bool) bool {
	if said != nil {
		return *said
	}
	return !c.ByCrossbarName()
}

// ByCrossbarName reports whether the caller used Crossbar.io's name of a row
// whose result has another shape there.
func (c Caller) ByCrossbarName() bool { return strings.HasPrefix(c.Procedure, wire.AliasPrefix) }

// Call is one call of a row, its payload not yet decoded.
type Call struct {
	Op     *Op
	Caller Caller
	Args   wamp.List // the row's own arguments, without the node
	Kwargs wamp.Dict
}

// Handler carries a row out. Its error becomes the caller's by cfcerr.Public.
type Handler func(ctx context.Context, c Call) (any, error)

// Table holds the handlers that one program has bound. It is filled before it
// is read, by one goroutine.
type Table struct{ handlers, crossbar map[*Op]Handler }

// NewTable makes an empty table.
func NewTable() *Table { return &Table{handlers: map[*Op]Handler{}, crossbar: map[*Op]Handler{}} }

// Bind attaches code to a row; a second binding is a defect and panics.
func Bind[In, Out any](t *Table, s Spec[In, Out], h func(context.Context, Caller, In) (Out, error)) {
	t.Set(s.Op, decoded(s, h))
}

// BindCrossbar attaches code to a row for callers who use Crossbar.io's name
// of it, under which its result has the shape that the row's field Crossbar tells.
func BindCrossbar[In, Out, Shape any](t *Table, s Spec[In, Out], h func(context.Context, Caller, In) (Shape, error)) {
	if s.Crossbar == "" {
		panic(fmt.Sprintf("catalog: %s has one shape under all its names", s.URI()))
	}
	set(t.crossbar, s.Op, decoded(s, h))
}

func decoded[In, Out, Shape any](s Spec[In, Out], h func(context.Context, Caller, In) (Shape, error)) Handler {
	return func(ctx context.Context, c Call) (any, error) {
		var in In
		if err := s.Decode(c.Args, c.Kwargs, &in); err != nil {
			return nil, err
		}
		return h(ctx, c.Caller, in)
	}
}

// Set attaches an undecoded handler, such as the one that forwards to the node.
func (t *Table) Set(o *Op, h Handler) { set(t.handlers, o, h) }

func set(handlers map[*Op]Handler, o *Op, h Handler) {
	if _, dup := handlers[o]; dup {
		panic(fmt.Sprintf("catalog: %s is bound twice", o.URI()))
	}
	handlers[o] = h
}

// Handler is what carries the row out here.
func (t *Table) Handler(o *Op) (Handler, bool) { h, ok := t.handlers[o]; return h, ok }

// HandlerFor is Handler for this caller, who may have used Crossbar.io's name.
func (t *Table) HandlerFor(o *Op, c Caller) (Handler, bool) {
	if h, ok := t.crossbar[o]; ok && c.ByCrossbarName() {
		return h, true
	}
	return t.Handler(o)
}

// Missing are the rows of the given kinds that nothing is bound to, under each
// of their names.
func (t *Table) Missing(kinds ...Realm) []string {
	var uris []string
	for _, o := range All() {
		for _, k := range kinds {
			_, ok := t.handlers[o]
			if _, alias := t.crossbar[o]; o.Realm == k && (!ok || o.Crossbar != "" && !alias) {
				uris = append(uris, o.URI())
			}
		}
	}
	return uris
}

// Check decodes the arguments of a row that is forwarded and drops the result:
// a bad call never reaches the node.
func (o *Op) Check(args wamp.List, kwargs wamp.Dict) error {
	return o.Decode(args, kwargs, newOf(o.in))
}
