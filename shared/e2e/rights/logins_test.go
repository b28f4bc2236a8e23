package rights

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// dial opens a WebSocket and says nothing.
func dial(ctx context.Context, path string) (*websocket.Conn, error) {
	d := websocket.Dialer{Subprotocols: []string{"wamp.2.json"}, HandshakeTimeout: 10 * time.Second}
	c, resp, err := d.DialContext(ctx, w.relay.URL()+path, nil)
	if resp != nil {
		resp.Body.Close()
	}
	return c, err
}

// read is the next message, decoded, or the end.
func read(c *websocket.Conn, d time.Duration) ([]any, error) {
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		return nil, err
	}
	_, b, err := c.ReadMessage()
	if err != nil {
		return nil, err
	}
	var m []any
	return m, json.Unmarshal(b, &m)
}

// over waits for the connection's end and says how long it took.
func over(t *testing.T, c *websocket.Conn, most time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		_, err := read(c, most)
		var timeout interface{ Timeout() bool }
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("the connection lives after %s", most)
			return most
		}
		if err != nil {
			return time.Since(began)
		}
	}
}

func hello(key identity.Key) string {
	return fmt.Sprintf(`[1,null,{"roles":{"caller":{}},"authmethods":["cryptosign"],"authextra":{"pubkey":"%s"}}]`, key.Public())
}

// TestBadHellos sends, before any log-in, what no client sends.
func TestBadHellos(t *testing.T) {
	nested := strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20)
	for name, text := range map[string]string{
		"oversized":           `[1,null,{"x":"` + strings.Repeat("y", 17<<10) + `"}]`,
		"nested too deep":     `[1,null,{"x":` + nested + `}]`,
		"no JSON":             `[1,null,`,
		"no list":             `{"a":1}`,
		"empty list":          `[]`,
		"unknown type":        `[99]`,
		"a call":              `[48,1,{},"cfc.get_status"]`,
		"a subscription":      `[32,1,{},"cfc.on_node_online"]`,
		"a publication":       `[16,1,{},"cfc.on_node_online"]`,
		"a goodbye":           `[6,{},"wamp.close.normal"]`,
		"realm of wrong type": `[1,{"a":1},{}]`,
		"no methods":          `[1,null,{}]`,
		"anonymous":           `[1,"m1",{"roles":{"caller":{}},"authmethods":["anonymous"]}]`,
		"short key":           `[1,null,{"roles":{"caller":{}},"authmethods":["cryptosign"],"authextra":{"pubkey":"00"}}]`,
		"key of wrong type":   `[1,null,{"roles":{"caller":{}},"authmethods":["cryptosign"],"authextra":{"pubkey":7}}]`,
		"token of wrong type": `[1,null,{"roles":{"caller":{}},"authmethods":["cryptosign"],"authextra":{"pubkey":"` + w.keys["vera"].Public() + `","activation_code":{"a":[1]}}}]`,
	} {
		for _, path := range []string{wire.UserPath, wire.AgentPath} {
			t.Run(name+" at "+path, func(t *testing.T) {
				c, err := dial(within(t, 20*time.Second), path)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
					t.Fatal(err)
				}
				for {
					m, err := read(c, 8*time.Second)
					var timeout interface{ Timeout() bool }
					if errors.As(err, &timeout) && timeout.Timeout() {
						t.Fatal("neither refused nor ended")
					}
					if err != nil {
						return
					}
					if m[0] != 3.0 && m[0] != 4.0 { // ABORT; CHALLENGE leads nowhere without a signature
						t.Fatalf("answered %v", m)
					}
					if m[0] == 4.0 {
						return
					}
				}
			})
		}
	}
	if err := enroll(within(t, 10*time.Second), user(w.keys["vera"], "")); err != nil {
		t.Errorf("a good user after all that: %v", err)
	}
}

// TestSlowLogIns are ended: HELLO within 5 s, WELCOME within 10 s.
func TestSlowLogIns(t *testing.T) {
	ctx := within(t, time.Minute)
	var wg sync.WaitGroup
	for _, first := range []struct {
		name, text string
		limit      time.Duration
	}{{"silent", "", 5 * time.Second}, {"no signature", hello(w.keys["vera"]), 10 * time.Second}} {
		c, err := dial(ctx, wire.UserPath)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		wg.Go(func() {
			if first.text != "" {
				if err := c.WriteMessage(websocket.TextMessage, []byte(first.text)); err != nil {
					t.Error(err)
				}
			}
			if took := over(t, c, first.limit+3*time.Second); took < first.limit-2*time.Second {
				t.Errorf("%s: ended after %s already", first.name, took)
			}
		})
	}
	wg.Wait()
}

// from is how somebody at another address of this machine dials.
func from(address string) peer.Dialer {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return d.DialContext
}

