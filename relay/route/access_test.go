package route_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

var roles = []wire.Role{wire.Viewer, wire.Operator, wire.Owner}

// everyRow binds all rows of the relay to a handler that says its name.
func everyRow() *catalog.Table {
	t := catalog.NewTable()
	for _, o := range catalog.All() {
		if o.Realm != catalog.Remote {
			t.Set(o, func(_ context.Context, c catalog.Call) (any, error) { return c.Op.URI(), nil })
		}
	}
	return t
}

// Every row, under every name, from every kind of session.
func TestWhoMayCallWhat(t *testing.T) {
	r := newRig(t, route.Config{Table: everyRow()}, peer.Options{})
	r.addNode("n1", oid1)
	r.agent("n1", "cbor", echo)
	callers := map[string]*raw{"user": r.raw(wire.UsersRealm, "alice", wire.RoleUser, "cbor")}
	for _, role := range roles {
		callers[string(role)] = r.raw(realmName, "alice", string(role), "cbor")
	}
	r.addNode("n2", "22222222-2222-4222-8222-222222222222")
	callers["agent"] = r.raw(realmName, "n2", wire.RoleNode, "cbor")
	request := wamp.ID(0)
	for _, o := range catalog.All() {
		for _, uri := range o.URIs() {
			for who, c := range callers {
				request++
				want := "RESULT"
				switch {
				case who == "agent":
					want = "wamp.error.not_authorized"
				case (who == "user") != (o.Realm == catalog.Users):
					want = "wamp.error.no_such_procedure"
				case who != "user" && !o.Access.Allows(wire.Role(who)):
					want = "wamp.error.not_authorized"
				}
				// Some names stand for a row in either kind of realm.
				if want == "wamp.error.no_such_procedure" && namedElsewhere(uri, who == "user") {
					continue
				}
				if got := show(c.ask(call(request, uri, "n1"))); !strings.Contains(got, want) {
					t.Errorf("%s calls %s: got %s, want %s", who, uri, got, want)
				}
			}
		}
	}
}

func namedElsewhere(uri string, users bool) bool {
	x := catalog.NewIndex()
	_, ok := x.Management(uri)
	if users {
		_, ok = x.Users(uri)
	}
	return ok
}

func echo(_ context.Context, inv *wamp.Invocation) client.InvokeResult {
	return client.InvokeResult{Args: inv.Arguments, Kwargs: inv.ArgumentsKw}
}

