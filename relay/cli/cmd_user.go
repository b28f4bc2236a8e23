package cli

import (
	"fmt"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/wire"
	"github.com/spf13/cobra"
)

func (a *app) userCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls", Short: catalog.GetUsers.Summary(), Args: words(), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.place()
			if err != nil {
				return err
			}
			return one(cmd.Context(), a, p, catalog.GetUsers, func(users []catalog.UserInfo) error {
				tab := table{head: []string{"USER", "KEYS", "CREATED"}}
				for _, u := range users {
					tab.add(cell(u.Name), fmt.Sprint(len(u.Pubkeys)), cell(u.Created))
				}
				return tab.write(a.Stdout)
			})
		},
	}
	var heir string
	rm := &cobra.Command{
		Use: "rm USER", Short: catalog.DeleteUser.Summary(), Long: catalog.DeleteUser.Doc, Args: words("USER"), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.place()
			if err != nil {
				return err
			}
			list := []any{args[0]}
			if heir != "" {
				list = append(list, heir)
			}
			return one(cmd.Context(), a, p, catalog.DeleteUser, nil, list...)
		},
	}
	rm.Flags().StringVar(&heir, "heir", "", "the user who becomes owner of the realms that have no other")
	return family("user", "Manage the users of the relay", ls, rm, a.inviteUserCommand())
}

func (a *app) inviteUserCommand() *cobra.Command {
	o := &tokenOptions{}
	o.cmd = &cobra.Command{
		Use: "invite USER", Short: "Make a one-time token that brings in a user",
		Long: "Make a one-time token that brings in a user, whose key belongs to that name from then on.\n\n" +
			"With --role the user is a member of the realm (--realm, or the context's) at once. --add is for another\n" +
			"key of one's own; --replace ends the keys and sessions that the name has.",
		Args: words("USER"), ValidArgsFunction: nothing,
		RunE: func(_ *cobra.Command, args []string) error {
			options, err := o.read()
			if err != nil {
				return err
			}
			if options["user"] = args[0]; !wire.ValidUser(args[0]) {
				return usagef("USER is %q: expected %s", args[0], wire.UserForm)
			}
			p, err := a.place()
			if _, role := options["role"]; role && err == nil {
				p, err = a.placeWithRealm()
				options["realm"] = p.Realm
			}
			if err != nil {
				return err
			}
			return o.make(a, p, wire.ForUser, options)
		},
	}
	o.flag("role", "role in the realm to begin with: "+wire.RoleForm)
	o.cmd.Flags().Bool("replace", false, "the name exists: end its keys and sessions (relay's owner)")
	o.cmd.Flags().Bool("add", false, "another key of one's own")
	o.common()
	completeFlag(o.cmd, "role", fixed(roles))
	return o.cmd
}
