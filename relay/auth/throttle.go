package auth

import (
	"container/list"
	"sync"
	"time"
)

// throttle counts failures a minute, for keys and for addresses. What it says
// is told to those who fail; it keeps nobody out.
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

// fail counts a failure and says how long not to try again; zero within the limits.
func (t *throttle) fail(host, key string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after := t.addresses.fail(site(host), now); after > 0 || key == "" {
		return after
	}
	return t.keys.fail(key, now)
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

func (c *counter) fail(name string, now time.Time) time.Duration {
	for e := c.order.Front(); e != nil && (now.Sub(e.Value.(*count).begin) >= window || len(c.by) > maxCounted-1 && c.by[name] == nil); e = c.order.Front() {
		delete(c.by, e.Value.(*count).name)
		c.order.Remove(e)
	}
	e := c.by[name]
	if e == nil {
		e = c.order.PushBack(&count{name: name, begin: now})
		c.by[name] = e
	}
	n := e.Value.(*count)
	if n.n++; n.n <= c.limit {
		return 0
	}
	return n.begin.Add(window).Sub(now)
}
