package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/fleet"
)

// TestTheNodesPortIsNeverFree has the socket at which a node dials in held for
// the agent, as systemd holds it, and tries to take its port while the agent is
// down: whoever had it could steer the node.
func TestTheNodesPortIsNeverFree(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	home := t.TempDir()
	a, err := fleet.NewAgent(t.Context(), stage.Tools, stage.Node, home, fleet.AgentOptions{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := fleet.Reap(context.Background(), home, 0); err != nil {
			t.Error(err)
		}
	})
	up := func() error { _, err := a.Status(t.Context()); return err }
	start := func() {
		t.Helper()
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := fleet.Poll(within(t, 20*time.Second), up); err != nil {
			t.Fatalf("%v\n%s", err, a.Tail(10))
		}
	}
	start()
	// Once up it answers a node, which by then has said who it is: nobody.
	answered := func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := c.Write([]byte{0x7f, 0xf3, 0, 0}); err != nil { // RawSocket, CBOR
			return err
		}
		b := make([]byte, 1)
		_, err = c.Read(b)
		if err == nil && b[0] != 0x7f {
			err = fmt.Errorf("answered %x", b)
		}
		return err
	}
	if err := answered(); err != nil {
		t.Fatalf("the agent does not serve the socket: %v", err)
	}
	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	for name, control := range map[string]func(string, string, syscall.RawConn) error{
		"plainly": nil, "with SO_REUSEADDR": option(syscall.SO_REUSEADDR), "with SO_REUSEPORT": option(soReusePort),
	} {
		for _, at := range []string{addr, "0.0.0.0" + addr[len("127.0.0.1"):]} {
			thief, err := (&net.ListenConfig{Control: control}).Listen(t.Context(), "tcp4", at)
			if err == nil {
				thief.Close()
				t.Errorf("%s was taken %s while the agent was down", at, name)
			} else if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, os.ErrPermission) {
				t.Errorf("%s %s: %v", at, name, err)
			}
		}
	}
	start()
	if err := answered(); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
}

const soReusePort = 0xf // not in package syscall

func option(o int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) { set = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, o, 1) })
		return errors.Join(err, set)
	}
}
