package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"fabric.center/cfc/agent/control"
	"fabric.center/cfc/agent/crossbar"
	"fabric.center/cfc/agent/crossbar/adopt"
	"fabric.center/cfc/agent/crossbar/nodeconfig"
	"fabric.center/cfc/agent/daemon"
	"github.com/spf13/cobra"
)

// How long a node may take to end and to come back, and how often that is
// looked at.
const (
	restartTimeout = 3 * time.Minute
	attachPoll     = 200 * time.Millisecond
)

// adoption is one command line of adopt.
type adoption struct {
	dir                      string
	supervise, replace, edge bool
	restart, dryRun, undo    bool
	request                  adopt.Request
	agent                    *control.Status // nil where none runs
	client                   *control.Client
}

func (a *App) adopt() *cobra.Command {
	var d adoption
	cmd := &cobra.Command{Use: "adopt --cbdir DIR", Short: "Make the directory of a Crossbar.io node a managed one, or undo that", Args: cobra.NoArgs,
		Long: "Make the directory of a Crossbar.io node a managed one, or undo that.\n\n" +
			"What is changed is the node's uplink (controller.fabric in its configuration), and nothing else in that file. The change is shown; " +
			"what was there is kept in DIR/" + filepath.Base(nodeconfig.Backup("")) + ", and --undo gives it back. The node keeps all that it has: " +
			"once started as crossbar edge start, with the agent running, it starts its workers from its own configuration as before.\n\n" +
			"Adopting is refused, and nothing changed, where the node would not come up again: when a systemd unit starts it as crossbar start " +
			"(the change of the unit is shown), when crossbar edge check does not accept the configuration, when the agent could not read or run " +
			"it. A node that runs goes on until it is restarted. Adopting again finishes what broke off, and does nothing where nothing is to be done.",
		Example: "  cfc-agent adopt --cbdir /srv/node --dry-run\n  cfc-agent adopt --cbdir /srv/node --restart\n  cfc-agent adopt --cbdir /srv/node --supervise --restart\n  cfc-agent adopt --cbdir /srv/node --undo"}
	load := a.configured(cmd, "data", "control", "crossbar", "node-listen")
	f := cmd.Flags()
	f.StringVar(&d.dir, "cbdir", "", "the node's directory (default: node.cbdir of the agent's configuration)")
	f.BoolVar(&d.supervise, "supervise", false, "the agent is to start the node (default: node.supervise, where it is the agent's directory)")
	f.BoolVar(&d.restart, "restart", false, "restart the node, and wait until it is there again")
	f.BoolVar(&d.replace, "replace", false, "replace an uplink to somebody else, and put a key.activate aside")
	f.BoolVar(&d.edge, "edge", false, "the node is started as crossbar edge start, though nothing shows it")
	f.BoolVar(&d.dryRun, "dry-run", false, "show what would be done, and change nothing")
	f.BoolVar(&d.undo, "undo", false, "give back what was there before; what was edited since stays, or refuses")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		if d.undo && (d.supervise || d.restart || d.replace || d.edge) {
			return errors.New("--undo goes with --cbdir and --dry-run only")
		}
		if err := d.prepare(cmd.Context(), c, a.Units); err != nil {
			return err
		}
		if d.undo {
			return failed(a.undoAdoption(d))
		}
		return failed(a.doAdopt(cmd.Context(), d))
	}
	return cmd
}

// prepare finds out about the directory and the agent; the one that runs knows
// best.
func (d *adoption) prepare(ctx context.Context, c daemon.Config, units adopt.Units) error {
	if d.dir == "" {
		d.dir = c.Node.Dir
	}
	if d.dir == "" {
		return errors.New("expected --cbdir DIR, the node's directory")
	}
	var err error
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return err
	}
	listen, serves, supervises := c.Node.Listen, c.Node.Dir, c.Node.Supervise
	d.client = control.NewClient(c.Control)
	if s, err := d.client.Status(ctx); err == nil {
		d.agent = &s
		listen, serves, supervises = s.Agent.Listen, s.Agent.Dir, s.Agent.Supervise
	}
	mine := sameFile(serves, d.dir)
	uplink, err := address(listen)
	if err != nil {
		return err
	}
	d.request = adopt.Request{Dir: crossbar.Dir{Path: d.dir, Executable: c.Node.Crossbar, Uplink: uplink}, Supervise: d.supervise || mine && supervises,
		Replace: d.replace, Edge: d.edge, Restart: d.restart, KeepsConfig: c.Node.ApplyConfig, Serves: mine, Served: mine && supervises && d.agent != nil,
		Agent: adopt.OwnerOf(c.Data), Units: units}
	return nil
}

