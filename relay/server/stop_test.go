package server

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// TestGracefulStop: a call in flight is answered, every session is told
// goodbye, half-open connections are closed, and it takes no time.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	r := start(t, defaults(t, t.TempDir()))
	key, owner := r.owner()
	call(t, owner, "cfc.create_management_realm", "demo")
	agent := r.join(r.agent(newKey(t), token(t, owner, "node", wamp.Dict{"realm": "demo", "node_id": "n1"}), ""))
	began := make(chan struct{})
	must(t, agent.Register(t.Context(), wire.NodeProcedure("n1"), nil, func(ctx context.Context, _ *session.Invocation) (any, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	member := r.join(r.as(key, "demo"))
	answer := make(chan error, 1)
	go func() {
		_, err := try(t, member, "cfc.remote.node.get_status", "n1")
		answer <- err
	}()
	<-began
	half, err := peer.Dial(t.Context(), r.URL()+wire.UserPath, peer.DialOptions{})
	must(t, err)
	defer half.Close()
	bare, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "ws://"))
	must(t, err)
	defer bare.Close()

	begin := time.Now()
	must(t, r.stop())
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if err := <-answer; cfcerr.KindOf(err) != cfcerr.ConnectionLost {
		t.Errorf("the call in flight: %v", err)
	}
	for name, s := range map[string]*session.Session{"users realm": owner, "member": member, "agent": agent} {
		<-s.Done()
		if reason := s.Ended().Reason; reason != string(wamp.CloseSystemShutdown) {
			t.Errorf("%s: ended with %s", name, reason)
		}
	}
	if a, ok := (<-half.Recv()).(*wamp.Abort); !ok || a.Reason != wamp.CloseSystemShutdown {
		t.Errorf("a connection that had not logged in was told %v", a)
	}
	<-half.Done()
	if _, err := ended(bare, 3*time.Second); err != nil {
		t.Errorf("a connection that said nothing: %v", err)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "ws://")); err == nil {
		t.Error("the relay still listens")
	}
	if log := r.logs.FilterMessage("stopped"); log.Len() != 1 {
		t.Errorf("%d lines say that it stopped", log.Len())
	}
}

// deaf is a connection that from some moment on reads nothing, until it is closed.
type deaf struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
	now    atomic.Bool
}

func (d *deaf) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	if d.now.Load() {
		<-d.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (d *deaf) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Conn.Close()
}

// TestStopIsBounded: whoever neither reads nor closes is not waited for longer
// than stop_timeout says.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	conf := defaults(t, t.TempDir())
	conf.Stop = 3 * time.Second
	r := start(t, conf)
	key, _ := r.owner()
	var far *deaf
	c, err := peer.Dial(t.Context(), r.URL()+wire.UserPath, peer.DialOptions{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		far = &deaf{Conn: conn, closed: make(chan struct{})}
		return far, err
	}})
	must(t, err)
	s, err := session.Over(t.Context(), c, r.as(key, ""))
	must(t, err)
	defer s.Close()
	defer far.Close()
	far.now.Store(true)
	begin := time.Now()
	must(t, r.stop())
	if took := time.Since(begin); took > conf.Stop {
		t.Errorf("the stop took %s", took)
	}
}

// TestTwoRelaysOnOneState: the second is refused, with the path.
func TestTwoRelaysOnOneState(t *testing.T) {
	t.Parallel()
	conf := defaults(t, t.TempDir())
	start(t, conf)
	_, err := Open(t.Context(), conf, zap.NewNop())
	if err == nil || !strings.Contains(err.Error(), conf.StoreFile()) {
		t.Errorf("got %v", err)
	}
}

// TestDamagedStateIsRefused at the start, with its path and unchanged.
func TestDamagedStateIsRefused(t *testing.T) {
	t.Parallel()
	conf := defaults(t, t.TempDir())
	r := start(t, conf)
	r.owner()
	must(t, r.stop())
	backup := conf.Data + ".backup"
	must(t, store.Backup(t.Context(), conf.StoreFile(), backup))
	must(t, os.Truncate(conf.StoreFile(), 5000))
	before, err := os.ReadFile(conf.StoreFile())
	must(t, err)
	if _, err := Open(t.Context(), conf, zap.NewNop()); err == nil || !strings.Contains(err.Error(), conf.StoreFile()) {
		t.Errorf("got %v", err)
	}
	if after, _ := os.ReadFile(conf.StoreFile()); string(after) != string(before) {
		t.Error("the damaged file was changed")
	}
	must(t, store.Restore(t.Context(), backup, conf.StoreFile()))
	start(t, conf)
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for name, set := range map[string]func(*Config){
		"join":    func(c *Config) { c.Listen = taken.Addr().String() },
		"monitor": func(c *Config) { c.Monitor.Listen = taken.Addr().String() },
	} {
		conf := defaults(t, t.TempDir())
		set(&conf)
		if _, err := Open(t.Context(), conf, zap.NewNop()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
			t.Errorf("%s: %v", name, err)
		}
		// Nothing is left behind: the same state opens again at once.
		conf = func() Config { c := defaults(t, t.TempDir()); c.Data = conf.Data; return c }()
		r := start(t, conf)
		must(t, r.stop())
	}
}

// TestPlainTextBeyondLoopbackIsRefused also where only the socket shows it.
func TestPlainTextBeyondLoopbackIsRefused(t *testing.T) {
	conf := defaults(t, t.TempDir())
	conf.Listen = "0.0.0.0:0"
	_, err := Open(t.Context(), conf, zap.NewNop())
	if err == nil || !strings.Contains(err.Error(), "without a certificate") || !strings.Contains(err.Error(), "insecure_plaintext") {
		t.Errorf("got %v", err)
	}
	conf.Plain = true
	start(t, conf)
}

// TestAPartThatFailsEndsTheRelay in order, with its error.
func TestAPartThatFailsEndsTheRelay(t *testing.T) {
	t.Parallel()
	r := start(t, defaults(t, t.TempDir()))
	_, owner := r.owner()
	r.sockets.join.Close()
	err := <-r.done
	r.done <- nil
	if err == nil || !strings.Contains(err.Error(), "listener: cannot take connections") {
		t.Errorf("got %v", err)
	}
	<-owner.Done()
	if reason := owner.Ended().Reason; reason != string(wamp.CloseSystemShutdown) {
		t.Errorf("the session ended with %s", reason)
	}
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("the cause is lost: %v", err)
	}
}