// TestManyLogInsAtOnce logs 600 in at once at the relay's own limits, 100 from
// each of six addresses, which are as many as may be half-open there. One more
// address opens 150 connections that say nothing: it keeps 100 of them, and a
// good key comes in beside those too.
func TestManyLogInsAtOnce(t *testing.T) {
	const addresses, each, silent = 6, 100, 150
	ctx := within(t, time.Minute)
	quiet := from("127.0.0.9")
	before := number(t, &w, "cfc_relay_connections_dropped_total")
	var mute []net.Conn
	for range silent {
		c, err := quiet(ctx, "tcp", w.relay.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		mute = append(mute, c)
	}
	for _, c := range mute[:silent-each] {
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("more than a hundred of one address are half-open")
		}
	}
	if dropped := number(t, &w, "cfc_relay_connections_dropped_total") - before; dropped != silent-each {
		t.Errorf("%v were dropped, expected %d", dropped, silent-each)
	}
	logIn := func(dial peer.Dialer) error {
		conn, err := peer.Dial(ctx, w.relay.URL()+wire.UserPath, peer.DialOptions{Dial: dial, Timeout: time.Minute})
		if err != nil {
			return err
		}
		c := user(w.keys["vera"], "")
		c.Timeout = time.Minute
		s, err := session.Over(ctx, conn, c)
		if err != nil {
			return err
		}
		return s.Close()
	}
	began := time.Now()
	if err := logIn(quiet); err != nil {
		t.Errorf("a good user beside a hundred silent connections of his address: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("he waited %s", took)
	}
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range addresses * each {
		all.Go(func() {
			<-start
			if err := logIn(from(fmt.Sprintf("127.0.0.%d", 2+i%addresses))); err != nil {
				t.Errorf("log-in %d: %v", i, err)
			}
		})
	}
	began = time.Now()
	close(start)
	all.Wait()
	t.Logf("%d log-ins took %s", addresses*each, time.Since(began))
}

// TestFailedLogInsAreCounted signs wrongly with one key until it is told to
// wait; the owner of the key comes in all the same.
func TestFailedLogInsAreCounted(t *testing.T) {
	newUser(t, "target", "")
	key := w.keys["target"]
	var reason any
	for i := 0; i < 15 && reason != cfcerr.LimitExceeded.URI(); i++ {
		c, err := dial(within(t, 20*time.Second), wire.UserPath)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.WriteMessage(websocket.TextMessage, []byte(hello(key))); err != nil {
			t.Fatal(err)
		}
		m, err := read(c, 10*time.Second)
		if err == nil && m[0] == 4.0 {
			answer := fmt.Sprintf(`[5,"%s",{}]`, strings.Repeat("00", 96))
			if err := c.WriteMessage(websocket.TextMessage, []byte(answer)); err != nil {
				t.Fatal(err)
			}
			m, err = read(c, 10*time.Second)
		}
		if err != nil || m[0] != 3.0 {
			t.Fatalf("try %d: %v, %v; expected ABORT", i, m, err)
		}
		if reason = m[2]; reason == cfcerr.LimitExceeded.URI() {
			d, _ := m[1].(map[string]any)
			if after, _ := d["after"].(float64); after <= 0 {
				t.Errorf("told to wait, but not how long: %v", m[1])
			}
		}
	}
	if reason != cfcerr.LimitExceeded.URI() {
		t.Errorf("15 wrong signatures, and the last answer is %v", reason)
	}
	if err := enroll(within(t, 20*time.Second), user(key, "")); err != nil {
		t.Errorf("the owner of the key: %v", err)
	}
}

// TestCallsInFlightAreBounded lets calls wait at a mute agent.
func TestCallsInFlightAreBounded(t *testing.T) {
	fresh(t, "mute")
	ctx := within(t, time.Minute)
	agent, err := session.Join(ctx, w.agent(w.keys[realm+"/mute"], ""))
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	t.Cleanup(func() { agent.Close() })
	t.Cleanup(func() { close(release) })
	err = agent.Register(ctx, wire.NodeProcedure("mute"), nil, func(ctx context.Context, _ *session.Invocation) (any, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	s := join(t, "oscar", realm)
	results := make(chan error, 300)
	for range 300 {
		go func() {
			_, err := s.Call(ctx, "cfc.remote.node.get_status", wamp.List{"mute"}, nil, session.CallOptions{Timeout: 3 * time.Second})
			results <- err
		}()
	}
	count := map[cfcerr.Kind]int{}
	for range 300 {
		count[cfcerr.KindOf(<-results)]++
	}
	if count[cfcerr.Timeout] != 256 || count[cfcerr.LimitExceeded] != 44 {
		t.Errorf("300 calls at once: %v; expected 256 time-outs and 44 over the limit", count)
	}
	if _, err := s.Call(ctx, "cfc.get_status", nil, nil, session.CallOptions{}); err != nil {
		t.Errorf("the session after that: %v", err)
	}
}
