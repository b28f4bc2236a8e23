package server

import (
	"context"
	"errors"
	"fmt"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/auth"
	"fabric.center/cfc/relay/pairing"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/catalog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// parts is what the relay is made of, put together.
type parts struct {
	log      *zap.Logger
	store    store.Store
	audit    *audit.Log
	hub      *route.Hub
	pairing  *pairing.Manager
	gate     *auth.Gate
	login    *auth.Auth
	presence *presenceWriter
}

// openParts opens store and audit log and puts the rest on top. pin names the
// relay's certificate.
func openParts(cfg Config, pin func() string, log *zap.Logger) (*parts, error) {
	s, err := store.Open(cfg.StoreFile(), store.Options{})
	if err != nil {
		return nil, err
	}
	a, err := audit.ToFile(audit.File{Path: cfg.AuditFile()}, log)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	p := &parts{log: log, store: s, audit: a, presence: newPresenceWriter(s, log)}
	p.assemble(cfg, pin)
	return p, nil
}

func (p *parts) assemble(cfg Config, pin func() string) {
	table := catalog.NewTable()
	p.hub = route.New(route.Config{Log: p.log, Table: table, CallsPerSession: cfg.Limits.Calls, StopTimeout: cfg.Stop * 6 / 10,
		OnPresence: func(oid string, now route.Presence) {
			p.presence.note(oid, store.LastSeen{Online: now.Online, Since: now.Since, Reason: now.Reason, Agent: now.Agent, Node: now.Node})
		},
		Check: func(ctx context.Context, id route.Identity) error { return p.login.Check(ctx, id) }})
	p.pairing = pairing.New(pairing.Config{Store: p.store, Hub: p.hub, Audit: p.audit, Log: p.log, Version: cfg.Version, Pin: pin, OwnerTokenFile: cfg.OwnerTokenFile()})
	p.pairing.Bind(table)
	p.gate = auth.NewGate(cfg.Limits.HalfOpen, cfg.Limits.HalfOpenPerAddress)
	p.login = auth.New(auth.Config{Store: p.store, Claims: p.pairing, Audit: p.audit, Log: p.log, Version: cfg.Version,
		KeyFailures: cfg.Limits.FailuresPerKey, AddressFailures: cfg.Limits.FailuresPerAddress})
}

// load reads the state into the hub and sees to it that a relay which nobody
// owns can be claimed.
func (p *parts) load(ctx context.Context) error {
	if err := p.pairing.Load(ctx); err != nil {
		return fmt.Errorf("cannot load realms and nodes: %w", err)
	}
	path, err := p.pairing.FirstOwner(ctx)
	if err != nil {
		return fmt.Errorf("cannot make the first owner's token: %w", err)
	}
	if path != "" {
		p.log.Info("nobody owns this relay yet: whoever claims the token in this file will", zap.String("path", path))
	}
	return nil
}

func (p *parts) collectors() []prometheus.Collector {
	return append(p.hub.Collectors(),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cfc_relay_connections_half_open", Help: "Connections that have not logged in yet."},
			func() float64 { return float64(p.gate.Waiting()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "cfc_relay_connections_dropped_total",
			Help: "Connections that were ended before they had logged in, because others needed their place."},
			func() float64 { return float64(p.gate.Dropped()) }))
}

func (p *parts) close() error { return errors.Join(p.audit.Close(), p.store.Close()) }
