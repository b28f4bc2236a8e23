package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/spf13/cobra"
)

// Exit codes that no answer of the relay has, and what --json calls them.
const (
	exitLocal = 1 // no connection, or something wrong on this machine
	exitUsage = 2

	errorLocal = "cfc.cli.failed"
	errorUsage = "cfc.cli.wrong_usage"
)

// usageError is a command line that cannot be carried out as it stands.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// joinError is a relay that could not be joined and did not say why.
type joinError struct{ error }

func (e joinError) Unwrap() error { return e.error }

// exitCodes is a page of the help.
func exitCodes() *cobra.Command {
	tab := table{head: []string{"EXIT", "ERROR", "WHEN"}}
	tab.add("0", none, "done")
	tab.add(fmt.Sprint(exitLocal), errorLocal, "no connection to the relay, or something wrong on this machine")
	tab.add(fmt.Sprint(exitUsage), errorUsage, "the command line is wrong")
	for _, i := range slices.SortedStableFunc(slices.Values(cfcerr.Table), func(a, b cfcerr.Info) int { return cmp.Compare(a.Exit, b.Exit) }) {
		tab.add(fmt.Sprint(i.Exit), cmp.Or(i.URI, "any other"), i.Doc)
	}
	var b strings.Builder
	_ = tab.write(&b) // to memory
	return &cobra.Command{Use: "exit-codes", Short: "What each exit code means",
		Long: "A command that fails has an exit code by the kind of its error; --json names the error too.\n\n" + b.String()}
}

// failure is how an error is shown.
type failure struct {
	URI     string         `json:"error"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
	exit    int
}

// fail prints the one line and gives the exit code.
func (a *app) fail(cmd *cobra.Command, err error) int {
	f := failureOf(cmd, err)
	if a.flags.json {
		if f.Details, _ = plain(f.Details).(map[string]any); f.Details == nil {
			f.Details = map[string]any{}
		}
		f.Details, _ = writable(f.Details).(map[string]any)
		if writeJSONLine(a.Stderr, f) == nil {
			return f.exit
		}
	}
	fmt.Fprintf(a.Stderr, "cfc: %s\n", clean(f.Message))
	return f.exit
}

func failureOf(cmd *cobra.Command, err error) failure {
	var usage *usageError
	var answer *cfcerr.Error
	var noJoin joinError
	run := "run " + strings.TrimPrefix(cmd.CommandPath(), "cfc ")
	switch {
	case errors.As(err, &usage):
		return failure{URI: errorUsage, Message: fmt.Sprintf("cannot %s: %s (see: %s --help)", run, usage, cmd.CommandPath()), exit: exitUsage}
	case errors.As(err, &answer):
		return failure{URI: answer.URI(), Message: sentence(run, answer.Message), Details: answer.Details, exit: answer.Kind.Exit()}
	case errors.Is(err, context.Canceled):
		return failure{URI: cfcerr.Canceled.URI(), Message: sentence(run, "canceled"), exit: cfcerr.Canceled.Exit()}
	case errors.As(err, &noJoin):
		return failure{URI: errorLocal, Message: sentence("reach the relay", err.Error()), exit: exitLocal}
	}
	return failure{URI: errorLocal, Message: sentence(run, err.Error()), exit: exitLocal}
}

// sentence is "cannot X: why"; most errors are one already.
func sentence(doing, why string) string {
	if strings.HasPrefix(why, "cannot ") {
		return why
	}
	return "cannot " + doing + ": " + why
}
