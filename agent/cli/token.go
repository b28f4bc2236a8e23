package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/console"
	"golang.org/x/term"
)

const (
	tokenVariable = "CFC_TOKEN"
	longestToken  = 256
)

// errOnCommandLine is what somebody hears who gives the token away.
var errOnCommandLine = errors.New("a token is not taken from the command line, where every user of this host can read it (and the shell keeps it): " +
	"use --token-file, " + tokenVariable + ", standard input, or type it when asked; if it was a real one, revoke it")

// token reads the one-time token: from the file that was named, the
// environment, the terminal or standard input. Ctrl-C waits for none of them.
func (a *App) token(ctx context.Context, file string) (text string, err error) {
	switch {
	case file != "":
		text, err = console.Wait(ctx.Done(), func() (string, error) { return tokenFile(file) })
	case a.env(tokenVariable) != "":
		text = a.env(tokenVariable)
	case term.IsTerminal(int(a.In.Fd())):
		text, err = console.Secret(a.In, a.Err, "Token (one-time, not shown): ")
	default:
		text, err = console.Wait(ctx.Done(), func() (string, error) { return console.FirstLine(a.In) })
	}
	if errors.Is(err, context.Canceled) {
		return "", failed(cfcerr.New(cfcerr.Canceled, "not paired: no token was given"))
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	return given(text)
}

func tokenFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, longestToken))
	return string(b), err
}

func given(s string) (string, error) {
	if s = strings.TrimSpace(s); s == "" {
		return "", errors.New("no token given: it comes from --token-file, " + tokenVariable + ", the terminal or standard input; " +
			"--no-token is for a key that the relay knows already")
	}
	return s, nil
}
