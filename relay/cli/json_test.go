package cli

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

// What a node says is written whole, and does nothing to a terminal.
func TestJSONIsFitForATerminal(t *testing.T) {
	v := map[string]any{"a\u009b2J": "x\x7f\u009b31m\u202e\U000e0001\x1b é", "n": []any{math.NaN(), math.Inf(-1), 1.5}, "html": "<&>"}
	var out strings.Builder
	if err := writeJSONLine(&out, v); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\x7f", "\u009b", "\u202e", "\U000e0001", "\x1b"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("%q is not escaped: %q", bad, out.String())
		}
	}
	if !strings.Contains(out.String(), "é") || !strings.Contains(out.String(), "<&>") {
		t.Errorf("what is fit is escaped: %s", out.String())
	}
	var back any
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil {
		t.Fatal(err)
	}
	v["n"] = []any{nil, nil, 1.5}
	if !reflect.DeepEqual(back, any(v)) {
		t.Errorf("got %q, want %q", back, v)
	}
}

// The keys of dicts are another machine's too.
func TestHeadsOfTablesAreFitForATerminal(t *testing.T) {
	var out strings.Builder
	if err := show(&out, []any{map[string]any{"a\x1b[2J": "b"}}, nil); err != nil || strings.Contains(out.String(), "\x1b") {
		t.Errorf("got %q, %v", out.String(), err)
	}
}
