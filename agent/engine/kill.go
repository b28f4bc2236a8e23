package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

const (
	killTimeout = 8 * time.Second
	// endTime is how long a command has to end by itself.
	endTime = time.Second
)

// kill ends the command, which the engine has no call for: a command goes on
// when nobody is attached any more. Its end is told as a stream's details.
func (x *Exec) kill(ctx context.Context) map[string]any {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	var failed error
	for _, step := range []func(context.Context, int) error{x.send(syscall.SIGHUP), x.send(syscall.SIGKILL), x.hangUp} {
		state, err := x.begun(ctx)
		switch {
		case err != nil:
			return map[string]any{"killed": false, "not_killed": err.Error()}
		case state.ended():
			return map[string]any{"killed": false, "exit_code": *state.ExitCode}
		}
		if err := step(ctx, state.PID); err != nil {
			failed = err
			continue
		}
		if code, ended := x.within(ctx, endTime); ended {
			return map[string]any{"killed": true, "exit_code": code}
		}
	}
	reason := "it does not end"
	if failed != nil {
		reason = failed.Error()
	}
	return map[string]any{"killed": false, "not_killed": reason}
}

// begun is the state of a command that has a process, or none any more: one that
// the engine has just been told to start can be sent nothing yet.
func (x *Exec) begun(ctx context.Context) (commandState, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		state, err := x.inspect(ctx)
		if err != nil || state.ended() || state.Running && state.PID > 0 {
			return state, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return state, errors.New("it has not begun")
		}
	}
}

// within waits for the command's end.
func (x *Exec) within(ctx context.Context, d time.Duration) (code int64, ended bool) {
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		if state, err := x.inspect(ctx); err == nil && state.ended() {
			return *state.ExitCode, true
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return 0, false
}

// hangUp is what is left where no signal can be sent: the keys that end a
// program at a terminal, and the end of its input.
func (x *Exec) hangUp(context.Context, int) error {
	if !x.input || x.conn == nil {
		return errors.New("it can neither be signaled nor does it read")
	}
	_ = x.conn.SetWriteDeadline(time.Now().Add(endTime))
	if x.tty {
		_, _ = x.conn.Write([]byte("\x03\x04"))
	}
	if c, ok := x.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	return nil
}

func (x *Exec) send(s syscall.Signal) func(context.Context, int) error {
	return func(ctx context.Context, pid int) error { return x.signal(ctx, pid, s) }
}

// signal reaches the command by its process id: from this host, or where the
// agent has not got the right, from within its container.
func (x *Exec) signal(ctx context.Context, pid int, s syscall.Signal) error {
	if pid <= 0 || !inContainer(pid, x.container) {
		return errors.New("the engine's processes are not this host's")
	}
	err := syscall.Kill(pid, s)
	if !errors.Is(err, syscall.EPERM) {
		return ignoreGone(err)
	}
	inner, err := innerPID(pid)
	if err != nil {
		return err
	}
	_, err = ask(ctx, x.engine, "kill the command", func(ctx context.Context, api *client.Client) (any, error) {
		created, err := api.ContainerExecCreate(ctx, x.container, container.ExecOptions{User: "0", Cmd: []string{"kill", fmt.Sprintf("-%d", s), inner}})
		if err != nil {
			return nil, err
		}
		return nil, api.ContainerExecStart(ctx, created.ID, container.ExecStartOptions{Detach: true}) // fails where there is no such program
	})
	return err
}

func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// inContainer reports whether a process of this host belongs to the container:
// an engine elsewhere counts other processes.
func inContainer(pid int, id string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && strings.Contains(string(b), id)
}

// innerPID is how the container itself calls a process.
func innerPID(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	for l := range strings.Lines(string(b)) {
		if ids, ok := strings.CutPrefix(l, "NSpid:"); ok {
			if f := strings.Fields(ids); len(f) > 1 {
				return f[len(f)-1], nil
			}
		}
	}
	return "", errors.New("the command has no process id of its container's own")
}