// The first fault in the order of the contract is the one that is told.
func TestRefusals(t *testing.T) {
	r := newRig(t, route.Config{Table: everyRow()}, peer.Options{})
	r.addNode("n1", oid1)
	r.addNode("gone", "33333333-3333-4333-8333-333333333333")
	a := r.rawAgent("n1", "cbor")
	const (
		read  = "cfc.remote.node.get_status"
		write = "cfc.remote.node.start_worker"
		admin = "cfc.remote.node.shutdown"
		noOID = "99999999-9999-4999-8999-999999999999"
	)
	node := func(expected string) string {
		return "cfc.error.invalid_argument map[argument:" + expected + " expected:"
	}
	for _, c := range []struct {
		name, role, uri string
		args            wamp.List
		kwargs, options wamp.Dict
		want            string // INVOCATION when it reaches the agent
	}{
		{"unknown operation", "viewer", "cfc.remote.node.nonsense", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"unknown operation of an operator", "operator", "cfc.remote.node.nonsense", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"unknown operation of an owner", "owner", "cfc.remote.node.nonsense", wamp.List{"n1"}, nil, nil, "INVOCATION"},
		{"unknown operation under the other prefix", "owner", "crossbarfabriccenter.remote.node.nonsense", wamp.List{"n1"}, nil, nil, "INVOCATION"},
		{"unknown procedure", "owner", "cfc.nonsense", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"unknown alias", "owner", "crossbarfabriccenter.mrealm.nonsense", nil, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"no operation at all", "owner", "cfc.remote.", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"an area alone", "owner", "cfc.remote.node", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"an empty part", "owner", "cfc.remote.node..x", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"a space", "owner", "cfc.remote.node.a b", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"signing", "owner", "cfc.remote.node.sign", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"signing a challenge", "owner", "crossbarfabriccenter.remote.proxy.sign_challenge", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"a shell in the node", "owner", "cfc.remote.worker.start_manhole", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"signing, in another way to write it", "owner", "cfc.remote.node.Sign", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"signing in an area of its own", "owner", "cfc.remote.sign.x", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"signing deep down", "owner", "cfc.remote.x.y.sign_challenge", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"any shell", "owner", "crossbarfabriccenter.remote.x.get_manhole", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"a NUL", "owner", "cfc.remote.node.a\x00b", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"a line break", "owner", "cfc.remote.node.ab\n", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"a hyphen", "owner", "cfc.remote.node.a-b", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"letters of another script", "owner", "cfc.remote.node.größe", wamp.List{"n1"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"the agent itself", "owner", "cfc.node.n1", wamp.List{"node.get_status"}, nil, nil, "wamp.error.no_such_procedure map[]"},
		{"a procedure of others", "owner", "com.example.x", nil, nil, nil, "wamp.error.not_authorized map[]"},
		{"the meta API", "owner", "wamp.session.list", nil, nil, nil, "wamp.error.not_authorized map[]"},
		{"a testament", "owner", "wamp.session.add_testament", wamp.List{"cfc.on_node_online", wamp.List{}, wamp.Dict{}}, nil, nil, "wamp.error.not_authorized map[]"},
		{"an empty name", "owner", "", nil, nil, nil, "wamp.error.not_authorized map[]"},
		{"the prefix without its dot", "owner", "cfc", nil, nil, nil, "wamp.error.not_authorized map[]"},
		{"not allowed before a bad option", "viewer", write, nil, nil, wamp.Dict{"timeout": "x"}, "wamp.error.not_authorized map[]"},
		{"not allowed before no node", "operator", admin, wamp.List{"nowhere"}, nil, nil, "wamp.error.not_authorized map[]"},
		{"a timeout of text", "viewer", read, wamp.List{"n1"}, nil, wamp.Dict{"timeout": "1"}, node("timeout")},
		{"a timeout below 0", "viewer", read, wamp.List{"n1"}, nil, wamp.Dict{"timeout": -1}, node("timeout")},
		{"progress of text", "viewer", read, wamp.List{"n1"}, nil, wamp.Dict{"receive_progress": "yes"}, node("receive_progress")},
		{"an unknown option", "viewer", read, wamp.List{"n1"}, nil, wamp.Dict{"x": 1}, "INVOCATION"},
		{"a timeout of 0", "viewer", read, wamp.List{"n1"}, nil, wamp.Dict{"timeout": 0}, "INVOCATION"},
		{"no node", "viewer", read, nil, nil, nil, node("node_id")},
		{"a number", "viewer", read, wamp.List{5}, nil, nil, node("node_id")},
		{"null", "viewer", read, wamp.List{nil}, nil, nil, node("node_id")},
		{"a list", "viewer", read, wamp.List{wamp.List{"n1"}}, nil, nil, node("node_id")},
		{"bytes", "viewer", read, wamp.List{[]byte("n1")}, nil, nil, node("node_id")},
		{"an empty id", "viewer", read, wamp.List{""}, nil, nil, node("node_id")},
		{"a dot", "viewer", read, wamp.List{"n1.x"}, nil, nil, node("node_id")},
		{"upper case", "viewer", read, wamp.List{"N1"}, nil, nil, node("node_id")},
		{"another script", "viewer", read, wamp.List{"nö"}, nil, nil, node("node_id")},
		{"a newline", "viewer", read, wamp.List{"n1\n"}, nil, nil, node("node_id")},
		{"64 characters", "viewer", read, wamp.List{strings.Repeat("n", 64)}, nil, nil, node("node_id")},
		{"both keywords", "viewer", read, nil, wamp.Dict{"node_id": "n1", "node_oid": oid1}, nil, node("node_id")},
		{"an id as oid", "viewer", read, nil, wamp.Dict{"node_oid": "n1"}, nil, node("node_oid")},
		{"a number as keyword", "viewer", read, nil, wamp.Dict{"node_id": 1}, nil, node("node_id")},
		{"no such node", "viewer", read, wamp.List{"n10"}, nil, nil, "cfc.error.no_such_node map[node_id:n10]"},
		{"no such oid", "viewer", read, wamp.List{noOID}, nil, nil, "cfc.error.no_such_node map[node_id:" + noOID + "]"},
		{"offline", "viewer", read, wamp.List{"gone"}, nil, nil, "cfc.error.node_offline map[node_id:gone reason:never-connected since:<nil>]"},
		{"by id", "viewer", read, wamp.List{"n1"}, nil, nil, "INVOCATION"},
		{"by oid", "viewer", read, wamp.List{oid1}, nil, nil, "INVOCATION"},
		{"by keyword", "viewer", read, wamp.List{}, wamp.Dict{"node_id": "n1"}, nil, "INVOCATION"},
		{"by keyword with an oid", "viewer", read, nil, wamp.Dict{"node_id": oid1}, nil, "INVOCATION"},
		{"by the oid's keyword", "viewer", read, nil, wamp.Dict{"node_oid": oid1}, nil, "INVOCATION"},
		{"a row of the realm with a bad option", "viewer", "cfc.get_nodes", nil, nil, wamp.Dict{"timeout": 1.5}, node("timeout")},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.t = t
			m := r.raw(realmName, "alice", c.role, "cbor")
			defer m.Close()
			options := c.options
			if options == nil {
				options = wamp.Dict{}
			}
			m.say(&wamp.Call{Request: 7, Options: options, Procedure: wamp.URI(c.uri), Arguments: c.args, ArgumentsKw: c.kwargs})
			if c.want == "INVOCATION" {
				inv, ok := a.next().(*wamp.Invocation)
				if !ok {
					t.Fatal("no INVOCATION")
				}
				key := c.uri[strings.LastIndex(c.uri, "remote.")+len("remote."):]
				if fmt.Sprint(inv.Arguments, len(inv.ArgumentsKw)) != fmt.Sprint([]any{key}, 0) {
					t.Errorf("the agent got %v %v", inv.Arguments, inv.ArgumentsKw)
				}
				a.say(&wamp.Yield{Request: inv.Request, Options: wamp.Dict{}, Arguments: wamp.List{"ok"}})
				if got := show(m.next()); got != "RESULT &{7 map[] [ok] map[]}" {
					t.Errorf("got %s", got)
				}
				return
			}
			if got := show(m.next()); !strings.HasPrefix(got, "ERROR CALL 7 "+c.want) {
				t.Errorf("got %s", got)
			}
		})
	}
}

