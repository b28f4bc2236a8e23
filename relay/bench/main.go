// Command bench measures the relay's path of a call against a bare nexus
// router, in one run on one machine.
//
// Both contestants are processes of their own, as is the callee; this process
// is the caller. Client, callee, payload, deadline (CALL.Options.timeout) and
// disclosure of the caller are the same; clients and callee use nexus' own
// WebSocket transport with both. The relay's contestant is its real switch and
// transport; only the log-in is replaced by names in the URL, which cost
// nothing once a session stands. Contestants take turns, round by round.
//
// It prints a Markdown table: medians over the rounds with their ranges, and
// the relay's ratios to nexus.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	role := flags.String("role", "", "internal: nexus, relay or callee")
	url := flags.String("url", "", "internal: where the callee connects")
	ser := flags.String("serializer", "cbor", "internal: of the callee")
	rounds := flags.Int("rounds", 5, "how often each contestant runs")
	each := flags.Duration("each", 1500*time.Millisecond, "how long each measurement takes")
	size := flags.Int("payload", 256, "bytes of payload in each direction")
	profile := flags.String("profile", "", "write CPU profiles of the relay into this directory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch *role {
	case "nexus":
		return serveNexus(in, out)
	case "relay":
		return serveRelay(ctx, in, out, *profile)
	case "callee":
		return serveCallee(ctx, in, out, *url, *ser)
	}
	return plan{rounds: *rounds, each: *each, size: *size, profile: *profile, progress: progress}.measure(ctx, out)
}
