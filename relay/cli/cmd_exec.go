package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
)

// exitStatus is that of a command on another machine, which becomes cfc's own.
type exitStatus int

// signaled is what a shell adds to the signal that has ended a program.
const signaled = 128

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// remoteExec is one run of cfc docker exec.
type remoteExec struct {
	*app
	input, tty    bool
	env           []string
	user, workdir string

	flow *flow
	raw  *rawMode // nil where no terminal is in raw mode
}

func (a *app) execCommand() *cobra.Command {
	x := &remoteExec{app: a}
	cmd := &cobra.Command{
		Use: "exec [FLAGS] NODE CONTAINER [--] CMD…", Short: "Run a command in a container",
		Long: "Run a command in a running container, with -it at this terminal. Its exit status becomes that of cfc.\n\n" +
			"Flags stand before NODE; all behind CONTAINER is the command's. It is killed when cfc ends before it does.",
		ValidArgsFunction: first(a.nodeNames),
		Args: func(_ *cobra.Command, args []string) error {
			for i, name := range []string{"NODE", "CONTAINER", "CMD"} {
				if len(commandLine(args)) <= i {
					return usagef("%s is missing", name)
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), commandLine(args)) },
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&x.input, "interactive", "i", false, "pass standard input on")
	f.BoolVarP(&x.tty, "tty", "t", false, "run at a terminal")
	f.StringArrayVarP(&x.env, "env", "e", nil, "environment variable `NAME=VALUE`; may be repeated")
	f.StringVarP(&x.user, "user", "u", "", "user, or user:group, that runs it")
	f.StringVarP(&x.workdir, "workdir", "w", "", "directory in which it runs")
	return cmd
}

// commandLine leaves out the -- before the command.
func commandLine(args []string) []string {
	if len(args) > 2 && args[2] == "--" {
		return append(args[:2:2], args[3:]...)
	}
	return args
}

func (x *remoteExec) run(ctx context.Context, args []string) error {
	p, err := x.place()
	if err != nil {
		return err
	}
	kwargs, err := x.options()
	if err != nil {
		return err
	}
	terminal, _ := x.Stdin.(*os.File)
	if x.tty && x.input {
		if terminal == nil || !term.IsTerminal(int(terminal.Fd())) {
			return usagef("-t needs a terminal, which standard input is not")
		}
		if cols, rows, err := term.GetSize(int(terminal.Fd())); err == nil && cols > 0 && rows > 0 {
			kwargs["rows"], kwargs["cols"] = rows, cols
		}
	}
	x.flow = &flow{line: &line{app: x.app, place: p, node: args[0], said: x.say}, rows: catalog.DockerExecs,
		args: wamp.List{args[1], wordsOf(args[2:])}, kwargs: kwargs}
	// A pipe that nobody reads any more ends the command, not cfc alone.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	err = x.flow.hold(ctx, func() error {
		if _, err := x.flow.opened(ctx); err != nil {
			return err
		}
		defer x.flow.close(ctx)
		if x.tty && x.input {
			return x.atTerminal(ctx, terminal)
		}
		return x.pass(ctx, x.stdin())
	})
	if cfcerr.KindOf(err) == cfcerr.Canceled { // which call it was in is nobody's business
		return context.Canceled
	}
	return err
}

func wordsOf(words []string) []any {
	var l []any
	for _, w := range words {
		l = append(l, w)
	}
	return l
}

func (x *remoteExec) options() (wamp.Dict, error) {
	env := wamp.Dict{}
	for _, pair := range x.env {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("--env %q: expected NAME=VALUE", pair)
		}
		env[name] = value
	}
	return wamp.Dict{"tty": x.tty, "input": x.input, "env": env, "user": x.user, "workdir": x.workdir}, nil
}

// stdin is what is passed on; nil where nothing is.
func (x *remoteExec) stdin() io.Reader {
	if !x.input {
		return nil
	}
	return x.Stdin
}

// say stands on a line of its own, whatever mode the terminal is in.
func (x *remoteExec) say(format string, args ...any) {
	if x.raw == nil {
		x.app.say(format, args...)
		return
	}
	fmt.Fprintf(x.Stderr, "\r\ncfc: %s\r\n", clean(fmt.Sprintf(format, args...)))
}

// pass takes input there and output here until the command has ended.
func (x *remoteExec) pass(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var end map[string]any
	all, ctx := errgroup.WithContext(ctx)
	if in != nil {
		all.Go(func() error { return x.guard(func() error { return x.send(ctx, in) }) })
	}
	all.Go(func() error {
		return x.guard(func() (err error) {
			defer cancel() // also of input that nobody takes any more
			end, err = x.flow.follow(ctx, x.show)
			return err
		})
	})
	if err := all.Wait(); err != nil {
		return err
	}
	return statusOf(end)
}

// statusOf is nil for a command that has succeeded.
func statusOf(end map[string]any) error {
	code, ok := wamp.AsInt64(end["exit_code"])
	switch {
	case !ok:
		return cfcerr.New(cfcerr.ConnectionLost, "cannot tell how the command ended: %s", cell(end["reason"]))
	case code != 0:
		return exitStatus(code)
	}
	return nil
}

func (x *remoteExec) show(record map[string]any) error {
	out := x.Stdout
	if record["stream"] == "stderr" {
		out = x.Stderr
	}
	err := writeData(out, record)
	if errors.Is(err, syscall.EPIPE) {
		return exitStatus(signaled + int(syscall.SIGPIPE))
	}
	return err
}

// send passes input on until it ends, or nobody takes it any more.
func (x *remoteExec) send(ctx context.Context, in io.Reader) error {
	read, stop, err := interruptible(ctx, in)
	if err != nil {
		return err
	}
	defer stop()
	buf := make([]byte, 32<<10)
	for at := int64(0); ; {
		n, err := read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if n == 0 && err == nil {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("cannot read standard input: %w", err)
		}
		for rest := buf[:n]; ; { // a command that reads slowly takes it in pieces
			_, failed := x.flow.call(ctx, x.flow.rows.Write.Op, wamp.List{x.flow.id, append([]byte{}, rest...)}, wamp.Dict{"at": at, "eof": err != nil})
			if cfcerr.KindOf(failed) == cfcerr.Timeout && ctx.Err() == nil {
				continue // what was taken is left out
			}
			if ctx.Err() != nil || ended(failed) {
				return nil
			}
			if failed != nil {
				return failed
			}
			break
		}
		at += int64(n)
		if err != nil {
			return nil
		}
	}
}

// ended reports whether the command takes nothing any more; how it ended is
// told by its output.
func ended(err error) bool {
	kind := cfcerr.KindOf(err)
	return kind == cfcerr.NotRunning || kind == cfcerr.NoSuchObject
}
