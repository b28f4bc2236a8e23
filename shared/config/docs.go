package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"

	"fabric.center/cfc/shared/durable"
)

// Markdown is a table of all keys of a configuration: what the docs say is
// what the tags say. An empty prefix leaves the variables out, and flags false
// the flags.
func Markdown(conf any, envPrefix string, flags bool) string {
	var b strings.Builder
	head := []string{"key", "value", "default"}
	if envPrefix != "" {
		head = append(head, "environment")
	}
	if flags {
		head = append(head, "flag")
	}
	head = append(head, "what it is for")
	row(&b, head)
	row(&b, strings.Split(strings.Repeat("---,", len(head)-1)+"---", ","))
	for _, k := range expand(Keys(conf), "") {
		cells := []string{code(k.Path), k.form(), code(k.Default)}
		if k.Required {
			cells[2] = "required"
		}
		if envPrefix != "" {
			cells = append(cells, code(k.EnvName(envPrefix)))
		}
		if flags {
			name := k.FlagName()
			if name != "" {
				name = "--" + name
			}
			cells = append(cells, code(name))
		}
		row(&b, append(cells, k.Doc))
	}
	return b.String()
}

// expand adds the keys of the structs in lists and mappings after their own.
func expand(keys []Key, prefix string) []Key {
	var out []Key
	for _, k := range keys {
		k.Path = prefix + k.Path
		if prefix != "" {
			k.env, k.flag = "-", "-"
		}
		out = append(out, k)
		t, below := k.Type, k.Path
		for t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			if t.Kind() == reflect.Slice {
				below += "[]"
			} else {
				below += ".<name>"
			}
			t = t.Elem()
		}
		if t != k.Type && isSection(t) {
			out = append(out, expand(leaves(t), below+".")...)
		}
	}
	return out
}

// form is Form with the bounds and values that the tags allow.
func (k Key) form() string {
	if len(k.Enum) > 0 {
		words := make([]string, len(k.Enum))
		for i, e := range k.Enum {
			words[i] = code(e)
		}
		if k.Type.Kind() == reflect.Slice {
			return "a list of " + alternatives(words)
		}
		return alternatives(words)
	}
	s := Form(k.Type)
	switch {
	case k.Min != "" && k.Max != "":
		s += fmt.Sprintf(", %s to %s", k.Min, k.Max)
	case k.Min != "":
		s += ", at least " + k.Min
	case k.Max != "":
		s += ", at most " + k.Max
	}
	return s
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func row(b *strings.Builder, cells []string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// UpdateRegion keeps a generated part of a page that people write otherwise.
// The part stands between the lines "<!-- begin NAME -->" and "<!-- end NAME -->".
// With update it is replaced by content, else an error says that it is stale.
// Tests call it, with their -update flag.
func UpdateRegion(path, name, content string, update bool) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read page: %w", err)
	}
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	before, rest, ok := strings.Cut(string(b), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("cannot find region %s in %s: expected the lines %q and %q", name, path, strings.TrimSpace(begin), end)
	}
	content = strings.TrimSpace(content) + "\n"
	switch {
	case old == content:
		return nil
	case update:
		return durable.WriteFile(path, []byte(before+begin+content+end+after), 0o644)
	}
	return fmt.Errorf("region %s of %s is stale: run the test that checks it with -update", name, path)
}
