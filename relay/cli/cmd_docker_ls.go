package cli

import (
	"context"
	"fmt"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"github.com/spf13/cobra"
)

// The rows that list containers and images give ids, which is what programs go
// on with. People want to see what they are.

func (a *app) psCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "ps NODE", Short: "List the containers that run, and what they are",
		Long: "List the containers that run on a node's host, with --all those that do not as well; with --json each as\n" +
			"cfc docker get-docker-container has it.",
		Args: words("NODE"), ValidArgsFunction: first(a.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			head := []string{"NAME", "IMAGE", "STATE", "STARTED", "RESTARTS", "PORTS", "ID"}
			return onHost(cmd.Context(), a, catalog.DockerGetContainers, []any{args[0], all}, catalog.DockerGetContainer, head, func(c catalog.DockerContainer) []string {
				return []string{cell(c.Name), cell(c.Image), cell(stateOf(c)), optional(c.Started), cell(c.Restarts), cell(portsOf(c)), short(c.ID)}
			})
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those that do not run as well")
	return cmd
}

func (a *app) imagesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "images NODE", Short: "List the images, and what they are",
		Long: "List the images on a node's host, with --json each as cfc docker get-docker-image has it.",
		Args: words("NODE"), ValidArgsFunction: first(a.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			head := []string{"IMAGE", "CREATED", "SIZE", "ID"}
			return onHost(cmd.Context(), a, catalog.DockerGetImages, []any{args[0]}, catalog.DockerGetImage, head, func(i catalog.DockerImage) []string {
				return []string{cell(strings.Join(i.Tags, " ")), optional(i.Created), size(i.Size), short(i.ID)}
			})
		},
	}
}

// onHost is listed for rows of a node, which args begin with.
func onHost[LsIn, In, Out any](ctx context.Context, a *app, ls catalog.Spec[LsIn, []string], args []any, get catalog.Spec[In, Out], head []string, line func(Out) []string) error {
	if err := check(ls.Op, args, nil); err != nil {
		return err
	}
	return a.with(ctx, "", func(_ place, s Session) error { return listed(ctx, a, s, ls, args, get, args[:1], head, line) })
}

// stateOf is what a container does, and how it is or how it ended.
func stateOf(c catalog.DockerContainer) string {
	switch {
	case c.Health != nil:
		return c.State + " (" + *c.Health + ")"
	case c.State == "exited":
		return fmt.Sprintf("exited (%d)", c.ExitCode)
	}
	return c.State
}

// portsOf are its ports as Docker's own command shows them.
func portsOf(c catalog.DockerContainer) string {
	var ports []string
	for _, p := range c.Ports {
		port := fmt.Sprintf("%d/%s", p.Container, p.Protocol)
		if p.Host != 0 {
			port = fmt.Sprintf("%s:%d->%s", p.Address, p.Host, port)
		}
		ports = append(ports, port)
	}
	return strings.Join(ports, " ")
}

// short is an id as far as people need it.
func short(id string) string {
	const enough = 12
	id = strings.TrimPrefix(id, "sha256:")
	return cell(id[:min(len(id), enough)])
}
