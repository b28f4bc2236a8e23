package engine

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/config"
	"github.com/gammazero/nexus/v3/wamp"
)

// options reads a dict whose keys are a closed list. Each read takes its key;
// what is left in the end was never asked for. The first fault stays, with the
// path of its key.
type options struct {
	at    string
	left  map[string]any
	known []string
	fault error
}

func newOptions(at string, d map[string]any) *options {
	return &options{at: at, left: maps.Clone(d)}
}

func (o *options) take(key string) (v any, given bool) {
	o.known = append(o.known, key)
	v, given = o.left[key]
	delete(o.left, key)
	return v, given && v != nil
}

func (o *options) fail(key, expected string) {
	if o.fault == nil {
		o.fault = cfcerr.Argument(o.at+"."+key, expected)
	}
}

// err is the first fault, or that a key is unknown.
func (o *options) err() error {
	if o.fault == nil && len(o.left) > 0 {
		slices.Sort(o.known)
		o.fail(slices.Min(slices.Collect(maps.Keys(o.left))), "one of the options "+strings.Join(o.known, ", "))
	}
	return o.fault
}

// read takes a key of one type.
func read[T any](o *options, key, expected string) T {
	v, given := o.take(key)
	t, ok := v.(T)
	if given && !ok {
		o.fail(key, expected)
	}
	return t
}

func (o *options) text(key string) string {
	s := read[string](o, key, "a string")
	if strings.Contains(s, "\x00") {
		o.fail(key, "a string without NUL")
	}
	return s
}

func (o *options) truth(key string) bool { return read[bool](o, key, "true or false") }

// oneOf is a text out of a list; the first is what it is if not given.
func (o *options) oneOf(key string, words ...string) string {
	s := o.text(key)
	if s == "" {
		return words[0]
	}
	if !slices.Contains(words, s) {
		o.fail(key, "one of "+strings.Join(words, ", "))
	}
	return s
}

// list is a list of strings; one string is a list of it alone. Not given is nil.
func (o *options) list(key string) []string {
	v, given := o.take(key)
	if s, ok := v.(string); ok {
		return []string{s}
	}
	l, ok := wamp.AsList(v)
	if !given {
		return nil
	}
	out := make([]string, len(l))
	for i, x := range l {
		s, isText := x.(string)
		ok, out[i] = ok && isText, s
	}
	if !ok {
		o.fail(key, "a list of strings")
	}
	return out
}

// dict is a dict with strings, numbers and truths as values, as text; a list of
// NAME=value is one too where pairs says so.
func (o *options) dict(key string, pairs bool) map[string]string {
	v, given := o.take(key)
	if !given {
		return nil
	}
	expected := "a dict of strings"
	out := map[string]string{}
	if l, ok := wamp.AsList(v); ok && pairs {
		for _, x := range l {
			s, _ := x.(string)
			name, value, ok := strings.Cut(s, "=")
			if _, twice := out[name]; !ok || twice {
				o.fail(key, "NAME=value in each item, each name once")
			}
			out[name] = value
		}
		return out
	}
	d, ok := wamp.AsDict(v)
	if !ok {
		o.fail(key, expected)
	}
	for name, x := range d {
		s, ok := scalar(x)
		if !ok || name == "" || strings.ContainsAny(name, "=\x00") {
			o.fail(key+"."+name, "a string, a number, or true or false, and a name without =")
		}
		out[name] = s
	}
	return out
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	}
	f, ok := numeric(v)
	if n, isInt := wamp.AsInt64(v); isInt && float64(n) == f {
		return strconv.FormatInt(n, 10), ok
	}
	return strconv.FormatFloat(f, 'g', -1, 64), ok
}

// numeric is a number of any type that a serializer makes of one.
func numeric(v any) (float64, bool) {
	switch v := reflect.ValueOf(v); {
	case v.CanFloat():
		return v.Float(), true
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	}
	return 0, false
}

// number is a number from least to most; not given is 0.
func (o *options) number(key string, least, most float64) float64 {
	v, given := o.take(key)
	if !given {
		return 0
	}
	f, ok := numeric(v)
	if !ok || math.IsNaN(f) || f < least || f > most {
		o.fail(key, "a number from "+strconv.FormatFloat(least, 'g', -1, 64)+" to "+strconv.FormatFloat(most, 'g', -1, 64))
	}
	return f
}

func (o *options) whole(key string, least, most int64) int64 {
	f := o.number(key, float64(least), float64(most))
	if f != math.Trunc(f) {
		o.fail(key, "a whole number")
	}
	return int64(f)
}

// size is a number of bytes, or a text such as 64MiB.
func (o *options) size(key string) int64 {
	if s, ok := o.left[key].(string); ok {
		o.take(key)
		var n config.Size
		if err := n.UnmarshalText([]byte(s)); err != nil || n <= 0 {
			o.fail(key, "bytes, or a size such as 64MiB")
		}
		return int64(n)
	}
	return o.whole(key, 1, 1<<50)
}

// span is seconds, or a text such as 1m30s.
func (o *options) span(key string) time.Duration {
	if s, ok := o.left[key].(string); ok {
		o.take(key)
		d, err := time.ParseDuration(s)
		if err != nil || d < time.Millisecond || d > 24*time.Hour {
			o.fail(key, "seconds, or a duration such as 1m30s")
		}
		return d
	}
	return time.Duration(o.number(key, 0.001, 86400) * float64(time.Second))
}

// within reads a dict inside; nil where there is none.
func (o *options) within(key string) *options {
	v, given := o.take(key)
	if !given {
		return nil
	}
	d, ok := wamp.AsDict(v)
	if !ok {
		o.fail(key, "a dict")
		return nil
	}
	return newOptions(o.at+"."+key, d)
}

// done takes over the faults of a dict inside.
func (o *options) done(inner *options) {
	if err := inner.err(); err != nil && o.fault == nil {
		o.fault = err
	}
}
