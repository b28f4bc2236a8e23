package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// relay is a whole relay in this process, on sockets of loopback.
type relay struct {
	*Server
	t    *testing.T
	logs *observer.ObservedLogs
	end  context.CancelFunc
	done chan error
}

// defaults is a configuration for tests: free ports, everything below dir.
func defaults(t *testing.T, dir string) Config {
	t.Helper()
	var c Config
	must(t, config.Defaults(&c))
	c.Data, c.Listen, c.Monitor.Listen, c.Version = filepath.Join(dir, "relay"), "127.0.0.1:0", "127.0.0.1:0", "test"
	return c
}

// start runs a relay until the test ends or stop is called.
func start(t *testing.T, c Config) *relay {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	s, err := Open(t.Context(), c, zap.New(core))
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &relay{Server: s, t: t, logs: logs, end: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(func() { must(t, r.stop()) })
	until(t, "the relay is ready", func() bool { return len(s.ready.obstacles()) == 0 })
	return r
}

// stop ends the relay in order; once more does nothing.
func (r *relay) stop() error {
	r.end()
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(30 * time.Second):
		return errors.New("the relay did not stop")
	}
}

// as is how a key joins this relay.
func (r *relay) as(k identity.Key, realm string) session.Config {
	c := session.Config{URL: r.URL(), Key: k, Realm: realm, Timeout: 10 * time.Second}
	if r.cert != nil {
		c.Pin = r.Pin()
	}
	return c
}

func (r *relay) agent(k identity.Key, token, nodeID string) session.Config {
	c := r.as(k, "")
	c.Role, c.Token, c.NodeID = wire.RoleNode, token, nodeID
	c.Extra = wamp.Dict{"agent": wamp.Dict{"version": "1", "protocol": wire.Protocol, "os": "linux", "arch": "amd64", "hostname": "h", "started": wire.Time(time.Now()),
		"node": wamp.Dict{"kind": nil, "version": "", "attached": false}}}
	return c
}

// join joins; the session is closed with the test.
func (r *relay) join(c session.Config) *session.Session {
	r.t.Helper()
	s, err := session.Join(r.t.Context(), c)
	must(r.t, err)
	r.t.Cleanup(func() { s.Close() })
	return s
}

// owner claims the first owner's token.
func (r *relay) owner() (identity.Key, *session.Session) {
	r.t.Helper()
	token, err := os.ReadFile(r.cfg.OwnerTokenFile())
	must(r.t, err)
	k := newKey(r.t)
	c := r.as(k, "")
	c.Token = strings.TrimSpace(string(token))
	return k, r.join(c)
}

func newKey(t *testing.T) identity.Key {
	t.Helper()
	k, err := identity.New()
	must(t, err)
	return k
}

// call calls and gives the one result.
func call(t *testing.T, s *session.Session, procedure string, args ...any) any {
	t.Helper()
	v, err := try(t, s, procedure, args...)
	must(t, err)
	return v
}

func try(t *testing.T, s *session.Session, procedure string, args ...any) (any, error) {
	t.Helper()
	res, err := s.Call(t.Context(), procedure, wamp.List(args), nil, session.CallOptions{Timeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	if len(res.Arguments) != 1 {
		t.Fatalf("%s: %d results", procedure, len(res.Arguments))
	}
	return res.Arguments[0], nil
}

// token has the users realm's owner make a token.
func token(t *testing.T, owner *session.Session, purpose string, options wamp.Dict) string {
	t.Helper()
	d, ok := wamp.AsDict(call(t, owner, "cfc.create_token", purpose, options))
	if !ok {
		t.Fatal("a token is no dict")
	}
	s, _ := wamp.AsString(d["token"])
	return s
}

// serveNode registers a node's procedure, which answers with what it was asked.
func serveNode(t *testing.T, agent *session.Session) {
	t.Helper()
	must(t, agent.Register(t.Context(), wire.NodeProcedure(agent.AuthID()), nil, func(_ context.Context, inv *session.Invocation) (any, error) {
		return wamp.List{inv.Caller.AuthID, string(inv.Caller.Role), inv.Args}, nil
	}))
}
