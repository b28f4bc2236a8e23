package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/console/consoletest"
)

// A panic is shown at a terminal that is as it was.
func TestPanicRestoresTheTerminal(t *testing.T) {
	_, tty := consoletest.Terminal(t)
	before := consoletest.Settings(t, tty)
	raw, err := makeRaw(tty)
	if err != nil || consoletest.Settings(t, tty) == before {
		t.Fatalf("the terminal is not raw: %v", err)
	}
	x := &remoteExec{raw: raw}
	defer func() {
		if p := recover(); p != "broken" || consoletest.Settings(t, tty) != before {
			t.Errorf("panic %v, the terminal is restored: %v", p, consoletest.Settings(t, tty) == before)
		}
	}()
	_ = x.guard(func() error { panic("broken") })
}

// Keys go there, output comes here, and a change of the window's size is told.
func TestExecAtATerminal(t *testing.T) {
	r := newRig(t)
	keyboard, tty := consoletest.Terminal(t)
	before := consoletest.Settings(t, tty)
	s := &source{records: []any{record("stdout", "ready\r\n")}, end: done, got: make(chan struct{})}
	s.end = map[string]any{"reason": "exited", "exit_code": 3}
	s.serve(r, uriExec, "exec")
	took := func(what func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !what(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("waited in vain")
			}
		}
	}
	written := func() string { s.mu.Lock(); defer s.mu.Unlock(); return string(s.written) }
	sizes := func() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.sizes) }
	shown := make(chan struct{})
	out := &waiting{want: "ready\r\n", seen: func() { close(shown) }}
	p := r.program(out, io.Discard)
	p.Stdin = tty
	exit := make(chan int, 1)
	go func() { exit <- p.Run(t.Context(), []string{"docker", "exec", "-it", "n1", "web", "sh"}) }()
	<-shown
	if _, err := keyboard.WriteString("a\x03\x1a"); err != nil {
		t.Fatal(err)
	}
	took(func() bool { return written() == "a\x03\x1a" })
	consoletest.Resize(t, tty, 33, 44)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	took(func() bool { return sizes() > 0 })
	close(s.got)
	if code := <-exit; code != 3 || consoletest.Settings(t, tty) != before || s.sizes[0] != "[33 44]" || s.closed != 1 {
		t.Errorf("exit %d, sizes %v, closed %d times, restored: %v", code, s.sizes, s.closed, consoletest.Settings(t, tty) == before)
	}
}

func TestInterruptible(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	read, stop, err := interruptible(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	b := make([]byte, 10)
	fmt.Fprint(w, "text")
	if n, err := read(b); string(b[:n]) != "text" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	go cancel()
	if n, err := read(b); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d bytes, %v", n, err)
	}
	plain, stop, err := interruptible(ctx, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if n, err := plain(b); n != 1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
