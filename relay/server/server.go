package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"fabric.center/cfc/shared/layers"
	"fabric.center/cfc/shared/logging"
	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// Server is a relay that is open and not yet, or no longer, serving.
type Server struct {
	cfg     Config
	log     *zap.Logger
	parts   *parts
	cert    *certificate // nil for plain text
	sockets listeners
	front   *front
	ready   *readiness
}

// Open opens all that the relay stands on. Run must be called after it, which
// closes it too.
func Open(ctx context.Context, cfg Config, log *zap.Logger) (*Server, error) {
	s := &Server{cfg: cfg, log: log}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.abandon(ctx))
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if s.cfg.Encrypted() {
		if s.cert, err = openCertificate(s.cfg.TLS, s.log); err != nil {
			return err
		}
	}
	// The store's lock is what keeps two relays off one state; it comes first.
	if s.parts, err = openParts(s.cfg, s.Pin, s.log); err != nil {
		return err
	}
	s.ready = &readiness{phase: phaseStarting, store: s.parts.store.Healthy}
	s.front = newFront(s.cfg, s.parts.gate, s.parts.login, s.parts.hub, s.log)
	if err := s.parts.load(ctx); err != nil {
		return err
	}
	s.sockets, err = openListeners(ctx, s.cfg, s.log)
	return err
}

// Run opens a relay and serves until ctx ends.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	s, err := Open(ctx, cfg, log)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// URL is where users and agents join: scheme and address.
func (s *Server) URL() string {
	scheme := "ws://"
	if s.cert != nil {
		scheme = "wss://"
	}
	return scheme + s.sockets.join.Addr().String()
}

// MonitorURL is where health and metrics are, empty for nowhere.
func (s *Server) MonitorURL() string {
	if s.sockets.monitor == nil {
		return ""
	}
	return "http://" + s.sockets.monitor.Addr().String()
}

// Pin names the key of the relay's certificate, "sha256:" and 64 hex digits;
// empty without one.
func (s *Server) Pin() string {
	if s.cert == nil {
		return ""
	}
	return s.cert.pin()
}

// Run serves until ctx ends or a part fails, and closes what Open has opened.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(s.cfg.Stop)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		return fmt.Errorf("cannot stop in order: not everything has ended within %s", s.cfg.Stop)
	}
}

func (s *Server) run(ctx context.Context) error {
	work := layers.Layer{{Name: "hub", Run: s.parts.hub.Run}}
	if s.cert != nil {
		work = append(work, layers.Part{Name: "certificate", Run: func(ctx context.Context) error { return s.cert.watch(ctx, reloadEvery) }})
	}
	tail := layers.Layer{{Name: "presence", Run: s.parts.presence.Run}}
	if s.sockets.monitor != nil {
		tail = append(tail, layers.Part{Name: "monitor", Run: s.serveMonitor})
	}
	err := layers.Run(ctx, layers.Layer{{Name: "listener", Run: s.serve}}, work, tail)
	err = errors.Join(err, s.parts.close())
	s.log.Info("stopped", zap.Error(err))
	return err
}

// abandon closes what a failed Open has opened.
func (s *Server) abandon(ctx context.Context) error {
	s.sockets.close()
	if s.parts == nil {
		return nil
	}
	ended, end := context.WithCancel(ctx)
	end()
	return errors.Join(s.parts.hub.Run(ended), s.parts.close())
}

// serve takes connections until ctx ends.
func (s *Server) serve(ctx context.Context) error {
	joining, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	srv := s.front.server(joining)
	served := make(chan error, 1)
	go func() { served <- s.accept(srv) }()
	s.announce()

	var failure error
	select {
	case <-ctx.Done():
	case failure = <-served:
	}
	s.log.Info("stopping")
	s.ready.enter(phaseStopping)
	s.notify(daemon.SdNotifyStopping)
	failure = errors.Join(failure, srv.Close())
	end()
	s.front.wait()
	if failure == nil {
		<-served
	}
	return failure
}

func (s *Server) accept(srv *http.Server) error {
	var err error
	if s.cert != nil {
		srv.TLSConfig = s.cert.config()
		srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		err = srv.ServeTLS(s.sockets.join, "", "")
	} else {
		err = srv.Serve(s.sockets.join)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("cannot take connections: %w", err)
}

func (s *Server) announce() {
	s.ready.enter(phaseReady)
	s.notify(daemon.SdNotifyReady)
	s.log.Info("ready", zap.String("url", s.URL()), zap.String("monitor", s.MonitorURL()), zap.String("pin", s.Pin()),
		zap.String("version", s.cfg.Version), zap.String("data", s.cfg.Data))
}

// notify tells systemd, where it asked to be told.
func (s *Server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("cannot tell systemd", zap.String("state", state), zap.Error(err))
	}
}

// serveMonitor answers health and metrics until ctx ends.
func (s *Server) serveMonitor(ctx context.Context) error {
	metrics := newMetrics(s.cfg.Version, s.ready, s.cert)
	metrics.MustRegister(append(s.parts.collectors(), s.front.logins)...)
	srv := &http.Server{Handler: monitorHandler(s.ready, metrics), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout,
		WriteTimeout: 2 * headerTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: headerBytes, ErrorLog: zap.NewStdLog(logging.HTTP(s.log)),
		BaseContext: func(net.Listener) context.Context { return ctx }}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.sockets.monitor) }()
	select {
	case <-ctx.Done():
		err := srv.Close()
		<-served
		return err
	case err := <-served:
		return fmt.Errorf("cannot serve health and metrics: %w", err)
	}
}
