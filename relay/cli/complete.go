package cli

import (
	"context"
	"regexp"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
)

// completionTime is how long the shell may wait for the relay.
const completionTime = 2 * time.Second

type completer = cobra.CompletionFunc

// plainName is what every name is that can be completed. A shell puts what
// several have in common on the command line as it is, and may obey anything else.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// nothing completes nothing, not even file names.
func nothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// first completes the first positional argument alone.
func first(list func(*cobra.Command) []string) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list(cmd), cobra.ShellCompDirectiveNoFileComp
	}
}

// names asks the relay for a list of names by a row; a relay that does not
// answer in time completes nothing.
func (a *app) names(cmd *cobra.Command, o *catalog.Op, args ...any) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	var names []string
	err := a.with(ctx, realmOf(o), func(_ place, s Session) error {
		v, err := a.do(ctx, s, o, wamp.List(args), nil)
		list, _ := v.([]any)
		for _, x := range list {
			if name, ok := x.(string); ok && plainName.MatchString(name) {
				names = append(names, name)
			}
		}
		return err
	})
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	return names
}

func (a *app) nodeNames(cmd *cobra.Command) []string { return a.names(cmd, catalog.RealmGetNodes.Op) }

func (a *app) realmNames(cmd *cobra.Command) []string {
	return a.names(cmd, catalog.GetManagementRealms.Op)
}

func (a *app) contextNames(*cobra.Command) []string {
	s, err := a.store()
	if err != nil {
		return nil
	}
	var names []string
	for _, p := range s.Contexts {
		names = append(names, p.Name)
	}
	return names
}

var roles = []string{string(wire.Viewer), string(wire.Operator), string(wire.Owner)}

// completeOperation completes the node and, where the row is of a worker, its
// workers; files where an argument can be @file, nothing where none is left.
func (a *app) completeOperation(o *catalog.Op) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return a.nodeNames(cmd), cobra.ShellCompDirectiveNoFileComp
		case len(args) == 1 && len(o.Args()) > 0 && o.Args()[0].Name == "worker_id" && !o.Args()[0].Nullable():
			return a.names(cmd, catalog.NodeGetWorkers.Op, args[0]), cobra.ShellCompDirectiveNoFileComp
		case len(args) > positional(o):
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
}

// positional counts the arguments behind the node that have a place.
func positional(o *catalog.Op) int {
	n := 0
	for _, arg := range o.Args() {
		if !arg.Optional || arg.Pos >= 0 {
			n++
		}
	}
	return n
}

// completeFlags completes the flags that every command has.
func (a *app) completeFlags(root *cobra.Command) {
	for flag, list := range map[string]func(*cobra.Command) []string{"context": a.contextNames, "realm": a.realmNames} {
		completeFlag(root, flag, list)
	}
}

// completeFlag panics for a flag that the command does not have: our defect.
func completeFlag(cmd *cobra.Command, flag string, list func(*cobra.Command) []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return list(cmd), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err)
	}
}

func fixed(values []string) func(*cobra.Command) []string {
	return func(*cobra.Command) []string { return values }
}
