// Package config fills a program's configuration struct from its sources, the
// later ones winning: defaults, a YAML file, environment variables, flags.
//
// The struct is the only declaration. Its tags name each key and say all that
// is known of it, so that the file, the variables, the flags and the pages
// under shared/docs cannot disagree:
//
//	type Config struct {
//	    Listen string        `yaml:"listen" default:"127.0.0.1:8080" doc:"where clients join"`
//	    Stop   time.Duration `yaml:"stop" default:"10s" min:"1s" max:"5m" doc:"…"`
//	    TLS    TLS           `yaml:"tls"`
//	}
//
//	yaml      the key; required. A nested struct is a mapping, an embedded one is inlined
//	doc       what the key is for; required on every key that is not a struct
//	default   its value when no source has one, spelled as an environment variable is
//	min, max  bounds of a number, a duration, a size; of a list, its length
//	enum      the values allowed, separated by |
//	required  "true": some source has to give it
//	env       the variable's name, or "-" for none; else prefix and path: CFC_RELAY_TLS_KEY
//	flag      the flag's name, or "-" for none; else the path: --tls-key
//
// Keys are text, true or false, whole numbers, numbers, durations, sizes
// (Size), types with UnmarshalText, and lists of these; lists of structs and
// mappings of names to any of these are for the file alone. What a tag cannot
// say, a Validate method does (Validator), on the whole struct or a part.
//
// A file says "version: 1" first of all. Unknown, repeated and mistyped keys
// are refused, and so are unknown variables under the prefix; Load reports all
// faults at once, each with its place. Faults quote what was found: a secret
// does not belong into a configuration, the name of its file does.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"fabric.center/cfc/shared/durable"
	"github.com/spf13/pflag"
)

// Version is what a file's key "version" has to say.
const Version = 1

// Sources are where Load looks. The zero value means defaults alone.
type Sources struct {
	// File is the path of the YAML file; empty for none.
	File string
	// Optional says that a missing file is as good as an empty one: for the
	// default path, not for one that a person named.
	Optional bool
	// EnvPrefix begins the names of all variables, "CFC_RELAY_". Environ has
	// them as os.Environ does. An unknown variable with the prefix is a fault
	// unless KnownEnv lists it.
	EnvPrefix string
	Environ   []string
	KnownEnv  []string
	// Flags is a set that AddFlags has added to, already parsed.
	Flags *pflag.FlagSet
}

// Load fills dst, a pointer to a struct. Its error is Faults, or says that the
// file cannot be read or that the struct itself is badly declared.
func Load(dst any, s Sources) error {
	l, err := newLoader(dst)
	if err != nil {
		return err
	}
	if err := l.defaults(l.root); err != nil {
		return err
	}
	if err := l.readFile(s.File, s.Optional); err != nil {
		return err
	}
	l.readEnv(s)
	l.readFlags(s.Flags)
	l.check()
	return l.result()
}

// Defaults fills dst with its defaults alone.
func Defaults(dst any) error {
	l, err := newLoader(dst)
	if err != nil {
		return err
	}
	return l.defaults(l.root)
}

type loader struct {
	root    reflect.Value
	file    string
	origins map[string]origin // by key path
	faults  Faults
}

// origin is where a key got its value: "relay.yaml:7", "CFC_RELAY_LISTEN" or
// "--listen". It is empty for a default.
type origin struct {
	place string
	line  int
}

func newLoader(dst any) (*loader, error) {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("cannot load a configuration into %T: expected a pointer to a struct", dst)
	}
	if err := checkSchema(v.Elem().Type()); err != nil {
		return nil, fmt.Errorf("cannot load a configuration into %T: %w", dst, err)
	}
	return &loader{root: v.Elem(), origins: map[string]origin{}}, nil
}

// defaults sets every default below v.
func (l *loader) defaults(v reflect.Value) error {
	for _, f := range leaves(v.Type()) {
		if f.Default == "" {
			continue
		}
		if err := parseText(v.FieldByIndex(f.index), f.Default); err != nil {
			return fmt.Errorf("cannot use the default of %s: %w", f.Path, err)
		}
	}
	return nil
}

func (l *loader) readFile(path string, optional bool) error {
	if path == "" {
		return nil
	}
	b, err := durable.ReadGiven(path)
	if errors.Is(err, fs.ErrNotExist) && optional {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read configuration: %w", err)
	}
	l.file = path
	l.decodeFile(b)
	return nil
}

func (l *loader) readEnv(s Sources) {
	if s.EnvPrefix == "" {
		return
	}
	known := map[string]Key{}
	for _, f := range leaves(l.root.Type()) {
		if name := f.EnvName(s.EnvPrefix); name != "" {
			known[name] = f
		}
	}
	for _, kv := range slices.Sorted(slices.Values(s.Environ)) {
		name, text, _ := strings.Cut(kv, "=")
		f, ok := known[name]
		switch {
		case ok:
			l.setText(f, origin{place: name}, text)
		case strings.HasPrefix(name, s.EnvPrefix) && !slices.Contains(s.KnownEnv, name):
			l.faults = append(l.faults, Fault{place: name, Message: "no such variable" + didYouMean(name, known)})
		}
	}
}

// setText gives a key the value of a variable or a flag.
func (l *loader) setText(f Key, o origin, text string) {
	l.origins[f.Path] = o
	if err := parseText(l.root.FieldByIndex(f.index), text); err != nil {
		l.fault(f.Path, "%v", err)
	}
}
