package ops

import (
	"context"

	"fabric.center/cfc/shared/catalog"
	"github.com/gammazero/nexus/v3/wamp"
)

// NewHost binds every remote row that needs the host alone. They are carried
// out whichever node there is, while it is away, and where there is none.
func NewHost(cfg Config) (*Ops, error) {
	o := newOps(cfg)
	o.bindDocker()
	o.bindDockerStreams()
	return o, o.complete(true)
}

// WatchHost tells the realm what happens on the host until ctx ends.
func (o *Ops) WatchHost(ctx context.Context) error {
	return o.cfg.Docker.Watch(ctx, o.engineEvent)
}

// ForHost reports whether a call is one of the rows that NewHost binds.
func ForHost(index catalog.Index, key string) bool {
	op, ok := index.ByKey(key)
	return ok && op.Host
}

// plainly is the handler of a row without arguments.
func plainly[Out any](f func(context.Context) (Out, error)) func(context.Context, catalog.Caller, catalog.None) (Out, error) {
	return func(ctx context.Context, _ catalog.Caller, _ catalog.None) (Out, error) { return f(ctx) }
}

// hostLane names what a mutation of the host changes: what its first argument
// names. What is about to get a name waits for nobody.
func hostLane(op *catalog.Op, args wamp.List, kwargs wamp.Dict) string {
	if len(op.Args()) == 0 {
		return op.Key()
	}
	first := op.Args()[0]
	v := kwargs[first.Name]
	if len(args) > 0 {
		v = args[0]
	}
	if name, ok := v.(string); ok {
		return first.Name + " " + name
	}
	return op.Key() + " " + madeUp("")
}
