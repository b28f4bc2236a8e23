package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// dockerCommand is the area docker, with what is more than one call.
func (a *app) dockerCommand() *cobra.Command {
	area := family("docker", "")
	in(area, catalog.DockerOpenLogs.Access.String(), a.psCommand(), a.imagesCommand(), a.logsCommand())
	in(area, catalog.DockerExec.Access.String(), a.execCommand())
	return area
}

// logs is one run of cfc docker logs.
type logs struct {
	*app
	follow, stamps, raw bool
	since, tail         string
}

func (a *app) logsCommand() *cobra.Command {
	l := &logs{app: a}
	cmd := &cobra.Command{
		Use: "logs NODE CONTAINER", Short: "Show a container's output",
		Long: "Show what a container has written, with --follow what it writes until it stops or Ctrl-C.\n\n" +
			"A connection that is lost is made again, and goes on behind the last record. A terminal is shown no control\n" +
			"characters unless --raw says so; with --json every record is a JSON object on a line.",
		Args: words("NODE", "CONTAINER"), ValidArgsFunction: first(a.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args[0], args[1]) },
	}
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "f", false, "go on with what comes")
	f.BoolVarP(&l.stamps, "timestamps", "t", false, "show the time of each record")
	f.StringVarP(&l.tail, "tail", "n", "", "only so many records from the end")
	f.StringVar(&l.since, "since", "", "not before this time: ISO 8601, or a duration before now such as 10m")
	f.BoolVar(&l.raw, "raw", false, "leave control characters as they are")
	return cmd
}

func (l *logs) run(ctx context.Context, node, container string) error {
	p, err := l.place()
	if err != nil {
		return err
	}
	kwargs := wamp.Dict{"follow": l.follow}
	if l.since != "" {
		kwargs["since"] = l.since
	}
	if l.tail != "" {
		n, err := (&reader{}).any(l.tail)
		if err != nil {
			return err
		}
		kwargs["tail"] = n
	}
	f := &flow{line: &line{app: l.app, place: p, node: node, said: l.say}, rows: catalog.DockerLogs, args: wamp.List{container}, kwargs: kwargs}
	return f.hold(ctx, func() error {
		if _, err := f.opened(ctx); err != nil {
			return err
		}
		defer f.close(ctx)
		_, err := f.follow(ctx, l.show)
		if ctx.Err() != nil && l.follow {
			return nil
		}
		return err
	})
}

func (l *logs) show(record map[string]any) error {
	if l.flags.json {
		return writeJSONLine(l.Stdout, jsonRecord(record))
	}
	if gap, ok := record["gap"].(map[string]any); ok {
		l.say("some output is missing here: %s", cell(gap["reason"]))
		return nil
	}
	out := l.Stdout
	if record["stream"] == "stderr" {
		out = l.Stderr
	}
	if l.stamps {
		if _, err := io.WriteString(out, cell(record["time"])+" "); err != nil {
			return err
		}
	}
	if l.raw || !isTerminal(out) {
		return writeData(out, record)
	}
	var text strings.Builder
	if err := writeData(&text, record); err != nil {
		return err
	}
	_, err := io.WriteString(out, cleanLines(text.String()))
	return err
}

// cleanLines is clean but for what makes lines of text.
func cleanLines(text string) string {
	var b strings.Builder
	for part := range strings.SplitAfterSeq(text, "\n") {
		body, newline := strings.CutSuffix(part, "\n")
		for i, cell := range strings.Split(strings.TrimSuffix(body, "\r"), "\t") {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(clean(cell))
		}
		if newline {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.Stderr, "cfc: %s\n", clean(fmt.Sprintf(format, args...)))
}