// What is no CALL, from every kind of session.
func TestWhoMaySayWhat(t *testing.T) {
	type step struct {
		message wamp.Message
		want    map[string]string // by kind of session
	}
	const refused = "wamp.error.not_authorized"
	all := func(s string) map[string]string {
		return map[string]string{"user": s, "viewer": s, "owner": s, "agent": s}
	}
	members := func(s string) map[string]string {
		return map[string]string{"user": refused, "viewer": s, "owner": s, "agent": refused}
	}
	sub := func(topic, match string) wamp.Message {
		return &wamp.Subscribe{Request: 3, Options: wamp.Dict{"match": match}, Topic: wamp.URI(topic)}
	}
	reg := func(uri string, o wamp.Dict) wamp.Message {
		return &wamp.Register{Request: 3, Options: o, Procedure: wamp.URI(uri)}
	}
	pub := func(topic string, o wamp.Dict, args ...any) wamp.Message {
		o["acknowledge"] = true
		return &wamp.Publish{Request: 3, Options: o, Topic: wamp.URI(topic), Arguments: args}
	}
	agents := func(s string) map[string]string {
		return map[string]string{"user": refused, "viewer": refused, "owner": refused, "agent": s}
	}
	none := func() wamp.Dict { return wamp.Dict{} }
	started := "cfc.remote.node.on_worker_started"
	steps := map[string]step{
		"subscribe to an event":                    {sub("cfc.on_node_online", "exact"), members("SUBSCRIBED")},
		"subscribe under the other prefix":         {sub("crossbarfabriccenter.mrealm.on_node_online", "exact"), members("SUBSCRIBED")},
		"subscribe to what is no event":            {sub("cfc.on_nothing", "exact"), all(refused)},
		"subscribe to a call":                      {sub("cfc.remote.node.get_status", "exact"), all(refused)},
		"subscribe to a prefix":                    {sub("cfc.remote.router.", "prefix"), members("SUBSCRIBED")},
		"subscribe to part of a name":              {sub("cfc.remote.router.on_router_realm_st", "prefix"), members("SUBSCRIBED")},
		"subscribe to a wildcard":                  {sub("cfc.remote..on_worker_started", "wildcard"), members("SUBSCRIBED")},
		"subscribe to everything of ours":          {sub("crossbarfabriccenter.", "prefix"), members("SUBSCRIBED")},
		"subscribe to everything":                  {sub("", "prefix"), all(refused)},
		"subscribe to all that begins like ours":   {sub("cfc", "prefix"), all(refused)},
		"subscribe to the meta API":                {sub("wamp.session.on_join", "exact"), all(refused)},
		"subscribe to all of the meta API":         {sub("wamp.", "prefix"), all(refused)},
		"subscribe to a pattern that matches none": {sub("cfc.remote.nothing.", "prefix"), all(refused)},
		"subscribe to a wildcard of all":           {sub("...", "wildcard"), all(refused)},
		"subscribe to a wildcard of the meta API":  {sub("..on_join", "wildcard"), all(refused)},
		"subscribe to a wildcard that may be meta": {sub(".session.", "wildcard"), all(refused)},
		"subscribe in a way that there is not": {sub("cfc.on_node_online", "regex"),
			map[string]string{"user": refused, "viewer": "cfc.error.invalid_argument", "owner": "cfc.error.invalid_argument", "agent": refused}},
		"unsubscribe from nothing":          {&wamp.Unsubscribe{Request: 3, Subscription: 99}, members("wamp.error.no_such_subscription")},
		"register the own name":             {reg("cfc.node.n1", none()), agents("REGISTERED")},
		"register another node":             {reg("cfc.node.n10", none()), all(refused)},
		"register below the own name":       {reg("cfc.node.n1.x", none()), all(refused)},
		"register the own name as prefix":   {reg("cfc.node.n1", wamp.Dict{"match": "prefix"}), all(refused)},
		"register all nodes":                {reg("cfc.node.", wamp.Dict{"match": "prefix"}), all(refused)},
		"register a wildcard":               {reg("cfc.node.", wamp.Dict{"match": "wildcard"}), all(refused)},
		"register the own name shared":      {reg("cfc.node.n1", wamp.Dict{"invoke": "roundrobin"}), all(refused)},
		"register with a match of a number": {reg("cfc.node.n1", wamp.Dict{"match": 1}), all(refused)},
		"register an operation":             {reg("cfc.remote.node.get_status", none()), all(refused)},
		"register a procedure of others":    {reg("com.example", none()), all(refused)},
		"register the meta API":             {reg("wamp.session.count", none()), all(refused)},
		"unregister nothing":                {&wamp.Unregister{Request: 3, Registration: 99}, agents("wamp.error.no_such_registration")},
		"publish an event":                  {pub(started, none(), "n1", "w1", wamp.Dict{}), agents("PUBLISHED")},
		"publish for another node":          {pub(started, none(), "n10", "w1", wamp.Dict{}), all(refused)},
		"publish for a node of bytes":       {pub(started, none(), []byte("n1"), "w1", wamp.Dict{}), all(refused)},
		"publish for no node":               {pub(started, none()), all(refused)},
		"publish an event of the relay":     {pub("cfc.on_node_online", none(), "n1", wamp.Dict{}), all(refused)},
		"publish under the other prefix":    {pub("crossbarfabriccenter.remote.node.on_worker_started", none(), "n1", "w1", wamp.Dict{}), all(refused)},
		"publish what is no event":          {pub("cfc.remote.node.on_nothing", none(), "n1", wamp.Dict{}), all(refused)},
		"publish a meta event":              {pub("wamp.session.on_join", none(), "n1", wamp.Dict{}), all(refused)},
		"publish to chosen sessions":        {pub(started, wamp.Dict{"eligible": wamp.List{1}}, "n1", "w1", wamp.Dict{}), all(refused)},
		"publish to a chosen role":          {pub(started, wamp.Dict{"eligible_authrole": wamp.List{"owner"}}, "n1", "w1", wamp.Dict{}), all(refused)},
		"publish past sessions":             {pub(started, wamp.Dict{"exclude": wamp.List{1}}, "n1", "w1", wamp.Dict{}), all(refused)},
		"publish past a user":               {pub(started, wamp.Dict{"exclude_authid": wamp.List{"alice"}}, "n1", "w1", wamp.Dict{}), all(refused)},
		"publish a passed payload":          {pub(started, wamp.Dict{"ppt_scheme": "x"}, "n1", "w1", wamp.Dict{}), all(refused)},
		"publish too little":                {pub(started, none(), "n1", wamp.Dict{}), agents("cfc.error.invalid_argument")},
		"publish too much":                  {pub(started, none(), "n1", "w1", 1, wamp.Dict{}), agents("cfc.error.invalid_argument")},
		"publish without details":           {pub(started, none(), "n1", "w1", 1), agents("cfc.error.invalid_argument")},
		"WELCOME":                           {&wamp.Welcome{ID: 1, Details: wamp.Dict{}}, all("ABORT")},
		"HELLO again":                       {&wamp.Hello{Realm: "x", Details: wamp.Dict{}}, all("ABORT")},
		"AUTHENTICATE again":                {&wamp.Authenticate{Signature: "x", Extra: wamp.Dict{}}, all("ABORT")},
		"RESULT":                            {&wamp.Result{Request: 1, Details: wamp.Dict{}}, all("ABORT")},
		"EVENT":                             {&wamp.Event{Subscription: 1, Publication: 1, Details: wamp.Dict{}}, all("ABORT")},
		"INVOCATION":                        {&wamp.Invocation{Request: 1, Registration: 1, Details: wamp.Dict{}}, all("ABORT")},
		"ERROR of a call":                   {&wamp.Error{Type: wamp.CALL, Request: 1, Details: wamp.Dict{}, Error: "a.b"}, all("ABORT")},
		"GOODBYE":                           {&wamp.Goodbye{Reason: "wamp.close.close_realm", Details: wamp.Dict{}}, all("wamp.close.goodbye_and_out")},
	}
	r := newRig(t, route.Config{}, peer.Options{})
	for name, s := range steps {
		for who, want := range s.want {
			t.Run(name+"/"+who, func(t *testing.T) {
				r.t = t
				realm, authid, role := realmName, "alice", who
				switch who {
				case "user":
					realm = wire.UsersRealm
				case "agent":
					r.addNode("n1", oid1)
					defer r.hub.RemoveNode(realmName, "n1")
					authid, role = "n1", wire.RoleNode
				}
				c := r.raw(realm, authid, role, "cbor")
				defer c.Close()
				if got := show(c.ask(s.message)); !strings.Contains(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		}
	}
}
