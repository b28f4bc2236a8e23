package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

// An engine that is reached over TLS and says nothing, as one that is frozen, is
// not waited for without end.
func TestAnEngineThatDoesNotShakeHands(t *testing.T) {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // whose connections nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	e := New(Config{Host: "tcp://" + ln.Addr().String(), CA: ca})
	api, err := e.dial()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, _, err := e.hijack(ctx, api, "/exec/x/start", struct{}{})
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it is waited for without end")
		ln.Close() // which resets them
		<-ended
	}
	ln.Close()
}

// A command that is slow to read gets all of its input over TLS too, which goes
// on no more after a deadline.
func TestASlowCommandReadsOverTLS(t *testing.T) {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	near, far := net.Pipe()
	there := tls.Server(far, &tls.Config{Certificates: srv.TLS.Certificates})
	here := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- there.Handshake() }()
	if err := errors.Join(here.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	x := &Exec{conn: here, input: true, turn: make(chan struct{}, 1)}
	input := bytes.Repeat([]byte("0123456789"), 10_000)
	ctx, giveUp := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := x.Write(ctx, input, new(int64), false)
		first <- err
	}()
	got := make([]byte, 1)
	if _, err := io.ReadFull(there, got); err != nil {
		t.Fatal(err)
	}
	giveUp()
	if err := <-first; cfcerr.KindOf(err) != cfcerr.Canceled {
		t.Errorf("what is not read in time: %v", err)
	}
	rest := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(there)
		rest <- b
	}()
	if n, err := x.Write(t.Context(), input, new(int64), true); err != nil || n != int64(len(input)) {
		t.Errorf("the second try wrote %d, %v", n, err)
	}
	if got = append(got, <-rest...); !bytes.Equal(got, input) {
		t.Errorf("the command has read %d bytes of %d", len(got), len(input))
	}
	_ = far.Close()
	_ = here.Close()
}
