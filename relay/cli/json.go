package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// toJSON writes a value on one line, or indented. What is not printable is
// escaped, which says the same: the line may end up on a terminal. A number that
// is infinite or none is null, as it is to a client that speaks JSON to the relay.
func toJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(writable(v)); err != nil {
		return nil, err
	}
	return printable(b.Bytes()), nil
}

func writeJSON(w io.Writer, v any) error     { return writeTo(w, v, "  ") }
func writeJSONLine(w io.Writer, v any) error { return writeTo(w, v, "") }

func writeTo(w io.Writer, v any, indent string) error {
	b, err := toJSON(v, indent)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

func writable(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil
		}
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = writable(x)
		}
		return l
	case map[string]any:
		d := make(map[string]any, len(v))
		for k, x := range v {
			d[k] = writable(x)
		}
		return d
	}
	return v
}

// printable escapes what JSON leaves as it is, and a terminal may obey.
func printable(b []byte) []byte {
	obeyed := func(r rune) bool { return r > unicode.MaxASCII && !unicode.IsPrint(r) || r == 0x7f }
	if !bytes.ContainsFunc(b, obeyed) {
		return b
	}
	var out []byte
	for _, r := range string(b) {
		switch {
		case !obeyed(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
