package ops

import (
	"reflect"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"github.com/gammazero/nexus/v3/wamp"
)

// masked stands where a secret would.
const masked = "***"

// mask replaces what the paths lead to. A path is keys with dots between; "*"
// is every key of a dict or every item of a list, "**" any number of keys, also
// none, and a list is gone through without being named. A result of a Go type is
// a dict by its json names. What is not there stays away; null stays null.
func mask(v any, paths []string) any {
	for _, p := range paths {
		v = maskPath(v, strings.Split(p, "."))
	}
	return v
}

func maskPath(v any, path []string) any {
	if v == nil {
		return nil
	}
	if len(path) == 0 {
		return masked
	}
	if path[0] == "**" {
		v = maskPath(v, path[1:])
	}
	if l, ok := wamp.AsList(v); ok {
		rest := path
		if path[0] == "*" {
			rest = path[1:]
		}
		out := make(wamp.List, len(l))
		for i, x := range l {
			out[i] = maskPath(x, rest)
		}
		return out
	}
	d, ok := v.(catalog.Dict)
	if !ok {
		if d, ok = asDict(v); !ok {
			return v
		}
	}
	out := make(catalog.Dict, len(d))
	for k, x := range d {
		switch path[0] {
		case "**":
			x = maskPath(x, path)
		case "*", k:
			x = maskPath(x, path[1:])
		}
		out[k] = x
	}
	return out
}

func asDict(v any) (catalog.Dict, bool) {
	if s := reflect.ValueOf(v); s.Kind() == reflect.Struct {
		d := catalog.Dict{}
		for _, f := range reflect.VisibleFields(s.Type()) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				d[name] = s.FieldByIndex(f.Index).Interface()
			}
		}
		return d, true
	}
	d, ok := wamp.AsDict(v)
	return catalog.Dict(d), ok
}
