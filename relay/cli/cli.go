// Package cli is cfc, the operator's command line: one more WAMP client of the
// relay, joined for the length of a command.
//
// Every remote row of the catalogue is a command, `cfc <area> <operation> NODE
// …`, made from the row with its help, its argument checks and its completion;
// nothing here is written per operation. Beside them stand the commands that
// manage the relay (realm, user, token, node), and call and events for all else.
//
// # Contexts and keys
//
// `cfc login` stores a context below $XDG_CONFIG_HOME/cfc: relay, realm, pin and
// the path of the key. A key belongs to one context and so to one relay, which
// is why a relay gains nothing by passing another's challenge on. A flag goes
// before its environment variable, that before the context. One-time tokens
// are read from a file, CFC_TOKEN, the terminal or standard input, never from
// the arguments, which every user of the machine can read.
//
// # Output
//
// Tables and key-value lists for people; with --json the exact result. What
// other machines say is freed of control characters before it reaches a
// terminal. A failure is one line on standard error, `cfc: cannot X: why`, with
// --json a JSON object, and an exit code: 1 no connection, 2 wrong usage, all
// others by kind as package cfcerr lists them.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"fabric.center/cfc/shared/console"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
	"golang.org/x/term"
)

// Session is what commands need of a session that has joined a relay.
type Session interface {
	// Call returns within its deadline; an error of the relay is a *cfcerr.Error.
	Call(ctx context.Context, procedure string, args wamp.List, kwargs wamp.Dict, o session.CallOptions) (*wamp.Result, error)
	// Subscribe hands events to h one after another, in order.
	Subscribe(ctx context.Context, topic, match string, h session.EventHandler) error
	Done() <-chan struct{}
	Ended() *session.Ended
	AuthID() string
	AuthRole() string
	Close() error
}

// Program is the command line and its surroundings.
type Program struct {
	Version string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string
	// Join joins a relay.
	Join func(context.Context, session.Config) (Session, error)
	// ReadSecret asks at the terminal without echo; nil where there is none.
	ReadSecret func(prompt string) (string, error)
}

// OS is the program as the operating system started it.
func OS(version string) Program {
	p := Program{Version: version, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Join: join}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		p.ReadSecret = func(text string) (string, error) { return console.Secret(os.Stdin, os.Stderr, text) }
	}
	return p
}

// Run carries out one command line, without the program's name, and returns
// its exit code. The end of ctx cancels what is under way.
func (p Program) Run(ctx context.Context, args []string) int {
	a := &app{Program: p}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(p.Stdin)
	out := console.NewOutput(p.Stdout)
	root.SetOut(out)
	root.SetErr(p.Stderr)
	cmd, err := root, errTokenArgument
	if !slices.ContainsFunc(args, holdsToken) {
		cmd, err = root.ExecuteContextC(ctx)
	}
	if unwritten := out.Failed(err); unwritten != nil { // help; all others look for themselves
		err = unwritten
	}
	var status exitStatus
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage) && slices.Contains(args, "--json"):
		a.flags.json = true // it may stand behind what is wrong, and was not read
	}
	return a.fail(cmd, err)
}

// joined makes session.Session a Session.
type joined struct{ *session.Session }

func (j joined) Subscribe(ctx context.Context, topic, match string, h session.EventHandler) error {
	_, err := j.Session.Subscribe(ctx, topic, match, h)
	return err
}

func join(ctx context.Context, c session.Config) (Session, error) {
	s, err := session.Join(ctx, c)
	if err != nil {
		return nil, err
	}
	return joined{s}, nil
}
