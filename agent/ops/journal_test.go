package ops

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	x := restart{Node: "now", By: "ann", Worker: "p", Type: "proxy", Created: "1", Without: "t", Options: map[string]any{"n": int64(1)},
		Objects: []running{{Kind: ProxyTransport.Key, ID: "web", Config: map[string]any{"port": int64(8080), "f": 1.5, "l": []any{int64(1)}},
			Parts: []running{{Kind: ProxyPath.Key, Parent: "web", ID: "a", Config: map[string]any{}}}}}}
	other := x
	other.Worker = "q"
	j := openJournal(dir, zap.NewNop())
	for _, x := range []restart{x, other} {
		if err := j.begun(x); err != nil {
			t.Fatal(err)
		}
	}
	j = openJournal(dir, zap.NewNop())
	if got, open := j.open("p"); !open || !reflect.DeepEqual(got, x) || len(j.workers()) != 2 {
		t.Errorf("kept is %+v of %v", got, j.workers())
	}
	j.ended("p")
	if got := openJournal(dir, zap.NewNop()).workers(); fmt.Sprint(got) != "[q]" {
		t.Errorf("left are %v", got)
	}
	j.ended("q")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestJournalIsReadStrictly(t *testing.T) {
	object := func(s string) string {
		return `{"version": 1, "restarts": [{"node": "n", "by": "ann", "worker": "p", "type": "proxy", "options": {}, "created": "1", "objects": [` + s + `]}]}`
	}
	for name, text := range map[string]string{
		"empty":                   ``,
		"half":                    `{"version": 1`,
		"newer":                   `{"version": 2, "restarts": []}`,
		"a field of a newer one":  `{"version": 1, "restarts": [], "more": 1}`,
		"something behind it":     `{"version": 1, "restarts": []} {}`,
		"no worker":               `{"version": 1, "restarts": [{"node": "n", "type": "proxy"}]}`,
		"a worker of no type":     `{"version": 1, "restarts": [{"node": "n", "worker": "p", "type": "rotor"}]}`,
		"an unknown kind":         object(`{"kind": "rotor", "id": "x"}`),
		"a kind of other workers": object(`{"kind": "router_realm", "id": "x"}`),
		"a part of nothing":       object(`{"kind": "proxy_path", "id": "x"}`),
		"a part of another":       object(`{"kind": "proxy_transport", "id": "x", "parts": [{"kind": "proxy_path", "parent": "y", "id": "z"}]}`),
		"no id":                   object(`{"kind": "proxy_transport"}`),
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, journalFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		j := openJournal(dir, zap.NewNop())
		left, err := os.ReadDir(dir)
		if err != nil || len(j.workers()) != 0 || len(left) != 1 || !strings.HasPrefix(left[0].Name(), journalFile+".damaged-") {
			t.Errorf("%s: taken are %v, left is %v, %v", name, j.workers(), left, err)
		}
	}
	if s, err := parseJournal([]byte(object(`{"kind": "proxy_transport", "id": "x"}`))); err != nil || len(s.Restarts) != 1 {
		t.Errorf("a good one: %+v, %v", s, err)
	}
}
