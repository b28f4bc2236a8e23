package cli

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// complete asks as the shell does; the last word is the one that is being typed.
func (r *rig) complete(words ...string) []string {
	r.t.Helper()
	out, _, exit := r.run(append([]string{"__complete"}, words...)...)
	if exit != 0 {
		r.t.Fatalf("%v: exit %d", words, exit)
	}
	var found []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, ":") {
			break
		}
		word, _, _ := strings.Cut(line, "\t")
		found = append(found, word)
	}
	return found
}

func TestCompletion(t *testing.T) {
	tests := []struct {
		line string // | is where the cursor stands
		want []string
		asks bool
	}{
		{"nod", []string{"node"}, false},
		{"node get-w", []string{"get-worker", "get-workers"}, false},
		{"node get-status ", []string{"n1", "n2", "n3", "never"}, true},
		{"node get_status n", []string{"n1", "n2", "n3", "never"}, true},
		{"node get-worker n1 ", []string{"w1", "w2"}, true},
		{"router stop-router-realm n1 ", []string{"w1", "w2"}, true},
		{"node start-worker n1 ", nil, false},
		{"node show ", []string{"n1", "n2", "n3", "never"}, true},
		{"node rm ", []string{"n1", "n2", "n3", "never"}, true},
		{"node ls --status ", []string{"online", "offline", "detached"}, false},
		{"help node sh", []string{"show", "shutdown"}, false},
		{"realm use ", []string{"demo", "site-2"}, true},
		{"realm rm ", []string{"demo", "site-2"}, true},
		{"node ls --realm ", []string{"demo", "site-2"}, true},
		{"node ls --context ", []string{"local"}, false},
		{"context use ", []string{"local"}, false},
		{"logout ", []string{"local"}, false},
		{"realm member add bob ", []string{"viewer", "operator", "owner"}, false},
		{"user invite bob --role ", []string{"viewer", "operator", "owner"}, false},
		{"token create ", []string{"user", "node", "ticket"}, false},
		{"events on_node_p", []string{"on_node_paired"}, false},
		{"call cfc.remote.node.get_st", []string{"cfc.remote.node.get_status"}, false},
	}
	for _, tt := range tests {
		r := newRig(t)
		r.answers = answersOfAll()
		got := r.complete(strings.Split(tt.line, " ")...)
		// Those that the shell itself narrows come whole.
		typed := tt.line[strings.LastIndex(tt.line, " ")+1:]
		got = slices.DeleteFunc(got, func(s string) bool { return !strings.HasPrefix(s, typed) })
		if !slices.Equal(got, tt.want) || (len(r.joins) > 0) != tt.asks {
			t.Errorf("%q: %v, asked %d times", tt.line, got, len(r.joins))
		}
	}
}

func TestCompletionOfFlagsOfARow(t *testing.T) {
	r := newRig(t)
	if got := r.complete("node", "shutdown", "n1", "--re"); !slices.Contains(got, "--restart") {
		t.Errorf("%v", got)
	}
}

// Files are offered only where one may stand.
func TestCompletionOfFiles(t *testing.T) {
	for line, files := range map[string]bool{
		"node start-worker n1 w2 ":           true,
		"node start-worker n1 w2 router ":    true,
		"node start-worker n1 w2 router {} ": false,
		"router stop-router-realm n1 w1 r ":  false,
		"node get-status n1 ":                false,
	} {
		out, _, _ := newRig(t).run(append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if got := !strings.Contains(out, ":4\n"); got != files {
			t.Errorf("%q: files %t\n%s", line, got, out)
		}
	}
}

// The shell is not held up by a relay that does not answer.
func TestCompletionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.answers["cfc.get_nodes"] = func(ctx context.Context, _ call) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		if got := r.complete("node", "show", ""); len(got) != 0 || time.Since(start) != completionTime {
			t.Errorf("%v after %s", got, time.Since(start))
		}
	})
}

// What a node or a relay calls its workers and nodes stands on the operator's own
// command line next.
func TestCompletionOfWhatAShellObeys(t *testing.T) {
	r := newRig(t)
	r.answers["cfc.remote.node.get_workers"] = []any{"$(reboot)a", "$(reboot)b", "`id`", "a;b", "a b", "a\tb", "-f", "w\x1b[2J", "w-1.x_y", 7}
	if got := r.complete("node", "get-worker", "n1", ""); !slices.Equal(got, []string{"w-1.x_y"}) {
		t.Errorf("%q", got)
	}
}

func TestCompletionWithoutAContext(t *testing.T) {
	r := newRig(t)
	r.env[envConfig] = r.dir + "/none"
	for _, line := range []string{"node show ", "context use ", "realm use "} {
		if got := r.complete(strings.Split(line, " ")...); len(got) != 0 {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := newRig(t)
		if out := r.good("completion", shell); !strings.Contains(out, "__complete") {
			t.Errorf("%s: %.80s", shell, out)
		}
	}
}
