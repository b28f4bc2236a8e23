// Package daemon is the running agent: it makes the parts, joins them and runs
// them until it is told to stop.
//
//	uplink ──► node: ops ──► nodelink ◄── the node dials in
//	  ▲               └► crossbar, supervisor
//	control socket (status, pair, unpair, reload), policy
//
// The agent serves its node before it is paired and without any relay. What
// is wrong with a part (no pairing, no relay, a damaged file, a node that cannot
// be started) is in its status and no reason to end; only what makes a whole
// run useless is: a directory that it cannot use, a port that is taken.
//
// It stops from the outside in: first the session with the relay and the
// socket, then the node where it supervises one, then what the node needed.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"fabric.center/cfc/agent/control"
	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/agent/state"
	"fabric.center/cfc/agent/uplink"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/identity"
	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// socketName is what the socket unit calls the node's listener.
const socketName = "node"

// lookAgain is how often a pairing that cannot be used is looked at.
const lookAgain = 5 * time.Second

// Daemon is one agent. It is the control socket's Agent.
type Daemon struct {
	cfg     Config
	log     *zap.Logger
	started time.Time
	dir     *state.Dir
	policy  *policy.Policy
	uplink  *uplink.Uplink
	engine  *engine.Engine
	streams *observe.Streams
	node    *node

	pairing sync.Mutex // one change of the pairing at a time
	mu      sync.Mutex
	fault   error // of the pairing on disk
}

// Run runs an agent until ctx ends. Reload, where it is not nil, makes it read
// policy and pairing again.
func Run(ctx context.Context, c Config, reload <-chan os.Signal, log *zap.Logger) error {
	dir, err := state.Open(c.Data)
	if err != nil {
		return err
	}
	unlock, err := dir.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	d, err := newDaemon(ctx, c, dir, log)
	if err != nil {
		return err
	}
	server, err := control.NewServer(ctx, c.Control, d, log.Named("control"))
	if err != nil {
		return errors.Join(err, d.node.ln.Close())
	}
	d.load()
	log.Info("agent started", zap.String("version", c.Version), zap.String("data", dir.Path()), zap.String("node", d.node.ln.Addr().String()))
	if _, err := sd.SdNotify(false, sd.SdNotifyReady); err != nil {
		log.Warn("cannot tell the service manager", zap.Error(err))
	}
	stopping := context.AfterFunc(ctx, func() { _, _ = sd.SdNotify(false, sd.SdNotifyStopping) })
	defer stopping()
	err = runLayers(ctx,
		[]part{{"uplink", d.uplink.Run}, {"control", server.Run}, {"signals", func(ctx context.Context) error { return d.signals(ctx, reload) }}},
		[]part{{"node", d.node.Run}, {"streams", d.streams.Run}, {"docker", d.watchDocker}},
		[]part{{"policy", d.policy.Run}, {"review", d.review}})
	log.Info("agent stopped", zap.Error(err))
	return err
}

func newDaemon(ctx context.Context, c Config, dir *state.Dir, log *zap.Logger) (*Daemon, error) {
	ln, err := listenForNode(ctx, c.Node.Listen)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		log.Warn("this host has no name", zap.Error(err))
	}
	d := &Daemon{cfg: c, log: log, started: time.Now(), dir: dir}
	path, optional := c.policyFile()
	d.policy = policy.Open(path, optional, log.Named("policy"))
	d.streams = observe.NewStreams(observe.Limits{}, log.Named("streams"))
	d.node = &node{cfg: c.Node, ln: ln, dataDir: dir.Path(), log: log, since: d.started, index: catalog.NewIndex()}
	d.uplink = uplink.New(uplink.Config{Handler: d.node.Call, Attached: d.node.Attached, Joined: d.joined,
		Agent: uplink.Describe(c.Version, host, d.started), Log: log.Named("uplink")})
	docker := c.Docker.engine(log.Named("docker"))
	docker.Rules, docker.Node, docker.Realm = d.policy.Docker, d.uplink.NodeID, d.uplink.Realm
	d.engine = engine.New(docker)
	d.node.common = ops.Config{Docker: d.engine, Streams: d.streams, Policy: d.policy, NodeID: d.uplink.NodeID, Realm: d.uplink.Realm, Publish: d.uplink.Publish, Log: log.Named("ops")}
	d.node.host, err = ops.NewHost(d.node.common)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return d, nil
}

