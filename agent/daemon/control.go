package daemon

import (
	"context"
	"os"

	"fabric.center/cfc/agent/control"
	"fabric.center/cfc/agent/state"
	"fabric.center/cfc/agent/uplink"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"go.uber.org/zap"
)

// Status is how the agent is.
func (d *Daemon) Status() control.Status {
	s := control.Status{
		Agent: control.AgentStatus{Version: d.cfg.Version, Protocol: wire.Protocol, PID: os.Getpid(), Started: wire.Time(d.started),
			Boot: d.uplink.Boot(), Data: d.dir.Path(), Listen: d.node.ln.Addr().String(),
			Dir: d.cfg.Node.Dir, Supervise: d.cfg.Node.Supervise},
		Uplink: d.uplink.Status(), Node: d.node.Attached(), Process: d.node.process(),
		Policy: control.PolicyStatus{Path: d.policy.Path(), Present: d.policy.Present()}, Faults: []string{},
	}
	p, err := d.dir.Pairing()
	if err == nil {
		s.Pairing = p
		d.mu.Lock()
		err = d.fault
		d.mu.Unlock()
	}
	policyErr := d.policy.Err()
	if policyErr != nil {
		s.Policy.Error = policyErr.Error()
	}
	for _, err := range []error{err, d.node.err(), policyErr} {
		if err != nil {
			s.Faults = append(s.Faults, err.Error())
		}
	}
	return s
}

// Pair pairs, with the session that then goes on.
func (d *Daemon) Pair(ctx context.Context, r state.Request) (*state.Pairing, error) {
	d.pairing.Lock()
	defer d.pairing.Unlock()
	if u, err := session.Address(r.URL, wire.RoleNode); err == nil {
		r.URL = u.String() // as it will be read back
	}
	p, err := d.dir.Pair(ctx, r, func(ctx context.Context, r state.Request, k identity.Key) (state.Granted, error) {
		id := uplink.Identity{URL: r.URL, Key: k, Pin: r.Pin, CAFile: r.CAFile, Unbound: r.Unbound}
		id, err := d.uplink.Claim(ctx, id, r.Token, r.NodeID)
		return state.Granted{Realm: id.Realm, NodeID: id.NodeID, OID: id.OID}, err
	})
	if err != nil {
		d.load() // what is on disk counts
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = nil
	d.log.Info("paired", zap.String("relay", p.Relay), zap.String("realm", p.Realm), zap.String("node", p.NodeID))
	return p, nil
}

// Unpair forgets the pairing and gives what it was, nil for none.
func (d *Daemon) Unpair(context.Context) (*state.Pairing, error) {
	d.pairing.Lock()
	defer d.pairing.Unlock()
	p, err := d.dir.Pairing()
	if err != nil {
		d.log.Warn("damaged pairing removed")
	}
	if err := d.dir.Unpair(); err != nil {
		return nil, err
	}
	d.load()
	if p != nil {
		d.log.Info("unpaired", zap.String("relay", p.Relay), zap.String("realm", p.Realm), zap.String("node", p.NodeID))
	}
	return p, nil
}

// Reload reads policy and pairing again.
func (d *Daemon) Reload(context.Context) error {
	d.pairing.Lock()
	defer d.pairing.Unlock()
	d.policy.Reload()
	d.load()
	return nil
}
