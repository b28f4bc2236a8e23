package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fabric.center/cfc/agent/control"
	"fabric.center/cfc/agent/daemon"
	"fabric.center/cfc/agent/state"
	"fabric.center/cfc/agent/uplink"
	"github.com/spf13/cobra"
)

func (a *App) pair() *cobra.Command {
	var r state.Request
	var file, given string
	var noToken, asJSON bool
	cmd := &cobra.Command{Use: "pair URL", Short: "Pair this host with a relay, by a one-time token",
		Long: "Pair this host with a relay, by a one-time token.\n\nThe token is asked for on the terminal, or comes from --token-file, " + tokenVariable +
			" or standard input. Pairing may be repeated after any failure.",
		Example: "  cfc-agent pair wss://relay.example.com --pin sha256:…",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && looksLikeToken(args[0]) {
				return errOnCommandLine
			}
			if len(args) == 0 {
				return errors.New("expected the URL of the relay")
			}
			return nil
		}}
	load := a.configured(cmd, "data", "control")
	f := cmd.Flags()
	f.StringVar(&file, "token-file", "", "file with the token")
	f.BoolVar(&noToken, "no-token", false, "the relay knows this agent's key already (see cfc-agent key)")
	f.StringVar(&r.Pin, "pin", "", "sha256:… of the relay's key, as printed with the invitation; replaces the usual check of its certificate")
	f.StringVar(&r.NodeID, "node-id", "", "name of the node, where the token leaves it open (default: the host's)")
	f.StringVar(&r.CAFile, "ca", "", "file with the certificates (PEM) to trust in place of the system's")
	f.BoolVar(&r.Unbound, "unbound", false, "accept a relay behind a proxy that ends TLS")
	f.BoolVar(&r.Replace, "replace", false, "give up an existing pairing")
	f.BoolVar(&asJSON, "json", false, "print the pairing as JSON")
	f.StringVar(&given, "token", "", "")
	_ = f.MarkHidden("token")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.Changed("token") {
			return errOnCommandLine
		}
		c, err := load()
		if err != nil {
			return err
		}
		r.URL = args[0]
		if r.CAFile != "" {
			if r.CAFile, err = filepath.Abs(r.CAFile); err != nil {
				return err
			}
		}
		if !noToken {
			if r.Token, err = a.token(cmd.Context(), file); err != nil {
				return err
			}
		}
		if err := r.Check(); err != nil {
			return err
		}
		p, running, err := a.doPair(cmd.Context(), c, r)
		if err != nil {
			return failed(err)
		}
		return failed(a.printPairing(p, running, asJSON))
	}
	return cmd
}

func looksLikeToken(s string) bool {
	return strings.HasPrefix(s, "cfcn_") || strings.HasPrefix(s, "cfcu_") || strings.HasPrefix(s, "cfct_")
}

// doPair has the running agent pair, or pairs where none runs.
func (a *App) doPair(ctx context.Context, c daemon.Config, r state.Request) (p *state.Pairing, running bool, err error) {
	p, err = control.NewClient(c.Control).Pair(ctx, r)
	if !errors.Is(err, control.ErrNotRunning) {
		return p, true, err
	}
	err = a.withDir(c, func(d *state.Dir) error {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("this host has no name: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, control.PairTimeout)
		defer cancel()
		p, err = d.Pair(ctx, r, state.LogIn(uplink.Describe(a.Version, host, time.Now())))
		return err
	})
	return p, false, err
}

// withDir works on the directory of an agent that does not run.
func (a *App) withDir(c daemon.Config, work func(*state.Dir) error) error {
	d, err := state.Open(c.Data)
	if err != nil {
		return err
	}
	unlock, err := d.Lock()
	if errors.Is(err, state.ErrLocked) {
		return fmt.Errorf("%w, but nobody listens on its control socket %s: is it another one's?", err, c.Control)
	}
	if err != nil {
		return err
	}
	defer unlock()
	return work(d)
}

// starter is what a person runs to start the agent, as it was installed.
func (a *App) starter() string {
	if a.env("SNAP_NAME") == "cfc-agent" {
		return "snap start --enable cfc-agent"
	}
	return "cfc-agent run, or: systemctl start cfc-agent"
}

func (a *App) printPairing(p *state.Pairing, running, asJSON bool) error {
	if asJSON {
		return a.printJSON(p)
	}
	fmt.Fprintf(a.Out, "paired: this host is node %s of realm %s\n  oid    %s\n  relay  %s\n", p.NodeID, p.Realm, p.OID, p.Relay)
	if !running {
		fmt.Fprintln(a.Out, "the agent is not running; start it with: "+a.starter())
	}
	return nil
}

func (a *App) printJSON(v any) error {
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *App) unpair() *cobra.Command {
	cmd := &cobra.Command{Use: "unpair", Short: "Forget the pairing on this host; the relay's side ends by cfc node rm", Args: cobra.NoArgs}
	load := a.configured(cmd, "data", "control")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		p, err := control.NewClient(c.Control).Unpair(cmd.Context())
		if errors.Is(err, control.ErrNotRunning) {
			err = a.withDir(c, func(d *state.Dir) error {
				p, err = d.Pairing()
				if err != nil {
					fmt.Fprintln(a.Err, "cfc-agent:", err)
				}
				return d.Unpair()
			})
		}
		switch {
		case err != nil:
			return failed(err)
		case p == nil:
			fmt.Fprintln(a.Out, "not paired any more")
		default:
			fmt.Fprintf(a.Out, "not paired any more. The relay %s lists node %s in realm %s until an owner removes it there with: cfc node rm\n", p.Relay, p.NodeID, p.Realm)
		}
		return nil
	}
	return cmd
}

func (a *App) key() *cobra.Command {
	cmd := &cobra.Command{Use: "key URL", Short: "Print the public key that this agent has, or will have, for a relay", Args: cobra.ExactArgs(1)}
	load := a.configured(cmd, "data")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		d, err := state.Open(c.Data)
		if err != nil {
			return failed(err)
		}
		k, err := d.Key(args[0])
		if err != nil {
			return failed(err)
		}
		fmt.Fprintln(a.Out, k.Public())
		return nil
	}
	return cmd
}