// watchDocker has the engine's events told, and looks for the engine for as long
// as the agent runs.
func (d *Daemon) watchDocker(ctx context.Context) error {
	defer d.engine.Close()
	return d.node.host.WatchHost(ctx)
}

// review has streams end that a change of the host's policy forbids.
func (d *Daemon) review(ctx context.Context) error {
	for {
		changed := d.policy.Changed()
		d.node.host.ReviewStreams()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// listenForNode takes the socket that systemd holds, so that the port is never
// free, or opens one.
func listenForNode(ctx context.Context, address string) (net.Listener, error) {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("cannot take the sockets of the service manager: %w", err)
	}
	for name, list := range named {
		if name != socketName || len(list) != 1 {
			return nil, fmt.Errorf("cannot use %d sockets %s of the service manager: expected one, named %s", len(list), name, socketName)
		}
	}
	if list := named[socketName]; len(list) == 1 {
		return list[0], nil
	}
	return nodelink.Listen(ctx, address)
}

// signals obeys SIGHUP, and looks again at a pairing that could not be used.
func (d *Daemon) signals(ctx context.Context, reload <-chan os.Signal) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.lookAgain()
		case <-reload:
			if err := d.Reload(ctx); err != nil {
				d.log.Error("cannot reload", zap.Error(err))
			}
		}
	}
}

// lookAgain loads a pairing that could not be used: what was wrong with its files
// may be right by now, and nobody need say so.
func (d *Daemon) lookAgain() {
	if !d.pairing.TryLock() {
		return // it is being changed
	}
	defer d.pairing.Unlock()
	d.mu.Lock()
	faulty := d.fault != nil
	d.mu.Unlock()
	if faulty {
		d.load()
	}
}

// load gives the uplink the pairing on disk.
func (d *Daemon) load() {
	id, err := d.identity()
	d.mu.Lock()
	news := err != nil && (d.fault == nil || d.fault.Error() != err.Error())
	d.fault = err
	d.mu.Unlock()
	if news {
		d.log.Error("pairing cannot be used", zap.Error(err))
	}
	if err == nil { // else what is in use stays in use
		d.uplink.Use(id)
	}
}

func (d *Daemon) identity() (*uplink.Identity, error) {
	p, err := d.dir.Pairing()
	if p == nil || err != nil {
		return nil, err
	}
	k, err := d.dir.KeyOf(*p)
	if err != nil {
		return nil, err
	}
	id := identityOf(*p, k)
	if d.cfg.Relay != "" {
		id.URL = d.cfg.Relay
	}
	return &id, nil
}

func identityOf(p state.Pairing, k identity.Key) uplink.Identity {
	return uplink.Identity{URL: p.Relay, Realm: p.Realm, NodeID: p.NodeID, OID: p.OID, Key: k, Pin: p.Pin, CAFile: p.CAFile, Unbound: p.Unbound}
}

// joined keeps what the relay calls the node, if that is news: somebody may
// have paired its key under another name.
func (d *Daemon) joined(realm, nodeID, oid string) {
	if !d.pairing.TryLock() {
		return // a pairing is under way, which keeps it
	}
	defer d.pairing.Unlock()
	p, err := d.dir.Pairing()
	if err != nil || p == nil || p.Realm == realm && p.NodeID == nodeID && p.OID == oid {
		return
	}
	p.Realm, p.NodeID, p.OID = realm, nodeID, oid
	if err := d.dir.Save(*p); err != nil {
		d.log.Error("cannot keep what the relay calls this node", zap.Error(err))
	}
}
