package badline

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connected is both ends of a connection over the line.
func connected(t *testing.T) (near, far net.Conn) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", Near+":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := net.Dialer{Timeout: 30 * time.Second}
	if far, err = d.DialContext(t.Context(), "tcp", Far+":8080"); err != nil {
		t.Fatal(err)
	}
	if near, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	for _, c := range []net.Conn{near, far} {
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	return near, far
}

// carry sends size bytes one way and says how long they took; they arrive as they
// were sent.
func carry(t *testing.T, to, from net.Conn, size int) time.Duration {
	t.Helper()
	sent := make([]byte, size)
	if _, err := rand.Read(sent); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	written := make(chan error, 1)
	go func() {
		_, err := from.Write(sent)
		written <- err
	}()
	got := make([]byte, size)
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sent, got) {
		t.Error("what came is not what was sent")
	}
	return time.Since(began)
}

func TestDelayAndRate(t *testing.T) {
	if !Within(t) {
		return
	}
	const delay, perSecond, size = 100 * time.Millisecond, 100_000, 50_000
	Line{Delay: delay, Rate: perSecond, Queue: 1 << 20}.Start(t)
	near, far := connected(t)
	for name, took := range map[string]time.Duration{"out": carry(t, near, far, size), "back": carry(t, far, near, size)} {
		if least := delay + size*time.Second/perSecond; took < least {
			t.Errorf("%s: %s, and %s is the least", name, took, least)
		}
	}
	if took := carry(t, near, far, 1); took < delay {
		t.Errorf("one byte took %s", took)
	}
}

func TestLoss(t *testing.T) {
	if !Within(t) {
		return
	}
	Line{Lost: Share(0.2), Delay: time.Millisecond}.Start(t)
	near, far := connected(t)
	carry(t, near, far, 100_000)
	sock, err := far.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if failed := sock.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	if info.Total_retrans == 0 {
		t.Error("of 100 KB nothing was lost")
	}
}

func TestNobodyElsesNetwork(t *testing.T) {
	if _, err := (Line{}).Lay(); err == nil {
		t.Error("a line was laid in the machine's own network")
	}
}
