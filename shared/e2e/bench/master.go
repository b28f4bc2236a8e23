package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// masterConfig changes the master's built-in configuration: no Ethereum
// gateway, whose test net is gone, no download at start, and a port of its own
// on loopback. "COPY" keeps what stands there.
const masterConfig = `{"version": 2,
 "controller": {"id": "master1", "blockchain": null, "ipfs": null},
 "workers": [{"transports": ["COPY", "COPY", {"endpoint": {"interface": "127.0.0.1", "port": %d}, "paths": {"autobahn": null}}]}, "COPY"]}
`

const (
	masterRealm = "mrealm1"
	masterNode  = "node1"
	// bootWithin is how long Crossbar.io may take to start.
	bootWithin = 2 * time.Minute
)

// master is Crossbar.io's own management, set up as its documentation says.
type master struct {
	home, crossbar, url string
	controller, edge    *fleet.Proc
}

// startMaster starts master and node, with one router worker.
func startMaster(ctx context.Context, home string) (*contestant, error) {
	m := &master{home: filepath.Join(home, "master")}
	c, err := m.start(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start Crossbar.io's master: %w", err), m.stop())
	}
	return c, nil
}

func (m *master) start(ctx context.Context) (*contestant, error) {
	node, err := fleet.FindNode()
	if err != nil {
		return nil, err
	}
	m.crossbar = node.Crossbar
	port, err := fleet.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	m.url = fmt.Sprintf("ws://127.0.0.1:%d/ws", port)
	for _, dir := range []string{m.cbdir("master"), m.cbdir("node")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(m.cbdir("master"), "config.json"), fmt.Appendf(nil, masterConfig, port), 0o600); err != nil {
		return nil, err
	}
	if _, err := m.command(ctx, "shell", "init", "--yes"); err != nil {
		return nil, err
	}
	if m.controller, err = m.run("crossbar-master", "master", "start", "--cbdir", m.cbdir("master")); err != nil {
		return nil, err
	}
	if err := m.pair(ctx); err != nil {
		return nil, fmt.Errorf("%w; the master's last words:\n%s", err, m.controller.Tail(20))
	}
	if m.edge, err = m.run("crossbar-edge", "edge", "start", "--cbdir", m.cbdir("node")); err != nil {
		return nil, err
	}
	return m.connect(ctx)
}

// pair makes the realm, as soon as the master can, and pairs the node.
func (m *master) pair(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootWithin)
	defer cancel()
	err := fleet.Poll(ctx, func() error {
		out, err := m.command(ctx, "shell", "create", "mrealm", masterRealm)
		if bytes.Contains(out, []byte("already exists")) {
			// An earlier try was written down, and failed for a part that was not yet up.
			_, err = m.command(ctx, "shell", "delete", "mrealm", masterRealm)
			return errors.Join(errors.New("the realm was half made"), err)
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := m.command(ctx, "edge", "keys", "--cbdir", m.cbdir("node")); err != nil {
		return err
	}
	_, err = m.command(ctx, "shell", "pair", "node", filepath.Join(m.cbdir("node"), "key.pub"), masterRealm, masterNode)
	return err
}

// connect logs in as the shell does, and waits for the node.
func (m *master) connect(ctx context.Context) (*contestant, error) {
	ctx, cancel := context.WithTimeout(ctx, bootWithin)
	defer cancel()
	key, err := m.userKey()
	if err != nil {
		return nil, err
	}
	var c *client.Client
	err = fleet.Poll(ctx, func() error { // the realm's own router may still be starting
		c, err = driver.DialNexus(ctx, driver.Login{URL: m.url, Realm: masterRealm, KeyFile: key, AuthID: "superuser", Serializer: serializer})
		return err
	})
	if err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(c.Close(), m.stop()) }
	oid, err := c.Call(ctx, wire.AliasRealm+"get_node_by_authid", nil, wamp.List{masterNode}, nil, nil)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	d, _ := wamp.AsDict(oid.Arguments[0])
	id, _ := wamp.AsString(d["oid"])
	call := statusOf(c, wire.AliasRemote+catalog.NodeGetStatus.Key(), id)
	if err := fleet.Poll(ctx, func() error { return call(ctx) }); err != nil {
		return nil, errors.Join(fmt.Errorf("the node does not answer: %w; its last words:\n%s", err, m.edge.Tail(20)), stop())
	}
	start := wire.AliasRemote + catalog.NodeStartWorker.Key()
	if _, err := c.Call(ctx, start, nil, wamp.List{id, "router1", "router", wamp.Dict{}}, nil, nil); err != nil {
		return nil, errors.Join(err, stop())
	}
	processes := append(fleet.Children(m.controller.PID()), m.controller.PID())
	return &contestant{name: "crossbar", call: call, stop: stop, memory: map[string][]int{"Crossbar.io's master": processes}}, nil
}

// userKey is the key that the shell has made, in the form that others read.
func (m *master) userKey() (string, error) {
	text, err := os.ReadFile(filepath.Join(m.home, ".crossbar", "default.priv"))
	if err != nil {
		return "", err
	}
	seed := regexp.MustCompile(`(?m)^private-key-ed25519: ([0-9a-f]{64})$`).FindSubmatch(text)
	if seed == nil {
		return "", errors.New("the shell's key file has no key")
	}
	path := filepath.Join(m.home, "user.key")
	return path, durable.WriteFile(path, append(seed[1], '\n'), 0o600)
}

func (m *master) cbdir(name string) string { return filepath.Join(m.home, name) }

func (m *master) environ() []string {
	return []string{"HOME=" + m.home, "CROSSBAR_FABRIC_URL=" + m.url,
		"CROSSBAR_FABRIC_SUPERUSER=" + filepath.Join(m.home, ".crossbar", "default.pub")}
}

// command runs one of Crossbar.io's commands to its end, and gives what it said.
func (m *master) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, m.crossbar, args...)
	cmd.Env, cmd.Dir = append(os.Environ(), m.environ()...), m.home
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("crossbar %s %s: %w\n%s", args[0], args[1], err, out[max(0, len(out)-1000):])
	}
	return out, nil
}

// run starts one that goes on.
func (m *master) run(name string, args ...string) (*fleet.Proc, error) {
	return fleet.Start(fleet.Command{Name: name, Path: m.crossbar, Args: args, Env: m.environ(), Dir: m.home, Home: m.home})
}

func (m *master) stop() error {
	var errs []error
	for _, p := range []*fleet.Proc{m.edge, m.controller} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	return errors.Join(errs...)
}
