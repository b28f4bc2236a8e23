package auth

import (
	"container/list"
	"sync"
)

// Gate counts the connections that have not logged in. Over the limit of an
// address its oldest is dropped; over the limit of all the oldest of the same
// address, else the oldest of all: so a newcomer always gets a place, and whoever
// takes many loses his own. An IPv6 /64 is one address.
type Gate struct {
	all, each int

	mu      sync.Mutex
	waiting *list.List // of *entry, the oldest first
	sites   map[string]*list.List
	dropped uint64
}

// entry stands in two lists.
type entry struct {
	site      string
	drop      func()
	all, each *list.Element
}

// The limits of the wire contract.
const (
	MaxHalfOpen        = 1000
	MaxHalfOpenAddress = 100
)

// NewGate makes a gate; a zero limit means the contract's.
func NewGate(all, each int) *Gate {
	def(&all, MaxHalfOpen)
	def(&each, MaxHalfOpenAddress)
	return &Gate{all: all, each: each, waiting: list.New(), sites: map[string]*list.List{}}
}

// Enter takes a connection in; address is its host. drop ends it and must not
// block. leave is called when it has logged in or is gone; more than once does
// no harm.
func (g *Gate) Enter(address string, drop func()) (leave func()) {
	e := &entry{site: site(address), drop: drop}
	g.mu.Lock()
	own := g.sites[e.site]
	if own == nil {
		own = list.New()
		g.sites[e.site] = own
	}
	var out *entry
	switch {
	case own.Len() >= g.each, g.waiting.Len() >= g.all && own.Len() > 0:
		out = own.Front().Value.(*entry)
	case g.waiting.Len() >= g.all:
		out = g.waiting.Front().Value.(*entry)
	}
	e.all, e.each = g.waiting.PushBack(e), own.PushBack(e)
	if out != nil {
		g.remove(out)
		g.dropped++
	}
	g.mu.Unlock()
	if out != nil {
		out.drop()
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.remove(e)
	}
}

// remove is called with the lock held.
func (g *Gate) remove(e *entry) {
	if e.all == nil {
		return
	}
	g.waiting.Remove(e.all)
	own := g.sites[e.site]
	if own.Remove(e.each); own.Len() == 0 {
		delete(g.sites, e.site)
	}
	e.all = nil
}

// Waiting is how many have not logged in.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting.Len()
}

// Dropped is how many were ended for others since the gate was made.
func (g *Gate) Dropped() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dropped
}
