package rights

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

const (
	flood      = 3000     // calls whose answers nobody reads
	answerSize = 64 << 10 // of each of them
	// noise is a p99 that a machine of two cores has when other tests run beside.
	noise = 25 * time.Millisecond
)

// byHand is a session whose reading is left to the test.
type byHand struct {
	*websocket.Conn
	t *testing.T
}

func (c byHand) say(m ...any) {
	c.t.Helper()
	if err := c.WriteJSON(m); err != nil {
		c.t.Fatal(err)
	}
}

// hear is the next message, which is of the type.
func (c byHand) hear(kind int) []any {
	c.t.Helper()
	m, err := read(c.Conn, 20*time.Second)
	if err != nil || m[0] != float64(kind) {
		c.t.Fatalf("expected a message of type %d, got %.200v, %v", kind, m, err)
	}
	return m
}

// byHand logs in, with more in HELLO.
func (w *world) byHand(t *testing.T, path string, key identity.Key, details map[string]any) byHand {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"wamp.2.json"}, HandshakeTimeout: 10 * time.Second}
	conn, resp, err := d.DialContext(within(t, 20*time.Second), w.relay.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	c := byHand{conn, t}
	t.Cleanup(func() { c.Close() })
	hello := map[string]any{"roles": map[string]any{"caller": map[string]any{}}, "authmethods": []string{"cryptosign"},
		"authextra": map[string]any{"pubkey": key.Public()}}
	maps.Copy(hello, details)
	c.say(1, realm, hello)
	extra, _ := c.hear(4)[2].(map[string]any)
	signature, err := key.Sign(fmt.Sprint(extra["challenge"]), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.say(5, signature, map[string]any{})
	c.hear(2)
	return c
}

// p99 of calls to n1, one after another, at least so many and until stop ends.
func p99(t *testing.T, s *session.Session, least int, stop <-chan struct{}) (time.Duration, int) {
	t.Helper()
	var took []time.Duration
	for {
		select {
		case <-stop:
			if len(took) >= least {
				slices.Sort(took)
				return took[len(took)*99/100], len(took)
			}
		default:
		}
		began := time.Now()
		if _, err := s.Call(within(t, 20*time.Second), catalog.NodeGetStatus.URI(), wamp.List{"n1"}, nil, session.CallOptions{}); err != nil {
			t.Fatalf("call %d: %v", len(took), err)
		}
		took = append(took, time.Since(began))
	}
}

// number is a line of the relay's metrics.
func number(t *testing.T, w *world, name string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t, 10*time.Second), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", w.relay.Monitor), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("the relay has no metric %s", name)
	return 0
}

// flow has a client make its calls. They all are at the agent before the first
// answer flows; then they do as fast as the relay takes them.
func (w *world) flow(t *testing.T, agent, client byHand) <-chan struct{} {
	t.Helper()
	asked := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < flood && err == nil; i++ {
			err = client.WriteJSON([]any{48, i + 1, map[string]any{"timeout": 120_000}, catalog.NodeGetStatus.URI(), []any{"n10"}})
		}
		asked <- err
	}()
	calls := make([]any, flood)
	for i := range calls {
		calls[i] = agent.hear(68)[1]
	}
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	flowed := make(chan struct{})
	go func() {
		defer close(flowed)
		answer := strings.Repeat("x", answerSize)
		for _, id := range calls {
			if err := agent.WriteJSON([]any{70, id, map[string]any{}, []any{answer}}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	return flowed
}

// drain reads the answers of flow, as they come.
func (w *world) drain(client byHand) error {
	for i := range flood {
		if m, err := read(client.Conn, 20*time.Second); err != nil || m[0] != 50.0 && m[0] != 8.0 {
			return fmt.Errorf("answer %d: %.200v, %w", i, m, err)
		}
	}
	return nil
}

// TestWhoDoesNotReadDisturbsNobody has one client make 3,000 calls and read
// none of the answers, of 64 KB each, while others work. The relay lets one
// session have so many calls, which it does not by default.
func TestWhoDoesNotReadDisturbsNobody(t *testing.T) {
	var own world
	ctx := within(t, 2*time.Minute)
	home := t.TempDir()
	if err := own.build(ctx, home, fleet.RelayOptions{Config: map[string]string{"limits": fmt.Sprintf("{calls_per_session: %d}", flood)}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.relay.Stop(); err != nil {
			t.Error(err)
		}
		for _, a := range fleet.Alarms(home) {
			t.Error(a)
		}
	})
	enter := func(c session.Config) *session.Session {
		s, err := session.Join(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	if err := enter(own.agent(own.keys[realm+"/n1"], "")).Register(ctx, wire.NodeProcedure("n1"), nil, echo("n1")); err != nil {
		t.Fatal(err)
	}
	big := own.byHand(t, wire.AgentPath, own.keys[realm+"/n10"], map[string]any{"authrole": wire.RoleNode})
	big.say(64, 1, map[string]any{}, wire.NodeProcedure("n10"))
	big.hear(65)
	good := enter(session.Config{URL: own.relay.URL(), Realm: realm, Key: own.keys["oscar"]})

	always := make(chan struct{})
	close(always)
	before, n := p99(t, good, 1000, always)
	t.Logf("p99 of %d calls %s before", n, before)

	// The flood itself takes its share of a machine on which agent, relay and
	// clients run: to compare with, it flows to one who reads.
	reader := own.byHand(t, wire.UserPath, own.keys["vera"], nil)
	read3000 := make(chan error, 1)
	go func() { read3000 <- own.drain(reader) }()
	usual, n := p99(t, good, 200, own.flow(t, big, reader))
	if err := <-read3000; err != nil {
		t.Fatal(err)
	}
	t.Logf("p99 of %d calls %s while %d answers flow to who reads", n, usual, flood)

	bad := own.byHand(t, wire.UserPath, own.keys["vera"], nil)
	during, n := p99(t, good, 200, own.flow(t, big, bad))
	t.Logf("p99 of %d calls %s while %d answers flow to who does not read", n, during, flood)
	if during > max(2*before, usual, noise) {
		t.Errorf("p99 is %s alone, %s beside a reader and %s beside who does not read", before, usual, during)
	}

	// When it reads again, each call has its answer: a result, or that there
	// was no room for one. Nothing is left at the relay, and the node works on
	// for others.
	results := 0
	for i := range flood {
		m, err := read(bad.Conn, 20*time.Second)
		switch {
		case err != nil:
			t.Fatalf("after %d answers: %v", i, err)
		case m[0] == 50.0:
			results++
		case m[0] != 8.0 || m[4] != cfcerr.LimitExceeded.URI():
			t.Fatalf("%.300v is no answer", m)
		}
	}
	t.Logf("%d results had room, %d calls were answered by an error", results, flood-results)
	if n := number(t, &own, "cfc_relay_calls_in_flight"); n != 0 {
		t.Errorf("%v calls are in flight still", n)
	}
	done := make(chan error, 1)
	go func() {
		_, err := good.Call(ctx, catalog.NodeGetStatus.URI(), wamp.List{"n10"}, nil, session.CallOptions{})
		done <- err
	}()
	for {
		m, err := read(big.Conn, 20*time.Second)
		if err != nil {
			t.Fatalf("the agent's session ended: %v", err)
		}
		if m[0] == 68.0 { // the others are INTERRUPTs
			big.say(70, m[1], map[string]any{}, []any{"well"})
			break
		}
	}
	if err := <-done; err != nil {
		t.Errorf("the same node for another client: %v", err)
	}
}
