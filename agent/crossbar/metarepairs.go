package crossbar

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	listSessions     = "wamp.session.list"
	getSession       = "wamp.session.get"
	killSession      = "wamp.session.kill"
	killByAuthID     = "wamp.session.kill_by_authid"
	killByRole       = "wamp.session.kill_by_authrole"
	listSubscribers  = "wamp.subscription.list_subscribers"
	countSubscribers = "wamp.subscription.count_subscribers"
	getEvents        = "wamp.subscription.get_events"
	removeCallee     = "wamp.registration.remove_callee"
	listCallees      = "wamp.registration.list_callees"
)

// meta is the meta API of one realm, by the node's id.
type meta struct {
	n             *Node
	worker, realm string
}

func (m meta) name(procedure string) string {
	return ops.WorkerProcedure(m.worker, metaPrefix(m.realm)+procedure)
}

func (m meta) call(ctx context.Context, procedure string, args wamp.List, kwargs wamp.Dict) (any, error) {
	return m.n.cfg.Link.Call(ctx, m.name(procedure), args, kwargs)
}

// stumbled reports whether the node has failed with a text in which this stands.
func stumbled(err error, over string) bool {
	return cfcerr.KindOf(err) == cfcerr.NodeError && strings.Contains(nodeText(err), over)
}

// session shows a session. Of one that is not there a realm with a store in
// memory fails to look into that.
func (m meta) session(ctx context.Context, args wamp.List, kwargs wamp.Dict) (any, error) {
	v, err := m.call(ctx, getSession, args, kwargs)
	if stumbled(err, "get_session_by_session_id") {
		text := fmt.Sprintf("cannot show session %v: no session with this id has joined the realm", argument(0, "session_id", args, kwargs))
		return nil, cfcerr.FromWamp(string(wamp.ErrNoSuchSession), wamp.List{text}, nil)
	}
	return v, err
}

// ending is what the node says of a session that has been told to go, and has
// not gone yet.
const ending = "Already requested to close the session"

func (m meta) kill(ctx context.Context, args wamp.List, kwargs wamp.Dict) error {
	_, err := m.call(ctx, killSession, args, kwargs)
	if stumbled(err, ending) {
		return nil
	}
	return err
}

// killAll ends the sessions of an authid or a role. At one that is ending
// already the node gives up and leaves the others: then each is ended by itself.
func (m meta) killAll(ctx context.Context, procedure string, args wamp.List, kwargs wamp.Dict) (any, error) {
	v, err := m.call(ctx, procedure, args, kwargs)
	if !stumbled(err, ending) {
		return v, err
	}
	name := map[string]string{killByAuthID: "authid", killByRole: "authrole"}[procedure]
	of := argument(0, name, args, kwargs)
	v, err = m.call(ctx, listSessions, nil, nil)
	if err != nil {
		return nil, err
	}
	sessions, _ := wamp.AsList(v)
	killed := wamp.List{}
	for _, id := range sessions {
		v, err := m.call(ctx, getSession, wamp.List{id}, nil)
		d, _ := wamp.AsDict(v)
		if err != nil || d[name] != of {
			continue
		}
		reason := wamp.List{id, argument(1, "reason", args, kwargs), argument(2, "message", args, kwargs)}
		if _, err := m.call(ctx, killSession, reason, nil); err == nil || stumbled(err, ending) {
			killed = append(killed, id)
		}
	}
	return killed, ctx.Err()
}

// subscribers are the sessions of a subscription. Where events are kept for its
// topic, the node takes their store for a subscriber, counts it and fails to list
// it: then each session is asked for its subscriptions.
func (m meta) subscribers(ctx context.Context, args wamp.List, kwargs wamp.Dict) (wamp.List, error) {
	v, err := m.call(ctx, listSubscribers, args, kwargs)
	if !stumbled(err, "_session_id") {
		list, _ := wamp.AsList(v)
		return list, err
	}
	id, _ := wamp.AsInt64(argument(0, "subscription_id", args, kwargs))
	v, err = m.call(ctx, listSessions, nil, nil)
	if err != nil {
		return nil, err
	}
	found := wamp.List{}
	sessions, _ := wamp.AsList(v)
	for _, session := range sessions {
		v, err := m.call(ctx, "wamp.subscription.list", wamp.List{session}, nil)
		if err != nil { // it has none, or has left
			continue
		}
		by, _ := wamp.AsDict(v)
		for _, ids := range by {
			list, _ := wamp.AsList(ids)
			if contains(list, id) {
				found = append(found, session)
			}
		}
	}
	return found, ctx.Err()
}

// argument is one of a call's, by position or by name; nil where it is not given.
func argument(at int, name string, args wamp.List, kwargs wamp.Dict) any {
	if at < len(args) {
		return args[at]
	}
	return kwargs[name]
}

// history are the last events of a subscription. The node keeps an event once
// for each of its receivers: so all are asked for, and each is shown once.
func (m meta) history(ctx context.Context, args wamp.List, kwargs wamp.Dict) (any, error) {
	limit, given := wamp.AsInt64(argument(1, "limit", args, kwargs))
	if !given {
		limit = 10
	}
	v, err := m.call(ctx, getEvents, wamp.List{argument(0, "subscription_id", args, kwargs), nil}, nil)
	if err != nil {
		return nil, err
	}
	list, _ := wamp.AsList(v)
	events, seen := wamp.List{}, map[int64]bool{}
	for _, x := range list {
		e, _ := wamp.AsDict(x)
		if id, _ := wamp.AsInt64(e["publication"]); int64(len(events)) < limit && !seen[id] {
			seen[id] = true
			events = append(events, x)
		}
	}
	return events, nil
}

func contains(list wamp.List, id int64) bool {
	return slices.ContainsFunc(list, func(x any) bool { n, ok := wamp.AsInt64(x); return ok && n == id })
}

// removeCallee takes a callee off a registration. The node fails after it has
// done so, and before it tells anybody: the events are told from here. The callee
// itself is not told.
func (m meta) removeCallee(ctx context.Context, args wamp.List, kwargs wamp.Dict) error {
	_, err := m.call(ctx, removeCallee, args, kwargs)
	if !stumbled(err, "forward_for") {
		return err
	}
	registration, _ := wamp.AsInt64(argument(0, "registration_id", args, kwargs))
	callee, _ := wamp.AsInt64(argument(1, "callee_id", args, kwargs))
	v, gone := m.call(ctx, listCallees, wamp.List{registration}, nil)
	list, _ := wamp.AsList(v)
	if gone == nil && contains(list, callee) {
		return err
	}
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	told := metaEvent{worker: m.worker, realm: m.realm, topic: "wamp.registration.on_unregister", args: wamp.List{callee, registration}}
	m.n.noteMeta(told)
	if gone != nil {
		told.topic = "wamp.registration.on_delete"
		m.n.noteMeta(told)
	}
	return nil
}
