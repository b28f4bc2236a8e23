package nodeapi

import (
	"errors"
	"slices"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/wire"
)

// looked is the meta API of a realm that clients use.
type looked struct {
	operator
	worker string
	join   func(name, who string) driver.Client
}

// TestMeta looks into a realm that clients use, and interferes with them.
func TestMeta(t *testing.T) {
	o := operate(t, "autobahn/json")
	o.worker("meta", "router", nil)
	o.object("router", "router_realm", "meta").start("app", map[string]any{"name": appRealm, "roles": appRoles(),
		"store": map[string]any{"type": "memory", "event-history": []any{map[string]any{"uri": "com.example.kept", "limit": 3}}},
		"stats": map[string]any{"trigger_after_rated_messages": 2, "trigger_on_join": true, "trigger_on_leave": true}})
	p, at := invite(t), tcp(t)
	o.object("router", "router_transport", "meta").start("ws", map[string]any{"type": "websocket", "endpoint": at.config, "auth": p.auth})
	m := looked{o, "meta", func(name, who string) driver.Client { return app(t, name, p.everybody("ws"+at.rest, "")[who]) }}
	m.sessions()
	m.registrations()
	m.subscriptions()
	m.kills()
	for _, e := range []string{"session.on_join", "session.on_leave", "session.on_stats", "registration.on_create", "registration.on_register", "registration.on_unregister",
		"registration.on_delete", "subscription.on_create", "subscription.on_subscribe", "subscription.on_unsubscribe", "subscription.on_delete"} {
		o.heard("router.meta.wamp."+e, "meta", "app")
	}
}

// ask calls a procedure of the meta API, by one of its names.
func (m looked) ask(name string, args ...any) any {
	m.Helper()
	return m.call("router.meta.wamp."+name, append([]any{m.worker, "app"}, args...)...)
}

// refuses expects WAMP's own error: no_such_session and the like.
func (m looked) refuses(uri, name string, args ...any) {
	m.Helper()
	_, err := m.try("router.meta.wamp."+name, append([]any{m.worker, "app"}, args...)...)
	var e *driver.Error
	if !errors.As(err, &e) || e.URI != "wamp.error."+uri {
		m.Errorf("%s%v: %v; expected %s", name, args, err, uri)
	}
}

// of is the id of the only session that has this authid.
func (m looked) of(authid string) float64 {
	m.Helper()
	ids, _ := m.ask("session.list").([]any)
	for _, id := range ids {
		if d, _ := m.ask("session.get", id).(map[string]any); d["authid"] == authid {
			n, _ := id.(float64)
			return n
		}
	}
	m.Fatalf("nobody is %s among sessions %v", authid, ids)
	return 0
}

func (m looked) sessions() {
	m.Helper()
	carl, nobody := m.join("autobahn-js/cbor", "carl"), m.join("autobahn/cbor", "nobody")
	id := m.of("carl")
	if d, _ := m.ask("session.get", id).(map[string]any); d["authrole"] != "worker" || d["authmethod"] != "cryptosign" || d["session"] != id {
		m.Errorf("session.get: %v", d)
	}
	if ids := m.ask("session.list", []any{"worker"}).([]any); !slices.Equal(ids, []any{id}) {
		m.Errorf("session.list of workers: %v, expected %v", ids, id)
	}
	for roles, want := range map[string]float64{"worker": 1, "listener": 1, "nobody": 0} {
		if n := m.ask("session.count", []any{roles}); n != want {
			m.Errorf("session.count of %s: %v", roles, n)
		}
	}
	m.refuses("no_such_session", "session.get", 1)
	// The same by the names without the inner wamp, and by Crossbar.io's.
	for _, uri := range []string{wire.RemotePrefix + "router.meta.session.count", wire.AliasRemote + "realm.meta.wamp.session.count", wire.AliasRemote + "realm.meta.session.count"} {
		if n, err := m.c.Call(within(m.T, 10*time.Second), uri, []any{node, m.worker, "app"}, nil); err != nil || n != 2.0 {
			m.Errorf("%s: %v, %v", uri, n, err)
		}
	}
	carl.Close()
	nobody.Close()
}

