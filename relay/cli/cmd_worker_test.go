package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// A follower reads on behind the last line whatever becomes of the connection,
// says what is missing, and ends with Ctrl-C.
func TestWorkerLogs(t *testing.T) {
	r := newRig(t)
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	line := func(seq int, text string) any {
		return wamp.Dict{"seq": seq, "time": "2026-03-01T10:00:00.000Z", "level": nil, "text": text}
	}
	var asked []string
	answers := []any{
		[]any{line(4, "one\x1b[2J"), line(5, "two")},
		[]any{line(6, "three")},
		cfcerr.New(cfcerr.ConnectionLost, "lost"),
		[]any{},
		[]any{line(9, "four")},
		[]any{line(1, "five")},
	}
	r.answers["cfc.remote.worker.get_worker_log"] = func(ctx context.Context, c call) (any, error) {
		asked = append(asked, fmt.Sprint(c.args))
		if len(asked) > len(answers) {
			interrupt()
			return nil, cfcerr.New(cfcerr.Canceled, "canceled")
		}
		if err, failed := answers[len(asked)-1].(error); failed {
			return nil, err
		}
		return answers[len(asked)-1], nil
	}
	out, errs, exit := r.runIn(ctx, "worker", "logs", "-f", "n1", "w", "-n", "2")
	if out != "one\\x1b[2J\ntwo\nthree\nfour\nfive\n" || exit != 0 || errs != "cfc: 2 lines are missing here\ncfc: the agent was started anew; some lines may be missing here\n" {
		t.Errorf("%q, %q, %d", out, errs, exit)
	}
	want := "[n1 w 2] [n1 w 1000 6 25000] [n1 w 1000 7 25000] [n1 w 1000 7 25000] [n1 w 1000 7 25000] [n1 w 1000 10 25000] [n1 w 1000 2 25000]"
	if got := strings.Join(asked, " "); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

func TestWorkerLogsOnce(t *testing.T) {
	r := newRig(t)
	const uri = "cfc.remote.worker.get_worker_log"
	r.answers[uri] = []any{wamp.Dict{"seq": 4, "time": "2026-03-01T10:00:00.000Z", "level": nil, "text": "a\tb"}}
	for flags, want := range map[string]string{"-t": "2026-03-01T10:00:00.000Z a\tb\n", "--json": `{"level":null,"seq":4,"text":"a\tb","time":"2026-03-01T10:00:00.000Z"}` + "\n"} {
		if out := r.good("worker", "logs", "n1", "w", flags); out != want {
			t.Errorf("%s: %q", flags, out)
		}
	}
	r.answers[uri] = cfcerr.New(cfcerr.NoSuchWorker, "cannot find worker w: the node has no such worker")
	r.bad(5, "no such worker", "worker", "logs", "-f", "n1", "w")
	r.bad(2, "WORKER is missing", "worker", "logs", "n1")
	r.bad(2, "expected 1 or more", "worker", "logs", "n1", "w", "-n", "0")
	r.bad(3, "invalid argument worker_id", "worker", "logs", "n1", "w w")
}
