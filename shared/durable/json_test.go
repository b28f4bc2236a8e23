package durable

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
)

func TestDecodeJSON(t *testing.T) {
	type state struct {
		Version int `json:"version"`
	}
	for text, want := range map[string]string{
		`{"version": 3}`:                "{3} <nil>",
		"\n{\"version\": 3}\n\n":        "{3} <nil>",
		`{"version": 3, "extra": 1}`:    `{3} json: unknown field "extra"`,
		`{"version": 3} {"version": 4}`: "{3} there is something behind the end",
		`{"version": 3} x`:              "{3} there is something behind the end",
		`{"version": 3`:                 "{0} unexpected EOF",
		``:                              "{0} EOF",
		`{"version": "3"}`:              "{0} json: cannot unmarshal string into Go struct field state.version of type int",
	} {
		var s state
		if err := DecodeJSON([]byte(text), &s); fmt.Sprint(s, " ", err) != want {
			t.Errorf("%q: %v %v, want %s", text, s, err, want)
		}
	}
}

func TestWhole(t *testing.T) {
	in := map[string]any{"port": int64(8080), "ratio": 1.5, "big": 1e300, "text": "1", "list": []any{int64(1), nil, map[string]any{"n": int64(-2)}}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if got := Whole(out); !reflect.DeepEqual(got, in) {
		t.Errorf("%#v became %#v", in, got)
	}
	var text any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&text); err != nil {
		t.Fatal(err)
	}
	if got := Numbers(text); !reflect.DeepEqual(got, in) {
		t.Errorf("read as text, %#v became %#v", in, got)
	}
}
