package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fabric.center/cfc/shared/identity"
)

// demoNode is the configuration of the demo's node: one router worker, which
// comes up again with the node.
const demoNode = `{
    "version": 2,
    "controller": {"options": {"shutdown": ["shutdown_on_shutdown_requested"]}},
    "workers": [{"type": "router", "id": "router1"}]
}
`

// Demo is `make run`: the whole product on this machine, set up by the same
// commands that a user would type.
type Demo struct {
	Dir  string // everything is below it; it is removed at the end
	Port int    // of the relay
	Out  io.Writer

	tools Tools
	relay *Relay
	agent *Agent
}

// Port reads the relay's port as a person gives it.
func Port(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("cannot start the relay: there is no port %s; expected 1 to 65535, for example: make run PORT=8090", text)
	}
	return n, nil
}

// Run sets all up, says what to try, and serves until ctx ends or a part fails.
// In the end nothing is left, neither a process nor a file.
func (d *Demo) Run(ctx context.Context) (err error) {
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if n, err := Reap(ctx, d.Dir, 10*time.Second); err != nil {
		return fmt.Errorf("cannot start: an earlier run is still there: %w", err)
	} else if n > 0 {
		fmt.Fprintf(d.Out, "ended %d processes that an earlier run had left\n", n)
	}
	if err := os.RemoveAll(d.Dir); err != nil {
		return fmt.Errorf("cannot start: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(d.Dir, "node"), 0o700); err != nil {
		return fmt.Errorf("cannot start: %w", err)
	}
	if err := Busy(ctx, fmt.Sprintf("127.0.0.1:%d", d.Port)); err != nil {
		return fmt.Errorf("cannot start the relay: port %d is in use by another program; end that, or take another: make run PORT=8090", d.Port)
	}
	defer func() { err = errors.Join(err, d.clear(context.WithoutCancel(ctx))) }()
	if err := d.setUp(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while starting
		}
		return err
	}
	d.greet()
	select {
	case <-ctx.Done():
		fmt.Fprintln(d.Out, "\nstopping")
		return nil
	case <-d.relay.Done():
		return fmt.Errorf("the relay ended: %w; it printed:\n%s", ended(d.relay.Proc), d.relay.Tail(20))
	case <-d.agent.Done():
		return fmt.Errorf("the agent ended: %w; it printed:\n%s", ended(d.agent.Proc), d.agent.Tail(20))
	}
}

func ended(p *Proc) error {
	if err := p.Err(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}

// lock keeps a second demo from taking the first one for left over.
func (d *Demo) lock() (unlock func(), err error) {
	f, err := os.OpenFile(strings.TrimRight(d.Dir, "/")+".lock", os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot start: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot start: %s is in use by a demo that runs already; end that with Ctrl-C first", d.Dir)
	}
	return func() {
		os.Remove(f.Name())
		f.Close()
	}, nil
}

// clear ends every process and removes every file.
func (d *Demo) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*stopGrace)
	defer cancel()
	var errs []error
	if d.agent != nil && d.agent.Proc != nil {
		errs = append(errs, d.agent.Stop())
	}
	if d.relay != nil && d.relay.Proc != nil {
		errs = append(errs, d.relay.Stop())
	}
	_, err := Reap(ctx, d.Dir, 5*time.Second)
	return errors.Join(append(errs, err, os.RemoveAll(d.Dir))...)
}

func (d *Demo) path(name ...string) string { return filepath.Join(append([]string{d.Dir}, name...)...) }

func (d *Demo) setUp(ctx context.Context) (err error) {
	if d.tools, err = Find(ctx); err != nil {
		return err
	}
	node, err := FindNode()
	if err != nil {
		return err
	}
	d.say("starting the relay")
	if d.relay, err = StartRelay(ctx, d.tools, d.Dir, RelayOptions{Port: d.Port}); err != nil {
		return err
	}
	d.say("claiming it with a new key, and creating realm demo")
	key, err := identity.New()
	if err != nil {
		return err
	}
	if err := key.Save(d.path("user.key")); err != nil {
		return err
	}
	if _, err := d.cfc(ctx, "login", d.relay.URL(), "--key", d.path("user.key"), "--token-file", filepath.Join(d.relay.Data, "first-owner.token")); err != nil {
		return err
	}
	if _, err := d.cfc(ctx, "realm", "create", "demo"); err != nil {
		return err
	}
	if _, err := d.cfc(ctx, "realm", "use", "demo"); err != nil {
		return err
	}
	d.say("pairing an agent by a one-time token")
	out, err := d.cfc(ctx, "node", "invite", "--node-id", "n1", "--json")
	if err != nil {
		return err
	}
	var invitation struct{ Token string }
	if err := json.Unmarshal(out, &invitation); err != nil || invitation.Token == "" {
		return errors.New("cannot pair: the invitation has no token")
	}
	if err := os.WriteFile(d.path("node", "config.json"), []byte(demoNode), 0o600); err != nil {
		return err
	}
	if d.agent, err = NewAgent(ctx, d.tools, node, d.Dir, AgentOptions{NodeDir: d.path("node")}); err != nil {
		return err
	}
	if err := d.agent.Pair(ctx, d.relay.URL(), invitation.Token); err != nil {
		return err
	}
	d.say("starting the agent and its Crossbar.io node")
	if err := d.agent.Start(ctx); err != nil {
		return err
	}
	if err := d.agent.Attached(ctx); err != nil {
		return err
	}
	return d.routerUp(ctx)
}

// routerUp waits for the node's worker.
func (d *Demo) routerUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	return d.agent.await(ctx, func() error {
		out, err := d.cfc(ctx, "node", "get-worker", "n1", "router1", "--json")
		if err != nil {
			return err
		}
		var w struct{ Status string }
		if err := json.Unmarshal(out, &w); err != nil || w.Status != "started" {
			return fmt.Errorf("worker router1 is not started yet: %s", out)
		}
		return nil
	})
}

// cfc runs the command line as a user would.
func (d *Demo) cfc(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, d.tools.CLI, append([]string{"--config-dir", d.path("cfc")}, args...)...)
	cmd.Env = append(clean(os.Environ()), marker+"="+d.Dir)
	cmd.Dir = d.Dir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("cfc %s: %s", strings.Join(args[:min(2, len(args))], " "), strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot run cfc: %w", err)
	}
	return out, nil
}

func (d *Demo) say(what string) { fmt.Fprintln(d.Out, "-", what) }

// Commands are the first ones to try; README.md shows them with their output.
var Commands = []string{
	"bin/cfc node ls",
	`bin/cfc node start-worker n1 router2 '{"type": "router"}'`,
	`bin/cfc router start-router-realm n1 router2 realm1 '{"name": "realm1"}'`,
	"bin/cfc router get-router-realms n1 router2",
	"bin/cfc node stop-worker n1 router2",
}

func (d *Demo) greet() {
	fmt.Fprintf(d.Out, `
Relay  %s/ws with realm demo and node n1 (Crossbar.io, one router worker)
Key    %s logs in as the owner: 64 hex digits, what Autobahn reads

Try, in another terminal:

  export CFC_CONFIG_DIR=%s
  %s

Ctrl-C stops everything and leaves nothing behind.
`, d.relay.URL(), d.path("user.key"), d.path("cfc"), strings.Join(Commands, "\n  "))
}
