// Command cfc-relay is the relay of Crossbar.io Fabric Center: it routes calls
// of operators to the agents of their nodes. See the packages below relay for
// what it does; here are its commands and flags.
//
// It ends with 0 when it was told to stop and has, 1 on a failure, 2 when the
// command line or the configuration is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"fabric.center/cfc/relay/server"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/console"
	"fabric.center/cfc/shared/logging"
	"fabric.center/cfc/shared/manpage"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// copyTimeout is how long a backup may wait for a moment without a write.
const copyTimeout = time.Minute

// readyTimeout is long for an answer from memory.
const readyTimeout = 4 * time.Second

func main() {
	out, root := console.NewOutput(os.Stdout), newCommand()
	root.SetOut(out)
	err := root.ExecuteContext(untilTold(context.Background()))
	if unwritten := out.Failed(err); unwritten != nil {
		err = failed(unwritten)
	}
	if err == nil {
		return
	}
	var faults config.Faults
	if errors.As(err, &faults) {
		fmt.Fprintf(os.Stderr, "cfc-relay: the configuration is wrong:\n%v\n", err)
	} else {
		fmt.Fprintln(os.Stderr, "cfc-relay:", err)
	}
	os.Exit(exitCode(err))
}

// untilTold ends with the first signal, which asks for an orderly stop. A
// second one has its usual effect again by then, and ends the process at once.
func untilTold(parent context.Context) context.Context {
	ctx, end := context.WithCancel(parent)
	told, reset := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(told, func() {
		reset()
		end()
	})
	return ctx
}

// failure marks an error that is not the command line's.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

func exitCode(err error) int {
	var f failure
	if errors.As(err, &f) {
		return exitFailure
	}
	return exitUsage
}

func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{Use: "cfc-relay", Short: "The relay of Crossbar.io Fabric Center", Version: version,
		SilenceErrors: true, SilenceUsage: true, CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true}}
	root.AddCommand(runCommand(), checkCommand(), readyCommand(), backupCommand(), restoreCommand(), versionCommand(), manpage.Command(manual))
	return root
}

var manual = manpage.About{Section: 8, SeeAlso: []string{"cfc(1)", "cfc-agent(8)"}, Files: [][2]string{
	{server.DefaultFile, "configuration; each of its keys is a flag of run too, and a variable: /usr/share/doc/cfc-relay/CONFIG.md"},
}}

// configured adds the flags of the configuration to a command and gives the
// function that loads it once they are parsed. A command that uses one key of it
// only names that, and shows no other flag.
func configured(cmd *cobra.Command, used ...string) func() (server.Config, error) {
	const variable = server.EnvPrefix + "CONFIG"
	file := cmd.Flags().String("config", "", "configuration file (default "+server.DefaultFile+", or "+variable+")")
	config.AddFlags(cmd.Flags(), server.Config{})
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		f.Hidden = len(used) > 0 && f.Name != "config" && !slices.Contains(used, f.Name)
	})
	return func() (server.Config, error) {
		s := config.Sources{File: *file, EnvPrefix: server.EnvPrefix, Environ: os.Environ(), KnownEnv: []string{variable}, Flags: cmd.Flags()}
		if s.File == "" {
			s.File = os.Getenv(variable)
		}
		if s.File == "" {
			s.File, s.Optional = server.DefaultFile, true
		}
		c := server.Config{Version: version}
		return c, config.Load(&c, s)
	}
}

func runCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "run", Short: "Serve until told to stop", Args: cobra.NoArgs}
	load := configured(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		log, err := logging.New(c.Log, os.Stderr)
		if err != nil {
			return err
		}
		return failed(server.Run(cmd.Context(), c, log))
	}
	return cmd
}

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "check-config", Short: "Say what is wrong with the configuration, and do nothing else", Args: cobra.NoArgs}
	load := configured(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "the configuration is good: data in %s, listening on %s\n", c.Data, c.Address())
		return nil
	}
	return cmd
}

// readyCommand asks where nothing else could: an image of the relay has no curl.
func readyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ready", Short: "Ask the relay that runs here whether it is ready", Args: cobra.NoArgs}
	return within(cmd, readyTimeout, "monitor-listen", func(ctx context.Context, c server.Config, _ []string) error {
		return server.Ready(ctx, c)
	})
}

func backupCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "backup FILE", Short: "Copy the relay's state into FILE, also while the relay runs", Args: cobra.ExactArgs(1)}
	return within(cmd, copyTimeout, "data", func(ctx context.Context, c server.Config, args []string) error {
		return store.Backup(ctx, c.StoreFile(), args[0])
	})
}

func restoreCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "restore FILE", Short: "Put back the relay's state from a backup; the relay must be stopped", Args: cobra.ExactArgs(1)}
	return within(cmd, copyTimeout, "data", func(ctx context.Context, c server.Config, args []string) error {
		return store.Restore(ctx, args[0], c.StoreFile())
	})
}

// within makes a command of what uses one key of the configuration and is over in
// time.
func within(cmd *cobra.Command, limit time.Duration, used string, do func(context.Context, server.Config, []string) error) *cobra.Command {
	load := configured(cmd, used)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), limit)
		defer cancel()
		return failed(do(ctx, c, args))
	}
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version) }}
}
