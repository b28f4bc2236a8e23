package ops

import (
	"encoding/json"
	"testing"

	"fabric.center/cfc/shared/catalog"
)

func TestMask(t *testing.T) {
	const whole = `{"a":{"b":"x","c":[{"k":"s","n":1},{"n":2}]},"d":null,"e":["p","q"]}`
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{nil, whole},
		{[]string{"a.b"}, `{"a":{"b":"***","c":[{"k":"s","n":1},{"n":2}]},"d":null,"e":["p","q"]}`},
		{[]string{"a.c.k"}, `{"a":{"b":"x","c":[{"k":"***","n":1},{"n":2}]},"d":null,"e":["p","q"]}`},
		{[]string{"a.c.*.k"}, `{"a":{"b":"x","c":[{"k":"***","n":1},{"n":2}]},"d":null,"e":["p","q"]}`},
		{[]string{"a.*"}, `{"a":{"b":"***","c":"***"},"d":null,"e":["p","q"]}`},
		{[]string{"*.b", "e.*"}, `{"a":{"b":"***","c":[{"k":"s","n":1},{"n":2}]},"d":null,"e":["***","***"]}`},
		{[]string{"**.k"}, `{"a":{"b":"x","c":[{"k":"***","n":1},{"n":2}]},"d":null,"e":["p","q"]}`},
		{[]string{"a.**.b", "**.c.**.n"}, `{"a":{"b":"***","c":[{"k":"s","n":"***"},{"n":"***"}]},"d":null,"e":["p","q"]}`},
		{[]string{"a"}, `{"a":"***","d":null,"e":["p","q"]}`},
		{[]string{"d", "x.y", "a.b.c"}, whole},
	} {
		var v map[string]any
		if err := json.Unmarshal([]byte(whole), &v); err != nil {
			t.Fatal(err)
		}
		for _, in := range []any{v, catalog.Dict(v)} {
			got, err := json.Marshal(mask(in, c.paths))
			if err != nil || string(got) != c.want {
				t.Errorf("%v gives\n%s, expected\n%s", c.paths, got, c.want)
			}
		}
		if after, _ := json.Marshal(v); string(after) != whole {
			t.Errorf("%v has changed the original: %s", c.paths, after)
		}
	}
	if got := mask("plain", []string{"a.b"}); got != "plain" {
		t.Errorf("a plain value becomes %v", got)
	}
}
