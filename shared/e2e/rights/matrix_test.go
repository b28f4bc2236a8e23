package rights

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// operations are all names of all rows.
func operations() []string {
	set := map[string]bool{}
	for _, o := range catalog.All() {
		for _, uri := range o.URIs() {
			set[uri] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// topics are the names of all events.
func topics() []string {
	var all []string
	for _, e := range catalog.Events() {
		all = append(append(all, e.URI()), e.AliasURIs()...)
	}
	return all
}

// The answers that matter here; any other error shows that the caller may.
const (
	allowed = cfcerr.Kind(0)
	no      = cfcerr.NotAuthorized
	unknown = cfcerr.NoSuchProcedure
)

func verdict(err error) cfcerr.Kind {
	switch k := cfcerr.KindOf(err); k {
	case no, unknown:
		return k
	}
	return allowed
}

// TestEveryCallByEveryRole calls every name of every row in both kinds of realm.
// Arguments are empty, or the node alone, so that nothing is changed by a call
// that is let through.
func TestEveryCallByEveryRole(t *testing.T) {
	attach(t, realm, "n1")
	index := catalog.NewIndex()
	for user, role := range roles {
		for _, in := range []string{wire.UsersRealm, realm} {
			if in == realm && role == "" {
				continue // cannot even join: TestStrangersCannotJoin
			}
			t.Run(user+" in "+in, func(t *testing.T) {
				s := join(t, user, in)
				for _, uri := range operations() {
					var args wamp.List
					if o, ok := index.Management(uri); ok && o.Realm == catalog.Remote {
						args = wamp.List{"n1"}
					}
					_, err := s.Call(within(t, 10*time.Second), uri, args, nil, session.CallOptions{})
					if got, want := verdict(err), mayCall(index, user, role, in, uri); got != want {
						t.Errorf("%s calls %s in %s: %v; expected %s", user, uri, in, err, name(want))
					}
				}
			})
		}
	}
}

// mayCall is the table of WIRE.md.
func mayCall(index catalog.Index, user string, role wire.Role, in, uri string) cfcerr.Kind {
	if in == wire.UsersRealm {
		o, ok := index.Users(uri)
		switch {
		case !ok:
			return unknown
		case o.Access == catalog.RelayOwner && user != "boss":
			return no
		}
		return allowed
	}
	o, ok := index.Management(uri)
	if !ok {
		return unknown
	}
	need := map[catalog.Access]int{catalog.Read: 1, catalog.Write: 2, catalog.Admin: 3}[o.Access]
	if role.Rank() < need {
		return no
	}
	return allowed
}

func name(k cfcerr.Kind) string {
	if k == allowed {
		return "to be let through"
	}
	return k.URI()
}

// others are names that nobody but the router itself may use.
var others = []string{
	"wamp.session.list", "wamp.session.count", "wamp.session.get", "wamp.session.kill", "wamp.session.kill_all", "wamp.session.kill_by_authid",
	"wamp.session.kill_by_authrole", "wamp.session.modify_details", "wamp.session.add_testament", "wamp.session.flush_testaments",
	"wamp.registration.list", "wamp.registration.lookup", "wamp.registration.match", "wamp.registration.get", "wamp.registration.list_callees",
	"wamp.subscription.list", "wamp.subscription.lookup", "wamp.subscription.match", "wamp.subscription.get", "wamp.subscription.list_subscribers",
	"com.example.anything", "cfc.node.n1", "crossbarfabriccenter.node.n1.get_status", "", "cfc", "cfc.", "cfc.remote", "cfc.remote.", "cfc.remote.node",
	"cfc.remote.node.", "cfc.remote..get_status", "cfc.remote.node.sign", "cfc.remote.node.sign_challenge", "cfc.remote.node.start_manhole",
	"cfc.remote.node.GET_STATUS", "cfc.remote.node.get_status ", "cfc.remote.node.get_status.x", "CFC.get_status",
}

func TestNobodyCallsWhatIsNoRow(t *testing.T) {
	attach(t, realm, "n1")
	for _, user := range []string{"vera", "oscar"} {
		for _, in := range []string{wire.UsersRealm, realm} {
			s := join(t, user, in)
			for _, uri := range others {
				_, err := s.Call(within(t, 10*time.Second), uri, wamp.List{"n1"}, nil, session.CallOptions{})
				ours := strings.HasPrefix(uri, wire.Prefix) || strings.HasPrefix(uri, wire.AliasPrefix)
				switch got := verdict(err); {
				case got == allowed:
					t.Errorf("%s calls %q in %s: %v", user, uri, in, err)
				case !ours && got != no:
					t.Errorf("%s calls %q in %s: %v; expected %s", user, uri, in, err, no.URI())
				}
			}
		}
	}
	// An older relay passes on to the agent what it does not know, for owners;
	// the agent decides. What opens a node is not passed on for anybody.
	s := join(t, "boss", realm)
	for _, uri := range []string{"cfc.remote.node.sign", "cfc.remote.node.sign_challenge", "cfc.remote.node.start_manhole", "cfc.remote.worker.get_manhole",
		"crossbarfabriccenter.remote.node.sign", "wamp.session.kill_all", "wamp.session.add_testament"} {
		if _, err := s.Call(within(t, 10*time.Second), uri, wamp.List{"n1"}, nil, session.CallOptions{}); verdict(err) == allowed {
			t.Errorf("an owner calls %q: %v", uri, err)
		}
	}
	if _, err := s.Call(within(t, 10*time.Second), "cfc.remote.future.get_thing", wamp.List{"n1"}, nil, session.CallOptions{}); err != nil {
		t.Errorf("an owner calls an operation that this relay does not know: %v", err)
	}
}

// TestEverySubscriptionByEveryRole subscribes to every topic, exactly and by
// pattern.
func TestEverySubscriptionByEveryRole(t *testing.T) {
	for user, role := range roles {
		for _, in := range []string{wire.UsersRealm, realm} {
			if in == realm && role == "" {
				continue
			}
			t.Run(user+" in "+in, func(t *testing.T) {
				s := join(t, user, in)
				for _, topic := range topics() {
					for _, match := range []string{"", "exact", "prefix", "wildcard"} {
						sub, err := s.Subscribe(within(t, 10*time.Second), topic, match, func(*wamp.Event) {})
						if err == nil { // a session has not room for all of them
							err = sub.Unsubscribe(within(t, 10*time.Second))
						}
						if in == realm && err != nil {
							t.Errorf("%s subscribes to %s (%s): %v", user, topic, match, err)
						}
						if in == wire.UsersRealm {
							refused(t, user+" subscribes to "+topic+" on the users realm", err, no)
						}
					}
				}
				for _, topic := range append(operations(), others...) {
					if slices.Contains(topics(), topic) {
						continue
					}
					if _, err := s.Subscribe(within(t, 10*time.Second), topic, "exact", func(*wamp.Event) {}); err == nil {
						t.Errorf("%s subscribes to %q", user, topic)
					}
				}
				for _, p := range []struct{ topic, match string }{{"", "prefix"}, {"w", "prefix"}, {"wamp.", "prefix"}, {"wamp.session.on_join", "exact"},
					{"wamp..on_join", "wildcard"}, {"..", "wildcard"}, {".", "wildcard"}, {"", "wildcard"}, {"c", "prefix"}, {"cfc.node.", "prefix"}, {"com.", "prefix"}} {
					if _, err := s.Subscribe(within(t, 10*time.Second), p.topic, p.match, func(*wamp.Event) {}); err == nil {
						t.Errorf("%s subscribes to %q (%s), which matches more than events", user, p.topic, p.match)
					}
				}
			})
		}
	}
}

// TestNoUserPublishesOrRegisters tries every name as every user.
func TestNoUserPublishesOrRegisters(t *testing.T) {
	names := append(append(operations(), topics()...), "cfc.node.n1", "cfc.node.", "wamp.session.on_join", "wamp.x", "cfc.x", "com.example.x")
	for user, role := range roles {
		for _, in := range []string{wire.UsersRealm, realm} {
			if in == realm && role == "" {
				continue
			}
			t.Run(user+" in "+in, func(t *testing.T) {
				s := join(t, user, in)
				for _, uri := range names {
					err := s.Publish(within(t, 10*time.Second), uri, nil, wamp.List{"n1", wamp.Dict{}}, nil)
					refused(t, user+" publishes "+uri, err, no)
					for _, match := range []string{"exact", "prefix", "wildcard"} {
						err := s.Register(within(t, 10*time.Second), uri, wamp.Dict{"match": match}, ignore)
						refused(t, user+" registers "+uri+" ("+match+")", err, no)
					}
				}
			})
		}
	}
}

func ignore(context.Context, *session.Invocation) (any, error) { return nil, nil }

// TestAnAgentDoesOnlyWhatIsItsOwn tries every message as an agent.
func TestAnAgentDoesOnlyWhatIsItsOwn(t *testing.T) {
	attach(t, realm, "n10")
	s := attach(t, realm, "n1")
	for _, uri := range append(operations(), others...) {
		_, err := s.Call(within(t, 10*time.Second), uri, wamp.List{"n10"}, nil, session.CallOptions{})
		if verdict(err) == allowed {
			t.Errorf("an agent calls %q: %v", uri, err)
		}
		refused(t, "an agent registers "+uri, s.Register(within(t, 10*time.Second), uri, nil, ignore), no, cfcerr.NodeError)
	}
	for _, topic := range append(topics(), others...) {
		_, err := s.Subscribe(within(t, 10*time.Second), topic, "", func(*wamp.Event) {})
		if err == nil {
			t.Errorf("an agent subscribes to %q", topic)
		}
	}
	for _, e := range catalog.Events() {
		args := make(wamp.List, len(e.Args))
		for i := range args {
			args[i] = "x1"
		}
		args[0], args[len(args)-1] = "n1", wamp.Dict{"time": wire.Time(time.Now())}
		publish := func(options wamp.Dict, args wamp.List) error {
			return s.Publish(within(t, 10*time.Second), e.URI(), options, args, nil)
		}
		if err := publish(nil, args); (err == nil) != (e.By == catalog.ByAgent) {
			t.Errorf("an agent publishes %s: %v", e.URI(), err)
		}
		for _, id := range []any{"n10", "n", "N1", "n1 ", "", nil, 1, wamp.List{"n1"}} {
			forged := slices.Clone(args)
			forged[0] = id
			refused(t, "an agent publishes "+e.URI()+" of another node", publish(nil, forged), no)
		}
		refused(t, "an agent publishes "+e.URI()+" of no node", publish(nil, nil), no)
		for _, option := range []string{"eligible", "exclude", "eligible_authid", "exclude_authid", "eligible_authrole", "exclude_authrole"} {
			refused(t, "an agent publishes "+e.URI()+" with "+option, publish(wamp.Dict{option: wamp.List{}}, args), no)
		}
	}
}
