package nodeconfig

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"fabric.center/cfc/shared/console"
)

const around = 3 // lines of a diff that have not changed

// hunk is the one stretch of lines in which two texts differ.
type hunk struct{ from, before, after int } // where, and how many lines there

func compare(before, after []string) hunk {
	n := 0
	for n < min(len(before), len(after)) && before[n] == after[n] {
		n++
	}
	same := 0
	for same < min(len(before), len(after))-n && before[len(before)-1-same] == after[len(after)-1-same] {
		same++
	}
	return hunk{n, len(before) - n - same, len(after) - n - same}
}

func lines(text []byte) []string { return slices.Collect(strings.Lines(string(text))) }

// Diff shows a change as a unified diff of one hunk; it is empty where nothing
// changes.
func (c Change) Diff(dir string) string {
	if same(c.Before, c.After) {
		return ""
	}
	var out strings.Builder
	path := filepath.Join(dir, c.Name)
	before, after := lines(c.Before), lines(c.After)
	h := compare(before, after)
	start := max(0, h.from-around)
	end := min(len(before), h.from+h.before+around)
	fmt.Fprintf(&out, "--- %s\n+++ %s\n@@ -%s +%s @@\n", shown(path, c.Before), shown(path, c.After),
		span(start, end-start), span(start, end-start-h.before+h.after))
	put := func(mark string, list []string) {
		for _, line := range list {
			out.WriteString(mark + shownLine(line) + "\n")
			if !strings.HasSuffix(line, "\n") {
				out.WriteString("\\ No newline at end of file\n")
			}
		}
	}
	put(" ", before[start:h.from])
	put("-", before[h.from:h.from+h.before])
	put("+", after[h.from:h.from+h.after])
	put(" ", before[h.from+h.before:end])
	return out.String()
}

// shownLine does nothing to the terminal of who looks at somebody else's file.
func shownLine(line string) string {
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	cells := strings.Split(line, "\t")
	for i, c := range cells {
		cells[i] = console.Clean(c)
	}
	return strings.Join(cells, "\t")
}

func shown(path string, text []byte) string {
	if text == nil {
		return "/dev/null"
	}
	return path
}

func span(start, n int) string {
	if n > 0 {
		start++ // lines count from one; of none, the one before is named
	}
	return fmt.Sprintf("%d,%d", start, n)
}

// takeOut undoes a change in a text that has been edited since: the lines that
// it put in become those that it took out. What the text says else must not
// change by that.
func takeOut(k kept, now []byte) ([]byte, error) {
	if k.Name == Activation || now == nil || k.before == nil {
		return nil, ErrEdited
	}
	before, after, current := lines(k.before), lines(k.after), lines(now)
	h := compare(before, after)
	mine := after[h.from : h.from+h.after]
	at := -1
	for i := 0; i+len(mine) <= len(current); i++ {
		if slices.Equal(current[i:i+len(mine)], mine) {
			if at >= 0 {
				return nil, ErrEdited // which one?
			}
			at = i
		}
	}
	if at < 0 {
		return nil, ErrEdited
	}
	text := []byte(strings.Join(slices.Replace(slices.Clone(current), at, at+len(mine), before[h.from:h.from+h.before]...), ""))
	was, err1 := decode(k.Name, k.before)
	is, err2 := decode(k.Name, text)
	edited, err3 := decode(k.Name, now)
	if err1 != nil || err2 != nil || err3 != nil || !reflect.DeepEqual(Transport(is), Transport(was)) || !reflect.DeepEqual(withoutUplink(is), withoutUplink(edited)) {
		return nil, ErrEdited
	}
	return bytes.Clone(text), nil
}
