package route

import (
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// topics are all that is ever published in a management realm, by their names
// under either prefix.
type topics struct{ own, alias map[string]*catalog.Event }

func newTopics() topics {
	t := topics{own: map[string]*catalog.Event{}, alias: map[string]*catalog.Event{}}
	for _, e := range catalog.Events() {
		t.own[e.URI()] = e
		for _, uri := range e.AliasURIs() {
			t.alias[uri] = e
		}
	}
	return t
}

// readable reports whether the role may read every event that the pattern can
// match, and that there is one. A pattern has to stay below the prefixes,
// where nothing but events of the catalogue is published.
func (t topics) readable(p pattern, role wire.Role) bool {
	if !below(p.topic) {
		return false
	}
	found := false
	for _, names := range []map[string]*catalog.Event{t.own, t.alias} {
		for uri, e := range names {
			if !p.matches(uri) {
				continue
			}
			if !e.Access.Allows(role) {
				return false
			}
			found = true
		}
	}
	return found
}

// subscribe is SUBSCRIBE.
func (s *session) subscribe(m *wamp.Subscribe) {
	match, ok := option(m.Options, wamp.OptMatch, wamp.MatchExact)
	p := pattern{string(m.Topic), match}
	switch {
	case s.kind != member:
		s.refuse(wamp.SUBSCRIBE, m.Request)
	case !ok || match != wamp.MatchExact && match != wamp.MatchPrefix && match != wamp.MatchWildcard:
		s.fail(wamp.SUBSCRIBE, m.Request, cfcerr.Argument("match", "exact, prefix or wildcard"))
	case !s.hub.topics.readable(p, s.caller.Role):
		s.fail(wamp.SUBSCRIBE, m.Request,
			cfcerr.New(cfcerr.NotAuthorized, "cannot subscribe to %s: it is no event that your role may read, or matches more than such", m.Topic))
	default:
		err := s.realm.broker.subscribe(s, p, func(id wamp.ID) { s.answer(&wamp.Subscribed{Request: m.Request, Subscription: id}) })
		if err != nil {
			s.fail(wamp.SUBSCRIBE, m.Request, err)
		}
		if s.over() { // it was taken out meanwhile
			s.realm.broker.drop(s)
		}
	}
}

// unsubscribe is UNSUBSCRIBE.
func (s *session) unsubscribe(m *wamp.Unsubscribe) {
	switch {
	case s.kind != member:
		s.refuse(wamp.UNSUBSCRIBE, m.Request)
	case !s.realm.broker.unsubscribe(s, m.Subscription):
		s.answer(&wamp.Error{Type: wamp.UNSUBSCRIBE, Request: m.Request, Details: wamp.Dict{}, Error: wamp.ErrNoSuchSubscription,
			Arguments: wamp.List{"cannot unsubscribe: no such subscription of this session"}})
	default:
		s.answer(&wamp.Unsubscribed{Request: m.Request})
	}
}
