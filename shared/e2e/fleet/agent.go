package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// AgentOptions differ from the defaults of a test.
type AgentOptions struct {
	Name    string            // of log, pid file and state, "agent" if empty
	NodeDir string            // of the node; below the fleet if empty
	Config  map[string]string // further lines of agent.yaml: key to YAML value
	Env     []string          // of its processes, beside the environment of this one
	// NodeKey is the public key of a node that the agent serves but does not
	// supervise; it dials in at Listen.
	NodeKey string
	// Socket is where the node dials in, handed over as systemd does. Such an
	// agent has no node of its own.
	Socket *os.File
	// Tmpfs is as in RelayOptions; Data leads there once the agent is started.
	Tmpfs string
}

// Agent is a cfc-agent that supervises a Crossbar.io node.
type Agent struct {
	*Proc
	NodeDir string
	Data    string
	Policy  string // the host's own policy, which forbids nothing
	Listen  int    // port at which the node dials in

	program string
	conf    string
	command Command
	tmpfs   bool
}

// AgentStatus is what tests need of `cfc-agent status --json`.
type AgentStatus struct {
	Node struct {
		Attached bool   `json:"attached"`
		Kind     string `json:"kind"`
		Version  string `json:"version"`
		Reason   string `json:"reason"`
	} `json:"node"`
	Uplink map[string]any `json:"uplink"`
	Faults []string       `json:"faults"`
}

// NewAgent writes agent.yaml below home; nothing runs yet.
func NewAgent(ctx context.Context, t Tools, n Node, home string, o AgentOptions) (*Agent, error) {
	if o.Name == "" {
		o.Name = "agent"
	}
	a := &Agent{program: t.Agent, NodeDir: o.NodeDir, Data: filepath.Join(home, o.Name), conf: filepath.Join(home, o.Name+".yaml"),
		Policy: filepath.Join(home, o.Name+"-policy.yaml")}
	if a.NodeDir == "" {
		a.NodeDir = filepath.Join(home, "node")
	}
	var err error
	if a.Listen, err = FreePort(ctx); err != nil {
		return nil, err
	}
	if err := os.WriteFile(a.Policy, []byte("version: 1\n"), 0o600); err != nil {
		return nil, fmt.Errorf("cannot set up the agent: %w", err)
	}
	node := fmt.Sprintf("{listen: \"127.0.0.1:%d\", supervise: true, cbdir: %s, crossbar: %s}", a.Listen, a.NodeDir, n.Crossbar)
	if o.NodeKey != "" {
		node = fmt.Sprintf("{listen: \"127.0.0.1:%d\", pubkey: %s}", a.Listen, o.NodeKey)
	}
	if o.Socket != nil {
		node = fmt.Sprintf("{pubkey: \"%064d\"}", 0)
	}
	lines := []string{"version: 1", "data: " + a.Data, "policy: " + a.Policy, "control: " + filepath.Join(home, o.Name+".sock"), "node: " + node}
	for k, v := range o.Config {
		lines = append(lines, k+": "+v)
	}
	if err := os.WriteFile(a.conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("cannot set up the agent: %w", err)
	}
	a.command = Command{Name: o.Name, Path: t.Agent, Args: []string{"run", "--config", a.conf}, Env: o.Env, Home: home, Dir: home}
	if o.Socket != nil {
		a.command.Files = []*os.File{o.Socket}
		a.command.Path, a.command.Args = "/bin/sh", []string{"-c", "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=node exec " + t.Agent + " run --config " + a.conf}
	}
	if o.Tmpfs != "" {
		if err := a.command.onTmpfs(o.Tmpfs, a.Data); err != nil {
			return nil, fmt.Errorf("cannot set up the agent: %w", err)
		}
		a.tmpfs = true
	}
	return a, nil
}

// Pair pairs the agent by a one-time token, which goes in by standard input;
// more are further flags.
func (a *Agent) Pair(ctx context.Context, url, token string, more ...string) error {
	_, err := a.run(ctx, token+"\n", append([]string{"pair", url, "--config", a.conf}, more...)...)
	return err
}

// run runs one of the agent's commands.
func (a *Agent) run(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, a.program, args...)
	cmd.Env = append(append(clean(os.Environ()), a.command.Env...), marker+"="+a.command.Home)
	cmd.Dir, cmd.Stdin = a.command.Dir, strings.NewReader(stdin)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("cfc-agent %s: %s", args[0], strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}

// Start starts the agent, again after it ended.
func (a *Agent) Start(context.Context) (err error) {
	if a.Proc, err = Start(a.command); err == nil && a.tmpfs {
		a.Data = fmt.Sprintf("/proc/%d/root%s", a.PID(), a.Data)
	}
	return err
}

// Status asks the running agent.
func (a *Agent) Status(ctx context.Context) (s AgentStatus, err error) {
	out, err := a.run(ctx, "", "status", "--json", "--config", a.conf)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(out, &s)
}

// Attached waits until the node is there.
func (a *Agent) Attached(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*startWithin)
	defer cancel()
	err := a.await(ctx, func() error {
		s, err := a.Status(ctx)
		if err == nil && !s.Node.Attached {
			err = fmt.Errorf("the node is not attached: %s %v", s.Node.Reason, s.Faults)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot start the node: %w", err)
	}
	return nil
}

// NodePID is the node's controller, as its own pid file says.
func (a *Agent) NodePID() (int, error) {
	b, err := os.ReadFile(filepath.Join(a.NodeDir, "node.pid"))
	if err != nil {
		return 0, fmt.Errorf("cannot find the node's process: %w", err)
	}
	var f struct {
		PID int `json:"pid"`
	}
	return f.PID, json.Unmarshal(b, &f)
}
