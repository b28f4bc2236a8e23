package session

import (
	"context"
	"fmt"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// EventHandler gets the events of a subscription, one after another, in order.
// While it runs, further events wait; when too many wait, so does the whole
// session, replies to calls included.
type EventHandler func(*wamp.Event)

// Subscription is a topic that was subscribed to.
type Subscription struct {
	s  *Session
	id wamp.ID
}

// Subscribe subscribes to a topic; match is "" or "exact", "prefix" or
// "wildcard".
func (s *Session) Subscribe(ctx context.Context, topic, match string, h EventHandler) (*Subscription, error) {
	options := wamp.Dict{}
	if match != "" {
		options[wamp.OptMatch] = match
	}
	id := s.ids.Next()
	sub := &Subscription{s: s}
	m, err := s.request(ctx, id, &wamp.Subscribe{Request: id, Options: options, Topic: wamp.URI(topic)}, "subscribing to "+topic, func(m wamp.Message) {
		if m, ok := m.(*wamp.Subscribed); ok {
			s.mu.Lock()
			defer s.mu.Unlock()
			sub.id, s.topics[m.Subscription] = m.Subscription, h
		}
	})
	if err != nil {
		return nil, err
	}
	if _, ok := m.(*wamp.Subscribed); !ok {
		return nil, cfcerr.New(cfcerr.Internal, "cannot subscribe to %s: the relay answered %v", topic, m.MessageType())
	}
	return sub, nil
}

// Unsubscribe ends the subscription. An event that is on its way may still come.
func (u *Subscription) Unsubscribe(ctx context.Context) error {
	id := u.s.ids.Next()
	_, err := u.s.request(ctx, id, &wamp.Unsubscribe{Request: id, Subscription: u.id}, "unsubscribing", nil)
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	delete(u.s.topics, u.id)
	return err
}

// Publish publishes and waits until the relay has taken the event.
func (s *Session) Publish(ctx context.Context, topic string, options wamp.Dict, args wamp.List, kwargs wamp.Dict) error {
	id := s.ids.Next()
	_, err := s.request(ctx, id, publication(id, topic, options, args, kwargs), "publishing to "+topic, nil)
	return err
}

// PublishAsync publishes and returns, after waiting only while too much is on
// its way already; taken is called once, with nil or the
// relay's refusal, from the session's reader: it must not block. It is not
// called when the session ends first.
func (s *Session) PublishAsync(ctx context.Context, topic string, args wamp.List, kwargs wamp.Dict, taken func(error)) error {
	id := s.ids.Next()
	var r *request
	r = s.expect(id, func(m wamp.Message) {
		s.forget(id, r)
		if e, ok := m.(*wamp.Error); ok {
			taken(cfcerr.FromWamp(string(e.Error), e.Arguments, e.ArgumentsKw))
			return
		}
		taken(nil)
	})
	if err := s.sendPaced(ctx, publication(id, topic, nil, args, kwargs), Size(args)+Size(kwargs)); err != nil {
		s.forget(id, r)
		return fmt.Errorf("cannot publish to %s: %w", topic, err)
	}
	return nil
}

func publication(id wamp.ID, topic string, options wamp.Dict, args wamp.List, kwargs wamp.Dict) *wamp.Publish {
	o := wamp.Dict{}
	for k, v := range options {
		o[k] = v
	}
	o[wamp.OptAcknowledge] = true
	return &wamp.Publish{Request: id, Options: o, Topic: wamp.URI(topic), Arguments: args, ArgumentsKw: kwargs}
}

func (s *Session) onEvent(m *wamp.Event) {
	s.mu.Lock()
	h := s.topics[m.Subscription]
	s.mu.Unlock()
	if h == nil {
		return // just unsubscribed
	}
	select {
	case s.events <- func() { h(m) }:
	case <-s.over:
	}
}

func (s *Session) dispatch() {
	for {
		select {
		case f := <-s.events:
			f()
		case <-s.done:
			for { // what had arrived is still told
				select {
				case f := <-s.events:
					f()
				default:
					return
				}
			}
		}
	}
}

func zapType(m wamp.Message) zap.Field { return zap.Stringer("type", m.MessageType()) }
