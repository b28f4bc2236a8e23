// Package nodetest is a node for tests: a WAMP client that speaks the node
// contract as a stock Crossbar.io 26.10.1 does, its defects included, without
// a process behind it.
//
// What a call changes is told to nobody; what Boot and the like change is told
// in the node's own events. A worker's end is never told. stop_router_realm
// fails after the realm is down and burns its id; starting a realm starts none
// of its roles; start_worker forgets cpu_affinity, and so on: see the handlers.
package nodetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// Config says how to join.
type Config struct {
	Addr string // of the link's listener
	Key  identity.Key
	// PID is what the node tells of its controller. One that is no living
	// process stands for a node in another PID namespace.
	PID int
	// Dir is its directory.
	Dir string
	// Kind is what the node says it is; empty like a stock one.
	Kind string
	// Serializer is CBOR by default.
	Serializer client.Config
}

// Node is an attached node.
type Node struct {
	cfg     Config
	client  *client.Client
	prefix  string
	started string

	mu      sync.Mutex
	workers map[string]*Worker
	nextPID int
	hang    map[string]chan struct{}
	fail    map[string]wamp.Error
	calls   map[string]int
	bad     error
	leaving chan struct{} // closed when the session ends; nexus does not tell handlers
}

// Worker is one of its workers.
type Worker struct {
	ID, Type, Status string
	PID              int
	Created          time.Time
	CPUs             wamp.List

	realms     map[string]*realm
	transports map[string]*transport
	components map[string]*component
	embedded   []*embedded // components of a router worker
	proxy      proxy
	extra      []string // procedures of its realms
}

// handler carries out a procedure; ctx ends with the session.
type handler = func(context.Context, *wamp.Invocation) client.InvokeResult

type realm struct {
	config wamp.Dict
	roles  map[string]wamp.Dict
	rights map[string]wamp.Dict // by the role's name
	down   bool

	sessions wamp.List
	embedded map[int64]string // of components: their roles
	cutOff   int
}

// Join attaches a node and returns when it is ready.
func Join(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, started: wire.Time(time.Now()), workers: map[string]*Worker{}, nextPID: 1 << 28,
		hang: map[string]chan struct{}{}, fail: map[string]wamp.Error{}, calls: map[string]int{}}
	return n, n.Join(ctx)
}

// Join attaches the node, or attaches it again, with all that runs in it.
func (n *Node) Join(ctx context.Context) error {
	extra := wamp.Dict{"pubkey": n.cfg.Key.Public(), "channel_binding": nil, "challenge": nil, "trustroot": nil}
	if n.cfg.Kind != "" {
		extra["kind"] = n.cfg.Kind
	}
	c := n.cfg.Serializer
	if c.Serialization == 0 {
		c.Serialization = client.CBOR
	}
	c.Realm = "unset" // nexus wants one; a stock node says null
	c.ResponseTimeout = 5 * time.Second
	c.HelloDetails = wamp.Dict{"authrole": wire.RoleNode, "authextra": extra}
	c.AuthHandlers = map[string]client.AuthFunc{"cryptosign": func(ch *wamp.Challenge) (string, wamp.Dict) {
		challenge, _ := wamp.AsString(ch.Extra["challenge"])
		signature, err := n.cfg.Key.Sign(challenge, nil)
		if err != nil {
			return "", nil
		}
		return signature, wamp.Dict{}
	}}
	c.Logger = silent{}
	cl, err := client.ConnectNet(ctx, "tcp://"+n.cfg.Addr+"/", c)
	if err != nil {
		return err
	}
	id, _ := wamp.AsString(cl.RealmDetails()["authid"])
	n.mu.Lock()
	n.client, n.prefix = cl, "crossbarfabriccenter.node."+id+"."
	n.leaving = make(chan struct{})
	workers := slices.Collect(maps.Values(n.workers))
	n.mu.Unlock()
	n.register("get_status", n.getStatus)
	n.register("get_workers", n.getWorkers)
	n.register("get_worker", n.getWorker)
	n.register("start_worker", n.startWorker)
	n.register("stop_worker", n.stopWorker)
	n.register("shutdown", n.shutdown)
	n.register("utcnow", func(context.Context, *wamp.Invocation) client.InvokeResult { return value(wire.Time(time.Now())) })
	n.register("echo", func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
		return client.InvokeResult{Args: i.Arguments, Kwargs: i.ArgumentsKw}
	})
	for _, w := range workers {
		n.registerWorker(w)
	}
	if err := n.Err(); err != nil {
		return err
	}
	_, err = cl.Call(ctx, "crossbarfabriccenter.mrealm.get_status", nil, nil, nil, nil)
	return err
}

// Client is the node's session.
func (n *Node) Client() *client.Client {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.client
}

