package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/agent/profile"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// Link is the way to the node; *nodelink.Link is one.
type Link interface {
	Call(ctx context.Context, procedure string, args wamp.List, kwargs wamp.Dict) (any, error)
	Has(procedure string) bool
}

// Policy is the host's own say in what may be done to it. Its error reaches
// the caller: cfcerr.DeniedByHost with the rule.
type Policy interface {
	Allow(op *catalog.Op, caller catalog.Caller, args wamp.List, kwargs wamp.Dict) error
}

// Config is what Ops needs.
type Config struct {
	Link Link
	// Node does what is more than one call of the node.
	Node Node
	// Docker is the host's engine, for NewHost.
	Docker Docker
	// Streams are what rows that open, read and close streams work on.
	Streams *observe.Streams
	// Sampler makes profiles of workers; profile.Sampler where it is nil.
	Sampler Sampler
	// Policy may be nil: the host has none.
	Policy Policy
	// NodeID and Realm are the names under which the node is paired, empty
	// while it is not. The node itself only knows those of the local link.
	NodeID, Realm func() string
	// Publish sends an event to the realm, with the arguments that its row
	// names; it must not block. While the node is not paired its id is empty.
	Publish func(e *catalog.Event, args ...any)
	// StateDir keeps the inventory, so that what went on while the agent was
	// down is told, and nothing twice, and the restarts that are under way.
	// Empty: not kept.
	StateDir string
	Log      *zap.Logger
}

// Ops carries out remote operations.
type Ops struct {
	cfg   Config
	log   *zap.Logger
	index catalog.Index
	table *catalog.Table
	lanes lanes
	crowd crowd
	inv   *Inventory

	journal  *journal
	profiles *profiles
}

// neverForwarded are procedures that would hand out the node's identity or a
// shell on it.
var neverForwarded = []string{"sign", "sign_challenge", "start_manhole", "stop_manhole", "get_manhole"}

// New binds every remote row that needs the node; one that nothing is bound to
// is an error.
func New(cfg Config) (*Ops, error) {
	o := newOps(cfg)
	o.inv = newInventory(o.cfg)
	o.journal = openJournal(cfg.StateDir, o.log)
	o.bindNode()
	o.bindRouter()
	o.bindRealms()
	o.bindTransports()
	o.bindContainer()
	o.bindComponents()
	o.bindProxy()
	o.bindMeta()
	o.bindWorker()
	for _, op := range catalog.All() {
		if op.Realm != catalog.Remote || op.Forward == "" {
			continue
		}
		if slices.Contains(neverForwarded, op.Forward) {
			return nil, fmt.Errorf("cannot bind %s: %s is never forwarded", op.URI(), op.Forward)
		}
		o.table.Set(op, o.forward)
	}
	return o, o.complete(false)
}

// complete finds rows that nothing is bound to, of the host or of the node.
func (o *Ops) complete(host bool) error {
	missing := slices.DeleteFunc(o.table.Missing(catalog.Remote), func(uri string) bool {
		op, _ := o.index.Management(uri)
		return op.Host != host
	})
	if len(missing) > 0 {
		return fmt.Errorf("cannot start: no code is bound to %s", strings.Join(missing, ", "))
	}
	return nil
}

func newOps(cfg Config) *Ops {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Sampler == nil {
		cfg.Sampler = profile.Sampler{}
	}
	return &Ops{cfg: cfg, log: cfg.Log, index: catalog.NewIndex(), table: catalog.NewTable(), lanes: lanes{}, profiles: newProfiles()}
}

// Run keeps the inventory true and its events coming, finishes restarts that
// were broken off, and makes profiles, until ctx ends.
func (o *Ops) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { o.profiles.run(ctx) })
	wg.Go(func() { o.resumeRestarts(ctx) })
	return o.cfg.Node.Watch(ctx, o.inv)
}

// Call carries out one operation. Without a deadline in ctx it takes the
// row's. Errors are of package cfcerr, or foreign ones that its Public makes
// internal.
func (o *Ops) Call(ctx context.Context, caller catalog.Caller, key string, args wamp.List, kwargs wamp.Dict) (any, error) {
	op, ok := o.index.ByKey(key)
	if !ok || op.Realm != catalog.Remote {
		return nil, cfcerr.New(cfcerr.NoSuchProcedure, "cannot call %s: no such operation", key)
	}
	ctx, cancel := withDeadline(ctx, op)
	defer cancel()
	v, err := o.carryOut(ctx, op, caller, args, kwargs)
	if err != nil && op.Scope == catalog.Worker {
		err = named(err, workerArg(op, args, kwargs))
	}
	if err != nil {
		return nil, sentence(op, err)
	}
	if caller.Role.Rank() < wire.Owner.Rank() {
		v = mask(v, op.Secrets)
	}
	return v, nil
}

func withDeadline(ctx context.Context, op *catalog.Op) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, op.Deadline())
}

func (o *Ops) carryOut(ctx context.Context, op *catalog.Op, caller catalog.Caller, args wamp.List, kwargs wamp.Dict) (any, error) {
	if !op.Access.Allows(caller.Role) {
		return nil, cfcerr.New(cfcerr.NotAuthorized, "cannot call %s: it takes the right %q, the caller's role is %q", op.URI(), op.Access, caller.Role)
	}
	if o.cfg.Policy != nil {
		if err := o.cfg.Policy.Allow(op, caller, args, kwargs); err != nil {
			return nil, err
		}
	}
	if err := op.Check(args, kwargs); err != nil {
		return nil, err
	}
	if op.Mutates() && !op.OnStream {
		leave, err := o.lanes.enter(ctx, lane(op, args, kwargs))
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	if op.Scope == catalog.Worker && !op.Mutates() {
		leave, err := o.crowd.enter(workerArg(op, args, kwargs))
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	handle, ok := o.table.HandlerFor(op, caller)
	if !ok { // the rows of this Ops all have one
		return nil, fmt.Errorf("cannot carry out %s: it is bound elsewhere", op.Key())
	}
	return handle(ctx, catalog.Call{Op: op, Caller: caller, Args: args, Kwargs: kwargs})
}

// lane names what a mutation changes: its worker, the node, or what of the host.
func lane(op *catalog.Op, args wamp.List, kwargs wamp.Dict) string {
	if op.Host {
		return hostLane(op, args, kwargs)
	}
	if id := workerArg(op, args, kwargs); id != "" {
		return workerLane(id)
	}
	return op.Key()
}

func workerLane(id string) string { return "worker " + id }

// workerArg is the row's argument worker_id, empty where there is none.
func workerArg(op *catalog.Op, args wamp.List, kwargs wamp.Dict) string {
	for _, a := range op.Args() {
		if a.Name == "worker_id" && a.Pos >= 0 && a.Pos < len(args) {
			id, _ := args[a.Pos].(string)
			return id
		}
	}
	id, _ := kwargs["worker_id"].(string)
	return id
}

// sentence makes the node's texts read "cannot X: why".
func sentence(op *catalog.Op, err error) error {
	var e *cfcerr.Error
	if !errors.As(err, &e) {
		return err
	}
	for _, begin := range []string{"cannot ", "invalid argument", "canceled"} {
		if strings.HasPrefix(e.Message, begin) {
			return e
		}
	}
	e = e.With("operation", op.Key())
	e.Message = "cannot " + strings.ReplaceAll(op.Name, "_", " ") + ": " + e.Message
	return e
}
