package fleet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process has to end in order before it is killed. An
// agent that supervises its node waits for the node's own orderly end.
const stopGrace = 45 * time.Second

// Command is a program to start.
type Command struct {
	Name  string // names its log and pid files
	Path  string
	Args  []string
	Env   []string // beside the environment of this process
	Dir   string   // working directory
	Stdin io.Reader
	Files []*os.File // inherited from descriptor 3 on
	Home  string     // the fleet's directory: log/NAME.log and pid/NAME.pid are below it
}

// Proc is a running program that leads its own process group.
type Proc struct {
	Name string

	cmd  *exec.Cmd
	log  string
	pid  string
	done chan struct{}

	mu  sync.Mutex
	err error
}

// Start starts a program. What it prints is appended to its log file.
func Start(c Command) (*Proc, error) {
	for _, d := range []string{"log", "pid"} {
		if err := os.MkdirAll(filepath.Join(c.Home, d), 0o700); err != nil {
			return nil, fmt.Errorf("cannot start %s: %w", c.Name, err)
		}
	}
	p := &Proc{Name: c.Name, log: filepath.Join(c.Home, "log", c.Name+".log"), pid: filepath.Join(c.Home, "pid", c.Name+".pid"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", c.Name, err)
	}
	defer out.Close()
	p.cmd = exec.Command(c.Path, c.Args...) //nolint:noctx // it lives until Stop or Kill, whatever context started it
	p.cmd.Dir, p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.Dir, c.Stdin, out, out
	p.cmd.ExtraFiles = c.Files
	p.cmd.Env = append(clean(os.Environ()), append(c.Env, marker+"="+c.Home)...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", c.Name, err)
	}
	if err := os.WriteFile(p.pid, fmt.Appendf(nil, "%d\n", p.PID()), 0o600); err != nil {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
		return nil, fmt.Errorf("cannot start %s: %w", c.Name, err)
	}
	go func() {
		err := p.cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		os.Remove(p.pid)
		close(p.done)
	}()
	return p, nil
}

// clean drops variables that would point the product at another place.
func clean(env []string) []string {
	var kept []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "CFC_") && !strings.HasPrefix(kv, "CROSSBAR_") {
			kept = append(kept, kv)
		}
	}
	return kept
}

// PID is the process, and its group.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and was awaited.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Err is how the process ended: nil for exit code 0.
func (p *Proc) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Signal sends a signal to the process alone.
func (p *Proc) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot signal %s: %w", p.Name, err)
	}
	return nil
}

// Kill is kill -9 of the process alone, awaited.
func (p *Proc) Kill() error {
	err := p.Signal(syscall.SIGKILL)
	<-p.done
	return err
}

// Stop ends the process in order (SIGTERM), then by force with its group.
func (p *Proc) Stop() error {
	if !p.Running() {
		return nil
	}
	_ = p.Signal(syscall.SIGCONT)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	t := time.NewTimer(stopGrace)
	defer t.Stop()
	select {
	case <-p.done:
		return nil
	case <-t.C:
	}
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.done
	return fmt.Errorf("cannot stop %s in order: it did not end within %s and was killed", p.Name, stopGrace)
}

// Log is all that the program has printed, in this and earlier runs.
func (p *Proc) Log() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Tail is the last n lines of Log.
func (p *Proc) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(p.Log(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Alarms are the lines in the logs of the fleet in home that tell of a defect
// which nobody may have noticed: a panic, a data race of programs built with
// the race detector.
func Alarms(home string) []string {
	logs, err := filepath.Glob(filepath.Join(home, "log", "*.log"))
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			found = append(found, err.Error())
		}
		for line := range strings.Lines(string(b)) {
			for _, sign := range []string{"panic", "DATA RACE", "fatal error: ", `"level":"dpanic"`} {
				if strings.Contains(line, sign) {
					found = append(found, filepath.Base(path)+": "+strings.TrimSpace(line))
				}
			}
		}
	}
	return found
}