// Close ends the session in order; calls that hang are answered as canceled.
func (n *Node) Close() error {
	n.mu.Lock()
	cl := n.client
	select {
	case <-n.leaving:
	default:
		close(n.leaving)
	}
	n.mu.Unlock()
	return cl.Close()
}

// Err is the first thing that went wrong where nobody could be told.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bad
}

func (n *Node) note(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bad == nil {
		n.bad = err
	}
}

// Hang makes a procedure, named below the prefix, answer no more until release
// is called; calls that came meanwhile are then carried out.
func (n *Node) Hang(procedure string) (release func()) {
	ch := make(chan struct{})
	n.mu.Lock()
	n.hang[procedure] = ch
	n.mu.Unlock()
	return sync.OnceFunc(func() {
		n.mu.Lock()
		delete(n.hang, procedure)
		n.mu.Unlock()
		close(ch)
	})
}

// Fail makes a procedure answer with an error; an empty URI ends that.
func (n *Node) Fail(procedure, uri, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.fail, procedure)
	if uri != "" {
		n.fail[procedure] = wamp.Error{Error: wamp.URI(uri), Arguments: wamp.List{text}}
	}
}

// Calls is how often a procedure was called.
func (n *Node) Calls(procedure string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[procedure]
}

// Asked is a context whose deadline passes as soon as the procedure is called once
// more: a fixed one passes before that where the machine is busy.
func (n *Node) Asked(ctx context.Context, procedure string) context.Context {
	passed, before := make(chan struct{}), n.Calls(procedure)
	go func() {
		defer close(passed)
		for n.Calls(procedure) == before {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return asked{ctx, passed}
}

type asked struct {
	context.Context
	passed chan struct{}
}

func (a asked) Done() <-chan struct{} { return a.passed }

func (a asked) Err() error {
	select {
	case <-a.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// Register adds a procedure below the node's prefix.
func (n *Node) Register(name string, f handler) { n.register(name, f) }

func (n *Node) register(name string, f handler) {
	handle := func(ctx context.Context, i *wamp.Invocation) client.InvokeResult {
		n.mu.Lock()
		n.calls[name]++
		wait, e, leaving := n.hang[name], n.fail[name], n.leaving
		n.mu.Unlock()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		answered := make(chan struct{})
		defer close(answered)
		go func() {
			select {
			case <-leaving:
				cancel()
			case <-answered:
			}
		}()
		if wait != nil {
			select {
			case <-wait:
			case <-ctx.Done():
			}
			select {
			case <-leaving: // also where it is released only then
				return client.InvocationCanceled
			case <-ctx.Done():
				return client.InvocationCanceled
			default:
			}
		}
		if e.Error != "" {
			return client.InvokeResult{Err: e.Error, Args: e.Arguments}
		}
		return f(ctx, i)
	}
	if err := n.Client().Register(n.prefix+name, handle, nil); err != nil {
		n.note(fmt.Errorf("register %s: %w", name, err))
	}
}

// Publish publishes below the node's prefix.
func (n *Node) Publish(topic string, args ...any) {
	if err := n.Client().Publish(n.prefix+topic, wamp.Dict{"acknowledge": true}, args, nil); err != nil {
		n.note(fmt.Errorf("publish %s: %w", topic, err))
	}
}

// Replace has a procedure, one that the node has already, carried out otherwise.
func (n *Node) Replace(procedure string, f func(context.Context, *wamp.Invocation) client.InvokeResult) {
	_ = n.Client().Unregister(n.prefix + procedure) // if it was
	n.register(procedure, f)
}

// Answer has the node answer a procedure, one that it registers now if need be,
// with a value or, where there is a text, with the failure that a Python
// exception makes.
func (n *Node) Answer(procedure string, v any, text string) {
	answer := func(context.Context, *wamp.Invocation) client.InvokeResult {
		if text != "" {
			return broken("%s", text)
		}
		return value(v)
	}
	n.Replace(procedure, answer)
}

type silent struct{}

func (silent) Print(...any)          {}
func (silent) Println(...any)        {}
func (silent) Printf(string, ...any) {}

func value(v any) client.InvokeResult { return client.InvokeResult{Args: wamp.List{v}} }

func fault(uri, format string, args ...any) client.InvokeResult {
	return client.InvokeResult{Err: wamp.URI(uri), Args: wamp.List{fmt.Sprintf(format, args...)}}
}

// broken is what any exception in a stock node's code becomes.
func broken(format string, args ...any) client.InvokeResult {
	return fault("wamp.error.runtime_error", format, args...)
}

// arg is a positional argument as a stock node's Python would take it.
func arg[T any](i *wamp.Invocation, n int) T {
	var v T
	if n < len(i.Arguments) {
		v, _ = i.Arguments[n].(T)
	}
	return v
}

func dictArg(i *wamp.Invocation, n int) wamp.Dict {
	if n >= len(i.Arguments) {
		return wamp.Dict{}
	}
	d, _ := wamp.AsDict(i.Arguments[n])
	return d
}
