package config

import (
	"reflect"
	"strings"

	"github.com/spf13/pflag"
)

// AddFlags adds a flag for each key that has one. The flags only keep what
// was given: Load, told of the set, reads and checks it with all else, so that
// a bad flag is one fault among the others.
func AddFlags(set *pflag.FlagSet, conf any) {
	for _, k := range Keys(conf) {
		name := k.FlagName()
		if name == "" {
			continue
		}
		f := set.VarPF(&flagValue{kind: flagKind(k.Type), text: k.Default, list: k.Type.Kind() == reflect.Slice}, name, "", k.usage())
		if k.Type.Kind() == reflect.Bool {
			f.NoOptDefVal = "true"
		}
	}
}

func (k Key) usage() string {
	if len(k.Enum) > 0 {
		return k.Doc + " (" + alternatives(k.Enum) + ")"
	}
	return k.Doc
}

func flagKind(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == sizeType:
		return "size"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Bool:
		return "bool"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64, t.Kind() == reflect.Float64:
		return "number"
	}
	return "text"
}

// flagValue is a flag as it was written.
type flagValue struct {
	kind, text string
	list, set  bool
}

func (v *flagValue) String() string { return v.text }
func (v *flagValue) Type() string   { return v.kind }

// Set keeps the text; a list's flag may be repeated.
func (v *flagValue) Set(text string) error {
	if v.list && v.set {
		text = v.text + "," + text
	}
	v.text, v.set = text, true
	return nil
}

func (l *loader) readFlags(set *pflag.FlagSet) {
	if set == nil {
		return
	}
	for _, k := range leaves(l.root.Type()) {
		name := k.FlagName()
		if name == "" {
			continue
		}
		f := set.Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		l.setText(k, origin{place: "--" + name}, strings.TrimSpace(f.Value.String()))
	}
}
