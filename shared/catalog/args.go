package catalog

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// OnWorker is embedded first in the arguments of every row of scope worker.
type OnWorker struct {
	Worker ObjectID `wamp:"worker_id" doc:"the worker"`
}

// Place is where an object of a worker is: the worker, the object that it
// belongs to, if any, and its id, empty where one is to be made up.
type Place struct{ Worker, Parent, ID string }

// Placed are arguments that name an object, or, in a row that lists objects,
// what they belong to.
type Placed interface{ Place() Place }

// Place is the worker itself.
func (w OnWorker) Place() Place { return Place{Worker: string(w.Worker)} }

// orEmpty is an id that may be null.
func orEmpty(id *ObjectID) string {
	if id == nil {
		return ""
	}
	return string(*id)
}

// Arg describes one argument, for docs, usage lines and decoding.
type Arg struct {
	Name, Doc string
	Pos       int // -1 for keyword-only
	Optional  bool
	Default   string // what an optional argument is when it is not given; empty for null or the type's zero
	Type      reflect.Type

	field []int
}

// argsOf reads the struct tags: `wamp:"name[,optional][,keyword]" default:"…" doc:"…"`.
// Positions follow the order of the fields; embedded structs come first.
func argsOf(t reflect.Type) ([]Arg, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("arguments are a struct, not %s", t)
	}
	var args []Arg
	pos := 0
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		tag := strings.Split(f.Tag.Get("wamp"), ",")
		a := Arg{Name: tag[0], Doc: f.Tag.Get("doc"), Default: f.Tag.Get("default"), Type: f.Type, field: f.Index,
			Optional: slices.Contains(tag[1:], "optional"), Pos: -1}
		switch {
		case a.Name == "" || a.Doc == "" || !f.IsExported():
			return nil, fmt.Errorf("field %s needs a name and a doc, and to be exported", f.Name)
		case slices.ContainsFunc(args, func(b Arg) bool { return b.Name == a.Name }):
			return nil, fmt.Errorf("argument %s is declared twice", a.Name)
		}
		if !slices.Contains(tag[1:], "keyword") {
			if a.Pos = pos; !a.Optional && slices.ContainsFunc(args, func(b Arg) bool { return b.Optional && b.Pos >= 0 }) {
				return nil, fmt.Errorf("argument %s is required but comes after an optional one", a.Name)
			}
			pos++
		}
		if expected(a.Type) == "" {
			return nil, fmt.Errorf("argument %s: type %s cannot be decoded", a.Name, a.Type)
		}
		if a.Default != "" {
			if err := setDefault(reflect.New(a.Type).Elem(), a); err != nil {
				return nil, err
			}
		}
		args = append(args, a)
	}
	return args, nil
}

// Expected says in words what the argument must be.
func (a Arg) Expected() string { return expected(a.Type) }

// Nullable reports whether null is a value of the argument.
func (a Arg) Nullable() bool { return a.Type.Kind() == reflect.Pointer }

// Usage is how the argument stands in a signature.
func (a Arg) Usage() string {
	if !a.Optional {
		return a.Name
	}
	if a.Default != "" {
		return a.Name + "=" + a.Default
	}
	switch a.Type.Kind() {
	case reflect.Map:
		return a.Name + "={}"
	case reflect.Slice:
		return a.Name + "=[]"
	case reflect.Bool:
		return a.Name + "=false"
	}
	return a.Name + "=null"
}

// Signature is the call as docs show it, the node first for a remote row.
func (o *Op) Signature() string {
	var parts []string
	if o.Realm == Remote {
		parts = append(parts, "node_id")
	}
	star := false
	for _, a := range o.args {
		if a.Pos < 0 && !star {
			parts, star = append(parts, "*"), true
		}
		parts = append(parts, a.Usage())
	}
	return o.URI() + "(" + strings.Join(parts, ", ") + ")"
}
