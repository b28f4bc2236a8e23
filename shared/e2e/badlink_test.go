package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"golang.org/x/time/rate"
)

// A link as some hosts have it: each way 100 kbit/s and 150 ms, and three of ten
// packets are lost. What TCP makes of a lost packet is a silence, of 200 ms and
// of twice that for each time that it is lost again.
const (
	linkRate    = 100_000 / 8 // bytes a second
	linkDelay   = 150 * time.Millisecond
	linkPacket  = 1400
	linkLoss    = 0.3
	linkResend  = 200 * time.Millisecond
	linkLongest = 4 * time.Second // a longer silence is an outage
)

// badLink leads to the relay.
type badLink struct {
	net.Listener
	to  string
	all sync.WaitGroup
}

func startBadLink(t *testing.T, to string) *badLink {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &badLink{Listener: l, to: to}
	ctx, cancel := context.WithCancel(context.Background())
	b.all.Go(func() {
		for seed := uint64(1); ; seed++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.all.Go(func() { b.serve(ctx, c, seed) })
		}
	})
	t.Cleanup(func() { cancel(); l.Close(); b.all.Wait() })
	return b
}

func (b *badLink) serve(ctx context.Context, c net.Conn, seed uint64) {
	defer c.Close()
	far, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.to)
	if err != nil {
		return
	}
	defer far.Close()
	defer context.AfterFunc(ctx, func() { c.Close(); far.Close() })()
	for _, end := range []net.Conn{c, far} { // what is on its way waits at who has sent it
		if err := end.(*net.TCPConn).SetReadBuffer(linkPacket); err != nil {
			return
		}
	}
	var both sync.WaitGroup
	both.Go(func() { carry(ctx, far, c, rand.New(rand.NewPCG(seed, 1))) })
	both.Go(func() { carry(ctx, c, far, rand.New(rand.NewPCG(seed, 2))) })
	both.Wait()
}

type packet struct {
	data []byte
	due  time.Time
}

// carry is one way of the link. Four packets are on their way at once, so that
// who sends too much waits, as for a window.
func carry(ctx context.Context, to, from net.Conn, r *rand.Rand) {
	defer to.Close()
	way := make(chan packet, 4)
	var arrives sync.WaitGroup
	arrives.Go(func() {
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				from.Close()
			}
		}
	})
	line := rate.NewLimiter(linkRate, linkPacket)
	for b := make([]byte, linkPacket); ; {
		n, err := from.Read(b)
		if n > 0 && line.WaitN(ctx, n) == nil {
			late := linkDelay
			for again := linkResend; again < linkLongest && r.Float64() < linkLoss; again *= 2 {
				late += again
			}
			way <- packet{append([]byte(nil), b[:n]...), time.Now().Add(late)}
		}
		if err != nil {
			break
		}
	}
	close(way)
	arrives.Wait()
}

// TestABadLink has a host at the end of a line that is slow and loses three of
// ten packets, in both directions. It stays online all the time, while a large
// answer takes ten seconds too, and every call is answered.
func TestABadLink(t *testing.T) {
	users, here := join(t, wire.UsersRealm), owner(t)
	link := startBadLink(t, strings.TrimPrefix(stage.Relay.URL(), "ws://"))
	defer func() { must(t, join(t, wire.UsersRealm), catalog.UnpairNode.Op, realm+"/far") }()
	var mu sync.Mutex
	var offline []string
	if _, err := here.Subscribe(within(t, 10*time.Second), catalog.OnNodeOffline.URI(), "", func(e *wamp.Event) {
		mu.Lock()
		defer mu.Unlock()
		offline = append(offline, fmt.Sprint(e.Arguments))
	}); err != nil {
		t.Fatal(err)
	}
	far := settle(t, users, "far", realm, "far", "ws://"+link.Addr().String())
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(far.agent.Tail(60))
		}
	})
	far.attached(t, here)

	const lines, width = 600, 100
	must(t, here, catalog.NodeStartWorker.Op, "far", "talks", wamp.Dict{"type": "guest", "executable": "/bin/sh",
		"arguments": wamp.List{"-c", fmt.Sprintf("yes %s | head -%d; sleep 1000", strings.Repeat("x", width), lines)}})
	var wg sync.WaitGroup
	wg.Go(func() {
		began := time.Now()
		err := fleet.Poll(within(t, 3*time.Minute), func() error {
			r, err := here.Call(t.Context(), catalog.WorkerGetLog.URI(), wamp.List{"far", "talks", 10_000}, nil, session.CallOptions{Timeout: 2 * time.Minute})
			if err != nil {
				return err
			}
			if list, _ := wamp.AsList(r.Arguments[0]); len(list) < lines {
				return fmt.Errorf("%d lines", len(list))
			}
			return nil
		})
		t.Logf("%d lines of %d took %s, %v", lines, width, time.Since(began).Round(time.Second), err)
		if err != nil {
			t.Error(err)
		}
	})
	var longest time.Duration
	for range 20 {
		began := time.Now()
		if _, err := call(t, here, catalog.NodeGetStatus.Op, "far"); err != nil {
			t.Error(err)
		}
		longest = max(longest, time.Since(began))
	}
	t.Logf("of 20 calls the longest took %s", longest.Round(time.Millisecond))
	wg.Wait()
	must(t, here, catalog.NodeStopWorker.Op, "far", "talks")
	mu.Lock()
	defer mu.Unlock()
	if len(offline) > 0 {
		t.Errorf("it went offline: %v", offline)
	}
}
