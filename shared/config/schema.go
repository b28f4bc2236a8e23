package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Key is one key of a configuration as its tags declare it.
type Key struct {
	Path    string // "limits.half_open"
	Doc     string
	Default string
	Min     string
	Max     string
	Enum    []string
	Type    reflect.Type

	Required bool

	env, flag string
	index     []int
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// Keys are all keys of a configuration in declared order; conf is a struct or
// a pointer to one.
func Keys(conf any) []Key {
	t := reflect.TypeOf(conf)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return leaves(t)
}

// EnvName is the variable that sets the key, empty where there is none.
func (k Key) EnvName(prefix string) string {
	switch {
	case k.env == "-" || !fromText(k.Type):
		return ""
	case k.env != "":
		return k.env
	}
	return prefix + strings.ToUpper(strings.ReplaceAll(k.Path, ".", "_"))
}

// FlagName is the flag that sets the key, empty where there is none.
func (k Key) FlagName() string {
	switch {
	case k.flag == "-" || !fromText(k.Type):
		return ""
	case k.flag != "":
		return k.flag
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(k.Path)
}

// leaves are the keys below a struct type, those of nested structs included.
func leaves(t reflect.Type) []Key {
	var out []Key
	walk(t, "", nil, func(k Key) { out = append(out, k) })
	return out
}

func walk(t reflect.Type, prefix string, index []int, visit func(Key)) {
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Tag.Get("yaml") == "-" {
			continue
		}
		at := append(slices.Clone(index), i)
		path := prefix + f.Tag.Get("yaml")
		switch {
		case f.Anonymous && isSection(f.Type):
			walk(f.Type, prefix, at, visit)
		case isSection(f.Type):
			walk(f.Type, path+".", at, visit)
		default:
			visit(keyOf(f, path, at))
		}
	}
}

func keyOf(f reflect.StructField, path string, index []int) Key {
	k := Key{Path: path, Doc: f.Tag.Get("doc"), Default: f.Tag.Get("default"), Min: f.Tag.Get("min"), Max: f.Tag.Get("max"),
		Type: f.Type, Required: f.Tag.Get("required") == "true", env: f.Tag.Get("env"), flag: f.Tag.Get("flag"), index: index}
	if e := f.Tag.Get("enum"); e != "" {
		k.Enum = strings.Split(e, "|")
	}
	return k
}

// isSection reports whether a type is a mapping of declared keys.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textType)
}

// isScalar reports whether a type is written as one word.
func isScalar(t reflect.Type) bool { return !isSection(t) && scalarForm(t) != "" }

// fromText reports whether a variable or flag can give a value of the type.
func fromText(t reflect.Type) bool {
	return isScalar(t) || t.Kind() == reflect.Slice && isScalar(t.Elem())
}

// checkSchema finds what is wrong with a declaration, so that the first test
// run meets it.
func checkSchema(t reflect.Type) error {
	seen := map[string]bool{}
	for _, k := range leaves(t) {
		switch {
		case k.Path == "" || strings.HasSuffix(k.Path, "."):
			return fmt.Errorf("a field of %s has no yaml tag", t)
		case seen[k.Path]:
			return fmt.Errorf("key %s is declared twice", k.Path)
		case k.Doc == "":
			return fmt.Errorf("key %s has no doc", k.Path)
		case Form(k.Type) == "":
			return fmt.Errorf("key %s: type %s cannot be configured", k.Path, k.Type)
		case k.Path == "version":
			return fmt.Errorf("key version belongs to every file and is not declared")
		}
		seen[k.Path] = true
		if err := checkElement(k.Type); err != nil {
			return fmt.Errorf("key %s: %w", k.Path, err)
		}
		if err := k.checkBounds(); err != nil {
			return fmt.Errorf("key %s: %w", k.Path, err)
		}
	}
	return nil
}

// checkElement goes on into lists and mappings of structs.
func checkElement(t reflect.Type) error {
	switch {
	case isScalar(t):
		return nil
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
		return checkElement(t.Elem())
	case isSection(t):
		return checkSchema(t)
	}
	return nil
}
