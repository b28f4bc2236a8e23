package docs

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

var update = flag.Bool("update", false, "write the pages anew")

func TestOperationsPageIsFresh(t *testing.T) { fresh(t, "OPERATIONS.md", Operations()) }

func fresh(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("shared/docs/%s is stale at %q; run: make docs", path, firstDifference(string(got), want))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i, line := range w {
		if i >= len(g) || g[i] != line {
			return line
		}
	}
	return "its end"
}

func TestPageHasEveryRow(t *testing.T) {
	page := Operations()
	for _, o := range catalog.All() {
		if !strings.Contains(page, "\n"+o.Signature()+"\n") || !strings.Contains(page, o.Doc) {
			t.Errorf("%s is missing", o.URI())
		}
		for _, a := range o.Args() {
			if !strings.Contains(page, "| `"+a.Usage()+"` | "+cell(a.Doc)+" |") {
				t.Errorf("%s: argument %s is missing", o.URI(), a.Name)
			}
		}
	}
	for _, e := range catalog.Events() {
		if !strings.Contains(page, "| `"+e.URI()+"` |") {
			t.Errorf("%s is missing", e.URI())
		}
	}
	for _, i := range cfcerr.Table {
		if i.URI != "" && !strings.Contains(page, "| `"+i.URI+"` |") {
			t.Errorf("%s is missing", i.URI)
		}
	}
}

func TestShape(t *testing.T) {
	type inner struct {
		A *string           `json:"a"`
		B map[string]string `json:"b,omitempty"`
	}
	for _, tt := range []struct {
		v    any
		want string
	}{
		{[]string{}, "[string]"},
		{catalog.Dict{}, "dict"},
		{true, "bool"},
		{inner{}, "{a: string or null, b: {string: string}}"},
		{[]inner{}, "[{a: string or null, b: {string: string}}]"},
		{struct {
			X any `json:"x"`
		}{}, "{x: any}"},
	} {
		if got := shape(reflect.TypeOf(tt.v)); got != tt.want {
			t.Errorf("%T: %s, want %s", tt.v, got, tt.want)
		}
	}
}

func TestStaleLineIsNamed(t *testing.T) {
	for _, tt := range []struct{ got, want, line string }{{"a\nb", "a\nc", "c"}, {"a", "a\nb", "b"}, {"a\nb", "a", "its end"}} {
		if got := firstDifference(tt.got, tt.want); got != tt.line {
			t.Errorf("%q, %q: %q", tt.got, tt.want, got)
		}
	}
}
