package engine

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// chunk is how much output is read at once.
const chunk = 32 << 10

// Exec is a command that runs in a container.
type Exec struct {
	id, container string
	tty           bool
	engine        *Engine
	conn          net.Conn
	out           *bufio.Reader
	input         bool
	turn          chan struct{} // holds one: who writes

	written int64 // by who has the turn
	closed  bool  // the input; by who has the turn
}

// Exec starts a command in a container; its source is an *Exec.
func (e *Engine) Exec(ctx context.Context, in catalog.ExecDockerContainerIn) (observe.Source, catalog.OpenedStream, error) {
	x, err := e.startExec(ctx, in)
	if err != nil {
		return nil, catalog.OpenedStream{}, err
	}
	return x, catalog.OpenedStream{ContainerID: x.container, TTY: x.tty}, nil
}

func (e *Engine) startExec(ctx context.Context, in catalog.ExecDockerContainerIn) (*Exec, error) {
	options, err := execOptions(in)
	if err != nil {
		return nil, err
	}
	return use(ctx, e, "run a command in container "+string(in.Container), func(ctx context.Context, api *client.Client) (*Exec, error) {
		c, err := inspect(ctx, api, string(in.Container))
		if err == nil {
			err = e.mayExec(ctx, api, c)
		}
		if err != nil {
			return nil, err
		}
		created, err := api.ContainerExecCreate(ctx, c.ID, options)
		if err != nil {
			return nil, err
		}
		x := &Exec{id: created.ID, container: c.ID, tty: in.TTY, engine: e, input: in.Input, turn: make(chan struct{}, 1)}
		if x.conn, x.out, err = e.hijack(ctx, api, "/exec/"+created.ID+"/start", container.ExecAttachOptions{Tty: in.TTY}); err != nil {
			if ctx.Err() != nil || disconnected(err) { // the engine may start it all the same
				x.kill(context.WithoutCancel(ctx))
			}
			return nil, err
		}
		if in.TTY { // best effort: the command may have ended
			_ = api.ContainerExecResize(ctx, x.id, container.ResizeOptions{Height: uint(in.Rows), Width: uint(in.Cols)})
		}
		return x, nil
	})
}

func execOptions(in catalog.ExecDockerContainerIn) (container.ExecOptions, error) {
	o := container.ExecOptions{Cmd: in.Cmd, Tty: in.TTY, AttachStdin: in.Input, AttachStdout: true, AttachStderr: true,
		User: in.User, WorkingDir: in.Workdir}
	if len(in.Cmd) == 0 || in.Cmd[0] == "" || slices.ContainsFunc(in.Cmd, impassable) {
		return o, cfcerr.Argument("cmd", "the command and its arguments, "+passableForm)
	}
	for _, key := range slices.Sorted(maps.Keys(in.Env)) {
		value, ok := in.Env[key].(string)
		if !ok || key == "" || strings.Contains(key, "=") || impassable(key+"="+value) {
			return o, cfcerr.Argument("env", "a dict of names without = and strings, "+passableForm)
		}
		o.Env = append(o.Env, key+"="+value)
	}
	return o, checkSize(in.Rows, in.Cols)
}

// impassable is a text that Linux gives no program: one with NUL in it, or one
// that is too long, at which the engine's runtime hangs and its container too.
func impassable(text string) bool { return len(text) >= 128<<10 || strings.Contains(text, "\x00") }

const passableForm = "each below 128 KiB and without NUL"

func checkSize(rows, cols int64) error {
	const most = 10_000
	for name, n := range map[string]int64{"rows": rows, "cols": cols} {
		if n < 1 || n > most {
			return cfcerr.Argument(name, fmt.Sprintf("1 to %d", most))
		}
	}
	return nil
}

// Allowed refuses a command that runs when the host's policy allows none any more.
func (x *Exec) Allowed() error { return judgeExec(x.engine.cfg.Rules()) }

