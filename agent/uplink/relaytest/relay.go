// Package relaytest is a relay as an agent sees it, for tests of the agent: real
// connections, the log-in of WIRE.md with tokens and keys, the agent's one
// registration, acknowledged events and calls. What a real relay would refuse
// or break, a test makes it refuse or break by its methods.
package relaytest

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/google/uuid"
	"go.uber.org/zap"
)

// Realm is the one realm of the relay.
const Realm = "demo"

// Node is what the relay knows of a paired node.
type Node struct{ ID, OID string }

// Relay is the test's far side.
type Relay struct {
	t    testing.TB
	tls  bool
	addr string
	gate *gate

	mu     sync.Mutex
	srv    *httptest.Server
	tokens map[string]string // token to node id
	nodes  map[string]Node   // by public key
	refuse *cfcerr.Error
	cut    bool // breaks the connection where WELCOME should go out
	live   map[string]*conn
	hellos []wamp.Dict
	events []*wamp.Publish
	wg     sync.WaitGroup
}

type conn struct {
	*peer.Conn
	mu     sync.Mutex
	next   wamp.ID
	calls  map[wamp.ID]chan wamp.Message
	served wamp.URI
}

// New starts a relay, with TLS or without; the test's end stops it.
func New(t testing.TB, withTLS bool) *Relay {
	t.Helper()
	r := &Relay{t: t, tls: withTLS, gate: newGate(), tokens: map[string]string{}, nodes: map[string]Node{}, live: map[string]*conn{}}
	r.Up()
	t.Cleanup(r.Down)
	return r
}

// Up makes the relay listen again where it did.
func (r *Relay) Up() {
	r.t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	srv.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	if r.addr != "" {
		ln, err := (&net.ListenConfig{}).Listen(r.t.Context(), "tcp", r.addr)
		if err != nil {
			r.t.Fatal(err)
		}
		_ = srv.Listener.Close()
		srv.Listener = ln
	}
	r.addr = srv.Listener.Addr().String()
	srv.Listener = gatedListener{srv.Listener, r.gate}
	if r.tls {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	r.mu.Lock()
	r.srv = srv
	r.mu.Unlock()
}

// Down stops listening and breaks all connections without a word.
func (r *Relay) Down() {
	r.mu.Lock()
	srv := r.srv
	r.srv = nil
	r.mu.Unlock()
	if srv == nil {
		return
	}
	r.Freeze(false)
	r.Break()
	srv.Close()
	r.Break()
	r.wg.Wait()
}

// Break breaks all connections without a word.
func (r *Relay) Break() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.live {
		c.Close()
	}
}

// Goodbye ends all sessions with a reason.
func (r *Relay) Goodbye(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.live {
		c.Finish(&wamp.Goodbye{Reason: wamp.URI(reason), Details: wamp.Dict{"message": "the test says so"}})
	}
}

// URL is the relay's address, as it stands in an invitation.
func (r *Relay) URL() string {
	if r.tls {
		return "wss://" + r.addr
	}
	return "ws://" + r.addr
}

// Pin is the relay's pin.
func (r *Relay) Pin() string { return session.Pin(r.srv.Certificate()) }

// CAFile is a file with the relay's certificate.
func (r *Relay) CAFile() string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.srv.Certificate().Raw}), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// Invite makes a one-time token for a node.
func (r *Relay) Invite(nodeID string) string {
	r.t.Helper()
	token, err := wire.NewToken(wire.ForNode)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens[token.Secret()] = nodeID
	return token.Secret()
}

// Known makes the relay know a key.
func (r *Relay) Known(pubkey, nodeID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes[pubkey] = Node{nodeID, uuid.NewString()}
}

// Forget unpairs every node.
func (r *Relay) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.nodes)
}

// Refuse refuses the next log-ins; nil lets them in again.
func (r *Relay) Refuse(e *cfcerr.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = e
}

// LoseAnswers makes the relay break the connection where WELCOME should go out.
func (r *Relay) LoseAnswers(lose bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = lose
}

// Hellos are the details of all HELLOs, as they came.
func (r *Relay) Hellos() []wamp.Dict {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]wamp.Dict(nil), r.hellos...)
}

// Events are the events that were published, in order.
func (r *Relay) Events() []*wamp.Publish {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*wamp.Publish(nil), r.events...)
}

// Online reports whether a node's agent is there and has registered.
func (r *Relay) Online(nodeID string) bool {
	c := r.of(nodeID)
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served == wamp.URI(wire.NodeProcedure(nodeID))
}

func (r *Relay) of(nodeID string) *conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[nodeID]
}

// WaitOnline waits until the node's agent is there.
func (r *Relay) WaitOnline(nodeID string) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !r.Online(nodeID); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("node %s is not online after 20 s", nodeID)
		}
	}
}

// Call calls an operation of a node as an owner.
func (r *Relay) Call(ctx context.Context, nodeID, key string, args ...any) (any, error) {
	c := r.of(nodeID)
	if c == nil {
		return nil, errors.New("the node is offline")
	}
	reply := make(chan wamp.Message, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.calls[id] = reply
	c.mu.Unlock()
	err := c.Write(&wamp.Invocation{Request: id, Registration: 1, Details: wamp.Dict{"caller": 4711, "caller_authid": "alice", "caller_authrole": "owner"},
		Arguments: append(wamp.List{key}, args...)})
	if err != nil {
		return nil, err
	}
	select {
	case m := <-reply:
		if e, ok := m.(*wamp.Error); ok {
			return nil, cfcerr.FromWamp(string(e.Error), e.Arguments, e.ArgumentsKw)
		}
		return m.(*wamp.Yield).Arguments[0], nil
	case <-c.Done():
		return nil, errors.New("the connection is lost")
	case <-ctx.Done():
		return nil, errors.Join(c.Write(&wamp.Interrupt{Request: id, Options: wamp.Dict{}}), ctx.Err())
	}
}
