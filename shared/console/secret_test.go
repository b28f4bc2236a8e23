package console

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"fabric.center/cfc/shared/console/consoletest"
)

// typist types once the prompt is shown, which is when the terminal is ready.
type typist struct {
	strings.Builder
	keyboard *os.File
	text     string
}

func (p *typist) Write(b []byte) (int, error) {
	if p.text != "" {
		if _, err := p.keyboard.WriteString(p.text); err != nil {
			return 0, err
		}
		p.text = ""
	}
	return p.Builder.Write(b)
}

// echoed is what the terminal itself has shown.
func echoed(t *testing.T, keyboard, tty *os.File) string {
	t.Helper()
	if _, err := tty.WriteString("END"); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for b := make([]byte, 64); !strings.HasSuffix(all.String(), "END"); {
		n, err := keyboard.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b[:n])
	}
	return all.String()
}

func TestSecretIsNotEchoed(t *testing.T) {
	for _, tt := range []struct {
		typed, want string
		err         error
	}{{"hunter2\r", "hunter2", nil}, {"hunt\x7f\x7f\r", "hu", nil}, {"hunter2\x03", "", context.Canceled}, {"\x04", "", context.Canceled}} {
		keyboard, tty := consoletest.Terminal(t)
		before := consoletest.Settings(t, tty)
		shown := &typist{keyboard: keyboard, text: tt.typed}
		got, err := Secret(tty, shown, "Token: ")
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: got %q, %v", tt.typed, got, err)
		}
		if all := shown.String() + echoed(t, keyboard, tty); !strings.Contains(all, "Token: ") || strings.Contains(all, "hu") {
			t.Errorf("%q: shown %q", tt.typed, all)
		}
		if consoletest.Settings(t, tty) != before {
			t.Errorf("%q: the terminal is left in another mode", tt.typed)
		}
	}
	notATerminal, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer notATerminal.Close()
	if _, err := Secret(notATerminal, &strings.Builder{}, ""); err == nil {
		t.Error("a secret was read from no terminal")
	}
}