// Feed puts the command's output into p until it has ended; when ctx ends
// before, the command is killed.
func (x *Exec) Feed(ctx context.Context, p *observe.Pipe) observe.End {
	defer func() {
		_ = x.conn.Close()
		x.turn <- struct{}{} // a write that went on has ended by that
		<-x.turn
	}()
	defer atEnd(ctx, func() { _ = x.conn.SetReadDeadline(past) })() // a closed one has ended
	err := x.copy(ctx, p)
	if ctx.Err() != nil {
		return observe.End{Details: x.kill(context.WithoutCancel(ctx))}
	}
	return x.end(ctx, err)
}

// copy is nil when the output has ended as it should.
func (x *Exec) copy(ctx context.Context, p *observe.Pipe) error {
	if x.tty {
		out := output{pipe: p, stream: "stdout"}
		_, err := io.CopyBuffer(writer(func(b []byte) error { return out.put(ctx, b) }), onlyReader{x.out}, make([]byte, chunk))
		return errors.Join(err, out.flush(ctx))
	}
	streams := map[byte]*output{}
	var err error
	for head := [8]byte{}; err == nil; {
		if _, err = io.ReadFull(x.out, head[:]); err != nil {
			break
		}
		out := streams[head[0]]
		if out == nil {
			out = &output{pipe: p, stream: streamName(head[0])}
			streams[head[0]] = out
		}
		err = out.copy(ctx, x.out, int64(binary.BigEndian.Uint32(head[4:])))
	}
	if err == io.EOF {
		err = nil
	}
	for _, key := range slices.Sorted(maps.Keys(streams)) {
		err = errors.Join(err, streams[key].flush(ctx))
	}
	return err
}

// output makes records of one of a command's streams, and keeps half a
// character until its other half has come.
type output struct {
	pipe   *observe.Pipe
	stream string
	half   []byte
	buf    []byte
}

func (o *output) put(ctx context.Context, b []byte) error {
	if len(o.half) > 0 {
		b = append(o.half, b...)
	}
	whole := observe.Whole(b)
	o.half = append([]byte(nil), b[whole:]...)
	return o.send(ctx, b[:whole])
}

func (o *output) send(ctx context.Context, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return o.pipe.Put(ctx, observe.Record{Fields: map[string]any{"stream": o.stream, "data": observe.Data(b)}, Size: len(b)})
}

func (o *output) flush(ctx context.Context) error {
	half := o.half
	o.half = nil
	return o.send(ctx, half)
}

