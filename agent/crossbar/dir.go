package crossbar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fabric.center/cfc/agent/crossbar/nodeconfig"
	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/wire"
)

// Dir is a node directory: config.json or config.yaml, key.priv and key.pub.
type Dir struct {
	Path string
	// Executable is the crossbar command; it makes the keys.
	Executable string
	// Uplink is where the agent listens for the node.
	Uplink net.Addr
	// WriteConfig allows to write config.json where there is no configuration,
	// and to set controller.fabric in one that leads elsewhere; package
	// nodeconfig can undo it. Without it a configuration that does not fit is
	// refused.
	WriteConfig bool
}

// commandTimeout is how long the node may look at a configuration, or make keys.
const commandTimeout = time.Minute

// Prepare makes the directory fit: configuration with the uplink, keys. The
// result is the node's public key in hex.
func (d Dir) Prepare(ctx context.Context) (pubkey string, err error) {
	tcp, err := d.Address()
	if err != nil {
		return "", fmt.Errorf("cannot use node directory %s: %w", d.Path, err)
	}
	if d.WriteConfig {
		if err := os.MkdirAll(d.Path, 0o700); err != nil {
			return "", fmt.Errorf("cannot make node directory: %w%s", err, hint(err))
		}
	}
	// It would win over the configuration, and lead the node elsewhere.
	if _, err := os.Stat(filepath.Join(d.Path, nodeconfig.Activation)); err == nil {
		return "", fmt.Errorf("cannot use node directory %s: key.activate in it names another master; cfc-agent adopt --replace puts it aside", d.Path)
	}
	if err := d.prepareConfig(tcp); err != nil {
		return "", err
	}
	pubkey, err = d.Pubkey()
	if errors.Is(err, fs.ErrNotExist) {
		if err = d.makeKeys(ctx); err == nil {
			pubkey, err = d.Pubkey()
		}
	}
	return pubkey, err
}

// hint says what to do about an error that the agent's own unit makes.
func hint(err error) string {
	if errors.Is(err, syscall.EROFS) {
		return "; under systemd the agent may write below its own state directory only: make the directory, and name it in ReadWritePaths= (systemctl edit cfc-agent)"
	}
	return ""
}

// Address is the uplink as one that a stock node can dial.
func (d Dir) Address() (*net.TCPAddr, error) {
	tcp, ok := d.Uplink.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return nil, fmt.Errorf("a stock node dials TCP over IPv4 only, the agent listens on %s", d.Uplink)
	}
	return tcp, nil
}

// Pubkey reads the node's public key; fs.ErrNotExist before the first start.
func (d Dir) Pubkey() (string, error) {
	path := filepath.Join(d.Path, "key.pub")
	b, err := durable.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the node's public key: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if key, ok := strings.CutPrefix(line, "public-key-ed25519:"); ok {
			if key = strings.ToLower(strings.TrimSpace(key)); wire.ValidPubkey(key) {
				return key, nil
			}
		}
	}
	return "", fmt.Errorf("cannot use %s: it has no public-key-ed25519 of %s", path, wire.PubkeyForm)
}

func (d Dir) makeKeys(ctx context.Context) error {
	out, err := d.run(ctx, "keys", "--cbdir", d.Path)
	if err != nil {
		err = fmt.Errorf("cannot make the node's keys with %s: %w", d.Executable, err)
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if last := plain(lines[len(lines)-1]); last != "" {
			err = fmt.Errorf("%w: %s", err, last)
		}
		return err
	}
	return nil
}

func (d Dir) prepareConfig(a *net.TCPAddr) error {
	f, err := nodeconfig.Read(d.Path)
	if err != nil {
		return err
	}
	if nodeconfig.Uplink(f.Config) == nodeconfig.URL(a) {
		return nil
	}
	if !d.WriteConfig {
		return fmt.Errorf("cannot use node directory %s: the uplink of its configuration is %q, expected controller.fabric.transport.url %s (type rawsocket); cfc-agent adopt sets it",
			d.Path, nodeconfig.Uplink(f.Config), nodeconfig.URL(a))
	}
	change, err := nodeconfig.Plan(d.Path, a)
	if err != nil {
		return err
	}
	return nodeconfig.Apply(d.Path, change)
}

// Check has the node's own check read a configuration, which need not be in
// the directory, and passes on what it says.
func (d Dir) Check(ctx context.Context, name string, text []byte) error {
	dir, err := os.MkdirTemp("", "cfc-check")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		return err
	}
	out, err := d.run(ctx, "check", "--cbdir", dir, "--config", name)
	if err == nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(plain(strings.TrimSpace(line)), "Error: "); ok {
			return fmt.Errorf("cannot use the configuration: %s edge check says: %s", d.Executable, text)
		}
	}
	return fmt.Errorf("cannot check the configuration with %s edge check: %w", d.Executable, err)
}

// run has a crossbar command say what it says. One that does not end in time is
// killed with all that it has started, which would be listened to for as long as
// it runs.
func (d Dir) run(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, d.Executable, append([]string{"edge"}, args...)...)
	c.Env = spoken(nodeEnv(os.Environ()))
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out, err
}

// spoken has a crossbar command write what it says: it ends without emptying the
// buffer that Python has for everything but a terminal.
func spoken(env []string) []string { return append(env, "PYTHONUNBUFFERED=1") }

// nodeEnv is the environment of the node: the agent's, without what is the
// agent's own or would override the uplink.
func nodeEnv(env []string) []string {
	var out []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case strings.HasPrefix(name, "CFC_"), strings.HasPrefix(name, "LISTEN_"), name == "NOTIFY_SOCKET", name == "WATCHDOG_USEC",
			name == "WATCHDOG_PID", name == "INVOCATION_ID", name == "CROSSBAR_FABRIC_URL":
		default:
			out = append(out, v)
		}
	}
	return out
}
