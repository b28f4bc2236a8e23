package cli

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"fabric.center/cfc/shared/console"
	"github.com/gammazero/nexus/v3/wamp"
)

// none is what stands for null, and for nothing at all.
const none = "-"

// resultOf is what a call gave: its one value, or all where it is not one.
func resultOf(r *wamp.Result) any {
	switch {
	case len(r.ArgumentsKw) > 0, len(r.Arguments) > 1:
		return map[string]any{"args": plain(r.Arguments), "kwargs": plain(r.ArgumentsKw)}
	case len(r.Arguments) == 0:
		return nil
	}
	return plain(r.Arguments[0])
}

// plain makes every dict a map[string]any and every list a []any, whatever the
// serializer made of them.
func plain(v any) any {
	if b, ok := v.([]byte); ok {
		return b
	}
	val := reflect.ValueOf(v)
	switch val.Kind() {
	case reflect.Map:
		if val.IsNil() {
			return nil
		}
		d := make(map[string]any, val.Len())
		for it := val.MapRange(); it.Next(); {
			d[fmt.Sprint(it.Key().Interface())] = plain(it.Value().Interface())
		}
		return d
	case reflect.Slice:
		if val.IsNil() {
			return nil
		}
		l := make([]any, val.Len())
		for i := range l {
			l[i] = plain(val.Index(i).Interface())
		}
		return l
	}
	return v
}

// print shows a result: exactly with --json, else in the order of the fields
// of t, the row's result type.
func (a *app) print(v any, t reflect.Type) error {
	if a.flags.json {
		return writeJSON(a.Stdout, v)
	}
	return show(a.Stdout, v, t)
}

// show prints a dict as aligned keys and values, a list of dicts as a table and
// all else as lines.
func show(w io.Writer, v any, t reflect.Type) error {
	switch v := v.(type) {
	case map[string]any:
		return pairs(w, v, t)
	case []any:
		if rows := dicts(v); rows != nil && fits(rows) {
			return listing(w, rows, elem(t))
		}
		for _, x := range v {
			if _, err := fmt.Fprintln(w, cell(x)); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := fmt.Fprintln(w, cell(v))
	return err
}

// dicts is l as rows of a table, nil where it holds anything else.
func dicts(l []any) []map[string]any {
	var rows []map[string]any
	for _, x := range l {
		d, ok := x.(map[string]any)
		if !ok {
			return nil
		}
		rows = append(rows, d)
	}
	return rows
}

// maxColumns is how many a table may have. What other machines make up is no
// reason for one of as many columns as rows.
const maxColumns = 50

func fits(rows []map[string]any) bool {
	all := map[string]bool{}
	for _, r := range rows {
		for k := range r {
			all[k] = true
		}
	}
	return len(all) <= maxColumns
}

func elem(t reflect.Type) reflect.Type {
	if t != nil && t.Kind() == reflect.Slice {
		return t.Elem()
	}
	return nil
}

func listing(w io.Writer, rows []map[string]any, t reflect.Type) error {
	all := map[string]any{}
	for _, r := range rows {
		maps.Copy(all, r)
	}
	tab := table{}
	for _, k := range keys(all, t) {
		tab.head = append(tab.head, clean(strings.ToUpper(k)))
		for i, r := range rows {
			if i == len(tab.rows) {
				tab.rows = append(tab.rows, nil)
			}
			tab.rows[i] = append(tab.rows[i], cell(r[k]))
		}
	}
	return tab.write(w)
}

// pairs prints a dict; the keys of dicts inside it are joined by dots. A text
// of several lines stands below all others, each line its own.
func pairs(w io.Writer, d map[string]any, t reflect.Type) error {
	tab, texts := table{}, ""
	var add func(prefix string, d map[string]any, t reflect.Type)
	add = func(prefix string, d map[string]any, t reflect.Type) {
		for _, k := range keys(d, t) {
			inner, _ := d[k].(map[string]any)
			text, _ := d[k].(string)
			switch {
			case len(inner) > 0 && onlyJSON(t, k):
				tab.add(clean(prefix+k), "(with --json)")
			case len(inner) > 0 && len(prefix+k) <= maxWidth: // each key within repeats it
				add(prefix+k+".", inner, fieldType(t, k))
			case strings.Contains(strings.TrimRight(text, "\n"), "\n"):
				texts += "\n" + clean(prefix+k) + ":\n" + block(text)
			default:
				tab.add(clean(prefix+k), cell(d[k]))
			}
		}
	}
	add("", d, t)
	if err := tab.write(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, texts)
	return err
}

// block is a text of another machine, whose lines stay lines.
func block(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(clean(strings.TrimRight(line, "\r\n")) + "\n")
	}
	return b.String()
}

// keys are those of d in the order of the fields of t, others by name behind
// them; id goes first where there is no type.
func keys(d map[string]any, t reflect.Type) []string {
	var ordered []string
	for _, k := range append(fieldNames(t), "id") {
		if _, ok := d[k]; ok && !slices.Contains(ordered, k) {
			ordered = append(ordered, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(d)) {
		if !slices.Contains(ordered, k) {
			ordered = append(ordered, k)
		}
	}
	return ordered
}

func fieldNames(t reflect.Type) []string {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

func fieldType(t reflect.Type, name string) reflect.Type {
	if i := slices.Index(fieldNames(t), name); i >= 0 {
		return t.Field(i).Type
	}
	return nil
}

// onlyJSON reports whether the type leaves a field to other programs, by the tag
// show:"json".
func onlyJSON(t reflect.Type, name string) bool {
	i := slices.Index(fieldNames(t), name)
	return i >= 0 && t.Field(i).Tag.Get("show") == "json"
}

// cell is a value on one line.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return none
	case string:
		if v == "" {
			return none
		}
		return clean(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []byte:
		return fmt.Sprintf("%x", v)
	case []any:
		var items []string
		for _, x := range v {
			items = append(items, cell(x))
		}
		if len(items) > 0 && !slices.ContainsFunc(v, isNested) {
			return strings.Join(items, ", ")
		}
	case map[string]any:
	default:
		return clean(fmt.Sprint(v))
	}
	if isEmpty(v) {
		return none
	}
	b, err := toJSON(v, "")
	if err != nil {
		return clean(fmt.Sprint(v))
	}
	return clean(strings.TrimSuffix(string(b), "\n"))
}

func isNested(v any) bool {
	switch v.(type) {
	case []any, map[string]any:
		return true
	}
	return false
}

func isEmpty(v any) bool { return reflect.ValueOf(v).Len() == 0 }

// clean makes a text of another machine safe for the terminal.
func clean(s string) string { return console.Clean(s) }

// table is aligned columns, two spaces apart. Without a head it is a list of
// keys and values.
type table struct {
	head []string
	rows [][]string
}

// maxWidth is how wide a column is at most: longer cells do not widen all others.
const maxWidth = 160

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) error {
	lines := t.rows
	if t.head != nil {
		lines = append([][]string{t.head}, lines...)
	}
	widths := map[int]int{}
	for _, l := range lines {
		for i, c := range l {
			widths[i] = max(widths[i], min(utf8.RuneCountInString(c), maxWidth))
		}
	}
	b := bufio.NewWriter(w) // which keeps the first error for Flush
	for _, l := range lines {
		for i, c := range l {
			_, _ = b.WriteString(c)
			if i < len(l)-1 {
				_, _ = b.WriteString(strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(c))+2))
			}
		}
		_ = b.WriteByte('\n')
	}
	return b.Flush()
}
