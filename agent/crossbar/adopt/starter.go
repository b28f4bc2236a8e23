package adopt

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"fabric.center/cfc/agent/crossbar"
	"fabric.center/cfc/agent/crossbar/nodeconfig"
	"fabric.center/cfc/agent/host"
	"fabric.center/cfc/shared/durable"
)

// Personalities of a node: what it is started as.
const (
	edge       = "edge"
	standalone = "standalone"
)

// Starter is how the node of a directory runs, and who starts it.
type Starter struct {
	Process *host.Process // nil while it does not run
	// Runs is the personality that its workers show, empty where they do not.
	Runs string
	// Unit is the systemd unit that starts it, nil where none is known.
	Unit *Unit
	// config is the --config that it was started with, empty for the default.
	config string
}

// starter looks for the node's process and its unit.
func (r Request) starter(ctx context.Context) Starter {
	var s Starter
	if p, found := crossbar.Running(ctx, r.Dir.Path); found {
		s.Process = &p
		s.Runs = personality(ctx, p)
		s.config = startedWith(r.Dir.Path)
		s.Unit = r.Units.byName(p.Service())
	}
	if s.Unit == nil {
		s.Unit = r.Units.of(r.Dir.Path)
	}
	return s
}

// personality is told by the title of a router worker, which names its class.
func personality(ctx context.Context, node host.Process) string {
	children, err := node.Children(ctx)
	if err != nil {
		return ""
	}
	for _, c := range children {
		args, err := c.Cmdline(ctx)
		if err != nil || len(args) == 0 {
			continue
		}
		switch title := strings.Join(args, " "); {
		case strings.Contains(title, "crossbar.edge."):
			return edge
		case strings.Contains(title, "crossbar.worker.router."):
			return standalone
		}
	}
	return ""
}

// startedWith is the file that the running node was told to read, where that
// is not what it reads by itself.
func startedWith(dir string) string {
	b, err := durable.ReadFile(filepath.Join(dir, "node.pid"))
	if err != nil {
		return ""
	}
	var content struct {
		Argv []string `json:"argv"`
	}
	if json.Unmarshal(b, &content) != nil {
		return ""
	}
	return option(content.Argv, "--config")
}

// startsManaged refuses where the next start of the node would fail, or not
// make it a managed one.
func (r Request) startsManaged(s Starter, f nodeconfig.File) error {
	config := s.config
	if s.Unit != nil && config == "" {
		config = s.Unit.option("--config")
	}
	if config != "" && config != f.Name && config != filepath.Join(r.Dir.Path, f.Name) {
		return r.cannot("the node is started with --config %s, the agent knows %s only: give it that name", config, filepath.Join(r.Dir.Path, f.Name))
	}
	switch {
	case r.Supervise:
		return r.oneStarter(s)
	case s.Unit != nil && s.Unit.Personality() != "":
		return r.rightUnit(s.Unit)
	case r.Edge || s.Runs == edge || nodeconfig.Transport(f.Config) != nil:
		return nil // standalone would not have taken the configuration
	case s.Unit != nil:
		return r.cannot("unit %s starts the node by %q, which does not show whether as crossbar edge start; if so, say --edge", s.Unit.Name, s.Unit.Exec)
	case s.Process == nil:
		return nil
	case s.Runs == standalone:
		return r.cannot("the node (pid %d) was started as crossbar start, and would refuse the uplink: stop it and start it as %s, or have the agent start it with --supervise", s.Process.PID, r.command())
	}
	return r.cannot("nothing shows how the node (pid %d) was started, and only %s makes it managed; if it was, say --edge", s.Process.PID, r.command())
}

// oneStarter refuses where a unit would start the node besides the agent.
func (r Request) oneStarter(s Starter) error {
	if s.Unit == nil || !s.Unit.Enabled && (s.Process == nil || s.Process.Service() != s.Unit.Name) {
		return nil
	}
	return r.cannot("unit %s starts the node, and the agent would too: first run systemctl disable --now %s", s.Unit.Name, s.Unit.Name)
}

// UnitError is a unit that starts the node so that it cannot be managed.
type UnitError struct {
	Unit   *Unit
	reason string
}

func (e *UnitError) Error() string { return e.reason }

func (r Request) rightUnit(u *Unit) error {
	var why string
	switch p := u.Personality(); {
	case p == standalone:
		why = "as crossbar start, which would refuse the uplink"
	case p != edge:
		why = "as crossbar " + p + ", which cannot be managed"
	case u.Env[fabricURL] != "":
		why = "with " + fabricURL + ", which leads it elsewhere"
	default:
		return nil
	}
	return &UnitError{u, fmt.Sprintf("cannot adopt %s: unit %s starts the node %s; change the unit as shown, run systemctl daemon-reload, and adopt again (or disable it, and use --supervise)", r.Dir.Path, u.Name, why)}
}

// command starts the node as a managed one.
func (r Request) command() string {
	return r.Dir.Executable + " edge start --cbdir " + r.Dir.Path
}

// canRestart refuses a restart that would be a stop.
func (r Request) canRestart(s Starter) error {
	switch {
	case !r.Restart || s.Unit != nil && !r.Supervise:
		return nil
	case s.Process == nil:
		return r.cannot("--restart: the node does not run")
	case r.Supervise && !r.Served:
		return r.cannot("--restart: the agent does not run, or does not supervise this directory, so that nobody would start the node again")
	case !r.Supervise:
		return r.cannot("--restart: nothing is known that would start the node again")
	}
	return nil
}
