package route

import (
	"strings"
	"sync"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// broker has the subscriptions of one realm. An event is encoded once for each
// serializer, and reaches those who asked for it under any
// of its names, each subscription once.
//
// It is not nexus' broker, because that one writes to the details of an event
// while other sessions encode them, as soon as two subscriptions match and one
// is a pattern; and it drops what does not fit a queue.
type broker struct {
	mu   sync.Mutex
	last wamp.ID
	byID map[wamp.ID]*subscription
	subs map[pattern]*subscription
	held map[*session]int // how many subscriptions a session has
}

// maxSubscriptions is how many patterns one session may have: every event finds
// its way through all of them.
const maxSubscriptions = 512

// pattern is what is subscribed to.
type pattern struct{ topic, match string }

type subscription struct {
	id wamp.ID
	pattern
	sessions map[*session]struct{}
}

func newBroker() *broker {
	return &broker{byID: map[wamp.ID]*subscription{}, subs: map[pattern]*subscription{}, held: map[*session]int{}}
}

// subscribe tells the id of the subscription, the same for the same pattern. It
// does so under the lock: clients take an EVENT before SUBSCRIBED for a breach
// of protocol. A session that has as many patterns as it may gets no other.
func (b *broker) subscribe(s *session, p pattern, tell func(id wamp.ID)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	sub := b.subs[p]
	if sub != nil {
		if _, has := sub.sessions[s]; has {
			tell(sub.id)
			return nil
		}
	}
	if b.held[s] >= maxSubscriptions {
		return cfcerr.New(cfcerr.LimitExceeded, "cannot subscribe to %.200s: this session has %d subscriptions", p.topic, maxSubscriptions).
			With("limit", maxSubscriptions)
	}
	if sub == nil {
		b.last++
		sub = &subscription{id: b.last, pattern: p, sessions: map[*session]struct{}{}}
		b.subs[p], b.byID[sub.id] = sub, sub
	}
	sub.sessions[s] = struct{}{}
	b.held[s]++
	tell(sub.id)
	return nil
}

func (b *broker) unsubscribe(s *session, id wamp.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	sub := b.byID[id]
	if sub == nil {
		return false
	}
	if _, ok := sub.sessions[s]; !ok {
		return false
	}
	b.leave(sub, s)
	return true
}

// leave takes out a session that is in.
func (b *broker) leave(sub *subscription, s *session) {
	if b.held[s]--; b.held[s] == 0 {
		delete(b.held, s)
	}
	if delete(sub.sessions, s); len(sub.sessions) == 0 {
		delete(b.subs, sub.pattern)
		delete(b.byID, sub.id)
	}
}

// drop ends all subscriptions of a session.
func (b *broker) drop(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sub := range b.byID {
		if _, ok := sub.sessions[s]; ok {
			b.leave(sub, s)
		}
	}
}

// publish writes the event to all that have subscribed to it, in the order in
// which it is called. It is encoded before the lock is taken: that may take long.
func (b *broker) publish(out *peer.Batch, e *catalog.Event, args wamp.List) wamp.ID {
	payloads := map[string]peer.Payload{} // by serializer
	for _, c := range b.speakers(e) {
		if p, err := c.Payload(args); err == nil { // else it cannot be said there
			payloads[c.Serializer()] = p
		}
	}
	m := &peer.Event{Publication: wamp.GlobalID()}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sub := range b.byID {
		topic, ok := sub.hears(e)
		if !ok {
			continue
		}
		if m.Subscription, m.Topic = sub.id, ""; sub.match != wamp.MatchExact {
			m.Topic = topic
		}
		for s := range sub.sessions {
			// One that has come since, with a serializer that nobody had, is late.
			if m.Payload, ok = payloads[s.conn.Serializer()]; ok {
				_ = out.Write(s.conn, m)
			}
		}
	}
	return m.Publication
}

// speakers are one connection for each serializer of those who get the event.
func (b *broker) speakers(e *catalog.Event) map[string]*peer.Conn {
	all := map[string]*peer.Conn{}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sub := range b.byID {
		if _, ok := sub.hears(e); ok {
			for s := range sub.sessions {
				all[s.conn.Serializer()] = s.conn
			}
		}
	}
	return all
}

// hears reports whether the event is for the subscription, and under what name.
func (p pattern) hears(e *catalog.Event) (topic string, ok bool) {
	if !strings.HasPrefix(p.topic, wire.AliasPrefix) {
		return e.URI(), p.matches(e.URI())
	}
	for _, topic := range e.AliasURIs() {
		if p.matches(topic) {
			return topic, true
		}
	}
	return "", false
}

func (p pattern) matches(topic string) bool {
	switch p.match {
	case wamp.MatchPrefix:
		return strings.HasPrefix(topic, p.topic)
	case wamp.MatchWildcard:
		return wamp.URI(topic).WildcardMatch(wamp.URI(p.topic))
	}
	return topic == p.topic
}
