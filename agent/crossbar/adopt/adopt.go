// Package adopt makes the directory of a Crossbar.io node that runs on its own
// a managed one, and takes that back.
//
// What it changes is little: the uplink in the node's configuration (package
// nodeconfig), and a key.activate that leads to another master is put aside.
// What can go wrong is that the node does not come up again, so all of this is
// found out before anything is changed:
//
//   - A node is managed only as `crossbar edge start`. As `crossbar start`
//     (standalone) it refuses a configuration with an uplink, and stays down.
//     Its command line does not tell, for the node overwrites it, and its pid
//     file leaves the word out: what tells is the systemd unit that starts it,
//     and the class that its router workers have in their titles.
//   - crossbar edge check has to accept the configuration as it will be. It
//     takes all that a standalone node takes, ids included
//     (^[a-z][a-z0-9_]{2,63}$ for both), and numbers what has no id in the same
//     way: so after the adoption everything is there under its old id. One
//     default differs: the end of a worker is no longer the end of the node.
//   - Who runs the agent has to be able to read what it must, and to write it
//     where the agent starts the node.
//   - An uplink to somebody else is somebody's decision: it is replaced when
//     asked for.
package adopt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"fabric.center/cfc/agent/crossbar"
	"fabric.center/cfc/agent/crossbar/nodeconfig"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
)

// Request is what somebody wants of a directory.
type Request struct {
	Dir       crossbar.Dir // with the agent's address
	Supervise bool         // the agent starts the node
	Replace   bool         // an uplink to somebody else may go
	Edge      bool         // the node is started as crossbar edge start, though nothing shows it
	Restart   bool         // the node is to be restarted
	// KeepsConfig says that the agent has the node start its own workers.
	KeepsConfig bool
	// Serves says that the directory is the agent's, Served that one runs and
	// supervises it.
	Serves, Served bool
	Agent          User // as whom the agent runs
	Units          Units
}

// Plan is what adopting would do.
type Plan struct {
	Changes []nodeconfig.Change // none where the directory is managed
	Starter Starter
	Notes   []string // what a person should know

	supervise bool
}

// Plan finds out what is to be changed, or why it cannot be; it changes nothing.
func (r Request) Plan(ctx context.Context) (*Plan, error) {
	f, err := r.config()
	if err != nil {
		return nil, err
	}
	p := &Plan{Starter: r.starter(ctx), supervise: r.Supervise}
	if r.Dir.Executable, err = r.executable(p.Starter); err != nil {
		return nil, err
	}
	if err := r.startsManaged(p.Starter, f); err != nil {
		return nil, err
	}
	if err := r.canRestart(p.Starter); err != nil {
		return nil, err
	}
	if p.Changes, err = r.changes(f); err != nil {
		return nil, err
	}
	if workers, _ := f.Config["workers"].([]any); len(workers) > 0 && !r.KeepsConfig {
		return nil, r.cannot("node.apply_config of the agent is false, so that its %d workers would not be started", len(workers))
	}
	if err := r.access(f.Name); err != nil {
		return nil, err
	}
	for _, c := range p.Changes {
		if c.Name == f.Name {
			if err := r.Dir.Check(ctx, c.Name, c.After); err != nil {
				return nil, fmt.Errorf("cannot adopt %s: %w", r.Dir.Path, err)
			}
		}
	}
	p.Notes = r.notes(p, f)
	return p, nil
}

// Apply makes the changes.
func (r Request) Apply(p *Plan) error {
	if len(p.Changes) == 0 {
		return nil
	}
	if err := nodeconfig.Apply(r.Dir.Path, p.Changes); err != nil {
		return fmt.Errorf("cannot adopt %s: %w; adopt it again, or undo it", r.Dir.Path, err)
	}
	return nil
}

func (r Request) cannot(format string, args ...any) error {
	return fmt.Errorf("cannot adopt %s: %w", r.Dir.Path, fmt.Errorf(format, args...))
}

// executable is the crossbar command: the one that is configured, or the
// unit's. What the pid file names is not taken: that is the node's to write, and
// this may run as root.
func (r Request) executable(s Starter) (string, error) {
	path, err := exec.LookPath(r.Dir.Executable)
	if err == nil {
		return path, nil
	}
	if s.Unit != nil {
		if path, err := exec.LookPath(s.Unit.executable()); err == nil {
			return path, nil
		}
	}
	return "", r.cannot("no crossbar command: %w; say --crossbar PATH", err)
}

// config reads the configuration of what has to be a node directory.
func (r Request) config() (nodeconfig.File, error) {
	info, err := os.Stat(r.Dir.Path)
	if err != nil {
		return nodeconfig.File{}, r.cannot("%w", err)
	}
	if !info.IsDir() {
		return nodeconfig.File{}, r.cannot("it is not a directory")
	}
	f, err := nodeconfig.Read(r.Dir.Path)
	if err != nil || f.Text != nil {
		return f, err
	}
	for _, name := range []string{"key.pub", "key.priv"} { // a node may run without a configuration
		if _, err := os.Stat(filepath.Join(r.Dir.Path, name)); err == nil {
			return f, nil
		}
	}
	if _, err := os.Stat(filepath.Join(r.Dir.Path, ".crossbar")); err == nil {
		return f, r.cannot("it is not a node directory, %s is", filepath.Join(r.Dir.Path, ".crossbar"))
	}
	return f, r.cannot("it is not a node directory: it has no configuration and no keys")
}

// changes are those that are left to do.
func (r Request) changes(f nodeconfig.File) ([]nodeconfig.Change, error) {
	record, err := nodeconfig.ReadRecord(r.Dir.Path)
	if err != nil {
		return nil, r.cannot("%w", err)
	}
	address, err := r.Dir.Address()
	if err != nil {
		return nil, r.cannot("%w", err)
	}
	if t := nodeconfig.Transport(f.Config); t != nil && nodeconfig.Uplink(f.Config) != nodeconfig.URL(address) && !record.Made(f) && !r.Replace {
		return nil, cfcerr.New(cfcerr.AlreadyExists, "cannot adopt %s: %s has an uplink to %v already; --replace puts the agent's in its place", r.Dir.Path, f.Name, t["url"])
	}
	changes, err := nodeconfig.Plan(r.Dir.Path, address)
	if err != nil {
		return nil, r.cannot("%w", err)
	}
	activation, err := durable.ReadFile(filepath.Join(r.Dir.Path, nodeconfig.Activation))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return changes, nil
	case err != nil:
		return nil, r.cannot("%w", err)
	case !record.Removes(nodeconfig.Activation, activation) && !r.Replace:
		return nil, cfcerr.New(cfcerr.AlreadyExists, "cannot adopt %s: %s leads the node to another master; --replace puts it aside", r.Dir.Path, nodeconfig.Activation)
	}
	return append(changes, nodeconfig.Change{Name: nodeconfig.Activation, Before: activation}), nil
}
