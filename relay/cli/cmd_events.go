package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
)

// Waits between two attempts to join again.
const (
	firstWait = time.Second
	longWait  = 30 * time.Second
)

// follower is one run of cfc events.
type follower struct {
	*app
	topics []string
	match  string
	node   string

	mu   sync.Mutex
	seen map[string]counted // by topic and node
	fail error              // of standard output
}

// counted is the last event of a topic that a node's agent counted.
type counted struct {
	boot string
	tseq int64
}

func (a *app) eventsCommand() *cobra.Command {
	f := &follower{app: a, seen: map[string]counted{}}
	cmd := &cobra.Command{
		Use: "events [TOPIC…]", Short: "Follow events until Ctrl-C",
		Long: "Follow the events of the realm until Ctrl-C, one line each, with --json one JSON object a line and nothing shortened.\n\n" +
			"Without a topic all that the role may read. A topic is a URI or its end, such as node.on_worker_started.\n" +
			"When the connection is lost it is made again; what happened meanwhile is not told again, and standard error says so.",
		ValidArgsFunction: completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.topics = topicsOf(args); f.match != "" {
				f.topics = args
			}
			switch {
			case f.match != "" && len(args) == 0:
				return usagef("--pattern needs TOPICs")
			case f.match != "" && f.match != wamp.MatchPrefix && f.match != wamp.MatchWildcard:
				return usagef("--pattern %q: expected prefix or wildcard", f.match)
			}
			return f.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&f.match, "pattern", "", "TOPICs are patterns: prefix or wildcard (a.b..d)")
	cmd.Flags().Lookup("pattern").NoOptDefVal = wamp.MatchPrefix
	cmd.Flags().StringVar(&f.node, "node", "", "only of this node id")
	completeFlag(cmd, "node", a.nodeNames)
	completeFlag(cmd, "pattern", fixed([]string{wamp.MatchPrefix, wamp.MatchWildcard}))
	return cmd
}

// topicsOf resolves the ends of topics to the catalogue's; what is not there is
// taken for a whole URI.
func topicsOf(args []string) []string {
	var topics []string
	for _, arg := range args {
		i := slices.IndexFunc(catalog.Events(), func(e *catalog.Event) bool {
			return e.URI() == arg || shortTopic(e.URI()) == arg || e.Name == arg
		})
		if i >= 0 {
			arg = catalog.Events()[i].URI()
		}
		if !slices.Contains(topics, arg) {
			topics = append(topics, arg)
		}
	}
	return topics
}

func completeTopics(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var topics []string
	for _, e := range catalog.Events() {
		topics = append(topics, shortTopic(e.URI()))
	}
	return topics, cobra.ShellCompDirectiveNoFileComp
}

func shortTopic(uri string) string {
	return strings.TrimPrefix(strings.TrimPrefix(uri, wire.RemotePrefix), wire.Prefix)
}

// run follows until ctx ends, which is no failure, or the relay refuses.
func (f *follower) run(ctx context.Context) error {
	p, err := f.place()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wait := time.Duration(0)
	for first := true; ; first = false {
		lived, err := f.once(ctx, stop, p, first)
		switch {
		case f.failed() != nil:
			return f.failed()
		case ctx.Err() != nil:
			return nil
		case err != nil && (first || !temporary(err)):
			return err
		}
		if lived {
			wait = 0
		}
		wait = min(max(2*wait, firstWait), longWait)
		if err != nil {
			f.say("not connected: %s", err)
		}
		if !sleep(ctx, max(wait/2+rand.N(wait/2), after(err))) {
			return nil
		}
	}
}

// once is one session: it returns when that is over, and whether it lived.
func (f *follower) once(ctx context.Context, stop context.CancelFunc, p place, first bool) (bool, error) {
	s, err := f.join(ctx, p, "")
	if err != nil {
		return false, err
	}
	defer s.Close()
	for _, topic := range f.wanted(s) {
		if err := s.Subscribe(ctx, topic, f.match, func(e *wamp.Event) {
			if !f.show(topic, e) {
				stop()
			}
		}); err != nil {
			return false, err
		}
	}
	if !first {
		f.say("connected again; events in between are not shown")
	}
	select {
	case <-ctx.Done():
	case <-s.Done():
		f.say("connection lost: %s", cmp.Or(endOf(s), "no reason given"))
	}
	return true, nil
}

func endOf(s Session) string {
	if e := s.Ended(); e != nil {
		return e.Error()
	}
	return ""
}

