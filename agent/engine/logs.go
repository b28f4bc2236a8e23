package engine

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

const (
	// largestFrame bounds a record of the engine, which cuts lines at 16 KiB.
	largestFrame = 1 << 20
	// cutLine is where the engine cuts a line of a terminal, at the earliest.
	cutLine = 16 << 10
	// stampLength is that of a timestamp with nanoseconds in UTC.
	stampLength = len("2006-01-02T15:04:05.000000000Z")
)

// Reasons for which the streams of a container end.
const (
	reasonEnd     = "end"
	reasonStopped = "container-stopped"
	reasonRemoved = "container-removed"
	reasonLost    = "engine-lost"
	reasonFailed  = "failed"
	reasonExited  = "exited"
)

// position is a place in a container's output: behind the nth record of a time.
type position struct {
	time string
	nth  int
}

func (p position) String() string { return p.time + "/" + strconv.Itoa(p.nth) }

func parsePosition(s string) (p position, err error) {
	stamp, nth, ok := strings.Cut(s, "/")
	if _, err = time.Parse(time.RFC3339Nano, stamp); err == nil && ok {
		p.time = stamp
		p.nth, err = strconv.Atoi(nth)
	}
	if err != nil || !ok || p.nth < 1 {
		return p, cfcerr.Argument("after", "position of an answer of read_docker_logs")
	}
	return p, nil
}

// logs is the output of a container, on its way.
type logs struct {
	id     string
	tty    bool
	engine *Engine
	body   io.ReadCloser
	cancel context.CancelFunc
	follow bool
	after  *position
}

// Logs opens the output of a container.
func (e *Engine) Logs(ctx context.Context, in catalog.OpenDockerLogsIn) (observe.Source, catalog.OpenedStream, error) {
	l, err := e.openLogs(ctx, in)
	if err != nil {
		return nil, catalog.OpenedStream{}, err
	}
	return l, catalog.OpenedStream{ContainerID: l.id, TTY: l.tty}, nil
}

func (e *Engine) openLogs(ctx context.Context, in catalog.OpenDockerLogsIn) (*logs, error) {
	options := container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: in.Follow}
	l := &logs{engine: e, follow: in.Follow}
	if err := l.begin(in, &options, time.Now()); err != nil {
		return nil, err
	}
	return use(ctx, e, "open the output of container "+string(in.Container), func(ctx context.Context, api *client.Client) (*logs, error) {
		c, err := inspect(ctx, api, string(in.Container))
		if err != nil {
			return nil, err
		}
		l.id, l.tty = c.ID, c.Config.Tty
		// The body lives as long as its request's context: longer than this call,
		// whose end only ends the request until it is answered.
		within, cancel := context.WithCancel(context.WithoutCancel(ctx))
		answered := context.AfterFunc(ctx, cancel)
		l.body, err = api.ContainerLogs(within, c.ID, options)
		if !answered() && err == nil {
			err = errors.Join(ctx.Err(), l.body.Close())
		}
		if err != nil {
			cancel()
			return nil, err
		}
		l.cancel = cancel
		return l, nil
	})
}

// begin says where the output begins.
func (l *logs) begin(in catalog.OpenDockerLogsIn, o *container.LogsOptions, now time.Time) error {
	switch {
	case in.After != nil && (in.Since != nil || in.Tail != nil):
		return cfcerr.Argument("after", "a position in place of since and tail, not beside them")
	case in.After != nil:
		p, err := parsePosition(*in.After)
		l.after, o.Since = &p, p.time
		return err
	}
	if in.Since != nil {
		at, err := time.Parse(time.RFC3339Nano, *in.Since)
		if d, notDuration := time.ParseDuration(*in.Since); notDuration == nil && d >= 0 {
			at, err = now.Add(-d), nil
		}
		if err != nil {
			return cfcerr.Argument("since", "a time in ISO 8601 such as 2026-01-31T12:00:00Z, or a duration such as 10m")
		}
		o.Since = at.Format(time.RFC3339Nano)
	}
	if in.Tail != nil {
		if *in.Tail < 0 {
			return cfcerr.Argument("tail", "how many records, 0 or more")
		}
		o.Tail = strconv.FormatInt(*in.Tail, 10)
	}
	return nil
}

// line is a record of the engine.
type line struct {
	stream, time string
	data         []byte
}

// Feed puts the output into p until it ends.
func (l *logs) Feed(ctx context.Context, p *observe.Pipe) observe.End {
	defer l.body.Close()
	defer l.cancel()
	defer atEnd(ctx, l.cancel)()
	next := framed(bufio.NewReaderSize(l.body, 64<<10))
	if l.tty {
		next = unframed(bufio.NewReaderSize(l.body, 64<<10))
	}
	at := position{}
	resume := resumption{after: l.after}
	for {
		x, err := next()
		if err != nil {
			return l.end(ctx, err)
		}
		if x.time != at.time {
			at = position{time: x.time}
		}
		at.nth++
		known, gap := resume.known(x.time)
		if known {
			continue
		}
		if gap && p.Gap(ctx, 0, "the log does not reach back to this position") != nil {
			return observe.End{}
		}
		r := observe.Record{Fields: map[string]any{"time": x.time, "stream": x.stream, "data": observe.Data(x.data)}, Size: len(x.data), Position: at.String()}
		if p.Put(ctx, r) != nil {
			return observe.End{}
		}
	}
}

