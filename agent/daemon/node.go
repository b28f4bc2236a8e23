package daemon

import (
	"context"
	"errors"
	"fabric.center/cfc/agent/control"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"time"

	"fabric.center/cfc/agent/crossbar"
	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/agent/profile"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// prepareAgain is how soon a node that cannot be used yet is looked at again.
const prepareAgain = 5 * time.Second

// node is all that deals with this host's node. What has to be right before
// (its keys, its configuration, the crossbar command) may become so while the
// agent runs; until then the agent is there, and says why its node is not.
type node struct {
	cfg     Node
	ln      net.Listener
	dataDir string
	common  ops.Config // all but Link and Node
	host    *ops.Ops   // what needs no node
	index   catalog.Index
	log     *zap.Logger
	since   time.Time

	mu    sync.Mutex
	fault error
	link  *nodelink.Link
	ops   *ops.Ops
	super *crossbar.Supervisor
}

// Run gets the node ready, then serves it until ctx ends.
func (n *node) Run(ctx context.Context) error {
	defer n.ln.Close()
	for {
		pubkey, err := n.prepare(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			return n.serve(ctx, pubkey)
		}
		if n.failed(err) {
			n.log.Error("node cannot be used yet", zap.Error(err))
		}
		timer := time.NewTimer(prepareAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// prepare gives the public key of the node.
func (n *node) prepare(ctx context.Context) (string, error) {
	if n.cfg.Dir == "" {
		if n.cfg.Pubkey == "" {
			return "", errors.New("no node is configured: set node.cbdir or node.pubkey")
		}
		return n.cfg.Pubkey, nil
	}
	d := crossbar.Dir{Path: n.cfg.Dir, Executable: n.cfg.Crossbar, Uplink: n.ln.Addr(), WriteConfig: n.cfg.Supervise && n.cfg.WriteConfig}
	if !n.cfg.Supervise {
		if _, err := d.Pubkey(); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("the node has no keys yet, which its first start makes: %w", err)
		}
	}
	pubkey, err := d.Prepare(ctx)
	if err == nil && n.cfg.Pubkey != "" && n.cfg.Pubkey != pubkey {
		err = fmt.Errorf("node.pubkey is %s, but the key in %s is %s", n.cfg.Pubkey, n.cfg.Dir, pubkey)
	}
	return pubkey, err
}

// failed keeps a fault, and reports whether it is news.
func (n *node) failed(err error) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	news := n.fault == nil || n.fault.Error() != err.Error()
	n.fault = err
	return news
}

func (n *node) serve(ctx context.Context, pubkey string) error {
	config := nodelink.Config{Listener: n.ln, Pubkey: pubkey, Log: n.log.Named("nodelink")}
	if n.cfg.ApplyConfig {
		config.Boots = crossbar.NewBoots(n.dataDir, n.log.Named("crossbar"))
	}
	link, err := nodelink.New(config)
	if err != nil {
		return err
	}
	var super *crossbar.Supervisor
	stock := crossbar.Config{Link: link, StateDir: n.dataDir, Log: n.log.Named("crossbar")}
	if n.cfg.Supervise {
		super, err = crossbar.NewSupervisor(crossbar.SupervisorConfig{Executable: n.cfg.Crossbar, Dir: n.cfg.Dir, StateDir: n.dataDir,
			KeepRunning: n.cfg.KeepRunning, StopTimeout: n.cfg.StopTimeout, Log: n.log.Named("supervisor")})
		if err != nil {
			return err
		}
		stock.Supervisor, stock.LogFile = super, super.LogFile()
	}
	if n.cfg.ApplyConfig {
		stock.BootDir = n.cfg.Dir
	}
	c := n.common
	c.Sampler = profile.Beside(n.cfg.Crossbar)
	c.Link, c.Node, c.StateDir = link, crossbar.New(stock), n.dataDir
	o, err := ops.New(c)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.fault, n.link, n.ops, n.super = nil, link, o, super
	n.mu.Unlock()
	layers := [][]part{{{"ops", o.Run}, {"nodelink", link.Run}}}
	if super != nil { // which needs the others to stop the node in order
		layers = append([][]part{{{"supervisor", super.Run}}}, layers...)
	}
	return runLayers(ctx, layers...)
}

// Call carries out an operation, as uplink.Handler.
func (n *node) Call(ctx context.Context, caller catalog.Caller, key string, args wamp.List, kwargs wamp.Dict) (any, error) {
	if ops.ForHost(n.index, key) {
		return n.host.Call(ctx, caller, key, args, kwargs)
	}
	n.mu.Lock()
	o, fault := n.ops, n.fault
	n.mu.Unlock()
	if o != nil {
		return o.Call(ctx, caller, key, args, kwargs)
	}
	reason := "starting"
	if fault != nil {
		reason = fault.Error()
	}
	return nil, cfcerr.New(cfcerr.NodeDetached, "cannot call %s: the node cannot be used yet: %s", key, reason).
		With("since", wire.Time(n.since)).With("reason", reason)
}

// Attached is the node as presence shows it.
func (n *node) Attached() catalog.AttachedInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link != nil {
		return n.link.Attached()
	}
	return catalog.AttachedInfo{Since: wire.OptionalTime(n.since), Reason: "never-connected"}
}

// process is the supervised node's process, nil where nobody supervises.
func (n *node) process() *control.ProcessStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.super == nil {
		return nil
	}
	s := n.super.Status()
	return &control.ProcessStatus{State: s.State, PID: s.PID, Since: wire.Time(s.Since), Adopted: s.Adopted, Restarts: s.Restarts, LastEnd: s.LastEnd}
}

// err is why the node cannot be used, nil when it can.
func (n *node) err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fault
}
