package nodeconfig

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const yamlIndent = 2

// putYAML sets controller.fabric in a YAML text. What stands in braces is
// edited as such, what stands in lines by lines.
func putYAML(text []byte, f fabric) ([]byte, error) {
	// Lines and columns are the same without the carriage returns, which the
	// parser counts as lines now and then.
	file, err := parser.ParseBytes(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), 0)
	if err != nil || len(file.Docs) != 1 {
		return nil, errShape
	}
	root, ok := file.Docs[0].Body.(*ast.MappingNode)
	if !ok {
		return nil, errShape
	}
	c := entry(root, "controller")
	if c == nil {
		return putEntry(text, root, "controller", controller{f}, len(text))
	}
	below := offset(text, &token.Position{Line: c.Key.GetToken().Position.Line + 1, Column: 1})
	in, ok := c.Value.(*ast.MappingNode)
	if !ok {
		if _, null := c.Value.(*ast.NullNode); !null {
			return nil, errShape
		}
		return putLines(text, below, c.Key.GetToken().Position.Column-1+yamlIndent, "fabric", f)
	}
	if old := entry(in, "fabric"); old != nil {
		return replaceEntry(text, in, old, f)
	}
	return putEntry(text, in, "fabric", f, below)
}

func entry(m *ast.MappingNode, name string) *ast.MappingValueNode {
	for _, v := range m.Values {
		if k, ok := v.Key.(*ast.StringNode); ok && k.Value == name {
			return v
		}
	}
	return nil
}

// putEntry adds an entry to a mapping: first in braces, or as lines at.
func putEntry(text []byte, m *ast.MappingNode, name string, value any, at int) ([]byte, error) {
	if !m.IsFlowStyle {
		return putLines(text, at, m.Values[0].Key.GetToken().Position.Column-1, name, value)
	}
	b, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	with := `"` + name + `": ` + string(b)
	if len(m.Values) > 0 {
		with += ", "
	}
	at = offset(text, m.Start.Position) + 1
	return splice(text, at, at, with), nil
}

func putLines(text []byte, at, indent int, name string, value any) ([]byte, error) {
	nl := lineEnd(text)
	lines, err := renderYAML(indent, name, value, nl)
	if at > 0 && text[at-1] != '\n' {
		lines = nl + lines
	}
	return splice(text, at, at, lines), err
}

// replaceEntry gives an entry another value.
func replaceEntry(text []byte, in *ast.MappingNode, old *ast.MappingValueNode, value any) ([]byte, error) {
	key := old.Key.GetToken().Position
	if in.IsFlowStyle {
		flow, ok := old.Value.(*ast.MappingNode)
		if !ok || !flow.IsFlowStyle {
			return nil, errShape
		}
		b, err := json.Marshal(value)
		return splice(text, offset(text, flow.Start.Position), offset(text, flow.End.Position)+1, string(b)), err
	}
	from := offset(text, &token.Position{Line: key.Line, Column: 1})
	lines, err := renderYAML(key.Column-1, old.Key.String(), value, lineEnd(text))
	return splice(text, from, endOfEntry(text, from, key.Column-1), lines), err
}

// endOfEntry is where the lines of the entry that begins at from end: with the
// last one that is indented more than its key.
func endOfEntry(text []byte, from, indent int) int {
	end, first := from, true
	for at := from; at < len(text); {
		line, _, found := bytes.Cut(text[at:], []byte("\n"))
		next := at + len(line)
		if found {
			next++
		}
		rest := bytes.TrimLeft(line, " ")
		switch blank := len(bytes.TrimSpace(rest)) == 0 || rest[0] == '#'; {
		case first:
			end, first = next, false
		case blank: // belongs to what follows, if that is in the entry
		case len(line)-len(rest) <= indent:
			return end
		default:
			end = next
		}
		at = next
	}
	return end
}

func renderYAML(indent int, name string, value any, nl string) (string, error) {
	b, err := yaml.MarshalWithOptions(map[string]any{name: value}, yaml.Indent(yamlIndent), yaml.IndentSequence(true))
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		out.WriteString(strings.Repeat(" ", indent) + strings.TrimSuffix(line, "\n") + nl)
	}
	return out.String(), err
}

// offset is the byte at a line and column, which count from one and in runes.
func offset(text []byte, p *token.Position) int {
	at := 0
	for range p.Line - 1 {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			return len(text)
		}
		at += i + 1
	}
	for range p.Column - 1 {
		_, n := utf8.DecodeRune(text[at:])
		at += n
	}
	return at
}
