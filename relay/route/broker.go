package route

import (
	"strings"
	"sync"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// broker has the subscriptions of one realm. An event is encoded once for each
// subscription and serializer, and reaches those who asked for it under either
// of its two names.
//
// It is not nexus' broker, because that one writes to the details of an event
// while other sessions encode them, as soon as two subscriptions match and one
// is a pattern; and it drops what does not fit a queue.
type broker struct {
	mu   sync.Mutex
	last wamp.ID
	byID map[wamp.ID]*subscription
	subs map[pattern]*subscription
}

// pattern is what is subscribed to.
type pattern struct{ topic, match string }

type subscription struct {
	id wamp.ID
	pattern
	sessions map[*session]struct{}
}

func newBroker() *broker {
	return &broker{byID: map[wamp.ID]*subscription{}, subs: map[pattern]*subscription{}}
}

// subscribe gives the id of the subscription, the same for the same pattern.
func (b *broker) subscribe(s *session, p pattern) wamp.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	sub := b.subs[p]
	if sub == nil {
		b.last++
		sub = &subscription{id: b.last, pattern: p, sessions: map[*session]struct{}{}}
		b.subs[p], b.byID[sub.id] = sub, sub
	}
	sub.sessions[s] = struct{}{}
	return sub.id
}

func (b *broker) unsubscribe(s *session, id wamp.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	sub := b.byID[id]
	if sub == nil {
		return false
	}
	_, ok := sub.sessions[s]
	b.leave(sub, s)
	return ok
}

func (b *broker) leave(sub *subscription, s *session) {
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
// which it is called.
func (b *broker) publish(out *peer.Batch, e *catalog.Event, args wamp.List) wamp.ID {
	publication := wamp.GlobalID()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sub := range b.byID {
		topic := e.URI()
		if strings.HasPrefix(sub.topic, wire.AliasPrefix) {
			topic = e.AliasURI()
		}
		if !sub.matches(topic) {
			continue
		}
		details := wamp.Dict{}
		if sub.match != wamp.MatchExact {
			details["topic"] = topic
		}
		m := peer.Prepare(&wamp.Event{Subscription: sub.id, Publication: publication, Details: details, Arguments: args})
		for s := range sub.sessions {
			_ = out.Write(s.conn, m)
		}
	}
	return publication
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
