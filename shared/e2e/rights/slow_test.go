package rights

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/measure"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

const (
	flood      = 3000     // calls whose answers nobody reads
	answerSize = 64 << 10 // of each of them
	// pace is how many of them a host with a gigabit a second can send.
	pace = rate.Limit(1e9 / 8 / answerSize)
	// noise is a p99 that a machine of two cores has when other tests run beside.
	// What it is alone, BenchmarkWhoDoesNotRead says.
	noise = 25 * time.Millisecond
)

// byHand is a session whose reading is left to the test.
type byHand struct {
	*websocket.Conn
	t testing.TB
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
func (w *world) byHand(t testing.TB, path string, key identity.Key, details map[string]any) byHand {
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
func p99(t testing.TB, s *session.Session, least int, stop <-chan struct{}) time.Duration {
	t.Helper()
	var took []time.Duration
	for {
		select {
		case <-stop:
			if len(took) >= least {
				slices.Sort(took)
				return took[len(took)*99/100]
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
func number(t testing.TB, w *world, name string) float64 {
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

// floodEnv has this program be floods, the agent at that place.
const floodEnv = "CFC_TEST_FLOOD"

// floods is an agent whose answers are large: when it has so many calls, and a
// line on standard input, it gives them as fast as its network would take them.
// What it is asked then gets a small one.
func floods() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	key, err := identity.Load(os.Args[2])
	if err != nil {
		return err
	}
	config := agentAt(os.Getenv(floodEnv), key, "")
	config.MaxInvocations = flood + 1
	s, err := session.Join(ctx, config)
	if err != nil {
		return err
	}
	defer s.Close()
	var calls atomic.Int64
	open, answer, network := make(chan struct{}), strings.Repeat("x", answerSize), rate.NewLimiter(pace, 1)
	if err := s.Register(ctx, wire.NodeProcedure(os.Args[1]), nil, func(ctx context.Context, _ *session.Invocation) (any, error) {
		n := calls.Add(1)
		if n > flood {
			return "well", nil
		}
		if n == flood {
			fmt.Println("asked")
		}
		select {
		case <-open:
			return answer, network.Wait(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}); err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	close(open)
	_, _ = in.ReadString('\n') // the end
	return s.Err()
}

// flooding starts floods as the node, until the context ends, on a machine of its
// own as far as one machine has two: it gets what time all others leave. (Started
// as any other process it takes turns with the relay and the other clients, and
// their p99 is the kernel's time slice.)
func (w *world) flooding(ctx context.Context, t testing.TB, node string) (begin, end func()) {
	t.Helper()
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := w.keys[realm+"/"+node].Save(key); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "chrt", "-i", "0", me, node, key)
	cmd.Env, cmd.Stderr = append(os.Environ(), floodEnv+"="+w.relay.URL()), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the flooding agent: %v", err)
		}
	})
	t.Cleanup(end)
	lines := bufio.NewScanner(out)
	until := func(word string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != word {
			t.Fatalf("the flooding agent says %q, expected %s", lines.Text(), word)
		}
	}
	until("ready")
	return func() {
		t.Helper()
		until("asked")
		if _, err := fmt.Fprintln(in, "go on"); err != nil {
			t.Fatal(err)
		}
	}, end
}

// ask makes the calls that floods answers.
func (c byHand) ask() {
	c.t.Helper()
	for i := range flood {
		c.say(48, i+1, map[string]any{"timeout": 120_000}, catalog.NodeGetStatus.URI(), []any{"n10"})
	}
}

// flowing is closed when the relay has all answers, and has no calls but for one
// at a time of somebody else's; and before the relay drops a client that has read
// nothing for too long, which a slow machine's flood may take.
func (w *world) flowing(t testing.TB) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for end := time.Now().Add(peer.WriteTimeout / 2); number(t, w, "cfc_relay_calls_in_flight") > 1 && time.Now().Before(end); {
			time.Sleep(250 * time.Millisecond)
		}
	}()
	return over
}

// slowStage is a relay with a node and a client that works with it. The relay
// lets one session have as many calls as the flood is, which it does not by
// default.
type slowStage struct {
	world
	good *session.Session
}

func newSlowStage(ctx context.Context, t testing.TB) *slowStage {
	t.Helper()
	own := new(slowStage)
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
	own.good = enter(session.Config{URL: own.relay.URL(), Realm: realm, Key: own.keys["oscar"]})
	return own
}

// round is the p99 of a client's calls alone, and beside one that has made 3,000
// calls and reads none of the answers, of 64 KB each; and the answers, when it
// reads in the end, of which so many are results.
func (own *slowStage) round(ctx context.Context, t testing.TB) (before, during time.Duration, results int) {
	t.Helper()
	always := make(chan struct{})
	close(always)
	before = p99(t, own.good, 1000, always)

	begin, end := own.flooding(ctx, t, "n10")
	bad := own.byHand(t, wire.UserPath, own.keys["vera"], nil)
	bad.ask()
	begin()
	during = p99(t, own.good, 1000, own.flowing(t))

	// Each call has its answer: a result, or that there was no room for one.
	// Nothing is left at the relay, and the node works on for others.
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
	if n := number(t, &own.world, "cfc_relay_calls_in_flight"); n != 0 {
		t.Errorf("%v calls are in flight still", n)
	}
	if r, err := own.good.Call(ctx, catalog.NodeGetStatus.URI(), wamp.List{"n10"}, nil, session.CallOptions{}); err != nil || r.Arguments[0] != "well" {
		t.Errorf("the same node for another client: %v, %v", r, err)
	}
	bad.Close()
	end()
	return before, during, results
}

func TestWhoDoesNotReadDisturbsNobody(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	before, during, results := newSlowStage(ctx, t).round(ctx, t)
	t.Logf("p99 is %s alone and %s beside who does not read; %d of %d answers had room", before, during, results, flood)
	if during > max(2*before, noise) {
		t.Errorf("p99 is %s alone and %s beside who does not read", before, during)
	}
}

// BenchmarkWhoDoesNotRead is what a client that does not read costs the others:
// the p99 of their calls before and meanwhile, in turn, and the ratio within each
// round.
func BenchmarkWhoDoesNotRead(b *testing.B) {
	const rounds = 15
	ctx := within(b, 5*time.Minute)
	own := newSlowStage(ctx, b)
	var alone, beside []float64
	for range rounds {
		before, during, _ := own.round(ctx, b)
		alone, beside = append(alone, before.Seconds()*1000), append(beside, during.Seconds()*1000)
	}
	ratios := measure.Ratios(beside, alone)
	for unit, values := range map[string][]float64{"p99-ms-alone": alone, "p99-ms-beside": beside, "beside/alone": ratios} {
		median, _, _ := measure.Spread(values)
		b.ReportMetric(median, unit)
	}
	b.ReportMetric(0, "ns/op")
	b.Logf("p99 ms alone %s, beside %s, ratio %s; %s", measure.Cell(alone, 2), measure.Cell(beside, 2), measure.Cell(ratios, 2), measure.Machine())
}
