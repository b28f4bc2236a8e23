package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/console"
	"fabric.center/cfc/shared/yamltext"
	"github.com/goccy/go-yaml"
)

// maxFile bounds a file of arguments: the relay takes no larger message.
const maxFile = 16 << 20

// reader reads arguments; stdin can be one of them, once. What is read from a
// file that somebody has yet to write is waited for until done is closed.
type reader struct {
	stdin io.Reader
	done  <-chan struct{}
}

// typed reads the text of an argument of a row, by the row's type: dicts, lists
// and values of any type as JSON, YAML or @file, all else as the word itself.
// The error says what was expected.
func (r *reader) typed(arg catalog.Arg, text string) (any, error) {
	t := arg.Type
	if arg.Nullable() {
		if text == "null" {
			return nil, nil
		}
		t = t.Elem()
	}
	v, err := r.ofType(t, text)
	if errors.Is(err, context.Canceled) {
		return nil, err
	}
	if err != nil {
		return nil, usagef("%s is %q: expected %s%s", arg.Name, text, arg.Expected(), because(err))
	}
	return v, nil
}

// errForm is a text that has not the form of its type; there is no more to say.
var errForm = errors.New("wrong form")

func because(err error) string {
	if errors.Is(err, errForm) {
		return ""
	}
	return " (" + err.Error() + ")"
}

func (r *reader) ofType(t reflect.Type, text string) (any, error) {
	switch t.Kind() {
	case reflect.String:
		return text, nil
	case reflect.Bool:
		if text == "true" || text == "false" {
			return text == "true", nil
		}
		return nil, errForm
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errForm
		}
		return i, nil
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, errForm
		}
		return f, nil
	case reflect.Map:
		v, err := r.any(text)
		if _, ok := v.(map[string]any); err == nil && !ok {
			return nil, errForm
		}
		return v, err
	case reflect.Slice:
		return r.list(t, text)
	}
	return r.any(text)
}

// list reads JSON, YAML or @file, and words that commas part where the items
// are words.
func (r *reader) list(t reflect.Type, text string) (any, error) {
	if t.Elem().Kind() == reflect.String && !strings.HasPrefix(text, "[") && !strings.HasPrefix(text, "@") {
		l := []any{}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				l = append(l, item)
			}
		}
		return l, nil
	}
	v, err := r.any(text)
	if _, ok := v.([]any); err == nil && !ok {
		return nil, errForm
	}
	return v, err
}

// any reads JSON; YAML where it makes a dict or a list; @file and @- for either
// in a file or standard input; and any other word as a string.
func (r *reader) any(text string) (any, error) {
	if path, ok := strings.CutPrefix(text, "@"); ok {
		b, err := r.file(path)
		if err != nil {
			return nil, err
		}
		if v, ok := fromJSON(b); ok {
			return v, nil
		}
		return fromYAML(b)
	}
	if v, ok := fromJSON([]byte(text)); ok {
		return v, nil
	}
	v, err := fromYAML([]byte(text))
	switch v.(type) {
	case map[string]any, []any:
		return v, nil
	}
	if begin := strings.TrimSpace(text); err != nil && (strings.HasPrefix(begin, "{") || strings.HasPrefix(begin, "[")) {
		return nil, err // meant as a dict or list
	}
	return text, nil
}

func (r *reader) file(path string) ([]byte, error) {
	in := r.stdin
	if path == "-" {
		if in == nil {
			return nil, errors.New("standard input is read already")
		}
		r.stdin = nil
	}
	return console.Wait(r.done, func() ([]byte, error) { return readAll(in, path) })
}

func readAll(in io.Reader, path string) ([]byte, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
	}
	return b, err
}

// fromJSON reads JSON that says one thing only; all else is left to YAML, which
// has a word for what is wrong.
func fromJSON(b []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := jsonValue(d, maxDepth)
	if err != nil {
		return nil, false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	return v, true
}

// maxDepth is how deep WAMP messages may be nested at a relay.
const maxDepth = 64

var errNoJSON = errors.New("not JSON")

// jsonValue reads the next value: a dict has no key twice, and a number is an
// integer where it is one, else a float.
func jsonValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil || depth == 0 {
		return nil, errNoJSON
	}
	switch t {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := jsonValue(d, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	case json.Delim('{'):
		dict := map[string]any{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			if _, twice := dict[name]; twice {
				return nil, errNoJSON
			}
			if dict[name], err = jsonValue(d, depth-1); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return dict, err
	}
	if n, ok := t.(json.Number); ok {
		return number(n.String())
	}
	return t, nil
}

func number(text string) (any, error) {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, nil
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return u, nil
	}
	return strconv.ParseFloat(text, 64)
}

func fromYAML(b []byte) (any, error) {
	if err := yamltext.Check(b); err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var v, more any
	if err := d.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("not YAML: %s", firstLine(err))
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	if !finite(v) {
		return nil, errors.New("no number may be infinite or none")
	}
	return v, nil
}

// finite reports whether every number can be written down: what is infinite or
// none has no JSON, and few who ask for the result could read it.
func finite(v any) bool {
	switch v := v.(type) {
	case float64:
		return !math.IsInf(v, 0) && !math.IsNaN(v)
	case []any:
		return !slices.ContainsFunc(v, func(x any) bool { return !finite(x) })
	case map[string]any:
		for _, x := range v {
			if !finite(x) {
				return false
			}
		}
	}
	return true
}
