package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"fabric.center/cfc/shared/console"
	"fabric.center/cfc/shared/wire"
)

// tokenLike finds tokens, the mistyped included, in an argument.
var tokenLike = regexp.MustCompile(`cfc[unt]_[A-Za-z0-9]{4,}_[A-Za-z0-9]{10}`)

var errTokenArgument = usagef("a token is never given as an argument, which others on this machine can read: "+
	"use a file, %s, the terminal or standard input; and make a new one, if this was a good one", envToken)

func holdsToken(arg string) bool { return tokenLike.MatchString(arg) }

// givenToken is the token that was given without asking, or asked for where a
// new key needs one; empty where the key may be known already.
func (l *login) givenToken(ctx context.Context) (string, error) {
	switch {
	case l.tokenFile == "-":
		return l.readToken(ctx)
	case l.tokenFile != "":
		return console.Wait(ctx.Done(), func() (string, error) {
			f, err := os.Open(l.tokenFile)
			if err != nil {
				return "", fmt.Errorf("cannot read token: %w", err)
			}
			defer f.Close()
			return readToken(f)
		})
	case l.Getenv(envToken) != "":
		return userToken(l.Getenv(envToken))
	case l.made:
		return l.askToken(ctx)
	}
	return "", nil
}

func (l *login) askToken(ctx context.Context) (string, error) {
	if l.ReadSecret == nil {
		return l.readToken(ctx)
	}
	text, err := l.ReadSecret("Token (one-time, not shown): ")
	if err != nil {
		return "", fmt.Errorf("cannot read token: %w", err)
	}
	return userToken(text)
}

// readToken reads standard input, for which Ctrl-C does not wait.
func (l *login) readToken(ctx context.Context) (string, error) {
	return console.Wait(ctx.Done(), func() (string, error) { return readToken(l.Stdin) })
}

func readToken(r io.Reader) (string, error) {
	line, err := console.FirstLine(r)
	if err != nil {
		return "", fmt.Errorf("cannot read token: %w", err)
	}
	return userToken(line)
}

// userToken tells typing errors from what only the relay can know; no error
// quotes the token.
func userToken(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", usagef("a token is needed, and none was given: the relay does not know this key yet")
	}
	t, err := wire.ParseToken(text)
	switch {
	case err != nil:
		return "", usagef("the token is %s", err)
	case t.Purpose == wire.ForNode:
		return "", usagef("that token pairs a node: hand it to cfc-agent pair")
	case t.Purpose == wire.ForTicket:
		return "", usagef("that is a ticket for scripts: it logs in a WAMP client, not a person")
	}
	return t.Secret(), nil
}
