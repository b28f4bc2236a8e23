package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// Decode puts args and kwargs into the struct behind in, a pointer to the
// row's argument type. The rules: an argument comes by position or by name, not
// both; nothing superfluous; a required one is there; null is a value of
// pointer types and any only, and for an optional one means that it is not given;
// integers come in any numeric type without a fraction; a type with a form is
// checked; the keys of dicts are strings, and dicts and lists inside a value
// arrive as wamp.Dict and wamp.List, whatever the serializer made of them.
// Every fault is an InvalidArgument that names argument and expectation.
func (o *Op) Decode(args wamp.List, kwargs wamp.Dict, in any) error {
	dst := reflect.ValueOf(in).Elem()
	positional := 0
	for _, a := range o.args {
		if a.Pos >= 0 {
			positional++
		}
		v, given, err := a.pick(args, kwargs)
		if err != nil {
			return err
		}
		field := dst.FieldByIndex(a.field)
		switch {
		case given && (v != nil || a.Nullable() && !a.Optional || a.Type.Kind() == reflect.Interface):
			if err := assign(field, v, a.Name); err != nil {
				return err
			}
		case given && v == nil && a.Nullable():
		case !a.Optional:
			return cfcerr.Argument(a.Name, a.Expected())
		case a.Default != "":
			if err := setDefault(field, a); err != nil {
				return err
			}
		}
	}
	if len(args) > positional {
		return cfcerr.Argument(fmt.Sprintf("args[%d]", positional), fmt.Sprintf("at most %d arguments: %s", positional, o.Signature()))
	}
	for _, name := range slices.Sorted(maps.Keys(kwargs)) {
		if !o.takes(name) {
			return cfcerr.Argument(name, "only the arguments of "+o.Signature())
		}
	}
	return nil
}

func (o *Op) takes(name string) bool {
	for _, a := range o.args {
		if a.Name == name {
			return true
		}
	}
	return false
}

func (a Arg) pick(args wamp.List, kwargs wamp.Dict) (v any, given bool, err error) {
	named, byName := kwargs[a.Name]
	if a.Pos >= 0 && a.Pos < len(args) {
		if byName {
			return nil, false, cfcerr.Argument(a.Name, "the argument once, by position or by name")
		}
		return args[a.Pos], true, nil
	}
	return named, byName, nil
}

// expected says in words what a value of the type is; empty where the type is
// none that Decode knows.
func expected(t reflect.Type) string {
	if t.Kind() != reflect.Pointer && t.Implements(checker) {
		return reflect.Zero(t).Interface().(Checker).Form()
	}
	switch t.Kind() {
	case reflect.Pointer:
		if e := expected(t.Elem()); e != "" {
			return e + ", or null"
		}
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "an integer"
	case reflect.Float64:
		return "a number"
	case reflect.Map:
		if reflect.TypeFor[map[string]any]().ConvertibleTo(t) {
			return "a dict"
		}
	case reflect.Slice:
		if t.Elem() == reflect.TypeFor[any]() {
			return "a list"
		}
		if e := expected(t.Elem()); e != "" {
			return "a list, each item " + e
		}
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return "any value"
		}
	}
	return ""
}

func assign(dst reflect.Value, v any, name string) error {
	bad := func() error { return cfcerr.Argument(name, expected(dst.Type())) }
	switch dst.Kind() {
	case reflect.Pointer:
		if v == nil {
			return nil
		}
		p := reflect.New(dst.Type().Elem())
		if err := assign(p.Elem(), v, name); err != nil {
			return err
		}
		dst.Set(p)
		return nil
	case reflect.String:
		s, ok := v.(string)
		if !ok {
			return bad()
		}
		dst.SetString(s)
	case reflect.Bool:
		b, ok := v.(bool)
		if !ok {
			return bad()
		}
		dst.SetBool(b)
	case reflect.Int, reflect.Int64:
		i, ok := integer(v)
		if !ok {
			return bad()
		}
		dst.SetInt(i)
	case reflect.Float64:
		f, ok := float(v)
		if !ok {
			return bad()
		}
		dst.SetFloat(f)
	case reflect.Map:
		n, ok := normal(v)
		d, isDict := n.(wamp.Dict)
		if !ok || !isDict {
			return bad()
		}
		dst.Set(reflect.ValueOf(map[string]any(d)).Convert(dst.Type()))
	case reflect.Slice:
		return assignList(dst, v, name)
	case reflect.Interface:
		n, ok := normal(v)
		if !ok {
			return bad()
		}
		if n != nil {
			dst.Set(reflect.ValueOf(n))
		}
	default:
		return bad()
	}
	if c, ok := dst.Interface().(Checker); ok && !c.Valid() {
		return bad()
	}
	return nil
}

func assignList(dst reflect.Value, v any, name string) error {
	n, ok := normal(v)
	l, isList := n.(wamp.List)
	if !ok || !isList {
		return cfcerr.Argument(name, expected(dst.Type()))
	}
	out := reflect.MakeSlice(dst.Type(), len(l), len(l))
	for i, x := range l {
		if err := assign(out.Index(i), x, fmt.Sprintf("%s[%d]", name, i)); err != nil {
			return err
		}
	}
	dst.Set(out)
	return nil
}

// normal makes every dict inside v a wamp.Dict and every list a wamp.List. It
// is false where a key is not a string: dropping it would change the call.
func normal(v any) (any, bool) {
	val := reflect.ValueOf(v)
	switch val.Kind() {
	case reflect.Map:
		d := make(wamp.Dict, val.Len())
		for it := val.MapRange(); it.Next(); {
			key := it.Key()
			if key.Kind() == reflect.Interface {
				key = key.Elem()
			}
			x, ok := normal(it.Value().Interface())
			if !ok || key.Kind() != reflect.String {
				return nil, false
			}
			d[key.String()] = x
		}
		return d, true
	case reflect.Slice:
		if _, bytes := v.([]byte); bytes {
			return v, true
		}
		l := make(wamp.List, val.Len())
		for i := range l {
			x, ok := normal(val.Index(i).Interface())
			if !ok {
				return nil, false
			}
			l[i] = x
		}
		return l, true
	}
	return v, true
}

func integer(v any) (int64, bool) {
	val := reflect.ValueOf(v)
	switch {
	case val.CanInt():
		return val.Int(), true
	case val.CanUint():
		return int64(val.Uint()), val.Uint() <= math.MaxInt64
	case val.CanFloat():
		f := val.Float()
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<53
	}
	return 0, false
}

func float(v any) (float64, bool) {
	val := reflect.ValueOf(v)
	switch {
	case val.CanInt():
		return float64(val.Int()), true
	case val.CanUint():
		return float64(val.Uint()), true
	case val.CanFloat():
		return val.Float(), !math.IsNaN(val.Float()) && !math.IsInf(val.Float(), 0)
	}
	return 0, false
}

// setDefault reads a default, which stands in its tag as JSON; a string needs
// no quotes there.
func setDefault(dst reflect.Value, a Arg) error {
	text := a.Default
	t := dst.Type()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.String && !strings.HasPrefix(text, `"`) {
		text = `"` + text + `"`
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return fmt.Errorf("argument %s: bad default %q", a.Name, a.Default)
	}
	return assign(dst, v, a.Name)
}

func newOf(t reflect.Type) any { return reflect.New(t).Interface() }
