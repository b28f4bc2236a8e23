package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"fabric.center/cfc/agent/control"
	"fabric.center/cfc/agent/daemon"
	"fabric.center/cfc/agent/state"
	"fabric.center/cfc/agent/uplink"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/console"
	"fabric.center/cfc/shared/wire"
	"github.com/spf13/cobra"
)

// offline is what can be told of an agent that does not run.
type offline struct {
	Running bool           `json:"running"`
	Pairing *state.Pairing `json:"pairing"`
	Faults  []string       `json:"faults"`
}

// online is the status of one that does.
type online struct {
	Running bool `json:"running"`
	control.Status
}

func (a *App) status() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "status", Short: "Show how the agent is; ends with 1 when it does not run", Args: cobra.NoArgs}
	load := a.configured(cmd, "data", "control")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		s, err := control.NewClient(c.Control).Status(cmd.Context())
		switch {
		case errors.Is(err, control.ErrNotRunning):
			return failed(a.notRunning(c, err, asJSON))
		case err != nil:
			return failed(err)
		case asJSON:
			return failed(a.printJSON(online{true, s}))
		}
		return failed(a.printStatus(s))
	}
	return cmd
}

// notRunning tells what the directory says, and that nobody runs on it.
func (a *App) notRunning(c daemon.Config, why error, asJSON bool) error {
	o := offline{Faults: []string{}}
	var err error
	if o.Pairing, err = state.Look(c.Data); err != nil {
		o.Faults = append(o.Faults, err.Error())
	}
	if asJSON {
		return errors.Join(why, a.printJSON(o))
	}
	if p := o.Pairing; p != nil {
		fmt.Fprintf(a.Out, "paired as node %s of realm %s (oid %s) with %s\n", p.NodeID, p.Realm, p.OID, p.Relay)
	} else if err == nil {
		fmt.Fprintln(a.Out, "not paired")
	}
	for _, f := range o.Faults {
		fmt.Fprintln(a.Out, "fault:", f)
	}
	return why
}

func (a *App) printStatus(s control.Status) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "agent\t%s, running since %s (pid %d)\n", s.Agent.Version, s.Agent.Started, s.Agent.PID)
	fmt.Fprintf(w, "pairing\t%s\n", pairingLine(s.Pairing))
	fmt.Fprintf(w, "relay\t%s\n", relayLine(s.Uplink))
	if e := s.Uplink.LastError; e != nil {
		fmt.Fprintf(w, "\tlast error at %s: %s\n", wire.Time(e.At), console.Clean(e.Text))
		if e.URI == cfcerr.NodeUnpaired.URI() && s.Uplink.State != uplink.Connected {
			fmt.Fprintf(w, "\tto pair again, by a new token: cfc-agent pair --replace %s\n", s.Uplink.Relay)
		}
	}
	if u := s.Uplink; u.EventsWaiting > 0 || u.EventsDropped > 0 {
		fmt.Fprintf(w, "events\t%d waiting, %d dropped\n", u.EventsWaiting, u.EventsDropped)
	}
	fmt.Fprintf(w, "node\t%s\n", nodeLine(s))
	if p := s.Process; p != nil {
		fmt.Fprintf(w, "process\t%s since %s, pid %d, started again %d times", p.State, p.Since, p.PID, p.Restarts)
		if p.LastEnd != "" {
			fmt.Fprintf(w, "; last end: %s", console.Clean(p.LastEnd))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "policy\t%s\n", policyLine(s.Policy))
	for _, f := range s.Faults {
		fmt.Fprintf(w, "fault\t%s\n", console.Clean(f))
	}
	return w.Flush()
}

func pairingLine(p *state.Pairing) string {
	if p == nil {
		return "none; pair with: cfc-agent pair URL"
	}
	return fmt.Sprintf("node %s of realm %s (oid %s)", p.NodeID, p.Realm, p.OID)
}

func relayLine(u uplink.Status) string {
	switch u.State {
	case uplink.Unpaired:
		return "none"
	case uplink.Waiting:
		return fmt.Sprintf("%s, not connected since %s, %d failures, next try %s", u.Relay, wire.Time(u.Since), u.Failures, wire.Time(u.NextTry))
	}
	return fmt.Sprintf("%s, %s since %s", u.Relay, u.State, wire.Time(u.Since))
}

func nodeLine(s control.Status) string {
	if !s.Node.Attached {
		return fmt.Sprintf("not attached (%s); it dials %s", console.Clean(s.Node.Reason), s.Agent.Listen)
	}
	kind, since := "", ""
	if s.Node.Kind != nil {
		kind = *s.Node.Kind
	}
	if s.Node.Since != nil {
		since = *s.Node.Since
	}
	return fmt.Sprintf("%s %s, attached since %s", kind, console.Clean(s.Node.Version), since)
}

func policyLine(p control.PolicyStatus) string {
	if p.Error != "" {
		return p.Path + " cannot be used: only reading is allowed"
	}
	if !p.Present {
		return p.Path + " is not there: all is allowed but Docker"
	}
	return p.Path
}
