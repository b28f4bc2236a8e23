// Command cfc is the operator's command line; see package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"fabric.center/cfc/relay/cli"
)

var version = "dev" // set when built

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(cli.OS(version).Run(ctx, os.Args[1:]))
}
