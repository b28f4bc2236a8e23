package cli

import (
	"fmt"
	"strings"
	"time"

	"fabric.center/cfc/shared/manpage"
	"github.com/spf13/cobra"
)

// app is one run of the command line.
type app struct {
	Program
	flags struct {
		config, context, relay, realm, key string
		json                               bool
		timeout                            time.Duration
	}
}

// The environment that flags go before.
const (
	envConfig  = "CFC_CONFIG_DIR"
	envContext = "CFC_CONTEXT"
	envRelay   = "CFC_RELAY"
	envRealm   = "CFC_REALM"
	envKey     = "CFC_KEY_FILE"
	envToken   = "CFC_TOKEN"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "cfc",
		Short: "Steer Crossbar.io nodes through a relay",
		Long: "cfc logs in to a relay and steers the nodes that are paired with it.\n\n" +
			"Begin with: cfc login wss://relay.example.com",
		Version:       a.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          showHelp,
	}
	f := root.PersistentFlags()
	f.StringVar(&a.flags.context, "context", "", "stored context to use (env "+envContext+")")
	f.StringVar(&a.flags.relay, "relay", "", "URL of the relay (env "+envRelay+")")
	f.StringVar(&a.flags.realm, "realm", "", "management realm (env "+envRealm+")")
	f.StringVar(&a.flags.key, "key", "", "private key file (env "+envKey+")")
	f.StringVar(&a.flags.config, "config-dir", "", "where contexts and keys are (env "+envConfig+"; default $XDG_CONFIG_HOME/cfc)")
	f.BoolVar(&a.flags.json, "json", false, "print the exact result as JSON")
	f.DurationVar(&a.flags.timeout, "timeout", 0, "how long the call may take (default: as the operation says, mostly 30s)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%s", err) })
	root.AddGroup(&cobra.Group{ID: groupManage, Title: "Manage the relay:"},
		&cobra.Group{ID: groupRemote, Title: "Steer nodes:"}, &cobra.Group{ID: groupOther, Title: "Others:"})
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	in(root, groupManage, a.loginCommand(), a.logoutCommand(), a.contextCommand(), a.statusCommand(),
		a.realmCommand(), a.userCommand(), a.tokenCommand())
	in(root, groupRemote, a.areaCommands()...)
	in(root, groupOther, a.callCommand(), a.eventsCommand(), a.versionCommand())
	root.AddCommand(exitCodes(), manpage.Command(manpage.About{Section: 1, SeeAlso: []string{"cfc-agent(8)", "cfc-relay(8)"}}))
	root.SetHelpCommand(helpCommand(root))
	a.completeFlags(root)
	return root
}

// versionCommand is what relay and agent have too, beside --version.
func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: words(), ValidArgsFunction: nothing, RunE: func(*cobra.Command, []string) error {
		return a.print(a.Version, nil)
	}}
}

// Groups of the root's help.
const (
	groupManage = "manage"
	groupRemote = "remote"
	groupOther  = "other"
)

func in(parent *cobra.Command, group string, cmds ...*cobra.Command) {
	for _, c := range cmds {
		c.GroupID = group
	}
	parent.AddCommand(cmds...)
}

// family is a command that only holds others.
func family(use, short string, cmds ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: unknownCommand, RunE: showHelp}
	c.AddCommand(cmds...)
	return c
}

// helpCommand is help, which knows when there is no such command.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND…]", Short: "Help about any command", GroupID: groupOther,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if cmd, rest, err := root.Find(args); err == nil && len(rest) == 0 {
				for _, c := range cmd.Commands() {
					if c.IsAvailableCommand() {
						names = append(names, c.Name()+"\t"+c.Short)
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("there is no command %q", strings.Join(args, " "))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		text += fmt.Sprintf(", perhaps %q", s[0])
	}
	return usagef("%s", text)
}

// atMost is the check of a command whose positional arguments may be left out.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("%q is one argument too many", args[n])
		}
		return nil
	}
}

// words makes the check that a command has its positional arguments.
func words(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("%s is missing", names[len(args)])
		}
		return atMost(len(names))(cmd, args)
	}
}
