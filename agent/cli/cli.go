// Package cli is the agent's command line: run, pair, unpair, adopt, status,
// key, check-config and version.
//
// The commands talk with the running agent over its control socket and, where
// none runs, work on its directory themselves. A token never stands on a
// command line, where every user of the host could read it: it comes from a
// file, the environment (CFC_TOKEN), the terminal without echo, or standard
// input.
//
// Exit codes: 0; 1 for a failure on this host; 2 for a wrong command line or
// configuration; and those of cfcerr's table for what a relay refuses.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"fabric.center/cfc/agent/crossbar/adopt"
	"fabric.center/cfc/agent/daemon"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/console"
	"fabric.center/cfc/shared/manpage"
	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// App is where the commands read and write, so that tests can look.
type App struct {
	Version  string
	In       *os.File
	Out, Err io.Writer
	Environ  []string
	// Units is where adopt looks for the unit that starts a node.
	Units adopt.Units
}

// Main runs one command line and gives its exit code.
func (a *App) Main(ctx context.Context, args []string) int {
	out := console.NewOutput(a.Out)
	a.Out = out
	root := a.command()
	root.SetArgs(args)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	err := root.ExecuteContext(ctx)
	if unwritten := out.Failed(err); unwritten != nil {
		err = failed(unwritten)
	}
	if err == nil {
		return 0
	}
	for i, line := range linesOf(err, withoutTokens(err.Error(), args)) {
		if i == 0 {
			line = "cfc-agent: " + line
		}
		fmt.Fprintln(a.Err, console.Clean(line)) // some of it a relay may have said
	}
	if text := hint(err, os.Geteuid()); text != "" {
		fmt.Fprintln(a.Err, text)
	}
	return exitCode(err)
}

// linesOf parts what is said here of several faults. What a relay says is one line.
func linesOf(err error, text string) []string {
	var answer *cfcerr.Error
	if errors.As(err, &answer) {
		return []string{text}
	}
	return strings.Split(text, "\n")
}

// hint says what to do about what this user may not: an installed agent's places
// belong to root and to the agent's own user.
func hint(err error, uid int) string {
	if uid == 0 || !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	return "run it as root, or for an agent of your own give it places of yours with --data and --control"
}

// withoutTokens takes out of an error what a person gave away by mistake.
func withoutTokens(text string, args []string) string {
	for _, arg := range args {
		if looksLikeToken(arg) {
			text = strings.ReplaceAll(text, arg, "…")
		}
	}
	return text
}

// failure is an error of the work, not of the command line.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

func exitCode(err error) int {
	var e *cfcerr.Error
	var f failure
	switch {
	case !errors.As(err, &f):
		return exitUsage
	case errors.As(err, &e) && e.Kind.Exit() != 0:
		return e.Kind.Exit()
	}
	return exitFailure
}

func (a *App) command() *cobra.Command {
	root := &cobra.Command{Use: "cfc-agent", Short: "The agent of Crossbar.io Fabric Center, beside one node", Version: a.Version,
		SilenceErrors: true, SilenceUsage: true, CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return nil
			case looksLikeToken(args[0]):
				return errOnCommandLine
			}
			return fmt.Errorf("no such command: %s (see: cfc-agent --help)", args[0])
		}}
	root.AddCommand(a.run(), a.pair(), a.unpair(), a.adopt(), a.status(), a.key(), a.checkConfig(), a.printVersion(), manpage.Command(manual))
	return root
}

var manual = manpage.About{Section: 8, SeeAlso: []string{"cfc(1)", "cfc-relay(8)"}, Files: [][2]string{
	{daemon.DefaultFile, "configuration; each of its keys is a flag of run too, and a variable: /usr/share/doc/cfc-agent/CONFIG.md"},
	{policy.DefaultPath, "what this host forbids, whoever asks"},
}}

const fileVariable = daemon.EnvPrefix + "CONFIG"

// configured adds the flags of the configuration, or those of them that are
// named, and gives the function that loads it once they are parsed.
func (a *App) configured(cmd *cobra.Command, only ...string) func() (daemon.Config, error) {
	file := cmd.Flags().String("config", "", "configuration file (default "+daemon.DefaultFile+", or "+fileVariable+")")
	all := &cobra.Command{}
	config.AddFlags(all.Flags(), daemon.Config{})
	if len(only) == 0 {
		cmd.Flags().AddFlagSet(all.Flags())
	}
	for _, name := range only {
		cmd.Flags().AddFlag(all.Flags().Lookup(name))
	}
	return func() (daemon.Config, error) {
		s := config.Sources{File: *file, EnvPrefix: daemon.EnvPrefix, Environ: a.Environ, KnownEnv: []string{fileVariable}, Flags: cmd.Flags()}
		if s.File == "" {
			s.File = a.env(fileVariable)
		}
		if s.File == "" {
			s.File, s.Optional = daemon.DefaultFile, true
		}
		c := daemon.Config{Version: a.Version}
		if err := config.Load(&c, s); err != nil {
			return c, err
		}
		return c.Absolute()
	}
}

func (a *App) env(name string) string {
	for _, kv := range a.Environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (a *App) run() *cobra.Command {
	cmd := &cobra.Command{Use: "run", Short: "Run the agent until told to stop; SIGHUP reads policy and pairing again", Args: cobra.NoArgs}
	load := a.configured(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		log, err := daemon.NewLog(c.Log, a.Err)
		if err != nil {
			return err
		}
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP)
		defer signal.Stop(reload)
		return failed(daemon.Run(cmd.Context(), c, reload, log))
	}
	return cmd
}

func (a *App) checkConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "check-config", Short: "Say what is wrong with the configuration, and do nothing else", Args: cobra.NoArgs}
	load := a.configured(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		if err := c.CheckPolicy(); err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "the configuration is good: data in %s, the node dials %s\n", c.Data, c.Node.Listen)
		return nil
	}
	return cmd
}

func (a *App) printVersion() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		fmt.Fprintln(a.Out, a.Version)
		return nil
	}}
}