// resumption leaves out what came before a position: the engine gives whatever
// has its time or a later one.
type resumption struct {
	after *position
	seen  int
}

// known reports whether the record came before, and whether some are missing
// that ought to be here.
func (r *resumption) known(stamp string) (known, gap bool) {
	if r.after == nil {
		return false, false
	}
	if stamp == r.after.time && r.seen < r.after.nth {
		r.seen++
		return true, false
	}
	gap = r.seen < r.after.nth
	r.after = nil
	return false, gap
}

// framed reads records that the engine frames: which stream, length, content.
func framed(r *bufio.Reader) func() (line, error) {
	var head [8]byte
	return func() (line, error) {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return line{}, err
		}
		n := binary.BigEndian.Uint32(head[4:])
		if n > largestFrame {
			return line{}, fmt.Errorf("the engine sent a frame of %d bytes", n)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return line{}, io.ErrUnexpectedEOF
		}
		if head[0] == systemError {
			return line{}, engineError(strings.TrimSpace(string(b)))
		}
		stamp, data, ok := cutStamp(b)
		if !ok {
			return line{}, errors.New("the engine sent a record without a time")
		}
		return line{streamName(head[0]), stamp, data}, nil
	}
}

// unframed reads the records of a terminal, which are lines.
func unframed(r *bufio.Reader) func() (line, error) {
	return func() (line, error) {
		head := make([]byte, stampLength+1)
		if n, err := io.ReadFull(r, head); err != nil {
			if n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return line{}, err
		}
		stamp, _, ok := cutStamp(head)
		if !ok {
			return line{}, errors.New("the engine sent a record without a time")
		}
		var data []byte
		for len(data) < cutLine || !stamped(r) {
			c, err := r.ReadByte()
			if err != nil {
				break // told by the next read
			}
			if data = append(data, c); c == '\n' {
				break
			}
			if len(data) > largestFrame {
				return line{}, fmt.Errorf("the engine sent a line of more than %d bytes", largestFrame)
			}
		}
		return line{"stdout", stamp, data}, nil
	}
}

// stamped reports whether another record begins here. Only that tells where the
// engine has cut a line: what is no UTF-8 has become longer in its log.
func stamped(r *bufio.Reader) bool {
	b, err := r.Peek(stampLength + 1)
	_, _, ok := cutStamp(b)
	return err == nil && ok
}

func cutStamp(b []byte) (stamp string, data []byte, ok bool) {
	if len(b) <= stampLength || b[stampLength] != ' ' {
		return "", nil, false
	}
	stamp = string(b[:stampLength])
	_, err := time.Parse(time.RFC3339Nano, stamp)
	return stamp, b[stampLength+1:], err == nil
}

// The streams of a frame.
const (
	stderrFrame = 2
	systemError = 3
)

func streamName(b byte) string {
	if b == stderrFrame {
		return "stderr"
	}
	return "stdout"
}

// engineError is what the engine says in the middle of an answer.
type engineError string

func (e engineError) Error() string { return string(e) }

// end says why the output ended, which the engine knows and the connection does
// not.
func (l *logs) end(ctx context.Context, err error) observe.End {
	if ctx.Err() != nil {
		return observe.End{}
	}
	var said engineError
	if errors.As(err, &said) {
		return observe.End{Reason: reasonFailed, Err: unavailable("read on", string(said))}
	}
	if err == io.EOF && !l.follow {
		return observe.End{Reason: reasonEnd}
	}
	return l.engine.ended(ctx, l.id, err)
}

// ended asks the engine what became of a container whose output has ended.
func (e *Engine) ended(ctx context.Context, id string, err error) observe.End {
	c, failed := ask(ctx, e, "read on", func(ctx context.Context, api *client.Client) (container.InspectResponse, error) {
		return inspect(ctx, api, id)
	})
	switch {
	case cfcerr.KindOf(failed) == cfcerr.NoSuchObject:
		return observe.End{Reason: reasonRemoved}
	case failed != nil:
		return lost(failed)
	case c.State.Status == container.StateCreated && c.State.ExitCode == 0: // it has not run yet, which 0 would call a success
		return observe.End{Reason: reasonEnd}
	case !c.State.Running:
		return observe.End{Reason: reasonStopped, Details: map[string]any{"exit_code": int64(c.State.ExitCode)}}
	case err == io.EOF:
		return observe.End{Reason: reasonEnd}
	}
	return lost(err)
}

// lost is the end of a stream whose engine went away.
func lost(err error) observe.End {
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != cfcerr.Unavailable {
		e = unavailable("read on", "the connection was lost: "+err.Error())
	}
	return observe.End{Reason: reasonLost, Err: e}
}
