package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func opening(more ...string) http.Header {
	h := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Sec-Websocket-Protocol": {"wamp.2.cbor"}}
	for i := 0; i+1 < len(more); i += 2 {
		h[more[i]] = []string{more[i+1]}
	}
	return h
}

func TestPathsAndOrigins(t *testing.T) {
	t.Parallel()
	c := defaults(t, t.TempDir())
	c.Origins = []string{"https://cfc.example.com"}
	r := start(t, c)
	base := strings.Replace(r.URL(), "ws://", "http://", 1)
	host := strings.TrimPrefix(base, "http://")
	for _, test := range []struct {
		path   string
		header http.Header
		want   int
	}{
		{"/", nil, 404},
		{"/ws/", opening(), 404},
		{"//ws", opening(), 404},
		{"/WS", opening(), 404},
		{"/wsx", opening(), 404},
		{"/agent/ws", opening(), 404},
		{"/metrics", nil, 404},
		{"/healthz", nil, 404},
		{"/ws", nil, 400},
		{"/ws", opening("Sec-Websocket-Protocol", "wamp.2.flatbuffers"), 400},
		{"/ws", opening("Sec-Websocket-Protocol", "mqtt"), 400},
		{"/ws", opening("Upgrade", "h2c"), 400},
		{"/ws", opening("Origin", "https://evil.example.com"), 403},
		{"/agent", opening("Origin", "https://evil.example.com"), 403},
		{"/ws", opening("Origin", "null"), 403},
		{"/ws", opening("Origin", "https://cfc.example.com.evil.com"), 403},
		{"/ws", opening("Origin", "http://cfc.example.com"), 403},
		{"/ws", opening("Origin", "https://cfc.example.com"), 101},
		{"/ws", opening("Origin", "https://CFC.example.com"), 101},
		{"/ws", opening("Origin", "http://"+host), 101},
		{"/ws", opening(), 101},
		{"/agent", opening(), 101},
	} {
		if status := open(t, base, test.path, test.header); status != test.want {
			t.Errorf("%s %v: %d, want %d", test.path, test.header, status, test.want)
		}
	}
}

// open sends the opening request of a WebSocket and gives the status.
func open(t *testing.T, base, path string, header http.Header) int {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, c.RemoteAddr())
	must(t, header.Write(c))
	fmt.Fprint(c, "\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	res.Body.Close()
	return res.StatusCode
}

// TestWrongPathIsRefused: users at the agents' path and the other way round.
func TestWrongPathIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t, defaults(t, t.TempDir()))
	_, owner := r.owner()
	call(t, owner, "cfc.create_management_realm", "demo")
	secret := token(t, owner, "node", wamp.Dict{"realm": "demo", "node_id": "n1"})
	user := r.as(newKey(t), "")
	user.URL += wire.AgentPath + "/"
	agent := r.agent(newKey(t), secret, "")
	for path, c := range map[string]session.Config{wire.AgentPath: user, wire.UserPath: agent} {
		conn, err := peer.Dial(t.Context(), r.URL()+path, peer.DialOptions{})
		must(t, err)
		s, err := session.Over(t.Context(), conn, c)
		if cfcerr.KindOf(err) != cfcerr.NotAuthorized {
			t.Errorf("%s: %v", path, err)
		}
		if s != nil {
			s.Close()
		}
	}
	// The refused log-in has not used the token up.
	r.join(agent)
}

// ended waits until the far side closes and says how long that took.
func ended(c net.Conn, within time.Duration) (time.Duration, error) {
	begin := time.Now()
	if err := c.SetReadDeadline(begin.Add(within)); err != nil {
		return 0, err
	}
	_, err := io.Copy(io.Discard, c)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return 0, fmt.Errorf("still open after %s", within)
	}
	return time.Since(begin), nil
}

