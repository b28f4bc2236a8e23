package nodelink

import (
	"slices"
	"sync"

	"github.com/gammazero/nexus/v3/wamp"
)

// NoticeKind is what happened.
type NoticeKind uint8

// The kinds of notice.
const (
	// Ready: the node is attached and all its procedures are registered.
	Ready NoticeKind = iota + 1
	// Detached: its session is over, and all its registrations with it.
	Detached
	// Registered and Unregistered: a procedure appeared or vanished. The many
	// of a node that attaches come before Ready.
	Registered
	Unregistered
	// Event: the node published.
	Event
)

// Notice is one thing that happened at the node, in the order in which the
// node said so.
type Notice struct {
	Kind NoticeKind
	// Name is a procedure or topic below the node's prefix. The heartbeats are
	// "on_heartbeat" and "on_worker_heartbeat", without the node's id.
	Name   string
	Args   wamp.List
	Kwargs wamp.Dict
	Node   NodeInfo // of Ready and Detached
	Reason string   // of Detached
}

// watchers are told everything, one notice after the other.
type watchers struct {
	sync.Mutex // held while a notice goes round
	next       int
	ids        []int
	fns        []func(Notice)
}

// Watch makes fn hear of everything that happens from now on, until stop is
// called; a node that is ready already is told first. fn runs in the goroutine
// that reads from the node: it must not block, and must neither call the node
// nor Watch.
func (l *Link) Watch(fn func(Notice)) (stop func()) {
	w := &l.watch
	w.Lock()
	defer w.Unlock()
	w.next++
	id := w.next
	w.ids, w.fns = append(w.ids, id), append(w.fns, fn)
	l.mu.Lock()
	ready, info := l.ready, l.info
	l.mu.Unlock()
	if ready {
		fn(Notice{Kind: Ready, Node: info})
	}
	return func() {
		w.Lock()
		defer w.Unlock()
		if i := slices.Index(w.ids, id); i >= 0 {
			w.ids, w.fns = slices.Delete(w.ids, i, i+1), slices.Delete(w.fns, i, i+1)
		}
	}
}

func (l *Link) notify(n Notice) {
	l.watch.Lock()
	defer l.watch.Unlock()
	l.watch.tell(n)
}

func (w *watchers) tell(n Notice) {
	for _, fn := range w.fns {
		fn(n)
	}
}