func (m looked) registrations() {
	m.Helper()
	const uri = "com.example.looked"
	anna := m.join("autobahn/msgpack", "anna")
	ctx := within(m.T, 20*time.Second)
	if err := anna.Register(ctx, uri); err != nil {
		m.Fatal(err)
	}
	id, session := m.ask("registration.lookup", uri), m.of("anna")
	if got := m.ask("registration.match", uri); got != id || id == nil {
		m.Errorf("registration.match: %v, lookup: %v", got, id)
	}
	if got := m.ask("registration.lookup", "com.example.nothing"); got != nil {
		m.Errorf("registration.lookup of nothing: %v", got)
	}
	if d, _ := m.ask("registration.get", id).(map[string]any); d["uri"] != uri || d["match"] != "exact" {
		m.Errorf("registration.get: %v", d)
	}
	if d, _ := m.ask("registration.list").(map[string]any); !slices.Contains(d["exact"].([]any), id) {
		m.Errorf("registration.list: %v", d)
	}
	if got := m.ask("registration.list_callees", id).([]any); !slices.Equal(got, []any{session}) {
		m.Errorf("registration.list_callees: %v, expected %v", got, session)
	}
	if n := m.ask("registration.count_callees", id); n != 1.0 {
		m.Errorf("registration.count_callees: %v", n)
	}
	m.refuses("no_such_registration", "registration.get", 1)
	m.refuses("no_such_registration", "registration.list_callees", 1)
	m.refuses("no_such_registration", "registration.count_callees", 1)
	m.refuses("no_such_registration", "registration.remove_callee", 1, session)
	m.ask("registration.remove_callee", id, session)
	silent(m.T, anna, uri)
	anna.Close()
}

func (m looked) subscriptions() {
	m.Helper()
	const uri = "com.example.kept"
	anna, berta := m.join("autobahn-js/json", "anna"), m.join("autobahn/cbor", "berta")
	ctx := within(m.T, 20*time.Second)
	for _, c := range []driver.Client{anna, berta} {
		if err := c.Subscribe(ctx, uri, ""); err != nil {
			m.Fatal(err)
		}
	}
	// A node that forgets several subscriptions of a session at once tells that
	// of all or of none; this one has one.
	passing := m.join("autobahn-js/cbor", "nobody")
	if err := passing.Subscribe(ctx, "com.example.passing", ""); err != nil {
		m.Fatal(err)
	}
	passing.Close()
	id, session := m.ask("subscription.lookup", uri), m.of("anna")
	if got := m.ask("subscription.match", uri).([]any); !slices.Equal(got, []any{id}) {
		m.Errorf("subscription.match: %v, lookup: %v", got, id)
	}
	if d, _ := m.ask("subscription.get", id).(map[string]any); d["uri"] != uri {
		m.Errorf("subscription.get: %v", d)
	}
	if d, _ := m.ask("subscription.list").(map[string]any); !slices.Contains(d["exact"].([]any), id) {
		m.Errorf("subscription.list: %v", d)
	}
	if got := m.ask("subscription.list_subscribers", id).([]any); !slices.Contains(got, any(session)) {
		m.Errorf("subscription.list_subscribers: %v has no %v", got, session)
	}
	if n, _ := m.ask("subscription.count_subscribers", id).(float64); n < 2 {
		m.Errorf("subscription.count_subscribers: %v", n)
	}
	for i := range 5 {
		if err := berta.Publish(ctx, uri, []any{i}, nil); err != nil {
			m.Fatal(err)
		}
	}
	if got := m.ask("subscription.get_events", id, 2).([]any); len(got) != 2 {
		m.Errorf("subscription.get_events: %v", got)
	}
	for _, name := range []string{"get", "list_subscribers", "count_subscribers", "get_events"} {
		m.refuses("no_such_subscription", "subscription."+name, 1)
	}
	m.refuses("no_such_subscription", "subscription.remove_subscriber", 1, session)
	m.ask("subscription.remove_subscriber", id, session)
	if got := m.ask("subscription.list_subscribers", id).([]any); slices.Contains(got, any(session)) {
		m.Errorf("after subscription.remove_subscriber: %v has %v", got, session)
	}
	anna.Close()
	berta.Close()
}

// kills ends sessions of all libraries; what they are told is what was said.
func (m looked) kills() {
	m.Helper()
	for _, name := range []string{"autobahn/cbor", "autobahn-js/cbor"} {
		one, byID, byRole := m.join(name, "anna"), m.join(name, "berta"), m.join(name, "nobody")
		m.refuses("no_such_session", "session.kill", 1)
		m.ask("session.kill", m.of("anna"), "com.example.enough", "go home")
		if left, err := one.Left(within(m.T, 10*time.Second)); err != nil || left.Reason != "com.example.enough" || left.Message != "go home" {
			m.Errorf("%s was killed and left with %+v, %v", name, left, err)
		}
		if got := m.ask("session.kill_by_authid", "berta", "com.example.enough").([]any); len(got) != 1 {
			m.Errorf("session.kill_by_authid: %v", got)
		}
		if got := m.ask("session.kill_by_authrole", "listener").([]any); len(got) != 1 {
			m.Errorf("session.kill_by_authrole: %v", got)
		}
		for _, c := range []driver.Client{byID, byRole} {
			if _, err := c.Left(within(m.T, 10*time.Second)); err != nil {
				m.Errorf("%s goes on: %v", name, err)
			}
		}
	}
}
