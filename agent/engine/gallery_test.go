package engine

import (
	"fmt"
	"strings"
	"testing"
)

func TestWhatBecameOfImages(t *testing.T) {
	hung := func(names ...string) gallery { // "name=id" or "=id"
		g := gallery{names: map[string]string{}, ids: map[string]bool{}, pulled: map[string]bool{}, lost: map[string]bool{}}
		for _, pair := range names {
			name, id, _ := strings.Cut(pair, "=")
			if g.ids[id] = true; name != "" {
				g.names[name] = id
			}
		}
		return g
	}
	image := func(action, id, name string) Event {
		return Event{Object: "image", Action: action, ID: id, Attributes: map[string]string{"name": name}}
	}
	for what, c := range map[string]struct {
		before, now gallery
		told        []Event
		want        string
	}{
		"nothing":                   {before: hung("a=1", "=2"), now: hung("a=1", "=2")},
		"a new one":                 {now: hung("a=1"), want: "tag 1 a"},
		"one without a name":        {now: hung("=1")},
		"one less":                  {before: hung("a=1", "b=1"), now: hung(), want: "untag 1 a, untag 1 b, delete 1 1"},
		"a name that moved":         {before: hung("a=1", "=2"), now: hung("=1", "a=2"), want: "untag 1 a, tag 2 a"},
		"a name that went":          {before: hung("a=1"), now: hung("=1"), want: "untag 1 a"},
		"told: tagged":              {before: hung("a=1"), now: hung("a=1", "b=1"), told: []Event{image("tag", "1", "b")}},
		"told: pulled":              {before: hung("a=1"), now: hung("=1", "a=2"), told: []Event{image("pull", "a", "a")}},
		"told: removed":             {before: hung("a=1"), now: hung(), told: []Event{image("untag", "1", "1"), image("delete", "1", "1")}},
		"told: a name less":         {before: hung("a=1"), now: hung("=1"), told: []Event{image("untag", "1", "1")}},
		"told: tagged, then missed": {before: hung("a=1"), now: hung("a=1"), told: []Event{image("tag", "1", "b")}, want: "untag 1 b"},
	} {
		g := c.before
		if g.names == nil {
			g = hung()
		}
		for _, v := range c.told {
			g.take(v)
		}
		var got []string
		for _, h := range g.changes(c.now) {
			got = append(got, fmt.Sprint(h.action, " ", h.id, " ", h.name))
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %q, expected %q", what, text, c.want)
		}
	}
}
