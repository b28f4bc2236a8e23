// Package host tells about the processes of this machine: what the agent
// must know to be sure that a pid still is the process that it was.
//
// A pid alone names nothing for long, so a process is a pid and the moment at
// which it started; a zombie counts as gone.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/process"
	"golang.org/x/sys/unix"
)

// clockSlack is how far two readings of one process' start may differ.
const clockSlack = 2 * time.Second

// ErrNoProcess is the error where there is no such process, or only a zombie.
var ErrNoProcess = errors.New("no such process")

// Process is one process, for good.
type Process struct {
	PID int `json:"pid"`
	// Started is by the clock, and moves when that is set: the kernel counts from
	// the boot on.
	Started time.Time `json:"started"`
	// Birth is the same moment as nobody can set it: the boot, and the kernel's
	// ticks since. Empty where an agent before this field has written it down.
	Birth string `json:"birth,omitempty"`
}

// Find is the living process with this pid.
func Find(ctx context.Context, pid int) (Process, error) {
	p, started, err := open(ctx, pid)
	if err != nil {
		return Process{}, err
	}
	status, err := p.StatusWithContext(ctx)
	if err != nil || slices.Contains(status, process.Zombie) {
		return Process{}, gone(pid, err)
	}
	birth, err := birth(pid)
	if err != nil {
		return Process{}, gone(pid, err)
	}
	return Process{PID: pid, Started: started, Birth: birth}, nil
}

// birth is the boot's id and when the process started, in ticks since.
func birth(pid int) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) { // a sandbox may have none
		return "", err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The 22nd field; the second, in brackets, is a name with anything in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat is %.100q", pid, stat)
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[19], nil
}

func open(ctx context.Context, pid int) (*process.Process, time.Time, error) {
	if pid <= 0 {
		return nil, time.Time{}, gone(pid, nil)
	}
	p, err := process.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return nil, time.Time{}, gone(pid, err)
	}
	ms, err := p.CreateTimeWithContext(ctx)
	if err != nil {
		return nil, time.Time{}, gone(pid, err)
	}
	return p, time.UnixMilli(ms), nil
}

func gone(pid int, err error) error {
	if err == nil || errors.Is(err, process.ErrorProcessNotRunning) || strings.Contains(err.Error(), "no such") {
		return fmt.Errorf("pid %d: %w", pid, ErrNoProcess)
	}
	return fmt.Errorf("cannot look at pid %d: %w", pid, err)
}

// Alive reports whether exactly this process still runs. One that cannot be
// looked at just now does, for all that is known.
func (p Process) Alive(ctx context.Context) bool {
	runs, err := p.runs(ctx)
	return runs || err != nil
}

func (p Process) runs(ctx context.Context) (bool, error) {
	now, err := Find(ctx, p.PID)
	switch {
	case errors.Is(err, ErrNoProcess):
		return false, nil
	case err != nil:
		return false, err
	case p.Birth == "":
		return now.Started.Sub(p.Started).Abs() <= clockSlack, nil
	}
	return now.Birth == p.Birth, nil
}

// Cmdline is its argument list.
func (p Process) Cmdline(ctx context.Context) ([]string, error) {
	h, _, err := open(ctx, p.PID)
	if err != nil {
		return nil, err
	}
	return h.CmdlineSliceWithContext(ctx)
}

// Children are its living child processes.
func (p Process) Children(ctx context.Context) ([]Process, error) {
	all, err := byParent(ctx)
	if err != nil {
		return nil, err
	}
	var children []Process
	for _, pid := range all[p.PID] {
		if child, err := Find(ctx, pid); err == nil {
			children = append(children, child)
		}
	}
	return children, nil
}

// Descendants are its living child processes, and theirs, and so on: all that
// has not outlived the one who started it.
func (p Process) Descendants(ctx context.Context) ([]Process, error) {
	children, err := byParent(ctx)
	if err != nil {
		return nil, err
	}
	var found []Process
	for next := children[p.PID]; len(next) > 0; next = next[1:] {
		if d, err := Find(ctx, next[0]); err == nil {
			found = append(found, d)
		}
		next = append(next, children[next[0]]...)
	}
	return found, nil
}

// byParent are the pids of all processes, by those who have started them.
func byParent(ctx context.Context) (map[int][]int, error) {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	children := map[int][]int{}
	for _, pid := range pids {
		h, err := process.NewProcessWithContext(ctx, pid)
		if err != nil {
			continue // gone meanwhile
		}
		if parent, err := h.PpidWithContext(ctx); err == nil {
			children[int(parent)] = append(children[int(parent)], int(pid))
		}
	}
	return children, nil
}

// WorksIn reports whether the directory is the process' working directory; false
// where that cannot be seen.
func (p Process) WorksIn(dir string) bool {
	want, err := os.Stat(dir)
	if err != nil {
		return false
	}
	at, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", p.PID))
	return err == nil && os.SameFile(want, at)
}

// Service is the systemd service that the process belongs to, empty where it
// is none's.
func (p Process) Service() string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID))
	if err != nil {
		return ""
	}
	return serviceOf(string(b))
}

// serviceOf finds it in the text of a process' cgroup file. A service is the
// innermost one: that of a person's own manager is below user@….service.
func serviceOf(cgroups string) string {
	for line := range strings.Lines(cgroups) {
		hierarchy := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(hierarchy) != 3 || hierarchy[1] != "" && hierarchy[1] != "name=systemd" {
			continue
		}
		parts := strings.Split(hierarchy[2], "/")
		for i := len(parts) - 1; i >= 0; i-- {
			switch {
			case strings.HasSuffix(parts[i], ".service"):
				return parts[i]
			case strings.HasSuffix(parts[i], ".scope"), strings.HasSuffix(parts[i], ".slice"):
				return "" // a log-in, a container, nothing of that kind
			}
		}
	}
	return ""
}

// ChildOf reports whether it descends from ancestor.
func (p Process) ChildOf(ctx context.Context, ancestor int) bool {
	for pid := p.PID; pid > 1; {
		h, err := process.NewProcessWithContext(ctx, int32(pid))
		if err != nil {
			return false
		}
		parent, err := h.PpidWithContext(ctx)
		if err != nil {
			return false
		}
		if int(parent) == ancestor {
			return true
		}
		pid = int(parent)
	}
	return false
}

// Kill ends exactly this process, at once. One that is gone is no error.
func (p Process) Kill(ctx context.Context) error {
	return p.Signal(ctx, unix.SIGKILL)
}

// Signal sends a signal to exactly this process. One that is gone is no error.
func (p Process) Signal(ctx context.Context, sig unix.Signal) error {
	runs, err := p.runs(ctx)
	if err != nil {
		return fmt.Errorf("cannot signal pid %d: %w", p.PID, err)
	}
	if !runs {
		return nil
	}
	if err := unix.Kill(p.PID, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot signal pid %d: %w", p.PID, err)
	}
	return nil
}

// LeadsGroup reports whether the process leads a process group.
func (p Process) LeadsGroup() bool {
	pgid, err := unix.Getpgid(p.PID)
	return err == nil && pgid == p.PID
}

// Group are the living processes of a process group.
func Group(ctx context.Context, pgid int) ([]Process, error) {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var group []Process
	for _, pid := range pids {
		if g, err := unix.Getpgid(int(pid)); err != nil || g != pgid {
			continue
		}
		if p, err := Find(ctx, int(pid)); err == nil {
			group = append(group, p)
		}
	}
	return group, nil
}
