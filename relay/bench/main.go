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
	"os"
	"os/signal"
	"time"
)

func main() {
	role := flag.String("role", "", "internal: nexus, relay or callee")
	url := flag.String("url", "", "internal: where the callee connects")
	ser := flag.String("serializer", "cbor", "internal: of the callee")
	rounds := flag.Int("rounds", 5, "how often each contestant runs")
	each := flag.Duration("each", 1500*time.Millisecond, "how long each measurement takes")
	size := flag.Int("payload", 256, "bytes of payload in each direction")
	profile := flag.String("profile", "", "write CPU profiles of the routers into this directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch *role {
	case "nexus":
		err = serveNexus(ctx, os.Stdin)
	case "relay":
		err = serveRelay(ctx, os.Stdin, *profile)
	case "callee":
		err = serveCallee(ctx, os.Stdin, *url, *ser)
	default:
		err = measure(ctx, plan{rounds: *rounds, each: *each, size: *size, profile: *profile})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
