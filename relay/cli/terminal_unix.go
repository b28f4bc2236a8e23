//go:build unix

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/gammazero/nexus/v3/wamp"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// rawMode is a terminal that passes every key on, until it is restored.
type rawMode struct {
	file    *os.File
	restore func() error
}

func makeRaw(f *os.File) (*rawMode, error) {
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	return &rawMode{file: f, restore: sync.OnceValue(func() error { return term.Restore(int(f.Fd()), before) })}, nil
}

// atTerminal runs the command at this terminal, which is restored on every way
// out: the command's end, a failure, a signal, a panic.
func (x *remoteExec) atTerminal(ctx context.Context, terminal *os.File) (err error) {
	if x.raw, err = makeRaw(terminal); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, x.raw.restore())
		x.raw = nil
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watch sync.WaitGroup
	defer watch.Wait()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	done := make(chan struct{})
	defer close(done)
	defer signal.Stop(signals)
	watch.Go(func() { _ = x.guard(func() error { x.obey(ctx, cancel, signals, done); return nil }) })
	return x.pass(ctx, terminal)
}

// obey passes the terminal's size on. Any other signal ends the command, a
// second one the program, which must not leave the terminal behind as it is.
func (x *remoteExec) obey(ctx context.Context, cancel context.CancelFunc, signals chan os.Signal, done chan struct{}) {
	for told := false; ; {
		select {
		case s := <-signals:
			switch {
			case s == syscall.SIGWINCH:
				x.resize(ctx)
			case !told: // ctx may have ended by this very signal already
				told = true
				cancel()
			default:
				_ = x.raw.restore()
				signal.Reset(s)
				_ = syscall.Kill(os.Getpid(), s.(syscall.Signal))
			}
		case <-done:
			return
		}
	}
}

// resize is no reason to fail: the next size may arrive.
func (x *remoteExec) resize(ctx context.Context) {
	cols, rows, err := term.GetSize(int(x.raw.file.Fd()))
	if err == nil && cols > 0 && rows > 0 {
		_, _ = x.flow.once(ctx, x.flow.rows.Resize.Op, wamp.List{x.flow.id, rows, cols}, nil)
	}
}

// guard restores the terminal before a panic of f is shown.
func (x *remoteExec) guard(f func() error) error {
	defer func() {
		if p := recover(); p != nil {
			if x.raw != nil {
				_ = x.raw.restore()
			}
			panic(p)
		}
	}()
	return f()
}

// interruptible reads from a file so that the end of ctx ends a read that
// waits; it may give nothing at times. Other readers end by themselves.
func interruptible(ctx context.Context, in io.Reader) (read func([]byte) (int, error), stop func(), err error) {
	f, ok := in.(*os.File)
	if !ok {
		return in.Read, func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	done := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() { w.Close(); close(done) })
	stop = func() {
		if unhook() {
			w.Close()
		} else {
			<-done
		}
		r.Close()
	}
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}, {Fd: int32(r.Fd()), Events: unix.POLLIN}}
	return func(b []byte) (int, error) {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			return 0, nil
		case err != nil:
			return 0, err
		case fds[1].Revents != 0:
			return 0, ctx.Err()
		}
		n, err := f.Read(b)
		if errors.Is(err, syscall.EIO) { // the terminal has gone
			err = io.EOF
		}
		return n, err
	}, stop, nil
}
