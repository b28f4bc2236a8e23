package console

import (
	"strings"
	"testing"
)

func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"token":                   "token",
		"token\nmore":             "token\n",
		strings.Repeat("x", 5000): strings.Repeat("x", longestLine),
	} {
		if got, err := FirstLine(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("of %d bytes: %d, %v", len(text), len(got), err)
		}
	}
}
