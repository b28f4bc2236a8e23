package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written "512", "64KiB", "4MiB" or "1GiB".
type Size int64

var units = []struct {
	name string
	size Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(b []byte) error {
	digits, unit := strings.TrimSpace(string(b)), Size(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(unit) {
		return errors.New("not a size")
	}
	*s = Size(n) * unit
	return nil
}

// String writes the size with the largest unit that leaves no fraction.
func (s Size) String() string {
	for _, u := range units {
		if s >= u.size && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Former is a type with UnmarshalText that can say what it expects.
type Former interface{ Form() string }

// Form says in words what a value of the type is, for errors and docs; empty
// for a type that cannot be configured.
func Form(t reflect.Type) string {
	if s := scalarForm(t); s != "" {
		return s
	}
	switch {
	case isSection(t):
		return "a mapping of keys"
	case t.Kind() == reflect.Slice:
		if e := Form(t.Elem()); e != "" {
			return "a list, each item " + e
		}
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		if e := Form(t.Elem()); e != "" {
			return "a mapping of names, each to " + e
		}
	}
	return ""
}

func scalarForm(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 500ms, 10s or 1h30m"
	case t == sizeType:
		return "a size such as 512, 64KiB or 4MiB"
	case reflect.PointerTo(t).Implements(textType):
		if f, ok := reflect.New(t).Interface().(Former); ok {
			return f.Form()
		}
		return "text"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return ""
}

// parseText sets v from a variable, a flag or a default. A list is separated
// by commas, and empty text is the empty list.
func parseText(v reflect.Value, text string) error {
	if v.Kind() == reflect.Slice && !v.Addr().Type().Implements(textType) {
		list := reflect.MakeSlice(v.Type(), 0, 0)
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			e := reflect.New(v.Type().Elem()).Elem()
			if err := parseText(e, item); err != nil {
				return err
			}
			list = reflect.Append(list, e)
		}
		v.Set(list)
		return nil
	}
	if err := parseScalar(v, text); err != nil {
		return fmt.Errorf("expected %s, found %q", Form(v.Type()), text)
	}
	return nil
}

// parseScalar leaves v alone when text is no value of its type.
func parseScalar(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	if v.Type() == durationType {
		d, err := time.ParseDuration(text)
		if err == nil {
			v.SetInt(int64(d))
		}
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return errors.New("not true or false")
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err == nil {
			v.SetInt(n)
		}
		return err
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err == nil && (math.IsNaN(n) || math.IsInf(n, 0)) {
			err = errors.New("not a number")
		}
		if err == nil {
			v.SetFloat(n)
		}
		return err
	default:
		return errors.New("cannot be configured")
	}
	return nil
}
