package badline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside is set in the environment of whoever runs in a network of its own.
const inside = "CFC_TEST_OWN_NETWORK"

// Within runs the calling test once more, in a process with a network of its
// own, and reports how that ended: there Within is true, here it is false.
func Within(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	cmd := again(t.Context(), "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.count=1", "-test.v="+fmt.Sprint(testing.Verbose()))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("in a network of its own: %v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("in a network of its own:\n%s", out)
	}
	return false
}

// Main runs all tests of the calling program in a process with a network of its
// own, where Main calls run. Both give an exit code.
func Main(ctx context.Context, run func() int) int {
	if os.Getenv(inside) != "" {
		return run()
	}
	cmd := again(ctx, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot run the tests in a network of their own:", err)
		return 1
	}
	return 0
}

// again is this program, whose network ends with it. Who is not root becomes root
// of a namespace of users too, which may make one of networks.
func again(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // with all stacks
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}
