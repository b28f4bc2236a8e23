package cli

import (
	"context"
	"encoding/base64"
	"io"
	"maps"
	"sync"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	// readWait is how long one read waits for something to come.
	readWait = 25 * time.Second
	// readMost is how many bytes one read asks for: half of what the agent keeps,
	// so that the other half is filled meanwhile.
	readMost = 512 << 10
	// patience is how long a stream is asked for in vain: the agent has ended
	// one by then that nobody could reach.
	patience = 2 * time.Minute
	// closeTime is how long the end of a command waits for that of its stream.
	closeTime = 10 * time.Second
)

// line is a session that is joined again when it is lost.
type line struct {
	*app
	place place
	node  string
	said  func(format string, args ...any) // of the connection

	mu sync.Mutex
	s  Session
}

// hold joins, lets f use the line and leaves.
func (l *line) hold(ctx context.Context, f func() error) error {
	if _, err := l.session(ctx); err != nil {
		return err
	}
	defer l.leave()
	return f()
}

func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s != nil {
		_ = l.s.Close()
		l.s = nil
	}
}

// session is the one that lives, or a new one.
func (l *line) session(ctx context.Context) (Session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s != nil {
		select {
		case <-l.s.Done():
			_ = l.s.Close()
			l.s = nil
			l.said("connection lost; joining again")
		default:
			return l.s, nil
		}
	}
	s, err := l.join(ctx, l.place, "")
	if err == nil {
		l.s = s
	}
	return s, err
}

// value calls a row of the node.
func (l *line) value(ctx context.Context, o *catalog.Op, args wamp.List, kwargs wamp.Dict) (any, error) {
	s, err := l.session(ctx)
	if err != nil {
		return nil, err
	}
	return l.do(ctx, s, o, append(wamp.List{l.node}, args...), kwargs)
}

// once is value for a row that gives a dict.
func (l *line) once(ctx context.Context, o *catalog.Op, args wamp.List, kwargs wamp.Dict) (map[string]any, error) {
	v, err := l.value(ctx, o, args, kwargs)
	d, _ := v.(map[string]any)
	return d, err
}

// call is value for a row that may be called again when nobody knows what became
// of it, until the connection has been away for too long.
func (l *line) call(ctx context.Context, o *catalog.Op, args wamp.List, kwargs wamp.Dict) (any, error) {
	began := time.Now()
	for wait := firstWait / 4; ; wait = min(2*wait, longWait/6) {
		v, err := l.value(ctx, o, args, kwargs)
		if err == nil || ctx.Err() != nil || !away(err) || time.Since(began) > patience {
			return v, err
		}
		if !sleep(ctx, max(wait, after(err))) {
			return nil, ctx.Err()
		}
	}
}

// away reports whether the far side may be there again in a moment.
func away(err error) bool {
	return temporary(err) && cfcerr.KindOf(err) != cfcerr.Unavailable || cfcerr.KindOf(err) == cfcerr.NodeOffline
}

// flow is a stream that a command reads.
type flow struct {
	*line
	rows catalog.Stream
	// open are the arguments that it was opened with.
	args     wamp.List
	kwargs   wamp.Dict
	id       string
	from     int64
	position any
}

// opened opens the stream and gives what is told of it.
func (f *flow) opened(ctx context.Context) (map[string]any, error) {
	if err := check(f.rows.Open, append(wamp.List{f.node}, f.args...), f.kwargs); err != nil {
		return nil, err
	}
	d, err := f.once(ctx, f.rows.Open, f.args, f.kwargs)
	if err == nil {
		f.id, _ = d["stream"].(string)
		f.from = 0
	}
	return d, err
}

// follow hands every record to show until the stream ends, and tells how it did.
// A stream that is gone is opened again where that goes on at the same place.
func (f *flow) follow(ctx context.Context, show func(record map[string]any) error) (end map[string]any, err error) {
	for {
		v, err := f.call(ctx, f.rows.Read.Op, wamp.List{f.id, f.from, readMost, readWait.Milliseconds()}, nil)
		if cfcerr.KindOf(err) == cfcerr.NoSuchObject && f.again() {
			_, err = f.opened(ctx)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		b, _ := v.(map[string]any)
		records, _ := b["records"].([]any)
		for _, r := range records {
			if d, ok := r.(map[string]any); ok {
				if err := show(d); err != nil {
					return nil, err
				}
			}
		}
		f.from, _ = wamp.AsInt64(b["next"])
		if p := b["position"]; p != nil {
			f.position = p
		}
		if end, ok := b["end"].(map[string]any); ok {
			return end, endError(end)
		}
	}
}

// again makes the arguments of another open that goes on where this stream was,
// if its row can.
func (f *flow) again() bool {
	if f.position == nil {
		return false
	}
	f.kwargs = maps.Clone(f.kwargs)
	for _, name := range []string{"since", "tail"} {
		delete(f.kwargs, name)
	}
	f.kwargs["after"] = f.position
	return true
}

// close ends the stream, also when the command has been told to end.
func (f *flow) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if _, err := f.once(ctx, f.rows.Close.Op, wamp.List{f.id}, nil); err != nil && cfcerr.KindOf(err) != cfcerr.NoSuchObject {
		f.said("the stream is left to expire: %s", err)
	}
}

// endError is why a stream ended before its time, nil where it did not.
func endError(end map[string]any) error {
	uri, _ := end["error"].(string)
	if uri == "" {
		return nil
	}
	return cfcerr.FromWamp(uri, wamp.List{end["message"]}, nil)
}

// writeData writes the data of a record as they are.
func writeData(w io.Writer, record map[string]any) (err error) {
	switch d := record["data"].(type) {
	case string:
		_, err = io.WriteString(w, d)
	case []byte:
		_, err = w.Write(d)
	}
	return err
}

// jsonRecord is a record as JSON has it: bytes go by another key.
func jsonRecord(record map[string]any) map[string]any {
	b, bytes := record["data"].([]byte)
	if !bytes {
		return record
	}
	record = maps.Clone(record)
	delete(record, "data")
	record["data_base64"] = base64.StdEncoding.EncodeToString(b)
	return record
}
