package crossbar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"fabric.center/cfc/agent/host"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	recordFile = "node-process.json"
	lockFile   = ".cfc-node.lock"
	pidFile    = "node.pid" // Crossbar.io's own
)

// running is a node's controller process. A child is waited for by asking the
// kernel now and then, an adopted one by looking at it: so no goroutine has to
// outlive the supervisor when the node does.
type running struct {
	host.Process
	child   bool
	adopted bool
	since   time.Time
	killed  bool // and did not end of it
	// unwanted says that it is not to be started again when it ends: somebody has
	// asked for its stop.
	unwanted bool
}

// record is the file that tells the next run of the agent which process is
// the node.
type record struct {
	Version int          `json:"version"`
	Process host.Process `json:"process"`
	Dir     string       `json:"dir"`
}

// launch starts the node in its own process group. What it writes goes
// straight to the file: a pipe to the agent would break when the agent ends.
// The lock is inherited, and so held for as long as the controller lives.
func (s *Supervisor) launch(ctx context.Context) (*running, error) {
	lock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	// With the lock taken and no node found it is a dead one's; the node would
	// refuse to start if its number were another Crossbar.io's by now.
	if err := os.Remove(filepath.Join(s.cfg.Dir, pidFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot start the node: %w", err)
	}
	out, err := os.OpenFile(s.cfg.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the node's log: %w", err)
	}
	defer out.Close()
	// Its life is its own: that of no call, and not even the agent's.
	c := exec.CommandContext(context.WithoutCancel(ctx), s.cfg.Executable, "edge", "start", "--cbdir", s.cfg.Dir, "--color", "false")
	c.Dir = s.cfg.Dir
	c.Env = nodeEnv(os.Environ())
	c.Stdout, c.Stderr = out, out
	c.ExtraFiles = []*os.File{lock}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the node: %w", err)
	}
	p, err := host.Find(ctx, c.Process.Pid)
	if errors.Is(err, host.ErrNoProcess) { // ended already: reaped like any other
		p, err = host.Process{PID: c.Process.Pid, Started: time.Now()}, nil
	}
	if err != nil {
		_ = c.Process.Kill()
		return nil, errors.Join(err, c.Wait())
	}
	s.keep(p)
	return &running{Process: p, child: true, since: time.Now()}, nil
}

// lock takes the directory for one node. It fails while any node that was
// started this way lives, whoever still knows of it.
func (s *Supervisor) lock() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot start the node: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start the node: another one runs in %s", s.cfg.Dir), f.Close())
	}
	return f, nil
}

func (s *Supervisor) keep(p host.Process) {
	b, err := json.Marshal(record{Version: 1, Process: p, Dir: s.cfg.Dir})
	if err == nil {
		err = durable.WriteFile(s.recordPath(), b, 0o600)
	}
	if err != nil { // Crossbar.io's own pid file will do
		s.log.Warn("cannot record the node's process: " + err.Error())
	}
}

func (s *Supervisor) recordPath() string {
	dir := s.cfg.StateDir
	if dir == "" {
		dir = s.cfg.Dir
	}
	return filepath.Join(dir, recordFile)
}

// find is a node that runs in the directory already: the one that an earlier
// run of the agent started, or any other that left its pid file.
func (s *Supervisor) find(ctx context.Context) *running {
	if b, err := durable.ReadFile(s.recordPath()); err == nil {
		var r record
		if json.Unmarshal(b, &r) == nil && r.Dir == s.cfg.Dir && r.Process.Alive(ctx) && isNode(ctx, r.Process) {
			return &running{Process: r.Process, adopted: true, since: r.Process.Started}
		}
	}
	if p, found := Running(ctx, s.cfg.Dir); found {
		s.keep(p) // the pid file tells it from others by the clock alone, which may be set
		return &running{Process: p, adopted: true, since: p.Started}
	}
	return nil
}

// Running is the node that runs in the directory, however it was started, by
// the pid file that it has left.
func Running(ctx context.Context, dir string) (host.Process, bool) {
	path := filepath.Join(dir, pidFile)
	b, err := durable.ReadFile(path)
	if err != nil {
		return host.Process{}, false
	}
	var content struct {
		PID int `json:"pid"`
	}
	info, err := os.Stat(path)
	if err != nil || json.Unmarshal(b, &content) != nil {
		return host.Process{}, false
	}
	p, err := host.Find(ctx, content.PID)
	if err != nil || !isNode(ctx, p) {
		return host.Process{}, false
	}
	// One that started after the file was written is another one, or the clock was
	// set since: then what it works on tells.
	if p.Started.After(info.ModTime().Add(2*time.Second)) && !serves(ctx, p, dir) {
		return host.Process{}, false
	}
	return p, true
}