func sameFile(a, b string) bool {
	x, err := filepath.EvalSymlinks(a)
	if err != nil {
		return false
	}
	y, err := filepath.EvalSymlinks(b)
	return err == nil && x == y
}

// address is where the node is to dial: not the port 0, nor a socket.
func address(listen string) (net.Addr, error) {
	if strings.HasPrefix(listen, "unix:") || strings.HasPrefix(listen, "/") {
		return nil, fmt.Errorf("node.listen is %s, but a stock node dials TCP only", listen)
	}
	a, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("node.listen: %w", err)
	}
	if a.Port == 0 {
		return nil, errors.New("node.listen has no fixed port, and the agent is not running: the node cannot be told where to dial")
	}
	return a, nil
}

func (a *App) doAdopt(ctx context.Context, d adoption) error {
	p, err := d.request.Plan(ctx)
	var unit *adopt.UnitError
	if errors.As(err, &unit) {
		fmt.Fprintf(a.Out, "# %s\n%s\n", unit.Unit.DropInPath(), unit.Unit.DropIn())
	}
	if err != nil {
		return err
	}
	showChanges(a.Out, d.dir, p.Changes)
	if d.dryRun {
		notes(a.Out, p.Notes)
		fmt.Fprintln(a.Out, "nothing was changed")
		return nil
	}
	if err := d.request.Apply(p); err != nil {
		return err
	}
	if len(p.Changes) > 0 {
		fmt.Fprintf(a.Out, "%s is adopted; what was there is kept in %s, and cfc-agent adopt --cbdir %s --undo gives it back\n", d.dir, nodeconfig.Backup(d.dir), d.dir)
	} else {
		fmt.Fprintf(a.Out, "%s is a managed one already: nothing to do\n", d.dir)
	}
	notes(a.Out, p.Notes)
	if !d.restart {
		return nil
	}
	return a.restart(ctx, d, p)
}

func showChanges(w io.Writer, dir string, changes []nodeconfig.Change) {
	for _, c := range changes {
		if c.Name == nodeconfig.Activation { // nobody's business
			fmt.Fprintf(w, "%s is put aside, or back\n", filepath.Join(dir, c.Name))
			continue
		}
		fmt.Fprint(w, c.Diff(dir))
	}
}

func notes(w io.Writer, list []string) {
	for _, n := range list {
		fmt.Fprintln(w, "-", n)
	}
}

// restart restarts the node, and waits until it has come to the agent.
func (a *App) restart(ctx context.Context, d adoption, p *adopt.Plan) error {
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	var before string
	if d.agent != nil && d.agent.Node.Since != nil {
		before = *d.agent.Node.Since
	}
	if err := p.Restart(ctx); err != nil {
		return err
	}
	if d.agent == nil {
		fmt.Fprintln(a.Out, "the node was restarted; the agent is not running, and until it does the node starts no workers")
		return nil
	}
	tick := time.NewTicker(attachPoll)
	defer tick.Stop()
	for {
		s, err := d.client.Status(ctx)
		if err == nil && s.Node.Attached && s.Node.Since != nil && *s.Node.Since != before {
			fmt.Fprintln(a.Out, "the node was restarted, and is attached to the agent")
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot tell that the node is back: it was restarted, and has not come to the agent within %s; see its log, and cfc-agent status", restartTimeout)
		}
	}
}

func (a *App) undoAdoption(d adoption) error {
	if d.request.Supervise {
		return fmt.Errorf("cannot undo the adoption of %s: the agent supervises it, and would adopt it again: take node.supervise out of the agent's configuration and restart the agent first", d.dir)
	}
	record, changes, err := adopt.Undo(d.dir)
	showChanges(a.Out, d.dir, changes)
	switch {
	case err != nil:
		return err
	case record == nil:
		fmt.Fprintf(a.Out, "%s was not adopted, or that is undone already: nothing to do\n", d.dir)
		return nil
	case d.dryRun:
		fmt.Fprintln(a.Out, "nothing was changed")
		return nil
	}
	if err := record.Undo(); err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "the adoption of %s is undone\n- a node that runs goes on as it was started until its next start; change back what starts it, if that was changed for the adoption\n", d.dir)
	return nil
}
