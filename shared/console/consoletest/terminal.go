// Package consoletest gives tests a terminal: programs behave differently at one,
// so what people see there is shown on a pseudo terminal of the kernel (pty(7)).
package consoletest

import (
	"errors"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo terminal: what is typed on person comes out of program,
// and what program shows, or a terminal would echo, can be read from person. Both
// are closed when the test ends; each may be closed before.
func Terminal(t testing.TB) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	var n int
	control(t, person, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// Settings are the modes that the terminal is in.
func Settings(t testing.TB, f *os.File) (s unix.Termios) {
	t.Helper()
	control(t, f, func(fd int) error {
		p, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			s = *p
		}
		return err
	})
	return s
}

// Resize gives the terminal another size; who works at it gets SIGWINCH.
func Resize(t testing.TB, f *os.File, rows, cols uint16) {
	t.Helper()
	control(t, f, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
}

// control leaves the file as it is, where Fd would have its reads block for ever.
func control(t testing.TB, f *os.File, do func(fd int) error) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil || failed != nil {
		t.Fatal(errors.Join(err, failed))
	}
}
