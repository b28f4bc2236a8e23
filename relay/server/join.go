package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/logging"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// What a stranger may take before the WebSocket is open.
const (
	headerTimeout = 5 * time.Second
	headerBytes   = 16 << 10
	agentPing     = 8 * time.Second
	userPing      = 30 * time.Second
)

// gate counts the connections that have not logged in.
type gate interface {
	// Enter admits one from the address; drop ends it when others need its
	// place. The caller says leave once, when it has logged in or is gone.
	Enter(address string, drop func()) (leave func())
}

// login finds out who is at the other end. It answers a refusal itself.
type login interface {
	Handshake(ctx context.Context, c *peer.Conn, agentPath bool) (route.Identity, error)
	// Refused hears of one that the switchboard did not take.
	Refused(id route.Identity, err error)
}

// switchboard takes the sessions.
type switchboard interface {
	Attach(ctx context.Context, c *peer.Conn, id route.Identity) error
}

// front is where connections come in, from accept to the moment when the hub
// has them. It counts them from accept on: a stranger who is slow with his TLS
// or his headers takes a place as one who is slow with HELLO does.
type front struct {
	log     *zap.Logger
	gate    gate
	login   login
	hub     switchboard
	origins []string
	logins  *prometheus.CounterVec // path, outcome

	mu      sync.Mutex
	waiting map[net.Conn]func() // leave, by connection, until it has upgraded
	closing bool
	joining sync.WaitGroup // log-ins under way
}

func newFront(cfg Config, g gate, l login, hub switchboard, log *zap.Logger) *front {
	return &front{log: log, gate: g, login: l, hub: hub, origins: cfg.Origins, waiting: map[net.Conn]func(){},
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cfc_relay_logins_total",
			Help: "Log-ins by path and outcome: ok, or the last part of the error that was answered."}, []string{"path", "outcome"})}
}

// server is the HTTP server in front; connections live within ctx until they
// have logged in.
func (f *front) server(ctx context.Context) *http.Server {
	return &http.Server{Handler: f, ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, IdleTimeout: headerTimeout, MaxHeaderBytes: headerBytes,
		ErrorLog: zap.NewStdLog(logging.HTTP(f.log)), BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: f.accepted, ConnState: f.changed}
}

type leaveKey struct{}

// cut ends a connection without a farewell, which could block.
func cut(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	c.Close()
}

func (f *front) accepted(ctx context.Context, c net.Conn) context.Context {
	leave := sync.OnceFunc(f.gate.Enter(host(c.RemoteAddr().String()), func() { cut(c) }))
	f.mu.Lock()
	f.waiting[c] = leave
	f.mu.Unlock()
	return context.WithValue(ctx, leaveKey{}, leave)
}

// changed ends the counting of a connection that is over. One that was
// upgraded is counted on by whoever serves it.
func (f *front) changed(c net.Conn, state http.ConnState) {
	if state != http.StateHijacked && state != http.StateClosed {
		return
	}
	f.mu.Lock()
	leave := f.waiting[c]
	delete(f.waiting, c)
	f.mu.Unlock()
	if state == http.StateClosed && leave != nil {
		leave()
	}
}

// ServeHTTP knows two paths and nothing else.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// What does not become a WebSocket has no further business here.
	w.Header().Set("Connection", "close")
	if !f.begin() {
		http.Error(w, "the relay is stopping", http.StatusServiceUnavailable)
		return
	}
	defer f.joining.Done()
	switch r.URL.Path {
	case wire.UserPath:
		f.join(w, r, false)
	case wire.AgentPath:
		f.join(w, r, true)
	default:
		http.NotFound(w, r)
	}
}

func (f *front) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		return false
	}
	f.joining.Add(1)
	return true
}

// wait ends when no log-in is under way, and lets none begin.
func (f *front) wait() {
	f.mu.Lock()
	f.closing = true
	f.mu.Unlock()
	f.joining.Wait()
}

func (f *front) join(w http.ResponseWriter, r *http.Request, agent bool) {
	leave, _ := r.Context().Value(leaveKey{}).(func())
	o := peer.Options{CheckOrigin: f.allowed, PingInterval: userPing}
	if agent {
		o.PingInterval = agentPing
	}
	// The server forgets a connection that is taken over, and closes any other
	// after this request: so it is over for the gate when this function is.
	defer leave()
	c, err := peer.Upgrade(w, r, o)
	if err != nil {
		f.log.Debug("no WebSocket", zap.String("address", r.RemoteAddr), zap.Error(err))
		return
	}
	err = f.enter(r.Context(), c, agent)
	f.logins.WithLabelValues(r.URL.Path, outcome(err)).Inc()
}

// enter makes a session of the connection, or refuses it.
func (f *front) enter(ctx context.Context, c *peer.Conn, agent bool) error {
	id, err := f.login.Handshake(ctx, c, agent)
	if err != nil {
		// Who was refused and why is in the audit log.
		f.log.Debug("log-in refused", zap.String("address", c.RemoteAddr()), zap.Error(err))
		return err
	}
	if err := f.hub.Attach(ctx, c, id); err != nil {
		f.login.Refused(id, err)
		f.log.Info("session refused", zap.String("realm", id.Realm), zap.String("authid", id.AuthID), zap.String("authrole", id.Role),
			zap.String("address", id.Address), zap.Error(err))
		return err
	}
	return nil
}

// outcome is a label: of a failure that is none of the table, "other", which is
// mostly a connection that ended before the answer.
func outcome(err error) string {
	var e *cfcerr.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		return e.URI()[strings.LastIndexByte(e.URI(), '.')+1:]
	}
	return "other"
}

// allowed decides about a page in a browser: the relay's own, and those that
// the configuration names. What is no browser sends no Origin.
func (f *front) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	same := func(o string) bool { return strings.EqualFold(o, origin) }
	return strings.EqualFold(u.Host, r.Host) || slices.ContainsFunc(f.origins, same)
}

// host is an address without its port.
func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}
