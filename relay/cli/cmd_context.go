package cli

import (
	"fmt"

	"fabric.center/cfc/shared/catalog"
	"github.com/spf13/cobra"
)

func (a *app) contextCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls", Short: "List the relays that were logged in to", Args: words(), ValidArgsFunction: nothing,
		RunE: func(*cobra.Command, []string) error { return a.listContexts() },
	}
	use := &cobra.Command{
		Use: "use CONTEXT", Short: "Make a context the current one", Args: words("CONTEXT"), ValidArgsFunction: first(a.contextNames),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeStore(func(s *store) error {
				if _, ok := s.find(args[0]); !ok {
					return usagef("there is no context %q; cfc context ls lists them", args[0])
				}
				s.Current = args[0]
				return nil
			})
		},
	}
	return family("context", "Choose among the relays that were logged in to", ls, use)
}

func (a *app) listContexts() error {
	s, err := a.store()
	if err != nil {
		return err
	}
	if a.flags.json {
		return writeJSON(a.Stdout, map[string]any{"current": s.Current, "contexts": append([]place{}, s.Contexts...)})
	}
	tab := table{head: []string{"CURRENT", "CONTEXT", "RELAY", "REALM", "USER"}}
	for _, p := range s.Contexts {
		tab.add(mark(p.Name == s.Current), p.Name, p.Relay, cell(p.Realm), cell(p.User))
	}
	return tab.write(a.Stdout)
}

// mark is the sign of the chosen row in a table.
func mark(chosen bool) string {
	if chosen {
		return "*"
	}
	return ""
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the relay and who one is there", Args: words(), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), realmOf(catalog.UsersGetStatus.Op), func(p place, s Session) error {
				st, raw, err := ask(cmd.Context(), a, s, catalog.UsersGetStatus)
				if err != nil {
					return err
				}
				if a.flags.json {
					return writeJSON(a.Stdout, raw)
				}
				tab := table{}
				tab.add("relay", p.Relay)
				tab.add("version", cell(st.Relay.Version))
				tab.add("started", cell(st.Relay.Started))
				tab.add("user", cell(s.AuthID()))
				tab.add("context", cell(p.Name))
				tab.add("realm", cell(p.Realm))
				tab.add("realms", fmt.Sprint(st.Realms))
				tab.add("nodes", fmt.Sprintf("%d, %d online", st.Nodes.Total, st.Nodes.Online))
				return tab.write(a.Stdout)
			})
		},
	}
}
