package peer_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestTLS(t *testing.T) {
	conns := make(chan *peer.Conn, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := peer.Upgrade(w, r, peer.Options{}); err == nil {
			conns <- c
		}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	url := "wss" + strings.TrimPrefix(srv.URL, "https")
	if _, err := peer.Dial(t.Context(), url, peer.DialOptions{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	cfg := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	cl, err := peer.Dial(t.Context(), url, peer.DialOptions{TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	server := wait(t, conns, "connection")
	bind := func(s *tls.ConnectionState) string {
		if s == nil {
			return "plain text"
		}
		b, err := s.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		return fmt.Sprint(b, err)
	}
	if a, b := bind(cl.TLS()), bind(server.TLS()); a != b || a == "plain text" {
		t.Errorf("the two ends are bound to %s and %s", a, b)
	}
	text := strings.Repeat("z", 1<<20)
	server.Send() <- &wamp.Event{Details: wamp.Dict{}, Arguments: wamp.List{text}}
	if e := wait(t, cl.Recv(), "event").(*wamp.Event); e.Arguments[0] != text {
		t.Error("other text came")
	}
	server.Finish(&wamp.Goodbye{Reason: "a.b", Details: wamp.Dict{}})
	if m := wait(t, cl.Recv(), "GOODBYE"); m.MessageType() != wamp.GOODBYE {
		t.Errorf("got %v", m)
	}
	wait(t, server.Done(), "end")
	cl.Close()
	wait(t, cl.Done(), "end")
}

func TestDialFails(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for _, c := range []struct {
		name, url string
		o         peer.DialOptions
		want      string
	}{
		{"no URL", "://", peer.DialOptions{}, "expected ws://"},
		{"http", "http://h/", peer.DialOptions{}, "expected ws://"},
		{"a serializer that is none", "ws://127.0.0.1:1/", peer.DialOptions{Serializer: "xml"}, "none of cbor, msgpack, json"},
		{"nobody there", "ws://127.0.0.1:1/", peer.DialOptions{}, "refused"},
		{"no WebSocket", "ws" + strings.TrimPrefix(web.URL, "http"), peer.DialOptions{}, "404"},
		{"no answer", "ws://" + mute.Addr().String(), peer.DialOptions{Timeout: 50 * time.Millisecond}, "deadline"},
		{"no TLS", "wss" + strings.TrimPrefix(web.URL, "http"), peer.DialOptions{}, "tls"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := peer.Dial(t.Context(), c.url, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(30*time.Millisecond, cancel)
	if _, err := peer.Dial(ctx, "ws://"+mute.Addr().String(), peer.DialOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// A server, or a proxy, whose header has no end is not listened to until the memory is full.
func TestEndlessAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const most = 64 << 20
	sent := make(chan int)
	go func() {
		lines := []byte(strings.Repeat("X-Endless: yes\r\n", 4096))
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_, err = fmt.Fprint(nc, "HTTP/1.1 200 OK\r\n")
			n := 0
			for err == nil && n < most {
				var i int
				i, err = nc.Write(lines)
				n += i
			}
			nc.Close()
			sent <- n
		}
	}()
	for name, o := range map[string]peer.DialOptions{"server": {}, "proxy": {Dial: peer.ViaProxy("http://"+ln.Addr().String(), t)}} {
		if c, err := peer.Dial(t.Context(), "ws://"+ln.Addr().String(), o); err == nil {
			c.Close()
			t.Errorf("%s: connected", name)
		}
		if n := wait(t, sent, "end"); n >= most {
			t.Errorf("%s: %d bytes were read", name, n)
		}
	}
}

// An HTTP proxy that the environment names is asked to connect.
func TestProxy(t *testing.T) {
	conns := make(chan *peer.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := peer.Upgrade(w, r, peer.Options{}); err == nil {
			conns <- c
		}
	}))
	defer srv.Close()
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	asked := make(chan string, 1)
	dial := peer.ViaProxy("http://user:secret@"+proxy.Addr().String(), t)
	go func() {
		nc, err := proxy.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		req, err := http.ReadRequest(bufio.NewReader(nc))
		if err != nil {
			return
		}
		asked <- req.Method + " " + req.Host + " " + req.Header.Get("Proxy-Authorization")
		far, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			return
		}
		defer far.Close()
		fmt.Fprint(nc, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = far.(*net.TCPConn).ReadFrom(nc); far.Close() }()
		_, _ = nc.(*net.TCPConn).ReadFrom(far)
	}()
	cl, err := peer.Dial(t.Context(), "ws://relay.example:99/ws", peer.DialOptions{Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	if got := wait(t, asked, "CONNECT"); got != "CONNECT relay.example:99 Basic dXNlcjpzZWNyZXQ=" {
		t.Errorf("asked %s", got)
	}
	server := wait(t, conns, "connection")
	cl.Close()
	server.Close()
	wait(t, cl.Done(), "end")
	wait(t, server.Done(), "end")
}
