package server

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
	"go.uber.org/zap"
)

// Names of the sockets that systemd may hand over (FileDescriptorName=).
const (
	socketJoin    = "relay"
	socketMonitor = "monitor"
)

// listeners are the open sockets.
type listeners struct {
	join    net.Listener
	monitor net.Listener // nil for none
}

// openListeners takes over the sockets that systemd holds and opens what is
// missing.
func openListeners(ctx context.Context, cfg Config, log *zap.Logger) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
			l = listeners{}
		}
	}()
	if l, err = inherited(); err != nil {
		return l, err
	}
	if l.join == nil {
		if l.join, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Address()); err != nil {
			return l, fmt.Errorf("cannot listen for users and agents: %w", err)
		}
	} else {
		log.Info("socket taken over", zap.Stringer("address", l.join.Addr()))
	}
	// What was asked for may be a name, and an inherited socket anything.
	if !cfg.Encrypted() && !cfg.Plain && !loopback(l.join.Addr().String()) {
		return l, errors.New(plainRefusal(l.join.Addr().String()))
	}
	if l.monitor == nil && cfg.Monitor.Listen != "" {
		if l.monitor, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Monitor.Listen); err != nil {
			return l, fmt.Errorf("cannot listen for health and metrics: %w", err)
		}
	}
	return l, nil
}

// inherited are the sockets handed over by systemd; a single one without a
// known name is the one where users and agents join.
func inherited() (l listeners, err error) {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return l, fmt.Errorf("cannot take over the sockets of systemd: %w", err)
	}
	for name, list := range named {
		for _, socket := range list {
			switch {
			case socket == nil:
				err = fmt.Errorf("cannot take over socket %q: it is no stream socket", name)
			case name == socketMonitor && l.monitor == nil:
				l.monitor = socket
			case (name == socketJoin || len(named) == 1) && name != socketMonitor && l.join == nil:
				l.join = socket
			default:
				err = errors.Join(fmt.Errorf("cannot take over socket %q: expected one named %s and at most one named %s", name, socketJoin, socketMonitor), socket.Close())
			}
		}
	}
	return l, err
}

func (l listeners) close() {
	for _, s := range []net.Listener{l.join, l.monitor} {
		if s != nil {
			s.Close()
		}
	}
}
