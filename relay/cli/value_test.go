package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"fabric.center/cfc/shared/catalog"
	"golang.org/x/sys/unix"
)

func argOf(t reflect.Type) catalog.Arg { return catalog.Arg{Name: "x", Type: t} }

func TestTypedGood(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "@" + path
	}
	d := map[string]any{"a": int64(1), "b": []any{true, nil, "x", 1.5}}
	tests := []struct {
		t    reflect.Type
		text string
		want any
	}{
		{reflect.TypeFor[string](), "word", "word"},
		{reflect.TypeFor[string](), "", ""},
		{reflect.TypeFor[string](), "123", "123"},
		{reflect.TypeFor[string](), "@home", "@home"},
		{reflect.TypeFor[catalog.ObjectID](), "null", "null"},
		{reflect.TypeFor[*catalog.ObjectID](), "null", nil},
		{reflect.TypeFor[*catalog.ObjectID](), "w1", "w1"},
		{reflect.TypeFor[bool](), "true", true},
		{reflect.TypeFor[bool](), "false", false},
		{reflect.TypeFor[int](), "-7", int64(-7)},
		{reflect.TypeFor[int64](), "9223372036854775807", int64(math.MaxInt64)},
		{reflect.TypeFor[float64](), "1e-3", 0.001},
		{reflect.TypeFor[map[string]any](), `{"a": 1, "b": [true, null, "x", 1.5]}`, d},
		{reflect.TypeFor[map[string]any](), "{a: b, c: [d]}", map[string]any{"a": "b", "c": []any{"d"}}},
		{reflect.TypeFor[map[string]any](), "a: b", map[string]any{"a": "b"}},
		{reflect.TypeFor[map[string]any](), "{}", map[string]any{}},
		{reflect.TypeFor[map[string]any](), file("a.json", `{"a": 1, "b": [true, null, "x", 1.5]}`), d},
		{reflect.TypeFor[catalog.Dict](), file("a.yaml", "a: b\n"), map[string]any{"a": "b"}},
		{reflect.TypeFor[map[string]any](), "@-", map[string]any{"from": "stdin"}},
		{reflect.TypeFor[[]string](), "a, b,c", []any{"a", "b", "c"}},
		{reflect.TypeFor[[]string](), "", []any{}},
		{reflect.TypeFor[[]string](), `["a", "b"]`, []any{"a", "b"}},
		{reflect.TypeFor[[]any](), "[1, x]", []any{uint64(1), "x"}},
		{reflect.TypeFor[any](), "router", "router"},
		{reflect.TypeFor[any](), "12", int64(12)},
		{reflect.TypeFor[any](), "1e3", 1000.0},
		{reflect.TypeFor[any](), "18446744073709551615", uint64(math.MaxUint64)},
		{reflect.TypeFor[any](), "012", "012"},
		{reflect.TypeFor[any](), "yes", "yes"},
		{reflect.TypeFor[any](), "true", true},
		{reflect.TypeFor[any](), "null", nil},
		{reflect.TypeFor[any](), `"true"`, "true"},
		{reflect.TypeFor[any](), "a #b", "a #b"},
		{reflect.TypeFor[any](), "%x *y", "%x *y"},
		{reflect.TypeFor[any](), "", ""},
		{reflect.TypeFor[any](), "{type: router}", map[string]any{"type": "router"}},
		{reflect.TypeFor[any](), file("word", "router\n"), "router"},
		{reflect.TypeFor[any](), file("empty", ""), nil},
	}
	for _, tt := range tests {
		r := reader{stdin: strings.NewReader("from: stdin")}
		got, err := r.typed(argOf(tt.t), tt.text)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s %q: got %#v, %v, want %#v", tt.t, tt.text, got, err, tt.want)
		}
	}
}

