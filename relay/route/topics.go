package route

import (
	"strings"
	"sync"
	"sync/atomic"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// topics are all that is ever published in a management realm, but for what
// nexus itself publishes under wamp.
type topics struct {
	own   map[string]*catalog.Event // by the product's own name
	alias map[string]*catalog.Event // by Crossbar.io's
}

func newTopics() topics {
	t := topics{own: map[string]*catalog.Event{}, alias: map[string]*catalog.Event{}}
	for _, e := range catalog.Events() {
		t.own[e.URI()], t.alias[e.AliasURI()] = e, e
	}
	return t
}

// readable reports whether the role may read every event that the topic, or
// the pattern, can match, and that there is one.
func (t topics) readable(topic, match string, role wire.Role) bool {
	if match == wamp.MatchExact {
		e := t.own[topic]
		if e == nil {
			e = t.alias[topic]
		}
		return e != nil && e.Access.Allows(role)
	}
	// Nothing but events of the catalogue is published below the prefixes, so
	// that a pattern which stays there matches only what is looked at here.
	if !below(topic) {
		return false
	}
	any := false
	for _, names := range []map[string]*catalog.Event{t.own, t.alias} {
		for uri, e := range names {
			if !matches(wamp.URI(uri), wamp.URI(topic), match) {
				continue
			}
			if !e.Access.Allows(role) {
				return false
			}
			any = true
		}
	}
	return any
}

func matches(uri, pattern wamp.URI, match string) bool {
	if match == wamp.MatchPrefix {
		return uri.PrefixMatch(pattern)
	}
	return uri.WildcardMatch(pattern)
}

// subscribe is SUBSCRIBE.
func (s *session) subscribe(m *wamp.Subscribe) wamp.Message {
	match, ok := option(m.Options, wamp.OptMatch, wamp.MatchExact)
	if ok && match != wamp.MatchExact && match != wamp.MatchPrefix && match != wamp.MatchWildcard {
		ok = false
	}
	switch {
	case s.kind != member_:
		s.refuse(wamp.SUBSCRIBE, m.Request)
		return nil
	case !ok:
		s.fail(wamp.SUBSCRIBE, m.Request, cfcerr.Argument("match", "exact, prefix or wildcard"))
		return nil
	case !s.hub.topics.readable(string(m.Topic), match, s.caller.Role):
		s.fail(wamp.SUBSCRIBE, m.Request,
			cfcerr.New(cfcerr.NotAuthorized, "cannot subscribe to %s: it is no event that your role may read, or matches more than such", m.Topic))
		return nil
	}
	m.Options = wamp.Dict{wamp.OptMatch: match}
	if strings.HasPrefix(string(m.Topic), wire.AliasPrefix) {
		s.aliases.subscribe(m)
	}
	return m
}

// aliasSubs are a session's subscriptions under Crossbar.io's prefix. While
// there are any in a realm, events are published there too. A subscription
// counts from its request on, so that no event falls between.
//
// Requests pass in the reader's goroutine, answers in the writer's.
type aliasSubs struct {
	count *atomic.Int32 // of the realm

	sync.Mutex
	asked   map[wamp.ID]bool    // SUBSCRIBEs without an answer
	subs    map[wamp.ID]bool    // by subscription id
	leaving map[wamp.ID]wamp.ID // UNSUBSCRIBEs without an answer
	over    bool
}

func (a *aliasSubs) subscribe(m *wamp.Subscribe) {
	a.Lock()
	defer a.Unlock()
	if a.over {
		return
	}
	if a.asked == nil {
		a.asked, a.subs, a.leaving = map[wamp.ID]bool{}, map[wamp.ID]bool{}, map[wamp.ID]wamp.ID{}
	}
	if !a.asked[m.Request] {
		a.asked[m.Request] = true
		a.count.Add(1)
	}
}

func (a *aliasSubs) unsubscribe(m *wamp.Unsubscribe) {
	a.Lock()
	defer a.Unlock()
	if a.subs[m.Subscription] {
		a.leaving[m.Request] = m.Subscription
	}
}

func (a *aliasSubs) answered(m wamp.Message) {
	a.Lock()
	defer a.Unlock()
	switch m := m.(type) {
	case *wamp.Subscribed:
		if !a.asked[m.Request] {
			return
		}
		delete(a.asked, m.Request)
		if a.subs[m.Subscription] { // it had it already
			a.count.Add(-1)
		}
		a.subs[m.Subscription] = true
	case *wamp.Unsubscribed:
		if sub, ok := a.leaving[m.Request]; ok {
			delete(a.leaving, m.Request)
			if a.subs[sub] {
				delete(a.subs, sub)
				a.count.Add(-1)
			}
		}
	case *wamp.Error:
		if m.Type == wamp.SUBSCRIBE && a.asked[m.Request] {
			delete(a.asked, m.Request)
			a.count.Add(-1)
		}
	}
}

// drop forgets all, at the end of the session.
func (a *aliasSubs) drop() {
	a.Lock()
	defer a.Unlock()
	if !a.over {
		a.over = true
		a.count.Add(-int32(len(a.asked) + len(a.subs)))
		a.asked, a.subs, a.leaving = nil, nil, nil
	}
}
