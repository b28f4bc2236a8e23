package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests of a package that share a fleet below home: start builds
// it, stop ends it, when it was built in part too, and is told whether all tests
// passed. The package fails as well when a process, a goroutine or an alarm in a
// log is left; then words are shown. What it gives is the exit code.
func Main(ctx context.Context, tests interface{ Run() int }, bound time.Duration, start func(ctx context.Context, home string) error, stop func(passed bool) error, words func() string) (code int) {
	home, err := os.MkdirTemp("", "cfc-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(home)
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	fail := func(why any) {
		fmt.Fprintln(os.Stderr, why)
		code = 1
	}
	defer func() {
		if n, err := Reap(ctx, home, 0); n > 0 || err != nil {
			fail(fmt.Sprintf("%d processes were left behind, %v", n, err))
		}
	}()
	if err = start(ctx, home); err == nil {
		code = tests.Run()
	}
	if err = errors.Join(err, stop(err == nil && code == 0)); err != nil {
		fail(err)
	}
	for _, a := range Alarms(home) {
		fail(a)
	}
	if code != 0 {
		fmt.Fprintln(os.Stderr, words())
	} else if err := goleak.Find(); err != nil {
		fail(err)
	}
	return code
}
