package crossbar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/wire"
	"github.com/goccy/go-yaml"
)

// Dir is a node directory: config.json or config.yaml, key.priv and key.pub.
type Dir struct {
	Path string
	// Executable is the crossbar command; it makes the keys.
	Executable string
	// Uplink is where the agent listens for the node.
	Uplink net.Addr
	// WriteConfig allows to write config.json where there is no configuration,
	// and to set controller.fabric in one that leads elsewhere; the old one is
	// kept beside it. Without it a configuration that does not fit is refused.
	WriteConfig bool
}

var configNames = []string{"config.json", "config.yaml"}

// Prepare makes the directory fit: configuration with the uplink, keys. The
// result is the node's public key in hex.
func (d Dir) Prepare(ctx context.Context) (pubkey string, err error) {
	tcp, ok := d.Uplink.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return "", fmt.Errorf("cannot use node directory %s: a stock node dials TCP over IPv4 only, the agent listens on %s", d.Path, d.Uplink)
	}
	if d.WriteConfig {
		if err := os.MkdirAll(d.Path, 0o700); err != nil {
			return "", fmt.Errorf("cannot make node directory: %w", err)
		}
	}
	// It would win over the configuration, and lead the node elsewhere.
	if _, err := os.Stat(filepath.Join(d.Path, "key.activate")); err == nil {
		return "", fmt.Errorf("cannot use node directory %s: key.activate in it names another master; remove it", d.Path)
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

// Pubkey reads the node's public key; fs.ErrNotExist before the first start.
func (d Dir) Pubkey() (string, error) {
	path := filepath.Join(d.Path, "key.pub")
	b, err := os.ReadFile(path)
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
	c := exec.CommandContext(ctx, d.Executable, "edge", "keys", "--cbdir", d.Path)
	c.Env = nodeEnv(os.Environ())
	if out, err := c.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("cannot make the node's keys with %s: %w: %s", d.Executable, err, plain(lines[len(lines)-1]))
	}
	return nil
}

// setUplink sets controller.fabric. Of the transport only the url is really
// used, but the node's check of its configuration wants the endpoint too.
func setUplink(config map[string]any, a *net.TCPAddr) {
	fabric := within(within(config, "controller"), "fabric")
	fabric["transport"] = map[string]any{
		"type": "rawsocket", "url": "rs://" + a.String(), "serializer": "cbor",
		"endpoint": map[string]any{"type": "tcp", "host": a.IP.String(), "port": a.Port},
	}
	if _, given := fabric["heartbeat"]; !given {
		fabric["heartbeat"] = map[string]any{
			"startup_delay": 5, "heartbeat_period": 10, "include_system_stats": true,
			"send_workers_heartbeats": true, "aggregate_workers_heartbeats": true,
		}
	}
}

// within is the dict under a key, made where there is none.
func within(d map[string]any, key string) map[string]any {
	in, ok := d[key].(map[string]any)
	if !ok {
		in = map[string]any{}
		d[key] = in
	}
	return in
}

func (d Dir) prepareConfig(a *net.TCPAddr) error {
	path, config, err := d.readConfig()
	if err != nil {
		return err
	}
	if uplinkOf(config) == "rs://"+a.String() {
		return nil
	}
	if !d.WriteConfig {
		return fmt.Errorf("cannot use node directory %s: the uplink of its configuration is %q, expected controller.fabric.transport.url rs://%s (type rawsocket)", d.Path, uplinkOf(config), a)
	}
	switch {
	case config == nil:
		path = filepath.Join(d.Path, configNames[0])
		config = map[string]any{"version": 2, "workers": []any{}, "controller": map[string]any{
			"enable_docker": false,
			// The end of a worker must not be the end of the node.
			"options": map[string]any{"shutdown": []string{"shutdown_on_shutdown_requested"}},
		}}
	case filepath.Ext(path) != ".json":
		return fmt.Errorf("cannot set the uplink in %s without losing its comments: set controller.fabric.transport there, or convert it to JSON", path)
	default:
		if err := keepOld(path); err != nil {
			return err
		}
	}
	setUplink(config, a)
	b, err := json.MarshalIndent(config, "", "    ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(b, '\n'), 0o600)
}

// keepOld copies a configuration that is about to be changed, once.
func keepOld(path string) error {
	old := path + ".before-cfc"
	if _, err := os.Stat(old); err == nil {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return durable.WriteFile(old, b, 0o600)
}

// readConfig reads the node's configuration, the one that the node itself
// would take; nil where there is none.
func (d Dir) readConfig() (path string, config map[string]any, err error) {
	for _, name := range configNames {
		path = filepath.Join(d.Path, name)
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return path, nil, fmt.Errorf("cannot read the node's configuration: %w", err)
		}
		if filepath.Ext(name) == ".json" {
			dec := json.NewDecoder(bytes.NewReader(b))
			dec.UseNumber() // numbers are written back as they were
			err = dec.Decode(&config)
		} else {
			err = yaml.Unmarshal(b, &config)
		}
		if err != nil {
			return path, nil, fmt.Errorf("cannot use the node's configuration %s: %w", path, err)
		}
		if config == nil {
			return path, nil, fmt.Errorf("cannot use the node's configuration %s: it is empty", path)
		}
		return path, config, nil
	}
	return "", nil, nil
}

func uplinkOf(config map[string]any) string {
	var v any = config
	for _, key := range []string{"controller", "fabric", "transport"} {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	transport, _ := v.(map[string]any)
	if transport["type"] != "rawsocket" {
		return ""
	}
	url, _ := transport["url"].(string)
	return strings.TrimSuffix(url, "/")
}

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
