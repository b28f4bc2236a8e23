package nodelink

import (
	"reflect"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/ugorji/go/codec"
)

func TestKeysThatAreNumbers(t *testing.T) {
	c := newNodeCBOR()
	for name, tt := range map[string]struct{ sent, want any }{
		"texts":        {map[string]any{"a": []any{"x", map[string]any{"b": true}}}, map[string]any{"a": []any{"x", map[string]any{"b": true}}}},
		"numbers":      {map[any]any{1: map[any]any{-2: "x"}, "b": "y"}, map[string]any{"1": map[string]any{"-2": "x"}, "b": "y"}},
		"in a list":    {[]any{map[any]any{7: "x"}}, []any{map[string]any{"7": "x"}}},
		"bytes within": {map[any]any{1: []byte{0, 255}}, map[string]any{"1": []byte{0, 255}}},
	} {
		var b []byte
		if err := codec.NewEncoderBytes(&b, &codec.CborHandle{}).Encode([]any{70, 5, map[string]any{}, []any{tt.sent}}); err != nil {
			t.Fatal(err)
		}
		m, err := c.Deserialize(b)
		y, ok := m.(*wamp.Yield)
		if err != nil || !ok || y.Request != 5 || len(y.Arguments) != 1 || !reflect.DeepEqual(y.Arguments[0], tt.want) {
			t.Errorf("%s: %#v, %v", name, m, err)
		}
	}
	for _, b := range [][]byte{nil, {0x80}, {0xff}, {0x83, 0x01}, {0xa1, 0x01}} {
		if m, err := c.Deserialize(b); err == nil {
			t.Errorf("% x is %v", b, m)
		}
	}
}

func FuzzNodeCBOR(f *testing.F) {
	f.Add([]byte{0x84, 0x18, 70, 5, 0xa0, 0x81, 0xa1, 0x01, 0x61, 0x78})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = newNodeCBOR().Deserialize(b) // must not panic
	})
}