// wanted are the topics to subscribe to: those that were named, else all that
// the role may read.
func (f *follower) wanted(s Session) []string {
	if len(f.topics) > 0 {
		return f.topics
	}
	var topics []string
	for _, e := range catalog.Events() {
		if e.Access.Allows(wire.Role(s.AuthRole())) {
			topics = append(topics, e.URI())
		}
	}
	return topics
}

// temporary reports whether joining may succeed later.
func temporary(err error) bool {
	var refused *cfcerr.Error
	if !errors.As(err, &refused) {
		return true
	}
	switch refused.Kind {
	case cfcerr.LimitExceeded, cfcerr.Busy, cfcerr.ConnectionLost, cfcerr.Timeout, cfcerr.Unavailable, cfcerr.Internal:
		return true
	}
	return false
}

// after is how long the relay asks to wait.
func after(err error) time.Duration {
	var refused *cfcerr.Error
	if errors.As(err, &refused) {
		if s, ok := wamp.AsInt64(refused.Details["after"]); ok && s > 0 && s < 3600 {
			return time.Duration(s) * time.Second
		}
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *follower) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail
}

// show prints an event; false when standard output takes no more.
func (f *follower) show(topic string, e *wamp.Event) bool {
	if t, ok := wamp.AsString(e.Details["topic"]); ok { // of a pattern
		topic = t
	}
	args, _ := plain(e.Arguments).([]any)
	if f.node != "" && (len(args) == 0 || args[0] != f.node) {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if lost := f.lost(topic, args); lost > 0 {
		f.say("%d events of %s are lost", lost, topic)
	}
	if f.flags.json {
		f.fail = writeEventJSON(f.Stdout, topic, args, plain(e.ArgumentsKw))
	} else {
		_, f.fail = fmt.Fprintln(f.Stdout, eventLines(topic, args))
	}
	return f.fail == nil
}

// lost counts the events of the topic between the last one and this, which
// only the same run of an agent numbers on.
func (f *follower) lost(topic string, args []any) int64 {
	d := detailsOf(args)
	tseq, ok := wamp.AsInt64(d["tseq"])
	if !ok {
		return 0
	}
	key := fmt.Sprint(topic, " ", args[0])
	last := f.seen[key]
	f.seen[key] = counted{cell(d["boot"]), tseq}
	if last.boot != cell(d["boot"]) {
		return 0
	}
	return tseq - last.tseq - 1
}

func detailsOf(args []any) map[string]any {
	if len(args) == 0 {
		return nil
	}
	d, _ := args[len(args)-1].(map[string]any)
	return d
}

// longest is how much of one detail fits on the line of an event.
const longest = 160

// eventLines is time, topic, ids and what details say beyond counters, on a
// line; what a worker has written, on a line for each of its own.
func eventLines(topic string, args []any) string {
	d := detailsOf(args)
	if d != nil {
		args = args[:len(args)-1]
	}
	head := func(time any) []string {
		parts := []string{cell(time), clean(shortTopic(topic))}
		for _, x := range args {
			parts = append(parts, cell(x))
		}
		return parts
	}
	if logged, _ := d["lines"].([]any); topic == catalog.OnWorkerLog.URI() && len(logged) > 0 {
		var lines []string
		for _, l := range dicts(logged) {
			lines = append(lines, strings.Join(append(head(l["time"]), cell(l["text"])), "  "))
		}
		if lost, _ := wamp.AsInt64(d["lost"]); lost > 0 {
			lines = append(lines, strings.Join(append(head(d["time"]), fmt.Sprintf("(%d more lines)", lost)), "  "))
		}
		return strings.Join(lines, "\n")
	}
	parts := head(d["time"])
	for _, k := range keys(d, nil) {
		if !slices.Contains([]string{"time", "boot", "seq", "tseq"}, k) {
			parts = append(parts, clean(k)+"="+shortened(cell(d[k])))
		}
	}
	return strings.Join(parts, "  ")
}

// shortened is the beginning of a text that is longer than a line takes.
func shortened(s string) string {
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "… (whole with --json)"
	}
	return s
}

func writeEventJSON(w io.Writer, topic string, args []any, kwargs any) error {
	args, _ = writable(args).([]any)
	return writeJSONLine(w, struct {
		Topic  string `json:"topic"`
		Args   []any  `json:"args"`
		Kwargs any    `json:"kwargs,omitempty"`
	}{topic, args, writable(kwargs)})
}
