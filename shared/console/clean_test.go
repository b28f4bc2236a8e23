package console

import "testing"

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain text: “so” ü 3 s": "plain text: “so” ü 3 s", "a\x1b[2Jb": `a\x1b[2Jb`, "a\nb\tc\rd": `a\nb\tc\rd`, "\u202eevil": `\u202eevil`,
		"\u009b31m": `\u009b31m`, "\a\x00": `\a\x00`,
	} {
		if got := Clean(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
