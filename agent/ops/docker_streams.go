package ops

import (
	"context"

	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

// DockerStreams are the streams of the host's containers.
type DockerStreams interface {
	Logs(context.Context, catalog.OpenDockerLogsIn) (observe.Source, catalog.OpenedStream, error)
	// Exec starts a command; its source is a Terminal.
	Exec(context.Context, catalog.ExecDockerContainerIn) (observe.Source, catalog.OpenedStream, error)
}

// Terminal is the side of a command into which something goes.
type Terminal interface {
	Write(ctx context.Context, b []byte, at *int64, eof bool) (written int64, err error)
	Resize(ctx context.Context, rows, cols int64) error
}

func (o *Ops) bindDockerStreams() {
	t, d := o.table, o.cfg.Docker
	catalog.Bind(t, catalog.DockerOpenLogs, func(ctx context.Context, caller catalog.Caller, in catalog.OpenDockerLogsIn) (catalog.OpenedStream, error) {
		return o.openStream(ctx, caller, catalog.DockerLogs, func(ctx context.Context) (observe.Source, catalog.OpenedStream, error) { return d.Logs(ctx, in) })
	})
	catalog.Bind(t, catalog.DockerExec, func(ctx context.Context, caller catalog.Caller, in catalog.ExecDockerContainerIn) (catalog.OpenedStream, error) {
		return o.openStream(ctx, caller, catalog.DockerExecs, func(ctx context.Context) (observe.Source, catalog.OpenedStream, error) { return d.Exec(ctx, in) })
	})
	o.bindStream(catalog.DockerLogs)
	o.bindStream(catalog.DockerExecs)
	catalog.Bind(t, catalog.DockerWriteExec, o.writeExec)
	catalog.Bind(t, catalog.DockerResizeExec, o.resizeExec)
}

func (o *Ops) writeExec(ctx context.Context, caller catalog.Caller, in catalog.WriteStreamIn) (out catalog.WrittenStream, err error) {
	var data []byte
	switch d := in.Data.(type) {
	case string:
		data = []byte(d)
	case []byte:
		data = d
	default:
		return out, cfcerr.Argument("data", "text or bytes")
	}
	out.Stream = in.Stream
	err = o.onTerminal(ctx, caller, in.Stream, func(t Terminal) error {
		out.Written, err = t.Write(ctx, data, in.At, in.EOF)
		return err
	})
	return out, err
}

func (o *Ops) resizeExec(ctx context.Context, caller catalog.Caller, in catalog.ResizeStreamIn) (catalog.ResizedStream, error) {
	err := o.onTerminal(ctx, caller, in.Stream, func(t Terminal) error { return t.Resize(ctx, in.Rows, in.Cols) })
	return catalog.ResizedStream(in), err
}

func (o *Ops) onTerminal(ctx context.Context, caller catalog.Caller, id string, do func(Terminal) error) error {
	return o.cfg.Streams.With(ctx, caller, catalog.DockerExecs.Kind(), id, func(src observe.Source) error {
		t, ok := src.(Terminal)
		if !ok {
			return cfcerr.New(cfcerr.NotRunning, "cannot use stream %s: nothing goes into it", id)
		}
		return do(t)
	})
}
