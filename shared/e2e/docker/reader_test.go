package docker

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start starts a command whose output is read by the test.
func begin(t *testing.T, cmd *exec.Cmd) (io.Reader, *bytes.Buffer) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs := &bytes.Buffer{}
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return out, errs
}

// TestStalledReader reads 1 GiB of logs with long pauses, during which neither
// the agent nor the relay may keep more than a little.
func TestStalledReader(t *testing.T) {
	s := newStage(t)
	const size = 1 << 30
	s.box("flood", "flood", fmt.Sprint(size>>20))
	agent, relay := resident(t, s.Agent.PID()), resident(t, s.Relay.PID())
	cmd := s.cfc("docker", "logs", "-f", "n1", "flood")
	out, errs := begin(t, cmd)
	buf := make([]byte, 1<<20)
	read, most, mostRelay := 0, 0, 0
	for read < size {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v, %s", read, err, errs)
		}
		if before := read >> 28; (read+n)>>28 != before { // four times
			time.Sleep(3 * time.Second) // the reader's pause is what is tested
		}
		read += n
		if read%(1<<24) < n {
			most, mostRelay = max(most, resident(t, s.Agent.PID())), max(mostRelay, resident(t, s.Relay.PID()))
		}
	}
	if read != size {
		t.Errorf("%d bytes came, want %d", read, size)
	}
	t.Logf("resident before and at most: agent %d and %d MiB, relay %d and %d MiB", agent, most, relay, mostRelay)
	if most > agent+64 || mostRelay > relay+64 {
		t.Errorf("a reader that stalls costs memory: agent %d to %d MiB, relay %d to %d MiB", agent, most, relay, mostRelay)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended by the user: %v, %s", err, errs)
	}
}

// TestFollowSurvives is a reader who loses his relay, and then the agent: he
// gets every line once.
func TestFollowSurvives(t *testing.T) {
	s := newStage(t)
	s.box("clock", "tick")
	cmd := s.cfc("docker", "logs", "-f", "n1", "clock")
	out, errs := begin(t, cmd)
	lines, next := bufio.NewScanner(out), 0
	more := func(n int) {
		t.Helper()
		for end := next + n; next < end; next++ {
			if !lines.Scan() {
				t.Fatalf("the output ends: %v, %s", lines.Err(), errs)
			}
			if want := fmt.Sprint("line ", next); lines.Text() != want {
				t.Fatalf("%q came, want %q", lines.Text(), want)
			}
		}
	}
	more(100)
	if err := s.Relay.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.Relay.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	more(2000)
	if err := s.Agent.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	more(2000)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended by the user: %v", err)
	}
	if !strings.Contains(errs.String(), "connection lost") {
		t.Errorf("nothing is said of it: %q", errs)
	}
}
