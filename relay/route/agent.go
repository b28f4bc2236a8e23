package route

import (
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// register is REGISTER: an agent's one registration, which the edge keeps itself.
func (s *session) register(m *wamp.Register) {
	match, matchOK := option(m.Options, wamp.OptMatch, wamp.MatchExact)
	invoke, invokeOK := option(m.Options, wamp.OptInvoke, wamp.InvokeSingle)
	if s.kind != agent || string(m.Procedure) != wire.NodeProcedure(s.id.AuthID) ||
		!matchOK || match != wamp.MatchExact || !invokeOK || invoke != wamp.InvokeSingle {
		s.refuse(wamp.REGISTER, m.Request)
		return
	}
	s.mu.Lock()
	dup := s.registered != 0
	if !dup {
		s.registered = wamp.GlobalID()
	}
	id := s.registered
	s.mu.Unlock()
	if dup {
		s.answer(&wamp.Error{Type: wamp.REGISTER, Request: m.Request, Details: wamp.Dict{}, Error: wamp.ErrProcedureAlreadyExists,
			Arguments: wamp.List{"cannot register " + string(m.Procedure) + ": this session has registered it already"}})
		return
	}
	s.answer(&wamp.Registered{Request: m.Request, Registration: id})
	s.node.setOnline(s.hub, s)
}

// unregister is UNREGISTER. What is in hand may still be answered.
func (s *session) unregister(m *wamp.Unregister) {
	if s.kind != agent {
		s.refuse(wamp.UNREGISTER, m.Request)
		return
	}
	s.mu.Lock()
	known := s.registered != 0 && s.registered == m.Registration
	if known {
		s.registered, s.why = 0, reasonUnregistered
	}
	s.mu.Unlock()
	if !known {
		s.answer(&wamp.Error{Type: wamp.UNREGISTER, Request: m.Request, Details: wamp.Dict{}, Error: wamp.ErrNoSuchRegistration,
			Arguments: wamp.List{"cannot unregister: no such registration"}})
		return
	}
	s.node.setOffline(s.hub, s, reasonUnregistered, false)
	s.answer(&wamp.Unregistered{Request: m.Request})
}

func option(d wamp.Dict, name, byDefault string) (string, bool) {
	v, given := d[name]
	if !given {
		return byDefault, true
	}
	s, ok := v.(string)
	return s, ok
}

// publish is PUBLISH: an agent's events, with its own node first.
func (s *session) publish(m *wamp.Publish) {
	ack, _ := m.Options[wamp.OptAcknowledge].(bool)
	e, about, err := s.publication(m)
	if err != nil {
		s.hub.met.refused.Inc()
		if ack {
			s.fail(wamp.PUBLISH, m.Request, err)
		} else if s.refusals++; s.refusals >= refusedLimit {
			s.hub.log.Warn("session ended: too many refused publications", zap.String("realm", s.realm.name),
				zap.String("authid", s.id.AuthID), zap.String("topic", string(m.Topic)))
			s.end(cfcerr.NotAuthorized.URI(), "too many publications that are not allowed", "refused-publications")
		}
		return
	}
	if about != nil {
		s.node.attached(s.hub, s, about)
	}
	id := s.realm.broker.publish(s.conn.Batch(), e, m.Arguments)
	if ack {
		s.answer(&wamp.Published{Request: m.Request, Publication: id})
	}
}

// publication is the event that the session publishes, if it may, and what it
// tells of the node, if it does.
func (s *session) publication(m *wamp.Publish) (*catalog.Event, *news, error) {
	if s.kind != agent {
		return nil, nil, errNotAuthorized
	}
	e := s.hub.topics.own[string(m.Topic)]
	if e == nil || e.By != catalog.ByAgent {
		return nil, nil, cfcerr.New(cfcerr.NotAuthorized, "cannot publish %s: no event of an agent", m.Topic)
	}
	for name := range m.Options {
		if strings.HasPrefix(name, "eligible") || strings.HasPrefix(name, "exclude") || strings.HasPrefix(name, "ppt_") {
			return nil, nil, cfcerr.New(cfcerr.NotAuthorized, "cannot publish %s: option %s is not allowed", m.Topic, name)
		}
	}
	if len(m.Arguments) == 0 || m.Arguments[0] != s.id.AuthID {
		return nil, nil, cfcerr.New(cfcerr.NotAuthorized, "cannot publish %s: its first argument is not the own node", m.Topic)
	}
	details, ok := wamp.AsDict(m.Arguments[len(m.Arguments)-1])
	if !ok || len(m.Arguments) != len(e.Args) || len(m.ArgumentsKw) > 0 {
		return nil, nil, cfcerr.Argument("args", "("+strings.Join(e.Args, ", ")+")")
	}
	if e != catalog.OnNodeAttached && e != catalog.OnNodeDetached {
		return e, nil, nil
	}
	about, err := readNews(details)
	if err != nil {
		return nil, nil, err
	}
	about.Attached = e == catalog.OnNodeAttached
	return e, about, nil
}