// copy reads the n bytes of a frame.
func (o *output) copy(ctx context.Context, r io.Reader, n int64) error {
	if o.buf == nil {
		o.buf = make([]byte, chunk)
	}
	for n > 0 {
		b := o.buf[:min(n, chunk)]
		if _, err := io.ReadFull(r, b); err != nil {
			return io.ErrUnexpectedEOF
		}
		n -= int64(len(b))
		if err := o.put(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

type writer func([]byte) error

func (w writer) Write(b []byte) (int, error) { return len(b), w(b) }

// onlyReader keeps io.Copy from giving its buffer up.
type onlyReader struct{ io.Reader }

// end waits for the command itself, whose output may end before it does.
func (x *Exec) end(ctx context.Context, err error) observe.End {
	if err != nil {
		return lost(err)
	}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		state, err := x.inspect(ctx)
		switch {
		case ctx.Err() != nil:
			return observe.End{Details: x.kill(context.WithoutCancel(ctx))}
		case err != nil:
			return lost(err)
		case state.ended():
			return observe.End{Reason: reasonExited, Details: map[string]any{"exit_code": *state.ExitCode}}
		case !state.Running: // and nothing is to come any more
			return observe.End{Reason: reasonFailed, Err: unavailable("run the command", "it was not started")}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// commandState is what the engine knows of a command. One that has just been told
// to start does not run yet, and has no exit code either, which Docker's client
// would call 0.
type commandState struct {
	Running  bool
	PID      int `json:"Pid"`
	ExitCode *int64
}

func (s commandState) ended() bool { return !s.Running && s.ExitCode != nil }

func (x *Exec) inspect(ctx context.Context) (commandState, error) {
	return ask(ctx, x.engine, "see whether the command runs", func(ctx context.Context, api *client.Client) (s commandState, err error) {
		b, err := x.engine.read(ctx, api, "/exec/"+x.id+"/json")
		if err == nil {
			err = json.Unmarshal(b, &s)
		}
		return s, err
	})
}

// Write writes to the command's standard input. At, where it is given, is how
// much was written before; what of b is before that is left out.
func (x *Exec) Write(ctx context.Context, b []byte, at *int64, eof bool) (written int64, err error) {
	if !x.input {
		return 0, cfcerr.New(cfcerr.NotRunning, "cannot write: the command was started without input")
	}
	select {
	case x.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, cfcerr.New(cfcerr.KindOf(ctx.Err()), "cannot write in time: another write is under way, of which the command does not read all")
	}
	type outcome struct {
		written int64
		err     error
	}
	before, done := x.written, make(chan outcome, 1)
	go func() {
		defer func() { <-x.turn }()
		err := x.write(ctx, b, at, eof)
		done <- outcome{x.written, err}
	}()
	late := ctx.Done()
	if !x.lasting() {
		late = nil // the write itself ends then
	}
	select {
	case o := <-done:
		return o.written, o.err
	case <-late:
		return before, x.late(ctx, before)
	}
}

// lasting says that a write cannot be ended without the connection: TLS goes on
// after a deadline no more. So it keeps its turn, and goes on by itself.
func (x *Exec) lasting() bool {
	_, ok := x.conn.(*tls.Conn)
	return ok
}

// write is Write by who has the turn.
func (x *Exec) write(ctx context.Context, b []byte, at *int64, eof bool) error {
	if at != nil {
		if *at < 0 || *at > x.written {
			return cfcerr.Argument("at", fmt.Sprintf("at most %d, which is what was written", x.written)).With("written", x.written)
		}
		b = b[min(x.written-*at, int64(len(b))):]
	}
	if x.closed && len(b) > 0 {
		return cfcerr.New(cfcerr.NotRunning, "cannot write: the input was closed").With("written", x.written)
	}
	if !x.lasting() {
		if err := x.conn.SetWriteDeadline(time.Time{}); err != nil {
			return x.gone(err)
		}
		defer atEnd(ctx, func() { _ = x.conn.SetWriteDeadline(past) })() // a closed one has ended
	}
	n, err := x.conn.Write(b)
	x.written += int64(n)
	switch {
	case err != nil && ctx.Err() != nil, ctx.Err() != nil && !x.lasting():
		return x.late(ctx, x.written)
	case err != nil:
		return x.gone(err)
	case eof && !x.closed:
		x.closed = true
		if c, ok := x.conn.(interface{ CloseWrite() error }); ok {
			if err := c.CloseWrite(); err != nil {
				return x.gone(err)
			}
		}
	}
	return nil
}

func (x *Exec) late(ctx context.Context, written int64) error {
	return cfcerr.New(cfcerr.KindOf(ctx.Err()), "cannot write all in time: the command does not read").With("written", written)
}

func (x *Exec) gone(err error) error {
	return cfcerr.New(cfcerr.NotRunning, "cannot write: the command has ended: %w", err).With("written", x.written)
}

// Resize gives the command's terminal another size.
func (x *Exec) Resize(ctx context.Context, rows, cols int64) error {
	if !x.tty {
		return cfcerr.New(cfcerr.NotRunning, "cannot resize: the command has no terminal")
	}
	if err := checkSize(rows, cols); err != nil {
		return err
	}
	_, err := ask(ctx, x.engine, "resize the terminal", func(ctx context.Context, api *client.Client) (any, error) {
		return nil, api.ContainerExecResize(ctx, x.id, container.ResizeOptions{Height: uint(rows), Width: uint(cols)})
	})
	if err == nil {
		return nil
	}
	// The engine answers in many ways that the command has just ended.
	if state, failed := x.inspect(ctx); failed == nil && state.ended() {
		return cfcerr.New(cfcerr.NotRunning, "cannot resize: the command has ended")
	}
	return err
}
