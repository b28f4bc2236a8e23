// Command bench measures a remote call on its whole way, client → relay → agent
// → Crossbar.io node, against the same call on the way that Crossbar.io itself
// offers: client → its master → the same kind of node.
//
// Both fleets run all the time, each node with one router worker; one client
// library, serializer, procedure and log-in method is used with both, and they
// take turns, round by round, each round in the other order. The master is the
// installed Crossbar.io package, told by its configuration alone to leave out
// what it does not start without: an Ethereum gateway and a download.
//
// It prints a Markdown table: medians over the rounds with their ranges, the
// ratios, and what the agent takes of memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fabric.center/cfc/shared/e2e/fleet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	var p plan
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&p.rounds, "rounds", 7, "how often each contestant runs")
	flags.DurationVar(&p.each, "each", 2*time.Second, "how long each measurement takes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "cfc-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if _, left := fleet.Reap(after, home, 10*time.Second); left != nil {
			err = errors.Join(err, left)
		}
	}()
	ours, err := startOurs(ctx, home)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.stop()) }()
	theirs, err := startMaster(ctx, home)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theirs.stop()) }()
	return p.measure(ctx, ours, theirs, out, progress)
}
