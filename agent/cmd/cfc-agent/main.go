// Command cfc-agent is the agent of Crossbar.io Fabric Center, which runs
// beside one node. See package cli for its commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"fabric.center/cfc/agent/cli"
	"fabric.center/cfc/agent/crossbar/adopt"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly stop; from then on a second one has
	// its usual effect and ends the process at once.
	context.AfterFunc(ctx, stop)
	app := cli.App{Version: version, In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Units: adopt.SystemUnits}
	os.Exit(app.Main(ctx, os.Args[1:]))
}
