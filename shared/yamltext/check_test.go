package yamltext

import (
	"fmt"
	"strings"
	"testing"
)

// bomb stands for width to the power of levels values.
func bomb(levels, width int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "a0: &a0 [%s]\n", strings.Repeat("x,", width))
	for i := 1; i < levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), width))
	}
	return b.String()
}

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"plain":           {"a: 1\nb: [x, {c: d}]\n", ""},
		"empty":           {"", ""},
		"no YAML":         {"a: [", ""},
		"no YAML, alias":  {"a: [*b", ""},
		"unknown alias":   {"a: *b\n", ""},
		"alias":           {"a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n", ""},
		"small bomb":      {bomb(3, 10), ""},
		"bomb":            {bomb(10, 10), "its aliases stand for more than 16 MiB"},
		"bomb of merges":  {"a: &a {x: " + strings.Repeat("y", 1<<20) + "}\nb: [" + strings.Repeat("{<<: *a}, ", 20) + "]\n", "its aliases stand for more than 16 MiB"},
		"bomb behind it":  {"a: 1\n---\n" + bomb(10, 10), "its aliases stand for more than 16 MiB"},
		"endless":         {"a: &a [*a]\n", "an alias stands for what it is in"},
		"deep":            {strings.Repeat("[", 64) + strings.Repeat("]", 64), ""},
		"too deep":        {strings.Repeat("[", 65) + strings.Repeat("]", 65), "nested deeper than 64"},
		"far too deep":    {strings.Repeat("{a: ", 200_000), "nested deeper than 64"},
		"brackets in one": {"a: '" + strings.Repeat("[", 100) + "'\n", ""},
		"one by one":      {"a: [" + strings.Repeat("[],", 100) + "]\n", ""},
	} {
		err := Check([]byte(tt.text))
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}
