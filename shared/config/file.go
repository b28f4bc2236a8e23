package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decodeFile reads one YAML document. It walks the syntax tree itself, because
// a decoder stops at the first fault and forgets where the others stand.
func (l *loader) decodeFile(b []byte) {
	tree, err := parser.ParseBytes(b, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		l.faults = append(l.faults, l.syntaxFault(err))
		return
	}
	docs := slices.DeleteFunc(tree.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil })
	switch {
	case len(docs) == 0:
		l.faults = append(l.faults, Fault{place: l.file, Message: "the file is empty: expected version: 1 and keys"})
		return
	case len(docs) > 1:
		l.faults = append(l.faults, Fault{place: l.file, line: line(docs[1].Body), Message: "a second document: expected one"})
		return
	}
	d := decoder{l}
	d.section(docs[0].Body, l.root, "")
}

func (l *loader) syntaxFault(err error) Fault {
	f := Fault{place: l.file, Message: "not YAML: " + err.Error()}
	var e yaml.Error
	if errors.As(err, &e) {
		f.Message = "not YAML: " + e.GetMessage()
		if t := e.GetToken(); t != nil {
			f.line = t.Position.Line
		}
	}
	return f
}

func line(n ast.Node) int { return n.GetToken().Position.Line }

// decoder writes a syntax tree into values and notes where each key stands.
type decoder struct{ *loader }

func (d decoder) at(path string, n ast.Node) {
	d.origins[path] = origin{place: d.file, line: line(n)}
}

// entries gives the keys of a mapping, none for one that is left empty, and
// false for anything else.
func entries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// each visits the keys of a mapping once and faults what is no plain key.
func (d decoder) each(n ast.Node, t reflect.Type, path string, visit func(name, path string, value ast.Node)) {
	list, ok := entries(n)
	if !ok {
		d.wrong(n, t, path)
		return
	}
	seen := map[string]bool{}
	for _, e := range list {
		key, ok := e.Key.(*ast.StringNode)
		if !ok {
			d.faults = append(d.faults, Fault{Key: path, place: d.file, line: line(e.Key), Message: fmt.Sprintf("expected a key, found %s", e.Key)})
			continue
		}
		below := join(path, key.Value)
		if seen[key.Value] {
			d.faults = append(d.faults, Fault{Key: below, place: d.file, line: line(key), Message: "given twice"})
			continue
		}
		seen[key.Value] = true
		d.at(below, key)
		visit(key.Value, below, e.Value)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (d decoder) section(n ast.Node, v reflect.Value, path string) {
	fields := map[string]reflect.Value{}
	children(v, fields)
	version := path == ""
	d.each(n, v.Type(), path, func(name, below string, value ast.Node) {
		f, ok := fields[name]
		switch {
		case ok:
			d.value(value, f, below)
		case name == "version" && path == "":
			version = false
			if i, ok := value.(*ast.IntegerNode); !ok || fmt.Sprint(i.Value) != fmt.Sprint(Version) {
				d.fault(below, "expected %d, found %s", Version, value)
			}
		default:
			d.fault(below, "no such key%s", didYouMean(name, fields))
		}
	})
	if _, mapping := entries(n); mapping && version {
		d.fault("version", "missing: expected version: %d", Version)
	}
}

// children are the fields of a struct by key, embedded ones inlined.
func children(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case !f.IsExported() || f.Tag.Get("yaml") == "-":
		case f.Anonymous && isSection(f.Type):
			children(v.Field(i), into)
		default:
			into[f.Tag.Get("yaml")] = v.Field(i)
		}
	}
}

func (d decoder) value(n ast.Node, v reflect.Value, path string) {
	switch {
	case isScalar(v.Type()):
		d.scalar(n, v, path)
	case isSection(v.Type()):
		d.section(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	case v.Kind() == reflect.Map:
		d.mapping(n, v, path)
	}
}

func (d decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.wrong(n, v.Type(), path)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		below := fmt.Sprintf("%s[%d]", path, i)
		d.at(below, item)
		d.element(item, out.Index(i), below)
	}
	v.Set(out)
}

func (d decoder) mapping(n ast.Node, v reflect.Value, path string) {
	out := reflect.MakeMap(v.Type())
	d.each(n, v.Type(), path, func(name, below string, value ast.Node) {
		e := reflect.New(v.Type().Elem()).Elem()
		d.element(value, e, below)
		out.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), e)
	})
	v.Set(out)
}

// element is a value of a list or mapping: a struct there starts from its own
// defaults.
func (d decoder) element(n ast.Node, v reflect.Value, path string) {
	if isSection(v.Type()) {
		// checkSchema has tried these defaults.
		_ = d.defaults(v)
	}
	d.value(n, v, path)
}

// scalar takes a word as the file spells it, and only of the right kind: text
// is not a number, and a number is not text.
func (d decoder) scalar(n ast.Node, v reflect.Value, path string) {
	text, ok := spelled(n, v)
	if !ok || parseScalar(v, text) != nil {
		d.wrong(n, v.Type(), path)
	}
}

func spelled(n ast.Node, v reflect.Value) (string, bool) {
	quoted := v.Kind() == reflect.String || v.Type() == durationType || reflect.PointerTo(v.Type()).Implements(textType)
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, quoted
	case *ast.LiteralNode:
		return n.Value.Value, quoted
	case *ast.BoolNode:
		return fmt.Sprint(n.Value), v.Kind() == reflect.Bool
	case *ast.IntegerNode:
		return fmt.Sprint(n.Value), v.Type() == sizeType || !quoted && v.Kind() != reflect.Bool
	case *ast.FloatNode:
		return fmt.Sprint(n.Value), v.Kind() == reflect.Float64
	}
	return "", false
}

func (d decoder) wrong(n ast.Node, t reflect.Type, path string) {
	found := "something else"
	switch n.(type) {
	case *ast.NullNode:
		found = "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		found = "a mapping"
	case *ast.SequenceNode:
		found = "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		found = "an anchor, alias or tag"
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.LiteralNode, *ast.InfinityNode, *ast.NanNode:
		found = strings.TrimSpace(n.String())
	}
	d.faults = append(d.faults, Fault{Key: path, place: d.file, line: line(n), Message: "expected " + Form(t) + ", found " + found})
}

// didYouMean names the known name that is nearest to a mistyped one.
func didYouMean[V any](name string, known map[string]V) string {
	best, distance := "", 3
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if n := edits(name, k); n < distance {
			best, distance = k, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			substitute := diagonal
			if a[i-1] != b[j-1] {
				substitute++
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, substitute)
		}
	}
	return row[len(b)]
}
