package docs

import (
	"reflect"
	"strings"

	"fabric.center/cfc/shared/catalog"
)

// result says what a call returns: the shape of its Go type and, where the
// type does not say it, the row's own words.
func result(o *catalog.Op) string {
	s := shape(o.Result())
	switch {
	case o.Returns == "":
		return "`" + s + "`"
	case s == "dict":
		return "a dict: " + o.Returns
	}
	return "`" + s + "`: " + o.Returns
}

// shape writes a type as the value that stands on the wire.
func shape(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return shape(t.Elem()) + " or null"
	case reflect.Struct:
		var fields []string
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, name+": "+shape(f.Type))
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case reflect.Slice:
		return "[" + shape(t.Elem()) + "]"
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return "dict"
		}
		return "{" + shape(t.Key()) + ": " + shape(t.Elem()) + "}"
	case reflect.Interface:
		return "any"
	}
	return t.Kind().String()
}
