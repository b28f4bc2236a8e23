// Package faultpeer puts faults into a WAMP session: it wraps a wamp.Peer and
// drops, delays, changes or doubles the n-th message that a rule matches, or
// ends the connection there. It is for tests; what cannot be provoked on the
// network by hand can be counted here.
//
//	p := faultpeer.Wrap(conn, faultpeer.Rule{Side: faultpeer.In, Type: wamp.RESULT, Nth: 2, Do: faultpeer.Drop})
//	c, err := client.NewClient(p, cfg)
package faultpeer

import (
	"sync"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
)

// Side is the direction of a message, as the user of the wrapper sees it.
type Side uint8

// The sides.
const (
	In  Side = iota + 1 // what Recv gives
	Out                 // what goes to Send
)

// Fault is what is done to a message: the messages that take its place, and
// whether the connection ends after them.
type Fault func(m wamp.Message) (instead []wamp.Message, end bool)

// Drop loses the message.
func Drop(wamp.Message) ([]wamp.Message, bool) { return nil, false }

// Double has it come twice.
func Double(m wamp.Message) ([]wamp.Message, bool) { return []wamp.Message{m, m}, false }

// End loses the message and ends the connection.
func End(wamp.Message) ([]wamp.Message, bool) { return nil, true }

// Delay holds it, and what comes behind it, for so long.
func Delay(d time.Duration) Fault {
	return func(m wamp.Message) ([]wamp.Message, bool) {
		time.Sleep(d)
		return []wamp.Message{m}, false
	}
}

// Hold holds it, and what comes behind it, until the channel is closed.
func Hold(until <-chan struct{}) Fault {
	return func(m wamp.Message) ([]wamp.Message, bool) {
		<-until
		return []wamp.Message{m}, false
	}
}

// Replace puts another message in its place.
func Replace(f func(wamp.Message) wamp.Message) Fault {
	return func(m wamp.Message) ([]wamp.Message, bool) { return []wamp.Message{f(m)}, false }
}

// Rule says which messages are meant and what is done to them. The first rule
// that applies to a message is taken; all that match it count it.
type Rule struct {
	Side Side
	Type wamp.MessageType        // 0 for all
	Only func(wamp.Message) bool // nil for all
	Nth  int                     // counted from 1; 0 for every one
	Do   Fault
}

// Peer is a wrapped peer. Close it as the one that it wraps.
type Peer struct {
	inner wamp.Peer
	out   chan wamp.Message
	in    chan wamp.Message
	stop  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	mu    sync.Mutex
	rules []Rule
	seen  []int
}

// Wrap puts rules around p.
func Wrap(p wamp.Peer, rules ...Rule) *Peer {
	f := &Peer{inner: p, out: make(chan wamp.Message), in: make(chan wamp.Message), stop: make(chan struct{}),
		rules: rules, seen: make([]int, len(rules))}
	f.wg.Go(f.sending)
	f.wg.Go(f.receiving)
	return f
}

// Seen is how many messages the i-th rule has matched.
func (f *Peer) Seen(i int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[i]
}

// Send, Recv and IsLocal make it a wamp.Peer.
func (f *Peer) Send() chan<- wamp.Message { return f.out }
func (f *Peer) Recv() <-chan wamp.Message { return f.in }
func (f *Peer) IsLocal() bool             { return f.inner.IsLocal() }

// Close ends the connection and waits for the wrapper's goroutines.
func (f *Peer) Close() {
	f.end()
	f.wg.Wait()
}

func (f *Peer) end() {
	f.once.Do(func() {
		close(f.stop)
		f.inner.Close()
	})
}

func (f *Peer) sending() {
	for {
		select {
		case <-f.stop:
			return
		case m := <-f.out:
			if !f.pass(Out, m, f.inner.Send()) {
				return
			}
		}
	}
}

func (f *Peer) receiving() {
	defer close(f.in)
	for {
		select {
		case <-f.stop:
			return
		case m, ok := <-f.inner.Recv():
			if !ok || !f.pass(In, m, f.in) {
				return
			}
		}
	}
}

// pass applies the rules and hands on what is left.
func (f *Peer) pass(side Side, m wamp.Message, to chan<- wamp.Message) bool {
	instead, end := []wamp.Message{m}, false
	if do := f.match(side, m); do != nil {
		instead, end = do(m)
	}
	for _, m := range instead {
		select {
		case to <- m:
		case <-f.stop:
			return false
		}
	}
	if end {
		f.end()
	}
	return !end
}

func (f *Peer) match(side Side, m wamp.Message) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var do Fault
	for i, r := range f.rules {
		if r.Side != side || r.Type != 0 && r.Type != m.MessageType() || r.Only != nil && !r.Only(m) {
			continue
		}
		f.seen[i]++
		if do == nil && (r.Nth == 0 || r.Nth == f.seen[i]) {
			do = r.Do
		}
	}
	return do
}

var _ wamp.Peer = (*Peer)(nil)