// serves reports whether a node is seen to be that of the directory: its workers
// work there, and itself where it was started so.
func serves(ctx context.Context, node host.Process, dir string) bool {
	workers, err := node.Children(ctx)
	return err == nil && slices.ContainsFunc(append(workers, node), func(p host.Process) bool { return p.WorksIn(dir) })
}

// isNode reports whether the process looks like a Crossbar.io controller.
func isNode(ctx context.Context, p host.Process) bool {
	args, err := p.Cmdline(ctx)
	return err == nil && len(args) > 0 && (strings.HasPrefix(args[0], "crossbar-controller") || len(args) > 1 && strings.Contains(args[1], "crossbar"))
}

// ended reports whether the process is gone, and how, as far as can be told.
func (r *running) ended(ctx context.Context) (how string, gone bool) {
	if !r.child {
		return "ended", !r.Alive(ctx)
	}
	var ws unix.WaitStatus
	pid, err := unix.Wait4(r.PID, &ws, unix.WNOHANG, nil)
	switch {
	case errors.Is(err, unix.EINTR):
		return "", false
	case err != nil:
		return "ended", true
	case pid == 0:
		return "", false
	case ws.Signaled():
		return "killed by " + unix.SignalName(ws.Signal()), true
	}
	return fmt.Sprintf("exit code %d", ws.ExitStatus()), true
}

// lastWords is the last line of the node's log: why it ended soon after it was
// started.
func (s *Supervisor) lastWords() string {
	f, err := os.Open(s.cfg.LogFile)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	b := make([]byte, min(info.Size(), 4096))
	if _, err := f.ReadAt(b, info.Size()-int64(len(b))); err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return plain(lines[len(lines)-1])
}

// stop ends the node in order: SIGINT, and after the grace its whole group. One
// that hangs in the kernel ends of nothing until the kernel lets it go, for which
// nobody can wait.
func (s *Supervisor) stop(ctx context.Context, r *running) (how string, err error) {
	grace := s.cfg.StopTimeout
	if r.killed { // in vain the last time
		grace = 0
	} else if _, gone := r.ended(ctx); !gone {
		_ = r.Signal(ctx, unix.SIGINT)
	}
	patience := time.NewTimer(grace)
	defer patience.Stop()
	tick := time.NewTicker(processPoll)
	defer tick.Stop()
	for killed, late := false, false; ; {
		if how, gone := r.ended(ctx); gone {
			s.sweep(ctx, r)
			return how, nil
		}
		if late {
			return "", s.stuck(r)
		}
		select {
		case <-tick.C:
			continue
		case <-patience.C:
		}
		if late = killed; !killed {
			s.log.Warn("the node does not end, killed with all its processes")
			s.cfg.kill(ctx, r)
			killed, r.killed = true, true
			patience.Reset(s.cfg.KillWait)
		}
	}
}

// stuck tells that the node's process does not end of being killed.
func (s *Supervisor) stuck(r *running) error {
	err := cfcerr.New(cfcerr.CannotStop, "cannot stop the node: its process %d was killed and has not ended, it hangs in the kernel (on a disk that does not answer, for example)", r.PID)
	s.set(func(st *Status) { st.State, st.LastEnd = "stuck", err.Error() })
	s.log.Error("node does not end", zap.Int("pid", r.PID), zap.Error(err))
	return err
}

// kill ends the node with all its processes, at once.
func kill(ctx context.Context, r *running) {
	if r.LeadsGroup() { // its group id is safe while the leader lives
		_ = unix.Kill(-r.PID, unix.SIGKILL)
	}
	_ = r.Kill(ctx)
}

// sweep ends what is left of the node's group: workers that outlive the
// controller, children of guests. Only processes from before its end belong to
// it, the group's number could be another's by now.
func (s *Supervisor) sweep(ctx context.Context, r *running) {
	defer s.clearPidFile(r)
	end := time.Now().Add(time.Second)
	for began := time.Now(); ; {
		group, err := host.Group(ctx, r.PID)
		if err != nil {
			s.log.Warn("cannot look for what the node has left: " + err.Error())
			return
		}
		left := 0
		for _, p := range group {
			if p.Started.After(end) {
				continue
			}
			left++
			if time.Since(began) > s.cfg.SweepAfter {
				_ = p.Kill(ctx)
			}
		}
		if left == 0 || time.Since(began) > 2*s.cfg.SweepAfter+time.Second {
			return
		}
		time.Sleep(processPoll)
	}
}

// clearPidFile removes the node's pid file when it could not itself.
func (s *Supervisor) clearPidFile(r *running) {
	path := filepath.Join(s.cfg.Dir, pidFile)
	b, err := durable.ReadFile(path)
	var content struct{ PID int }
	if err != nil || json.Unmarshal(b, &content) != nil || content.PID != r.PID {
		return
	}
	if err := os.Remove(path); err != nil {
		s.log.Warn("cannot remove the pid file of a node that is gone: " + err.Error())
	}
}
