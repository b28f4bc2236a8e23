// Package console asks a person for what must not be seen, and shows what
// other machines say so that it does nothing but stand there.
package console

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/term"
)

// Secret has the terminal in raw mode, where Ctrl-C is a key like others: no
// signal can end the program while the echo is off. Ctrl-C and Ctrl-D are
// context.Canceled.
func Secret(in *os.File, out io.Writer, prompt string) (string, error) {
	fd := int(in.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	text, err := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "").ReadPassword(prompt)
	if errors.Is(err, io.EOF) {
		err = context.Canceled
	}
	return text, errors.Join(err, term.Restore(fd, state))
}
