package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"fabric.center/cfc/shared/catalog"
	"github.com/spf13/cobra"
)

func (a *app) realmCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls", Short: catalog.GetManagementRealms.Summary(), Long: catalog.GetManagementRealms.Summary() + ", with --json each as cfc realm show has it.", Args: words(), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listRealms(cmd.Context()) },
	}
	create := &cobra.Command{
		Use: "create NAME", Short: "Create a management realm", Long: catalog.CreateManagementRealm.Doc, Args: words("NAME"), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, args []string) error { return a.createRealm(cmd.Context(), args[0]) },
	}
	show := &cobra.Command{
		Use: "show [NAME]", Short: catalog.GetManagementRealm.Summary(), Args: atMost(1), ValidArgsFunction: first(a.realmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.placeNamed(args)
			if err != nil {
				return err
			}
			return one(cmd.Context(), a, p, catalog.GetManagementRealm, nil, p.Realm)
		},
	}
	var cascade bool
	rm := &cobra.Command{
		Use: "rm NAME", Short: "Delete a management realm", Long: catalog.DeleteManagementRealm.Doc, Args: words("NAME"), ValidArgsFunction: first(a.realmNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.place()
			if err != nil {
				return err
			}
			return one(cmd.Context(), a, p, catalog.DeleteManagementRealm, nil, args[0], cascade)
		},
	}
	rm.Flags().BoolVar(&cascade, "cascade", false, "unpair its nodes too")
	use := &cobra.Command{
		Use: "use NAME", Short: "Make a realm the context's own", Args: words("NAME"), ValidArgsFunction: first(a.realmNames),
		RunE: func(cmd *cobra.Command, args []string) error { return a.useRealm(cmd.Context(), args[0]) },
	}
	return family("realm", "Manage management realms and their members", ls, create, show, rm, use, a.memberCommand())
}

// placeNamed is the place with the realm that the first argument names.
func (a *app) placeNamed(args []string) (place, error) {
	if len(args) == 0 {
		return a.placeWithRealm()
	}
	p, err := a.place()
	p.Realm = args[0]
	return p, err
}

func (a *app) listRealms(ctx context.Context) error {
	return a.with(ctx, realmOf(catalog.GetManagementRealms.Op), func(p place, s Session) error {
		head := []string{"CURRENT", "REALM", "OWNER", "MEMBERS", "NODES", "ONLINE"}
		return listed(ctx, a, s, catalog.GetManagementRealms, nil, catalog.GetManagementRealm, nil, head, func(r catalog.RealmInfo) []string {
			return []string{mark(r.Name == p.Realm), cell(r.Name), cell(r.Owner), fmt.Sprint(len(r.Members)), fmt.Sprint(r.Nodes.Total), fmt.Sprint(r.Nodes.Online)}
		})
	})
}

// createRealm makes the new realm the context's own where it has none.
func (a *app) createRealm(ctx context.Context, name string) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	if err := one(ctx, a, p, catalog.CreateManagementRealm, nil, name); err != nil || p.Realm != "" {
		return err
	}
	return a.storeRealm(p, name)
}

func (a *app) useRealm(ctx context.Context, name string) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	if p.Name == "" {
		return usagef("there is no context to keep the realm in: log in first")
	}
	if err := one(ctx, a, p, catalog.GetManagementRealm, func(catalog.RealmInfo) error { return nil }, name); err != nil {
		return err
	}
	if err := a.storeRealm(p, name); err != nil || a.flags.json {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "Context %s uses realm %s.\n", p.Name, name)
	return err
}

func (a *app) storeRealm(p place, name string) error {
	if p.Name == "" {
		return nil // there is no context to keep it in
	}
	return a.changeStore(func(s *store) error {
		if stored, ok := s.find(p.Name); ok {
			stored.Realm = name
			s.put(stored)
		}
		return nil
	})
}

func (a *app) memberCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls", Short: catalog.GetMembers.Summary(), Args: words(), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.placeWithRealm()
			if err != nil {
				return err
			}
			return one(cmd.Context(), a, p, catalog.GetMembers, func(members map[string]string) error {
				tab := table{head: []string{"USER", "ROLE"}}
				for _, user := range slices.Sorted(maps.Keys(members)) {
					tab.add(cell(user), cell(members[user]))
				}
				return tab.write(a.Stdout)
			}, p.Realm)
		},
	}
	add := &cobra.Command{
		Use: "add USER ROLE", Short: catalog.AddMember.Summary(), Long: catalog.AddMember.Doc, Args: words("USER", "ROLE"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return roles, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.placeWithRealm()
			if err != nil {
				return err
			}
			return one(cmd.Context(), a, p, catalog.AddMember, nil, p.Realm, args[0], args[1])
		},
	}
	rm := &cobra.Command{
		Use: "rm USER", Short: catalog.RemoveMember.Summary(), Long: catalog.RemoveMember.Doc, Args: words("USER"), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.placeWithRealm()
			if err != nil {
				return err
			}
			return one(cmd.Context(), a, p, catalog.RemoveMember, nil, p.Realm, args[0])
		},
	}
	return family("member", "Manage the members of the realm", ls, add, rm)
}
