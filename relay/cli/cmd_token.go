package cli

import (
	"fmt"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/spf13/cobra"
)

// tokenOptions are the flags that become the options of create_token.
type tokenOptions struct {
	cmd   *cobra.Command
	quiet bool
}

// flag declares a flag whose text is an option of the same name.
func (o *tokenOptions) flag(name, usage string) { o.cmd.Flags().String(name, "", usage) }

func (o *tokenOptions) common() {
	f := o.cmd.Flags()
	o.flag("ttl", "how long it is valid: seconds, or 90m, 12h, 7d (default 1h)")
	f.Int("uses", 1, "how often it can be used")
	f.StringArray("label", nil, "`KEY=VALUE` to keep with what it brings in; may be repeated")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print the token alone, to pipe it on")
}

// read gives the options that were given.
func (o *tokenOptions) read() (map[string]any, error) {
	options := map[string]any{}
	f := o.cmd.Flags()
	for _, name := range []string{"node-id", "user", "role", "ttl"} {
		if flag := f.Lookup(name); flag != nil && flag.Changed {
			options[strings.ReplaceAll(name, "-", "_")] = flag.Value.String()
		}
	}
	for _, name := range []string{"replace", "add"} {
		if f.Lookup(name) != nil && f.Changed(name) {
			options[name], _ = f.GetBool(name)
		}
	}
	if f.Changed("uses") {
		options["uses"], _ = f.GetInt("uses")
	}
	if role, ok := options["role"].(string); ok && !wire.Role(role).Valid() {
		return nil, usagef("--role %q: expected %s", role, wire.RoleForm)
	}
	if id, ok := options["node_id"].(string); ok && !wire.ValidNodeID(id) {
		return nil, usagef("--node-id %q: expected %s", id, wire.NodeIDForm)
	}
	labels, _ := f.GetStringArray("label")
	if len(labels) == 0 {
		return options, nil
	}
	m := map[string]any{}
	for _, l := range labels {
		key, value, ok := strings.Cut(l, "=")
		if !ok || key == "" {
			return nil, usagef("--label %q: expected KEY=VALUE", l)
		}
		m[key] = value
	}
	options["labels"] = m
	return options, nil
}

// make asks for the token and shows it, this once, with what to do with it.
func (o *tokenOptions) make(a *app, p place, purpose wire.Purpose, options map[string]any) error {
	return one(o.cmd.Context(), a, p, catalog.CreateToken, func(t catalog.TokenMade) error {
		if o.quiet {
			_, err := fmt.Fprintln(a.Stdout, clean(t.Token))
			return err
		}
		what := map[wire.Purpose]string{wire.ForNode: "Token for a node", wire.ForUser: "Token for a user", wire.ForTicket: "Ticket for scripts"}[purpose]
		if realm, ok := options["realm"].(string); ok {
			what += " of realm " + realm
		}
		_, err := fmt.Fprintf(a.Stdout, "%s, valid until %s. It is shown this once:\n\n  %s\n\n%s",
			what, clean(t.Expires), clean(t.Token), instruction(purpose, p, t.Pin))
		return err
	}, string(purpose), options)
}

// instruction is what the token's receiver runs. The token is no part of it:
// arguments can be read by everybody on that machine.
func instruction(purpose wire.Purpose, p place, pin string) string {
	u, err := session.Address(p.Relay, "")
	if err != nil {
		return ""
	}
	target := p.Relay
	if u.Scheme == "wss" && pin != "" {
		target += " --pin " + clean(pin)
	}
	switch purpose {
	case wire.ForNode:
		return "On the host run this, as root, and give it the token when it asks:\n\n  cfc-agent pair " + target +
			"\n\nWithout a terminal it reads the token from standard input, or --token-file FILE.\n"
	case wire.ForUser:
		return "Who gets it runs this, and gives it the token when it asks:\n\n  cfc login " + target + "\n"
	}
	return "A WAMP client logs in at " + p.Relay + wire.UserPath + " with authmethod ticket and the name of its user as authid.\n"
}

func (a *app) tokenCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls", Short: catalog.GetTokens.Summary(), Args: words(), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.place()
			if err != nil {
				return err
			}
			return one(cmd.Context(), a, p, catalog.GetTokens, a.tokenTable)
		},
	}
	rm := &cobra.Command{
		Use: "rm ID", Short: catalog.RevokeToken.Summary(), Args: words("ID"), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.place()
			if err != nil {
				return err
			}
			return one(cmd.Context(), a, p, catalog.RevokeToken, nil, args[0])
		},
	}
	return family("token", "Manage one-time tokens and tickets", ls, a.createTokenCommand(), rm)
}

func (a *app) tokenTable(tokens []catalog.TokenInfo) error {
	tab := table{head: []string{"ID", "PURPOSE", "REALM", "NODE", "USER", "EXPIRES", "LEFT", "BY"}}
	for _, t := range tokens {
		tab.add(cell(t.ID), cell(t.Purpose), optional(t.Realm), optional(t.NodeID), optional(t.User), cell(t.Expires),
			fmt.Sprintf("%d/%d", t.Left, t.Uses), cell(t.By))
	}
	return tab.write(a.Stdout)
}

func optional(s *string) string {
	if s == nil {
		return none
	}
	return cell(*s)
}

func (a *app) createTokenCommand() *cobra.Command {
	o := &tokenOptions{}
	o.cmd = &cobra.Command{
		Use: "create PURPOSE", Short: "Make a one-time token or a ticket",
		Long: catalog.CreateToken.Doc + "\n\nPURPOSE is " + wire.PurposeForm + ". See also: cfc node invite, cfc user invite.",
		Args: words("PURPOSE"), ValidArgsFunction: first(fixed([]string{"user", "node", "ticket"})),
		RunE: func(cmd *cobra.Command, args []string) error {
			purpose := wire.Purpose(args[0])
			if !catalog.PurposeName(purpose).Valid() {
				return usagef("PURPOSE is %q: expected %s", purpose, wire.PurposeForm)
			}
			options, err := o.read()
			if err != nil {
				return err
			}
			p, err := a.place()
			if err != nil {
				return err
			}
			// Only a node always belongs to a realm; others are narrowed to
			// one when that is said, not because a context has one.
			if realm := a.setting(a.flags.realm, envRealm); realm != "" || purpose == wire.ForNode {
				if p, err = a.placeWithRealm(); err != nil {
					return err
				}
				options["realm"] = p.Realm
			}
			return o.make(a, p, purpose, options)
		},
	}
	o.flag("node-id", "node: the id that it gets (default: the agent's wish)")
	o.flag("user", "user: the name of the user; ticket: whose it is")
	o.flag("role", "user, ticket: role in the realm: "+wire.RoleForm)
	o.cmd.Flags().Bool("replace", false, "the node's host, or the user's keys, are replaced")
	o.cmd.Flags().Bool("add", false, "user: another key of one's own")
	o.common()
	completeFlag(o.cmd, "role", fixed(roles))
	return o.cmd
}
