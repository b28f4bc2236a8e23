package cli

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"fabric.center/cfc/shared/wire"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal: what is typed on keyboard comes out of tty,
// and what a terminal would echo can be read from keyboard.
func terminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

func settings(t *testing.T, tty *os.File) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

func setSize(t *testing.T, tty *os.File, rows, cols uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		t.Fatal(err)
	}
}

// Wherever in the arguments a token stands: nothing happens, and it is not
// repeated.
func TestTokenInTheArguments(t *testing.T) {
	token := newToken(t, wire.ForUser)
	mistyped := strings.ToUpper(token[5:])
	for _, arg := range []string{token, "--token=" + token, "cfcu_" + mistyped, "x" + token, token[:30]} {
		for _, line := range []string{"login " + newRelay, "", "call com.example.f", "token rm", "node", "login " + newRelay + " --token"} {
			r := newRig(t)
			if text := r.bad(2, "a token is never given as an argument", append(strings.Fields(line), arg)...); strings.Contains(text, arg) {
				t.Errorf("cfc %s: the token is shown", line)
			}
			if len(r.joins) > 0 {
				t.Errorf("cfc %s: the relay was asked", line)
			}
		}
	}
	r := newRig(t)
	r.answers = answersOfAll()
	r.good("token", "rm", "abcdefgh")
}
