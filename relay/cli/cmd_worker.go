package cli

import (
	"context"
	"fmt"

	"fabric.center/cfc/shared/catalog"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
)

// workerCommand is the area worker, with what is more than one call.
func (a *app) workerCommand() *cobra.Command {
	area := family("worker", "")
	in(area, catalog.WorkerGetLog.Access.String(), a.workerLogsCommand())
	return area
}

// logLines is how many lines of a worker's log one call asks for.
const logLines = 1000

// workerLogs is one run of cfc worker logs.
type workerLogs struct {
	*app
	follow, stamps bool
	tail           int

	line *line
	next int64 // seq of the line that should come
}

func (a *app) workerLogsCommand() *cobra.Command {
	l := &workerLogs{app: a}
	cmd := &cobra.Command{
		Use: "logs NODE WORKER", Short: "Show a worker's log",
		Long: "Show what a worker has written, with --follow what it writes until Ctrl-C: also what the next one with its id does.\n\n" +
			"A connection that is lost is made again, and goes on behind the last line. With --json every line is a JSON object.",
		Args: words("NODE", "WORKER"), ValidArgsFunction: a.completeOperation(catalog.WorkerGetLog.Op),
		RunE: func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args[0], args[1]) },
	}
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "f", false, "go on with what comes")
	f.BoolVarP(&l.stamps, "timestamps", "t", false, "show the time of each line")
	f.IntVarP(&l.tail, "tail", "n", logLines, "how many lines from the end to begin with")
	return cmd
}

func (l *workerLogs) run(ctx context.Context, node, worker string) error {
	if err := check(catalog.WorkerGetLog.Op, wamp.List{node, worker}, nil); err != nil {
		return err
	}
	if l.tail < 1 {
		return usagef("--tail %d: expected 1 or more", l.tail)
	}
	p, err := l.place()
	if err != nil {
		return err
	}
	l.line = &line{app: l.app, place: p, node: node, said: l.say}
	return l.line.hold(ctx, func() error {
		err := l.read(ctx, worker)
		if ctx.Err() != nil && l.follow {
			return nil
		}
		return err
	})
}

// read shows the last lines, then those that come.
func (l *workerLogs) read(ctx context.Context, worker string) error {
	v, err := l.line.value(ctx, catalog.WorkerGetLog.Op, wamp.List{worker, l.tail}, nil)
	for ; err == nil; v, err = l.line.call(ctx, catalog.WorkerGetLog.Op, wamp.List{worker, logLines, max(l.next, 1), readWait.Milliseconds()}, nil) {
		lines, _ := v.([]any)
		for _, x := range lines {
			if d, ok := x.(map[string]any); ok {
				if err := l.show(d); err != nil {
					return err
				}
			}
		}
		if !l.follow {
			return nil
		}
	}
	return err
}

func (l *workerLogs) show(d map[string]any) error {
	seq, _ := wamp.AsInt64(d["seq"])
	switch {
	case l.next == 0 || seq == l.next:
	case seq > l.next:
		l.say("%d lines are missing here", seq-l.next)
	default:
		l.say("the agent was started anew; some lines may be missing here")
	}
	l.next = seq + 1
	if l.flags.json {
		return writeJSONLine(l.Stdout, d)
	}
	text, _ := d["text"].(string)
	if l.stamps {
		text = cell(d["time"]) + " " + text
	}
	_, err := fmt.Fprintln(l.Stdout, cleanLines(text))
	return err
}
