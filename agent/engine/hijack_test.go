package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// engineSaying is an engine that reads one request and answers it by a text; an
// empty one is no answer, and the connection stays.
func engineSaying(t *testing.T, answer string) *client.Client {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		if req, err := http.ReadRequest(in); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		if _, err := io.WriteString(conn, answer); err == nil && answer != "closed" {
			_, _ = in.ReadByte() // until the other side goes
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Error("the connection was left open")
		}
	})
	api, err := client.NewClientWithOpts(client.WithHost("unix://"+ln.Addr().String()), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func TestHijack(t *testing.T) {
	said := func(status, body string) string {
		return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	}
	is := func(is func(error) bool, text string) func(error) bool {
		return func(err error) bool { return is(err) && strings.Contains(err.Error(), text) }
	}
	for name, c := range map[string]struct {
		answer string
		want   func(error) bool
	}{
		"no such command":  {said("404 Not Found", `{"message":"No such exec instance: x"}`), is(cerrdefs.IsNotFound, "No such exec")},
		"paused":           {said("409 Conflict", `{"message":"Container x is paused"}`), is(cerrdefs.IsConflict, "is paused")},
		"no JSON":          {said("500 Internal Server Error", "out of order\n"), is(cerrdefs.IsInternal, "daemon: out of order")},
		"no upgrade":       {said("200 OK", "{}"), is(cerrdefs.IsInternal, "")},
		"closed":           {"closed", func(err error) bool { return err != nil }},
		"not in time":      {"", func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		"the command runs": {"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello", func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if c.answer == "" {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			}
			defer cancel()
			conn, out, err := New(Config{}).hijack(ctx, engineSaying(t, c.answer), "/exec/x/start", struct{}{})
			if !c.want(err) {
				t.Errorf("%v", err)
			}
			if (err == nil) != (conn != nil) {
				t.Fatalf("%v beside %v", conn, err)
			}
			if conn == nil {
				return
			}
			defer conn.Close()
			if b, err := out.Peek(5); string(b) != "hello" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}
