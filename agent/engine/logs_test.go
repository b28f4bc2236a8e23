package engine

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestALongLineOfATerminal is cut by the engine, which does not say where.
func TestALongLineOfATerminal(t *testing.T) {
	const stamp = "2026-01-02T03:04:05.000000006Z "
	a, b := strings.Repeat("a", cutLine), strings.Repeat("b", 3*cutLine)
	for what, want := range map[string][]string{
		"as it is":                  {a, "rest\n", "next\n"},
		"made longer":               {a + "\ufffd", b, "rest\n"},
		"a stamp in it":             {stamp + "\n", "2026 " + a},
		"one that ends where it is": {a},
	} {
		next := unframed(bufio.NewReader(strings.NewReader(stamp + strings.Join(want, stamp))))
		var got []string
		x, err := next()
		for ; err == nil; x, err = next() {
			got = append(got, string(x.data))
		}
		if !errors.Is(err, io.EOF) || strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: %d records, %v; expected %d", what, len(got), err, len(want))
		}
	}
	if _, err := unframed(bufio.NewReader(strings.NewReader(stamp + strings.Repeat("x", 2*largestFrame))))(); err == nil {
		t.Error("a line without end was taken")
	}
}
