//go:build !unix

package cli

import (
	"context"
	"errors"
	"io"
	"os"
)

type rawMode struct{}

func (x *remoteExec) atTerminal(context.Context, *os.File) error {
	return errors.New("cannot run a command at this terminal: that needs a Unix system")
}

func (x *remoteExec) guard(f func() error) error { return f() }

func interruptible(_ context.Context, in io.Reader) (func([]byte) (int, error), func(), error) {
	return in.Read, func() {}, nil
}
