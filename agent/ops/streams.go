package ops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

const (
	longestWait = time.Minute
	// answerTime is what a read leaves of its deadline for the way back.
	answerTime = time.Second
)

// openStream opens a stream of a kind. Begin makes its source, and says what is
// told of it beside its id.
func (o *Ops) openStream(ctx context.Context, caller catalog.Caller, s catalog.Stream, begin func(context.Context) (observe.Source, catalog.OpenedStream, error)) (catalog.OpenedStream, error) {
	var opened catalog.OpenedStream
	id, err := o.cfg.Streams.Open(ctx, caller, s.Kind(), func(ctx context.Context) (src observe.Source, err error) {
		src, opened, err = begin(ctx)
		return src, err
	})
	if err == nil {
		o.ReviewStreams() // the policy may have changed meanwhile
	}
	opened.Stream = id
	return opened, err
}

// guarded is a source of which the host has more to say than whether it may be
// opened.
type guarded interface{ Allowed() error }

// ReviewStreams ends the streams that the host's policy does not allow any more.
func (o *Ops) ReviewStreams() {
	o.cfg.Streams.Review(func(kind string, owner catalog.Caller, source observe.Source) *cfcerr.Error {
		var err error
		if op, ok := o.index.ByKey(kind); ok && o.cfg.Policy != nil {
			err = o.cfg.Policy.Allow(op, owner, nil, nil)
		}
		if g, ok := source.(guarded); ok && err == nil {
			err = g.Allowed()
		}
		var denied *cfcerr.Error
		if err == nil || !errors.As(err, &denied) {
			return nil
		}
		return denied
	})
}

// bindStream binds what reads and closes the streams of a kind.
func (o *Ops) bindStream(s catalog.Stream) {
	catalog.Bind(o.table, s.Read, func(ctx context.Context, caller catalog.Caller, in catalog.ReadStreamIn) (map[string]any, error) {
		wait, err := checkRead(in)
		if err != nil {
			return nil, err
		}
		if deadline, ok := ctx.Deadline(); ok {
			wait = max(0, min(wait, time.Until(deadline)-answerTime))
		}
		b, err := o.cfg.Streams.Read(ctx, caller, s.Kind(), in.Stream, in.From, int(in.Max), wait)
		if err != nil {
			return nil, err
		}
		out := map[string]any{"records": b.Records, "next": b.Next, "position": nil, "end": nil}
		if b.Position != "" {
			out["position"] = b.Position
		}
		if b.End != nil {
			out["end"] = endOf(*b.End)
		}
		return out, nil
	})
	catalog.Bind(o.table, s.Close, func(ctx context.Context, caller catalog.Caller, in catalog.OnStream) (map[string]any, error) {
		end, err := o.cfg.Streams.Close(ctx, caller, s.Kind(), in.Stream)
		if err != nil {
			return nil, err
		}
		return map[string]any{"stream": in.Stream, "end": endOf(end)}, nil
	})
}

func checkRead(in catalog.ReadStreamIn) (time.Duration, error) {
	switch {
	case in.From < 0:
		return 0, cfcerr.Argument("from", "0, then next of the last answer")
	case in.Max < 1 || in.Max > observe.MostBytes:
		return 0, cfcerr.Argument("max", fmt.Sprintf("1 to %d bytes", observe.MostBytes))
	case in.Wait < 0 || in.Wait > longestWait.Milliseconds():
		return 0, cfcerr.Argument("wait", fmt.Sprintf("0 to %d milliseconds", longestWait.Milliseconds()))
	}
	return time.Duration(in.Wait) * time.Millisecond, nil
}

// endOf is a stream's end as the reader gets it.
func endOf(e observe.End) map[string]any {
	out := map[string]any{}
	maps.Copy(out, e.Details)
	out["reason"], out["error"], out["message"] = e.Reason, nil, nil
	if e.Err != nil {
		out["error"], out["message"] = e.Err.URI(), e.Err.Message
	}
	return out
}