// TestSlowLogins: whoever says nothing, or says it slowly, is gone in time, at
// each stage between accept and WELCOME.
func TestSlowLogins(t *testing.T) {
	t.Parallel()
	conf := defaults(t, t.TempDir())
	conf.TLS = certificateFiles(t)
	newPair(t, "localhost").save(t, conf.TLS)
	r := start(t, conf)
	address := strings.TrimPrefix(r.URL(), "wss://")
	dial := func() net.Conn {
		c, err := net.Dial("tcp", address)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	secure := func() net.Conn {
		c := tls.Client(dial(), &tls.Config{InsecureSkipVerify: true})
		must(t, c.HandshakeContext(t.Context()))
		return c
	}
	stages := map[string]net.Conn{"no TLS": dial(), "no request": secure(), "half a request": secure(), "no HELLO": secure(), "after a request": secure()}
	fmt.Fprint(stages["half a request"], "GET /ws HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	fmt.Fprintf(stages["no HELLO"], "GET /ws HTTP/1.1\r\nHost: x\r\n")
	must(t, opening().Write(stages["no HELLO"]))
	fmt.Fprint(stages["no HELLO"], "\r\n")
	fmt.Fprint(stages["after a request"], "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	var all sync.WaitGroup
	for name, c := range stages {
		all.Go(func() {
			if took, err := ended(c, 12*time.Second); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if took > 8*time.Second {
				t.Errorf("%s: took %s", name, took)
			}
		})
	}
	all.Wait()
	until(t, "nobody is half-open", func() bool { return r.parts.gate.Waiting() == 0 })
}

// TestOversizedLogins end the connection, and nothing else.
func TestOversizedLogins(t *testing.T) {
	t.Parallel()
	r := start(t, defaults(t, t.TempDir()))
	hello := func(extra any) *wamp.Hello {
		return &wamp.Hello{Realm: wire.UsersRealm, Details: wamp.Dict{"authmethods": wamp.List{"cryptosign"}, "authextra": wamp.Dict{"x": extra}}}
	}
	var deep any = 1
	for range 20 {
		deep = wamp.List{deep}
	}
	for name, m := range map[string]wamp.Message{"large": hello(strings.Repeat("x", 17<<10)), "deep": hello(deep), "not HELLO": &wamp.Subscribe{Request: 1, Options: wamp.Dict{}, Topic: "a"}} {
		for _, serializer := range serializers {
			c, err := peer.Dial(t.Context(), r.URL()+wire.UserPath, peer.DialOptions{Serializer: serializer})
			must(t, err)
			must(t, c.Write(m))
			select {
			case <-c.Done():
			case <-time.After(3 * time.Second):
				t.Errorf("%s by %s: the connection is still open", name, serializer)
			case m, open := <-c.Recv():
				if _, ok := m.(*wamp.Abort); open && !ok {
					t.Errorf("%s by %s: answered %v", name, serializer, m)
				}
			}
			c.Close()
			<-c.Done()
		}
	}
	header := strings.NewReader("GET /ws HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n")
	c, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "ws://"))
	must(t, err)
	defer c.Close()
	_, _ = io.Copy(c, header) // the relay may have closed before all is sent
	if _, err := ended(c, 3*time.Second); err != nil {
		t.Errorf("large header: %v", err)
	}
	r.owner() // the relay is as well as before
}

// TestManyLoginsAtOnce: each of 600 gets its answer, the good ones WELCOME,
// while a hundred others sit there and say nothing.
func TestManyLoginsAtOnce(t *testing.T) {
	const many, idle = 600, 100
	conf := defaults(t, t.TempDir())
	conf.Limits.HalfOpenPerAddress = 1000
	conf.Limits.FailuresPerAddress = 10 * many
	r := start(t, conf)
	key, owner := r.owner()
	for range idle {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "ws://"))
		must(t, err)
		defer c.Close()
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for i := range many {
		all.Go(func() {
			c := r.as(key, "")
			c.Timeout = time.Minute
			if i%2 == 1 {
				c.Key = newKey(t)
			}
			s, err := session.Join(context.WithoutCancel(t.Context()), c)
			answer := outcome(err)
			if answer == "other" {
				answer = err.Error()
			}
			if err == nil {
				s.Close()
			}
			mu.Lock()
			answers[answer]++
			mu.Unlock()
		})
	}
	all.Wait()
	if answers["ok"] != many/2 || answers["authentication_failed"] != many/2 {
		t.Errorf("answers: %v", answers)
	}
	for _, want := range []string{fmt.Sprintf(`cfc_relay_logins_total{outcome="ok",path="/ws"} %d`, many/2+1),
		fmt.Sprintf(`cfc_relay_logins_total{outcome="authentication_failed",path="/ws"} %d`, many/2)} {
		until(t, want, func() bool { // an answer is counted when it has gone out
			_, metrics := get(t, "GET", r.MonitorURL()+"/metrics")
			return strings.Contains(metrics, "\n"+want+"\n")
		})
	}
	call(t, owner, "cfc.get_status")
}

// TestHalfOpenPlacesAreTaken: whoever takes too many loses his own oldest, and
// a log-in from the same address still comes through.
func TestHalfOpenPlacesAreTaken(t *testing.T) {
	t.Parallel()
	conf := defaults(t, t.TempDir())
	conf.Limits.HalfOpenPerAddress = 10
	r := start(t, conf)
	var hogs []net.Conn
	for range 30 {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "ws://"))
		must(t, err)
		t.Cleanup(func() { c.Close() })
		hogs = append(hogs, c)
	}
	if _, err := ended(hogs[0], 3*time.Second); err != nil {
		t.Errorf("the oldest: %v", err)
	}
	until(t, "twenty are dropped", func() bool { return r.parts.gate.Dropped() == 20 })
	if n := r.parts.gate.Waiting(); n != 10 {
		t.Errorf("%d are half-open", n)
	}
	r.owner()
}
