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
	// hangUp is how long a command has to end by itself when its terminal or
	// its input has gone.
	hangUp = time.Second
)

// kill ends the command, which the engine has no call for: a command goes on
// when nobody is attached any more. Its end is told as a stream's details.
func (x *Exec) kill(ctx context.Context) map[string]any {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGKILL} {
		state, err := x.inspect(ctx)
		switch {
		case err != nil:
			return map[string]any{"killed": false, "reason": err.Error()}
		case !state.Running:
			return map[string]any{"killed": s == syscall.SIGKILL, "exit_code": int64(state.ExitCode)}
		}
		if err := x.signal(ctx, state.Pid, s); err != nil {
			return map[string]any{"killed": false, "reason": err.Error()}
		}
		for end := time.Now().Add(hangUp); time.Now().Before(end) && ctx.Err() == nil; {
			if state, err := x.inspect(ctx); err == nil && !state.Running {
				return map[string]any{"killed": true, "exit_code": int64(state.ExitCode)}
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return map[string]any{"killed": false, "reason": "it does not end"}
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
		return nil, api.ContainerExecStart(ctx, created.ID, container.ExecStartOptions{Detach: true})
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
