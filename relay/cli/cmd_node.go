package cli

import (
	"cmp"
	"context"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/wire"
	"github.com/spf13/cobra"
)

// nodeCommand manages nodes; the operations of area node stand beside it.
func (a *app) nodeCommand() *cobra.Command {
	var status string
	ls := &cobra.Command{
		Use: "ls", Short: "List the nodes of the realm", Long: "List the nodes of the realm, with --json each as cfc node show has it.", Args: words(), ValidArgsFunction: nothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listNodes(cmd.Context(), status) },
	}
	ls.Flags().StringVar(&status, "status", "", "only with this status: "+catalog.NodeStatus("").Form())
	completeFlag(ls, "status", fixed([]string{"online", "offline", "detached"}))
	show := &cobra.Command{
		Use: "show NODE", Short: "Show a node: who it is, and how it is now", Args: words("NODE"), ValidArgsFunction: first(a.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.placeWithRealm()
			if err != nil {
				return err
			}
			return one(cmd.Context(), a, p, catalog.RealmGetNode, nil, args[0])
		},
	}
	rm := &cobra.Command{
		Use: "rm NODE", Short: "Unpair a node", Long: catalog.UnpairNode.Doc + "\n\nNODE is its id, its oid, realm/node-id or its public key.",
		Args: words("NODE"), ValidArgsFunction: first(a.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.place()
			if err != nil {
				return err
			}
			node := args[0]
			if wire.ValidNodeID(node) && !wire.ValidPubkey(node) {
				if p, err = a.placeWithRealm(); err != nil {
					return err
				}
				node = p.Realm + "/" + node
			}
			return one(cmd.Context(), a, p, catalog.UnpairNode, nil, node)
		},
	}
	c := family("node", "")
	in(c, groupManage, ls, show, a.inviteNodeCommand(), rm)
	return c
}

func (a *app) listNodes(ctx context.Context, status string) error {
	var filter []any
	if status != "" {
		filter = []any{status}
	}
	if err := check(catalog.RealmGetNodes.Op, filter, nil); err != nil {
		return err
	}
	return a.with(ctx, "", func(_ place, s Session) error {
		head := []string{"NODE", "STATUS", "SINCE", "REASON", "KIND", "VERSION", "AGENT", "HOST"}
		return listed(ctx, a, s, catalog.RealmGetNodes, filter, catalog.RealmGetNode, nil, head, func(n catalog.NodeInfo) []string {
			st, since, reason := presence(n)
			return []string{cell(n.ID), st, cell(since), cell(reason), optional(n.Node.Kind), cell(n.Node.Version), cell(n.Agent.Version), cell(n.Agent.Hostname)}
		})
	})
}

// presence is the three states of a node in one word: offline, online and,
// where the agent is there but its node is not, detached.
func presence(n catalog.NodeInfo) (status, since, reason string) {
	if n.Status == "online" && !n.Node.Attached {
		return "detached", cmp.Or(value(n.Node.Since), value(n.Since)), n.Node.Reason
	}
	if n.Status == "online" {
		return n.Status, value(n.Since), ""
	}
	return cell(n.Status), value(n.Since), n.Reason
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (a *app) inviteNodeCommand() *cobra.Command {
	o := &tokenOptions{}
	o.cmd = &cobra.Command{
		Use: "invite", Short: "Make a one-time token that pairs a host with the realm",
		Long: "Make a one-time token that pairs a host with the realm, and say what to run there.\n\n" +
			"Without --node-id the agent's wish, by default its host name, becomes the node's id. --replace is for a\n" +
			"host that was installed anew: the node keeps its id and gets the new key.",
		Args: words(), ValidArgsFunction: nothing,
		RunE: func(*cobra.Command, []string) error {
			options, err := o.read()
			if err != nil {
				return err
			}
			if _, named := options["node_id"]; options["replace"] == true && !named {
				return usagef("--replace needs --node-id: which node's host is it?")
			}
			p, err := a.placeWithRealm()
			if err != nil {
				return err
			}
			options["realm"] = p.Realm
			return o.make(a, p, wire.ForNode, options)
		},
	}
	o.flag("node-id", "the id that the node gets: "+strings.ToLower(wire.NodeIDForm))
	o.cmd.Flags().Bool("replace", false, "the node's host is being replaced")
	o.common()
	return o.cmd
}
