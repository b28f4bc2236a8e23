package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// check applies the rules of the tags to the loaded values and then those of
// Validate.
func (l *loader) check() {
	l.checkSection(l.root, "")
	l.validate(l.root, "")
}

func (l *loader) checkSection(v reflect.Value, prefix string) {
	for _, k := range leaves(v.Type()) {
		f, path := v.FieldByIndex(k.index), prefix+k.Path
		if l.faulted(path) {
			l.checkElements(f, path)
			continue
		}
		if k.Required && f.IsZero() {
			l.fault(path, "missing: %s", k.Doc)
			continue
		}
		if f.IsZero() && k.Default == "" && l.origins[path] == (origin{}) {
			continue
		}
		if err := k.within(f); err != nil {
			l.fault(path, "%v", err)
		}
		l.checkElements(f, path)
	}
}

// faulted reports whether a key, or one around or below it, is known to be
// wrong already, so that more said about it would be nonsense.
func (l *loader) faulted(path string) bool {
	within := func(a, b string) bool {
		rest, ok := strings.CutPrefix(a, b)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}
	return slices.ContainsFunc(l.faults, func(f Fault) bool { return f.Key != "" && (within(f.Key, path) || within(path, f.Key)) })
}

func (l *loader) checkElements(v reflect.Value, path string) {
	switch {
	case v.Kind() == reflect.Slice && isSection(v.Type().Elem()):
		for i := range v.Len() {
			l.checkSection(v.Index(i), fmt.Sprintf("%s[%d].", path, i))
		}
	case v.Kind() == reflect.Map && isSection(v.Type().Elem()):
		for _, key := range sortedKeys(v) {
			l.checkSection(v.MapIndex(key), path+"."+key.String()+".")
		}
	}
}

func sortedKeys(v reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
}

// within checks enum, min and max.
func (k Key) within(v reflect.Value) error {
	if len(k.Enum) > 0 {
		values := []string{fmt.Sprint(v.Interface())}
		if v.Kind() == reflect.Slice {
			values = values[:0]
			for i := range v.Len() {
				values = append(values, fmt.Sprint(v.Index(i).Interface()))
			}
		}
		for _, s := range values {
			if !slices.Contains(k.Enum, s) {
				return fmt.Errorf("expected %s, found %q", alternatives(k.Enum), s)
			}
		}
	}
	for _, bound := range []struct {
		text, word string
		sign       int
	}{{k.Min, "at least", -1}, {k.Max, "at most", 1}} {
		if bound.text == "" {
			continue
		}
		c, err := compare(v, bound.text)
		if err != nil {
			return err
		}
		if c == bound.sign {
			what := ""
			if v.Kind() == reflect.Slice {
				what = " items"
			}
			return fmt.Errorf("expected %s %s%s, found %s", bound.word, bound.text, what, shown(v))
		}
	}
	return nil
}

func shown(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		return fmt.Sprint(v.Len())
	}
	return fmt.Sprint(v.Interface())
}

// alternatives are words joined for a sentence: "a, b or c".
func alternatives(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// compare orders a value, or the length of a list, and a bound.
func compare(v reflect.Value, bound string) (int, error) {
	var b reflect.Value
	switch v.Kind() {
	case reflect.Slice:
		v = reflect.ValueOf(v.Len())
		b = reflect.New(v.Type()).Elem()
	default:
		b = reflect.New(v.Type()).Elem()
	}
	if err := parseScalar(b, bound); err != nil {
		return 0, fmt.Errorf("bound %s: %w", bound, err)
	}
	switch {
	case v.CanInt():
		return cmp.Compare(v.Int(), b.Int()), nil
	case v.CanFloat():
		return cmp.Compare(v.Float(), b.Float()), nil
	}
	return 0, errors.New("only numbers, durations, sizes and lists have bounds")
}

// checkBounds tries the bounds and the default of a declaration.
func (k Key) checkBounds() error {
	v := reflect.New(k.Type).Elem()
	for _, bound := range []string{k.Min, k.Max} {
		if bound == "" {
			continue
		}
		if _, err := compare(v, bound); err != nil {
			return err
		}
	}
	if k.Default == "" {
		return nil
	}
	if !fromText(k.Type) {
		return fmt.Errorf("%s has no default", k.Type)
	}
	if err := parseText(v, k.Default); err != nil {
		return err
	}
	return k.within(v)
}

// validate runs the Validate methods, the inner ones first.
func (l *loader) validate(v reflect.Value, path string) {
	switch {
	case isSection(v.Type()):
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case !f.IsExported() || f.Tag.Get("yaml") == "-":
			case f.Anonymous && isSection(f.Type):
				l.validate(v.Field(i), path)
			default:
				l.validate(v.Field(i), join(path, f.Tag.Get("yaml")))
			}
		}
		l.runValidator(v, path)
	case v.Kind() == reflect.Slice && isSection(v.Type().Elem()):
		for i := range v.Len() {
			l.validate(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case v.Kind() == reflect.Map && isSection(v.Type().Elem()):
		for _, key := range sortedKeys(v) {
			l.validate(v.MapIndex(key), join(path, key.String()))
		}
	}
}

func (l *loader) runValidator(v reflect.Value, path string) {
	p := reflect.New(v.Type()) // of a mapping's element there is no address
	p.Elem().Set(v)
	x, ok := p.Interface().(Validator)
	if !ok {
		return
	}
	for _, f := range x.Validate() {
		switch {
		case f.Key == "":
			f.Key = path
		case path != "":
			f.Key = path + "." + f.Key
		}
		if !l.faulted(f.Key) {
			l.add(f)
		}
	}
}
