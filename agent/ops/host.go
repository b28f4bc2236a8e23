package ops

import (
	"context"

	"fabric.center/cfc/shared/catalog"
)

// NewHost binds every remote row that needs the host alone. They are carried
// out whichever node there is, while it is away, and where there is none.
func NewHost(cfg Config) (*Ops, error) {
	o := newOps(cfg)
	o.bindDocker()
	o.bindDockerStreams()
	return o, o.complete(true)
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
