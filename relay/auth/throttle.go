package auth

import (
	"container/list"
	"sync"
	"time"
)

// throttle counts failures a minute, for keys and for addresses. What it says
// is told to those who fail, and keeps a flood out of the audit log; it keeps
// nobody out of the relay.
type throttle struct {
	mu              sync.Mutex
	keys, addresses counter
}

// maxCounted bounds the memory of each counter. Beyond it the oldest is
// forgotten; and since an address over its limit counts no keys, it takes many
// addresses to make it forget a key.
const maxCounted = 16384

func newThrottle(keys, addresses int) *throttle {
	return &throttle{keys: newCounter(keys), addresses: newCounter(addresses)}
}

// verdict on a failure.
type verdict struct {
	after time.Duration // not to try again before; zero within the limits
	first bool          // over a limit, the first time in its minute
}

// missed are failures over the limit of a minute that is over, which were
// counted and nothing else. One of address and key is set.
type missed struct {
	address, key string
	n            int
}

// fail counts a failure. missed is told once, by the failure after the minute.
func (t *throttle) fail(host, key string, now time.Time) (verdict, []missed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []missed
	v, over := t.addresses.fail(site(host), now)
	for _, c := range over {
		out = append(out, missed{address: c.name, n: c.n - t.addresses.limit - 1})
	}
	if v.after > 0 || key == "" {
		return v, out
	}
	v, over = t.keys.fail(key, now)
	for _, c := range over {
		out = append(out, missed{key: c.name, n: c.n - t.keys.limit - 1})
	}
	return v, out
}

// counter counts in windows that begin with the first failure.
type counter struct {
	limit int
	by    map[string]*list.Element
	order *list.List // of *count, by begin
}

type count struct {
	name  string
	begin time.Time
	n     int
}

func newCounter(limit int) counter {
	return counter{limit, map[string]*list.Element{}, list.New()}
}

// fail also gives those that it forgets although failures were over their limit
// and the one that is told.
func (c *counter) fail(name string, now time.Time) (v verdict, over []*count) {
	for e := c.order.Front(); e != nil && (now.Sub(e.Value.(*count).begin) >= window || len(c.by) > maxCounted-1 && c.by[name] == nil); e = c.order.Front() {
		old := c.order.Remove(e).(*count)
		delete(c.by, old.name)
		if old.n > c.limit+1 {
			over = append(over, old)
		}
	}
	e := c.by[name]
	if e == nil {
		e = c.order.PushBack(&count{name: name, begin: now})
		c.by[name] = e
	}
	n := e.Value.(*count)
	if n.n++; n.n <= c.limit {
		return verdict{}, over
	}
	return verdict{n.begin.Add(window).Sub(now), n.n == c.limit+1}, over
}
