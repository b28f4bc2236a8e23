package docker

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/console/consoletest"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal at which a command runs.
type terminal struct {
	t        *testing.T
	keyboard *os.File // and the screen
	tty      *os.File
	before   unix.Termios
	cmd      *exec.Cmd
	done     chan error

	mu    sync.Mutex
	shown strings.Builder
}

// at starts a command as the leader of a session at a terminal of its own.
func at(t *testing.T, cmd *exec.Cmd, rows, cols uint16) *terminal {
	t.Helper()
	p := &terminal{t: t, cmd: cmd, done: make(chan error, 1)}
	p.keyboard, p.tty = consoletest.Terminal(t)
	consoletest.Resize(t, p.keyboard, rows, cols)
	p.before = consoletest.Settings(t, p.tty)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.tty, p.tty, p.tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var screen sync.WaitGroup
	screen.Go(p.watch)
	ended := make(chan struct{})
	go func() { p.done <- cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		p.tty.Close()
		screen.Wait()
		p.keyboard.Close()
	})
	return p
}

// watch keeps what is shown, until nobody has the terminal open any more.
func (p *terminal) watch() {
	b := make([]byte, 4096)
	for {
		n, err := p.keyboard.Read(b)
		p.mu.Lock()
		p.shown.Write(b[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *terminal) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.String()
}

// sees waits until a text is shown.
func (p *terminal) sees(what string) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(p.text(), what); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("waited in vain for %q; shown is %q", what, p.text())
		}
	}
}

func (p *terminal) types(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.keyboard, text); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits for the command, and sees that the terminal is as it was.
func (p *terminal) ends(exit int) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(40 * time.Second):
		p.t.Fatalf("the command does not end; shown is %q", p.text())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != exit {
		p.t.Errorf("exit code %d, want %d; shown is %q", got, exit, p.text())
	}
	if consoletest.Settings(p.t, p.tty) != p.before {
		p.t.Errorf("the terminal is left in another mode; shown is %q", p.text())
	}
}

func TestExecAtTheTerminal(t *testing.T) {
	s := newStage(t)
	s.box("web", "wait")

	t.Run("size, keys and exit status", func(t *testing.T) {
		p := at(t, s.cfc("docker", "exec", "-it", "n1", "web", "--", "/box", "size"), 30, 100)
		p.sees("100 30\r\n")
		consoletest.Resize(t, p.keyboard, 50, 132)
		p.sees("132 50\r\n")
		p.types("\x03") // the command's, not cfc's
		p.ends(0)
	})
	t.Run("what is typed comes back once", func(t *testing.T) {
		p := at(t, s.cfc("docker", "exec", "-it", "n1", "web", "/box", "cat"), 24, 80)
		p.types("grün\r")
		p.sees("grün\r\ngrün\r\n") // echoed there, and written by cat
		p.types("\x04")
		p.ends(0)
	})
	t.Run("a status is passed on", func(t *testing.T) {
		at(t, s.cfc("docker", "exec", "-it", "n1", "web", "/box", "exit", "42"), 24, 80).ends(42)
	})
	t.Run("a refusal leaves the terminal alone", func(t *testing.T) {
		p := at(t, s.cfc("docker", "exec", "-it", "n1", "nobody", "/box"), 24, 80)
		p.ends(5)
		p.sees("cfc: cannot ")
	})
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run("ended by "+signal.String(), func(t *testing.T) {
			p := at(t, s.cfc("docker", "exec", "-it", "n1", "web", "/box", "cat"), 24, 80)
			p.types("x\r")
			p.sees("x\r\nx\r\n")
			if err := p.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			p.ends(8)
			p.sees("cfc: cannot run docker exec: canceled")
			if n := s.commands("web"); n != 0 {
				t.Errorf("%d commands are left in the container", n)
			}
		})
	}
	t.Run("ended twice, while nothing answers", func(t *testing.T) {
		p := at(t, s.cfc("docker", "exec", "-it", "n1", "web", "/box", "cat"), 24, 80)
		p.types("x\r")
		p.sees("x\r\nx\r\n")
		if err := s.Relay.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Relay.Signal(syscall.SIGCONT) }()
		for ended := false; !ended; {
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
			select {
			case err := <-p.done:
				ended = true
				p.done <- err
			case <-time.After(100 * time.Millisecond):
			}
		}
		p.ends(-1)
	})
	t.Run("ended with its engine", func(t *testing.T) {
		p := at(t, s.cfc("docker", "exec", "-it", "n1", "web", "/box", "cat"), 24, 80)
		p.types("x\r")
		p.sees("x\r\nx\r\n")
		s.engine.Kill()
		p.ends(13)
		p.sees("Docker is not available")
		s.engine.Restart()
	})
}
