package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// startWithin is how long a program of this product may take to be ready.
const startWithin = 30 * time.Second

// RelayOptions differ from the defaults of a test.
type RelayOptions struct {
	Host    string            // where it listens, 127.0.0.1 if empty
	Port    int               // 0 for a free one
	Monitor int               // port of health and metrics, 0 for a free one
	Data    string            // directory of the state; below the fleet if empty
	Config  map[string]string // further lines of relay.yaml: key to YAML value
	Name    string            // of log and pid file, "relay" if empty
	// Tmpfs puts the data directory on a small file system of this size, in a
	// mount that only this relay sees; a shell starts the relay again when it
	// ends. The directory is reached by Data all the same.
	Tmpfs string
}

// Relay is a running cfc-relay, or one that can be started again.
type Relay struct {
	*Proc
	Host    string
	Port    int
	Monitor int
	Data    string

	conf, program string
	command       Command
}

// StartRelay writes relay.yaml below home, starts cfc-relay and waits until it
// is ready.
func StartRelay(ctx context.Context, t Tools, home string, o RelayOptions) (*Relay, error) {
	if o.Name == "" {
		o.Name = "relay"
	}
	r := &Relay{Host: cmp.Or(o.Host, "127.0.0.1"), Port: o.Port, Monitor: o.Monitor, Data: o.Data}
	for _, p := range []*int{&r.Port, &r.Monitor} {
		if *p != 0 {
			if err := Busy(ctx, fmt.Sprintf("127.0.0.1:%d", *p)); err != nil {
				return nil, err
			}
			continue
		}
		var err error
		if *p, err = FreePort(ctx); err != nil {
			return nil, err
		}
	}
	if r.Data == "" {
		r.Data = filepath.Join(home, o.Name)
	}
	conf := filepath.Join(home, o.Name+".yaml")
	lines := []string{"version: 1", "data: " + r.Data, "listen: " + r.Address(), fmt.Sprintf("monitor: {listen: \"127.0.0.1:%d\"}", r.Monitor)}
	for k, v := range o.Config {
		lines = append(lines, k+": "+v)
	}
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("cannot start the relay: %w", err)
	}
	r.conf, r.program = conf, t.Relay
	r.command = Command{Name: o.Name, Path: t.Relay, Args: []string{"run", "--config", conf}, Home: home, Dir: home}
	if o.Tmpfs != "" {
		if err := r.command.onTmpfs(o.Tmpfs, r.Data); err != nil {
			return nil, fmt.Errorf("cannot start the relay: %w", err)
		}
	}
	if err := r.Start(ctx); err != nil {
		return nil, err
	}
	if o.Tmpfs != "" {
		// Whoever is outside of the mount looks through the process.
		r.Data = fmt.Sprintf("/proc/%d/root%s", r.PID(), r.Data)
	}
	return r, nil
}

// onTmpfs has the command run with a small file system at dir, in a mount that it
// alone sees, and run again whenever it ends.
func (c *Command) onTmpfs(size, dir string) error {
	script := fmt.Sprintf(`mount -t tmpfs -o mode=700,size=%s tmpfs %s && trap 'kill $!; wait $!; exit 0' TERM && while :; do %s %s & wait $!; done`, size, dir, c.Path, strings.Join(c.Args, " "))
	c.Path, c.Args = "/usr/bin/unshare", []string{"--user", "--map-root-user", "--mount", "/bin/sh", "-c", script}
	return os.MkdirAll(dir, 0o700)
}

// Home is the fleet's directory.
func (r *Relay) Home() string { return r.command.Home }

// Command runs another of the program's commands on this relay's configuration.
func (r *Relay) Command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, r.program, append(args, "--config", r.conf)...)
	cmd.Env, cmd.Dir = append(clean(os.Environ()), marker+"="+r.command.Home), r.command.Dir
	return cmd.CombinedOutput()
}

// Start starts the relay, again after it ended, and waits until it is ready.
func (r *Relay) Start(ctx context.Context) error {
	if err := r.Launch(); err != nil {
		return err
	}
	if err := r.Ready(ctx); err != nil {
		return errors.Join(err, r.Stop())
	}
	return nil
}

// Launch starts the relay and does not wait.
func (r *Relay) Launch() (err error) {
	r.Proc, err = Start(r.command)
	return err
}

// Ready waits until the relay says that it is ready.
func (r *Relay) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	ready := func() error { return answers(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", r.Monitor)) }
	if err := r.await(ctx, ready); err != nil {
		return fmt.Errorf("cannot start the relay: %w", err)
	}
	return nil
}

// Address is where the relay listens.
func (r *Relay) Address() string { return fmt.Sprintf("%s:%d", r.Host, r.Port) }

// URL is the same as people write it.
func (r *Relay) URL() string { return "ws://" + r.Address() }

// OwnerToken is the token that the first start has left.
func (r *Relay) OwnerToken() (string, error) {
	b, err := os.ReadFile(filepath.Join(r.Data, "first-owner.token"))
	if err != nil {
		return "", fmt.Errorf("cannot own the relay: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// await polls while the process runs; its end is the answer at once, with the
// last lines that it printed.
func (p *Proc) await(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-p.Done():
			cancel(fmt.Errorf("%s ended: %w", p.Name, errors.Join(p.Err(), errors.New("it printed:\n"+p.Tail(20)))))
		case <-ctx.Done():
		}
	}()
	err := Poll(ctx, ready)
	cancel(nil)
	<-watching
	return err
}
