package cli

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

func TestPlain(t *testing.T) {
	in := wamp.Dict{"a": wamp.List{map[any]any{1: "x"}, []byte{1}}, "b": map[string]string{"c": "d"}, "e": nil}
	want := map[string]any{"a": []any{map[string]any{"1": "x"}, []byte{1}}, "b": map[string]any{"c": "d"}, "e": nil}
	if got := plain(in); !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", got)
	}
}

func TestCell(t *testing.T) {
	for _, tt := range []struct {
		v    any
		want string
	}{
		{nil, "-"}, {"", "-"}, {"a", "a"}, {true, "true"}, {int64(-1), "-1"}, {uint64(1 << 60), "1152921504606846976"},
		{1.0, "1"}, {123456789.5, "123456789.5"}, {1e21, "1000000000000000000000"}, {[]byte{0xab}, "ab"},
		{[]any{}, "-"}, {[]any{"a", nil, 1}, "a, -, 1"}, {[]any{[]any{1}}, "[[1]]"}, {map[string]any{}, "-"}, {map[string]any{"a": "<b>"}, `{"a":"<b>"}`},
		{"two\nlines\t\x00\x1b[31m", `two\nlines\t\x00\x1b[31m`}, {"\u202eabc\u0085", `\u202eabc\u0085`}, {"ok \xff", "ok \ufffd"}, {"größe 日本", "größe 日本"},
	} {
		if got := cell(tt.v); got != tt.want {
			t.Errorf("%#v: got %q, want %q", tt.v, got, tt.want)
		}
	}
}

func TestTableIsAligned(t *testing.T) {
	tab := table{head: []string{"A", "LONG"}}
	tab.add("größe", "x")
	tab.add("b", "")
	var b strings.Builder
	if err := tab.write(&b); err != nil || b.String() != "A      LONG\ngröße  x\nb      \n" {
		t.Errorf("%v, %q", err, b.String())
	}
}

// What a node says in 16 MiB must not become as much as fills the memory here.
func TestOutputIsBounded(t *testing.T) {
	long := strings.Repeat("x", 50_000)
	within, wide, tall, deep := map[string]any{}, []any{}, []any{map[string]any{"id": long}}, map[string]any{}
	for i := range 2000 {
		k := strconv.Itoa(i)
		within[k], deep[k] = i, i
		wide = append(wide, map[string]any{k: i})
		tall = append(tall, map[string]any{"id": i, "n": i})
	}
	within[long] = "a long key among short ones"
	for what, v := range map[string]any{"as many columns as rows": wide, "a long cell": tall, "a long key": within, "a long key of a dict": map[string]any{long: deep}} {
		var b strings.Builder
		if err := show(&b, v, nil); err != nil || b.Len() > 500_000 {
			t.Errorf("%s: %d bytes, %v", what, b.Len(), err)
		}
	}
}

func TestKeysFollowTheType(t *testing.T) {
	type row struct {
		Z string `json:"z"`
		A string `json:"a,omitempty"`
	}
	d := map[string]any{"a": 1, "b": 1, "z": 1, "id": 1}
	if got := keys(d, reflect.TypeFor[row]()); !reflect.DeepEqual(got, []string{"z", "a", "id", "b"}) {
		t.Errorf("typed: %v", got)
	}
	if got := keys(d, nil); !reflect.DeepEqual(got, []string{"id", "a", "b", "z"}) {
		t.Errorf("untyped: %v", got)
	}
}

// A profile is read by people too: its table as a table, and what is for the
// viewer not at all.
func TestTextStaysText(t *testing.T) {
	type profile struct {
		Text string         `json:"text"`
		ID   string         `json:"id"`
		View map[string]any `json:"view" show:"json"`
		Line string         `json:"line"`
	}
	v := map[string]any{"id": "p1", "text": "  own  function\n 50.0%  f\x1b[2J\n", "view": map[string]any{"frames": []any{1}}, "line": "one\n"}
	var b strings.Builder
	if err := show(&b, v, reflect.TypeFor[profile]()); err != nil {
		t.Fatal(err)
	}
	if want := "id    p1\nview  (with --json)\nline  one\\n\n\ntext:\n  own  function\n 50.0%  f\\x1b[2J\n"; b.String() != want {
		t.Errorf("\n got %q\nwant %q", b.String(), want)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestOutputThatFailsIsAFailure(t *testing.T) {
	for _, line := range []string{"node ls", "node show n1", "node get-workers n1", "status", "context ls", "realm ls", "token create node", "node show n1 --json"} {
		r := newRig(t)
		r.answers = answersOfAll()
		var errs strings.Builder
		if exit := r.program(brokenPipe{}, &errs).Run(t.Context(), strings.Fields(line)); exit != exitLocal || !strings.Contains(errs.String(), "broken pipe") {
			t.Errorf("cfc %s: exit %d, %s", line, exit, errs.String())
		}
	}
}