func TestTypedBad(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxFile+1); err != nil {
		t.Fatal(err)
	}
	two := filepath.Join(dir, "two.yaml")
	if err := os.WriteFile(two, []byte("a: 1\n---\nb: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bomb, text := filepath.Join(dir, "bomb.yaml"), "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'a'; c < 'j'; c++ {
		text += fmt.Sprintf("%c: &%c [%s]\n", c+1, c+1, strings.Repeat(fmt.Sprintf("*%c, ", c), 10))
	}
	if err := os.WriteFile(bomb, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		t          reflect.Type
		text, want string
	}{
		{reflect.TypeFor[bool](), "yes", `x is "yes": expected true or false`},
		{reflect.TypeFor[bool](), "1", "expected true or false"},
		{reflect.TypeFor[int](), "1.5", "expected an integer"},
		{reflect.TypeFor[int](), "9223372036854775808", "expected an integer"},
		{reflect.TypeFor[*int](), "x", "expected an integer, or null"},
		{reflect.TypeFor[float64](), "inf", "expected a number"},
		{reflect.TypeFor[float64](), "NaN", "expected a number"},
		{reflect.TypeFor[float64](), "x", "expected a number"},
		{reflect.TypeFor[map[string]any](), "[1]", "expected a dict"},
		{reflect.TypeFor[map[string]any](), "word", "expected a dict"},
		{reflect.TypeFor[map[string]any](), "null", "expected a dict"},
		{reflect.TypeFor[map[string]any](), `{"a": 1`, "expected a dict (not YAML"},
		{reflect.TypeFor[map[string]any](), `{a: 1, a: 2}`, "already defined"},
		{reflect.TypeFor[map[string]any](), `{"a": 1, "a": 2}`, "already defined"},
		{reflect.TypeFor[any](), ` {"a": 1, "a": 2}`, "already defined"},
		{reflect.TypeFor[map[string]any](), `{"a": {"b": [{"c": 1, "c": 1}]}}`, "already defined"},
		{reflect.TypeFor[map[string]any](), `{a: .nan}`, "no number may be infinite or none"},
		{reflect.TypeFor[map[string]any](), `{a: [{b: -.inf}]}`, "no number may be infinite or none"},
		{reflect.TypeFor[map[string]any](), strings.Repeat(`{"a": `, 100_000), "nested deeper than 64"},
		{reflect.TypeFor[[]any](), strings.Repeat("[", 65) + strings.Repeat("]", 65), "nested deeper than 64"},
		{reflect.TypeFor[map[string]any](), "@" + bomb, "aliases stand for more"},
		{reflect.TypeFor[map[string]any](), "@" + filepath.Join(dir, "none"), "no such file"},
		{reflect.TypeFor[map[string]any](), "@" + dir, "is a directory"},
		{reflect.TypeFor[map[string]any](), "@" + large, "larger than 16 MiB"},
		{reflect.TypeFor[map[string]any](), "@" + two, "more than one document"},
		{reflect.TypeFor[[]string](), `["a"`, "expected a list, each item a string (not YAML"},
		{reflect.TypeFor[[]any](), "{a: b}", "expected a list"},
		{reflect.TypeFor[any](), "[1", "expected any value (not YAML"},
	}
	for _, tt := range tests {
		_, err := (&reader{stdin: strings.NewReader("")}).typed(argOf(tt.t), tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %q: got %v, want %q", tt.t, tt.text, err, tt.want)
		}
	}
}

func TestStandardInputIsReadOnce(t *testing.T) {
	r := newRig(t)
	r.stdin = `{"a": 1}`
	r.answers["com.example.f"] = nil
	r.bad(2, "standard input is read already", "call", "com.example.f", "@-", "@-")
}

// Ctrl-C ends a command that waits for somebody to write its argument.
func TestReadingEndsWithTheCommand(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	in, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	close(done)
	for _, text := range []string{"@" + pipe, "@-"} {
		r := reader{in, done}
		if _, err := r.typed(argOf(reflect.TypeFor[catalog.Dict]()), text); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	// Let go of those who still read.
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err := errors.Join(err, w.Close(), hold.Close()); err != nil {
		t.Error(err)
	}
}
