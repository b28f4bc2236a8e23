package durable

import (
	"fmt"
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
