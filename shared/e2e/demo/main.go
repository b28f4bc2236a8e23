// Command demo is `make run`; see fleet.Demo.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"fabric.center/cfc/shared/e2e/fleet"
)

func main() {
	port := flag.String("port", "8080", "port of the relay on 127.0.0.1")
	dir := flag.String("dir", ".run", "directory of everything, removed at the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends it at once; the next start clears up
	if err := run(ctx, *dir, *port); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, port string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	n, err := fleet.Port(port)
	if err != nil {
		return err
	}
	return (&fleet.Demo{Dir: abs, Port: n, Out: os.Stdout}).Run(ctx)
}
