package auth

import (
	"crypto/tls"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	authFailed   = "wamp.error.authentication_failed"
	notAllowed   = "wamp.error.not_authorized"
	unpaired     = "fabric.auth-failed.node-unpaired"
	badToken     = "cfc.error.token_invalid"
	badArgument  = "cfc.error.invalid_argument"
	nameTaken    = "cfc.error.name_taken"
	exists       = "cfc.error.already_exists"
	limitReached = "cfc.error.limit_exceeded"
)

func TestUser(t *testing.T) {
	r := newRig(t, nil)
	key := r.known("bob")
	if _, err := r.SetMember(r.Ctx(), "r1", "bob", wire.Operator); err != nil {
		t.Fatal(err)
	}
	for realm, want := range map[string][2]string{"": {wire.UsersRealm, "user"}, wire.UsersRealm: {wire.UsersRealm, "user"}, "r1": {"r1", "operator"}} {
		d, id := r.welcome(caller{key: key, realm: realm})
		if d["realm"] != want[0] || d["authid"] != "bob" || d["authrole"] != want[1] {
			t.Errorf("realm %q: WELCOME %v", realm, d)
		}
		if id.Realm != want[0] || id.Role != want[1] || id.AuthID != "bob" || id.Pubkey != key.Public() || id.Method != "cryptosign" ||
			!strings.HasPrefix(id.Address, "127.0.0.1:") || id.Hello["roles"] == nil || id.NodeOID != "" {
			t.Errorf("realm %q: identity %+v", realm, id)
		}
		if err := r.auth.Check(r.Ctx(), id); err != nil {
			t.Errorf("realm %q: %v", realm, err)
		}
	}
}

// As Autobahn sends it: everything there is, most of it null, the key in upper case.
func TestUserLikeAutobahn(t *testing.T) {
	r := newRig(t, nil)
	key := r.known("bob")
	r.welcome(caller{key: key, change: func(h *wamp.Hello) {
		h.Details["authextra"] = wamp.Dict{"pubkey": strings.ToUpper(key.Public()), "trustroot": nil, "challenge": nil, "channel_binding": nil}
		h.Details["authrole"], h.Details["authid"] = nil, nil
	}})
}

func TestUserRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AddressFailures, c.KeyFailures = 1e6, 1e6 })
	key, other := r.known("bob"), newKey(t)
	nodeKey, _ := r.node("r1", "n1")
	wrong := func(string, []byte) (string, error) { return other.Sign(identity.NewChallenge(), nil) }
	forged := func(c string, ch []byte) (string, error) { return other.Sign(c, ch) }
	long := func(string, []byte) (string, error) { return strings.Repeat("z", 5000), nil }
	for name, c := range map[string]struct {
		caller
		uri, why string
	}{
		"unknown key":         {caller{key: other}, authFailed, "unknown key"},
		"unknown key, realm":  {caller{key: other, realm: "r1"}, authFailed, "unknown key"},
		"forged":              {caller{key: key, sign: forged}, authFailed, "does not match"},
		"forged, unknown key": {caller{key: newKey(t), sign: forged}, authFailed, "does not match"},
		"another challenge":   {caller{key: key, sign: wrong}, authFailed, "another challenge"},
		"no signature":        {caller{key: key, sign: func(string, []byte) (string, error) { return "", nil }}, authFailed, "192 hex"},
		"long signature":      {caller{key: key, sign: long}, authFailed, "192 hex"},
		"key of a node":       {caller{key: nodeKey}, authFailed, "key of a node"},
		"no member":           {caller{key: key, realm: "r1"}, notAllowed, "not a member"},
		"no such realm":       {caller{key: key, realm: "none"}, notAllowed, "not a member"},
		"no realm's name":     {caller{key: key, realm: "No Realm!"}, notAllowed, "not a member"},
		"agents' path":        {caller{key: key, path: wire.AgentPath}, notAllowed, "wrong path"},
		"node on users' path": {caller{key: nodeKey, agent: true, path: wire.UserPath}, notAllowed, "wrong path"},
	} {
		t.Run(name, func(t *testing.T) {
			r.in(t)
			r.refused(c.caller, c.uri, c.why)
		})
	}
	// What a realm that is there and one that is not are told differs in the name alone.
	_, a := r.login(caller{key: key, realm: "r1"})
	_, b := r.login(caller{key: key, realm: "r9"})
	if strings.ReplaceAll(fmt.Sprint(a.Details), "r1", "r9") != fmt.Sprint(b.Details) {
		t.Errorf("answers differ: %v, %v", a.Details, b.Details)
	}
}

func TestAgent(t *testing.T) {
	r := newRig(t, nil)
	key, n := r.node("r1", "n1")
	info := wamp.Dict{"agent": wamp.Dict{"version": "0.1", "protocol": 1, "os": "linux", "arch": "arm64", "hostname": "web1.example.com", "started": "2026-03-01T11:00:00.000Z",
		"node": wamp.Dict{"kind": "crossbar", "version": "26.10.1", "attached": true}}}
	for format, realm := range map[string]string{"json": "", "msgpack": "r1", "cbor": ""} {
		d, id := r.welcome(caller{key: key, agent: true, realm: realm, extra: info, format: format})
		extra, _ := wamp.AsDict(d["authextra"])
		relay, _ := wamp.AsDict(extra["relay"])
		if d["realm"] != "r1" || d["authid"] != "n1" || d["authrole"] != "node" || extra["node_oid"] != n.OID || relay["version"] != "1.2.3" || fmt.Sprint(relay["protocol"]) != "1" {
			t.Errorf("WELCOME %v", d)
		}
		if id.NodeOID != n.OID || id.Agent.OS != "linux" || id.Agent.Hostname != "web1.example.com" || id.Agent.Address != "127.0.0.1" ||
			id.Node.Kind == nil || *id.Node.Kind != "crossbar" || !id.Node.Attached || id.Node.Version != "26.10.1" {
			t.Errorf("identity %+v", id)
		}
		if err := r.auth.Check(r.Ctx(), id); err != nil {
			t.Error(err)
		}
	}
	// A stock node tells nothing of itself.
	if _, id := r.welcome(caller{key: key, agent: true}); id.Agent.OS != "" || id.Node.Kind != nil {
		t.Errorf("identity %+v", id)
	}
}

func TestAgentRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AddressFailures, c.KeyFailures = 1e6, 1e6 })
	key, _ := r.node("r1", "n1")
	agent := func(d wamp.Dict) wamp.Dict { return wamp.Dict{"agent": d} }
	for name, c := range map[string]struct {
		caller
		uri, why string
	}{
		"unknown key":      {caller{key: newKey(t)}, unpaired, "unknown key"},
		"key of a user":    {caller{key: r.known("bob")}, unpaired, "key of a user"},
		"forged":           {caller{key: key, sign: func(c string, ch []byte) (string, error) { return newKey(t).Sign(c, ch) }}, authFailed, "does not match"},
		"another realm":    {caller{key: key, realm: "r2"}, notAllowed, "not the node's realm"},
		"no realm":         {caller{key: key, realm: "none"}, notAllowed, "not the node's realm"},
		"users' realm":     {caller{key: key, realm: wire.UsersRealm}, notAllowed, "not the node's realm"},
		"ticket":           {caller{key: key, change: func(h *wamp.Hello) { h.Details["authmethods"] = wamp.List{"ticket"} }}, badArgument, ""},
		"agent no dict":    {caller{key: key, extra: wamp.Dict{"agent": "x"}}, badArgument, "authextra.agent"},
		"agent a list":     {caller{key: key, extra: wamp.Dict{"agent": wamp.List{}}}, badArgument, "authextra.agent"},
		"os a number":      {caller{key: key, extra: agent(wamp.Dict{"os": 1})}, badArgument, "authextra.agent.os"},
		"hostname long":    {caller{key: key, extra: agent(wamp.Dict{"hostname": strings.Repeat("h", 256)})}, badArgument, "authextra.agent.hostname"},
		"hostname control": {caller{key: key, extra: agent(wamp.Dict{"hostname": "a\x1b[2J"})}, badArgument, "authextra.agent.hostname"},
		"protocol 0":       {caller{key: key, extra: agent(wamp.Dict{"protocol": 0})}, badArgument, "authextra.agent.protocol"},
		"protocol text":    {caller{key: key, extra: agent(wamp.Dict{"protocol": "1"})}, badArgument, "authextra.agent.protocol"},
		"node no dict":     {caller{key: key, extra: agent(wamp.Dict{"node": 1})}, badArgument, "authextra.agent.node"},
		"kind a number":    {caller{key: key, extra: agent(wamp.Dict{"node": wamp.Dict{"kind": 1}})}, badArgument, "authextra.agent.node.kind"},
		"attached text":    {caller{key: key, extra: agent(wamp.Dict{"node": wamp.Dict{"attached": "yes"}})}, badArgument, "authextra.agent.node.attached"},
		"node id":          {caller{key: key, extra: wamp.Dict{"node_id": "N.1"}}, badArgument, "authextra.node_id"},
	} {
		t.Run(name, func(t *testing.T) {
			r.in(t)
			c.agent = true
			r.refused(c.caller, c.uri, c.why)
		})
	}
}

// TestHelloForms: whatever HELLO holds, the answer is an ABORT and never a panic.
func TestHelloForms(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AddressFailures, c.KeyFailures = 1e6, 1e6 })
	key := r.known("bob")
	set := func(name string, v any) func(*wamp.Hello) { return func(h *wamp.Hello) { h.Details[name] = v } }
	for name, change := range map[string]func(*wamp.Hello){
		"no roles": set("roles", nil), "roles empty": set("roles", wamp.Dict{}), "roles a list": set("roles", wamp.List{"caller"}), "roles text": set("roles", "caller"), "roles of no client": set("roles", wamp.Dict{"broker": wamp.Dict{}}),
		"extra text": set("authextra", "x"), "extra a list": set("authextra", wamp.List{1}), "no extra": set("authextra", nil),
		"methods text": set("authmethods", "cryptosign"), "no methods": set("authmethods", nil), "methods of numbers": set("authmethods", wamp.List{1, nil, wamp.Dict{}}),
		"unknown method": set("authmethods", wamp.List{"anonymous", "scram"}), "many methods": set("authmethods", make(wamp.List, 33)),
		"role a number": set("authrole", 7), "pubkey a number": set("authextra", wamp.Dict{"pubkey": 1}), "pubkey short": set("authextra", wamp.Dict{"pubkey": "ab"}),
		"pubkey weak":   set("authextra", wamp.Dict{"pubkey": "01" + strings.Repeat("00", 31)}),
		"pubkey no hex": set("authextra", wamp.Dict{"pubkey": strings.Repeat("x", 64)}), "code a dict": set("authextra", wamp.Dict{"pubkey": key.Public(), "activation_code": wamp.Dict{}}),
		"code long":      set("authextra", wamp.Dict{"pubkey": key.Public(), "activation_code": strings.Repeat("c", 300)}),
		"ticket no user": func(h *wamp.Hello) { h.Details["authmethods"] = wamp.List{"ticket"}; delete(h.Details, "authid") },
	} {
		t.Run(name, func(t *testing.T) {
			r.in(t)
			abort := r.refused(caller{key: key, change: change}, badArgument, "")
			if s, _ := abort.Details["argument"].(string); s == "" || abort.Details["expected"] == nil {
				t.Errorf("details %v", abort.Details)
			}
		})
	}
}

func TestHelloWithoutDetails(t *testing.T) {
	r := newRig(t, nil)
	for _, agent := range []bool{false, true} {
		m, _ := r.say("127.0.0.1:1", nil, agent, &wamp.Hello{Realm: "r1"})
		if a, ok := m.(*wamp.Abort); !ok || a.Reason != badArgument {
			t.Errorf("answered %v", m)
		}
	}
}

func TestOtherMessages(t *testing.T) {
	r := newRig(t, nil)
	key := r.known("bob")
	call := &wamp.Call{Request: 1, Procedure: "cfc.get_status"}
	for name, all := range map[string][]wamp.Message{"first": {call}, "after HELLO": {caller{key: key}.hello(), call}, "HELLO twice": {caller{key: key}.hello(), caller{key: key}.hello()}} {
		m, _ := r.say("127.0.0.1:1", nil, false, all...)
		if a, ok := m.(*wamp.Abort); !ok || a.Reason != wamp.ErrProtocolViolation {
			t.Errorf("%s: answered %v", name, m)
		}
	}
	for name, all := range map[string][]wamp.Message{"nothing": nil, "HELLO alone": {caller{key: key}.hello()}, "ABORT": {&wamp.Abort{Reason: "x"}}} {
		m, err := r.say("127.0.0.1:1", nil, false, all...)
		if _, aborted := m.(*wamp.Abort); aborted || err == nil {
			t.Errorf("%s: answered %v, %v", name, m, err)
		}
	}
}

func TestTimeouts(t *testing.T) {
	r := newRig(t, func(c *Config) { c.HelloTimeout, c.WelcomeTimeout = 50*time.Millisecond, 150*time.Millisecond })
	for name, send := range map[string]bool{"HELLO": false, "AUTHENTICATE": true} {
		k := caller{key: r.known("user-" + strings.ToLower(name))}
		c := r.connect(k)
		if send {
			if err := c.Write(k.hello()); err != nil {
				t.Fatal(err)
			}
			r.read(c)
		}
		a, ok := r.read(c).(*wamp.Abort)
		if !ok || a.Reason != "wamp.error.timeout" || !strings.Contains(fmt.Sprint(a.Details), name) {
			t.Errorf("%s: %v", name, a)
		}
	}
}

func TestSecretsOverPlainText(t *testing.T) {
	r := newRig(t, nil)
	tok := r.Token(store.Token{Purpose: wire.ForUser, User: "bob"})
	key := newKey(t)
	withCode := caller{key: key, extra: wamp.Dict{"activation_code": tok.Secret()}}.hello()
	withTicket := caller{change: func(h *wamp.Hello) { h.Details["authmethods"] = wamp.List{"ticket"} }}.hello()
	for name, hello := range map[string]*wamp.Hello{"token": withCode, "ticket": withTicket} {
		for _, address := range []string{"192.0.2.1:5", "[2001:db8::1]:5", "strange"} {
			m, _ := r.say(address, nil, false, hello)
			if a, ok := m.(*wamp.Abort); !ok || a.Reason != notAllowed || !strings.Contains(fmt.Sprint(a.Details), "TLS") {
				t.Errorf("%s from %s: %v", name, address, m)
			}
		}
		for address, state := range map[string]*tls.ConnectionState{"127.0.0.1:5": nil, "[::1]:5": nil, "[::ffff:127.0.0.1]:5": nil, "192.0.2.1:5": {Version: tls.VersionTLS12}} {
			m, _ := r.say(address, state, false, hello)
			if _, ok := m.(*wamp.Challenge); !ok {
				t.Errorf("%s from %s: %v", name, address, m)
			}
		}
	}
	if got, err := r.Store.Token(r.Ctx(), tok.ID); err != nil || got.Left != 1 {
		t.Errorf("token %+v, %v", got, err)
	}
}

func TestChannelBinding(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AddressFailures, c.KeyFailures = 1e6, 1e6 })
	key := r.known("bob")
	bound := wamp.Dict{"channel_binding": identity.Binding}
	var got []byte
	note := func(c string, channel []byte) (string, error) { got = channel; return key.Sign(c, channel) }
	r.welcome(caller{key: key, tls: true, extra: bound, sign: note})
	if got == nil {
		t.Error("the client asked for channel binding over TLS 1.3 and was not offered it")
	}
	r.welcome(caller{key: key, tls: true, sign: note})
	if got != nil {
		t.Error("channel binding without being asked for")
	}
	r.welcome(caller{key: key, extra: bound, sign: note})
	if got != nil {
		t.Error("channel binding without TLS")
	}
	r.welcome(caller{key: key, tls: true, extra: wamp.Dict{"channel_binding": "tls-unique"}, sign: note})
	if got != nil {
		t.Error("a binding that is not offered")
	}
	// Whoever was offered the binding must use it.
	r.refused(caller{key: key, tls: true, extra: bound, sign: func(c string, _ []byte) (string, error) { return key.Sign(c, nil) }}, authFailed, "does not match")
	r.client = r.client.Clone()
	r.client.MaxVersion = tls.VersionTLS12
	r.welcome(caller{key: key, tls: true, extra: bound, sign: note})
	if got != nil {
		t.Error("channel binding on TLS 1.2")
	}
}

// TestRelayedChallenge: a relay that a user trusts passes the challenge of
// another relay on to him, to get in there with his answer.
func TestRelayedChallenge(t *testing.T) {
	r := newRig(t, nil)
	key := r.known("bob")
	bound := caller{key: key, tls: true, extra: wamp.Dict{"channel_binding": identity.Binding}}
	victim := newRig(t, nil).connect(caller{tls: true}) // the victim's connection, to the evil relay
	stolen := func(challenge string, _ []byte) (string, error) {
		return key.Sign(challenge, identity.ChannelID(victim.TLS()))
	}
	bound.sign = stolen
	r.refused(bound, authFailed, "does not match")
}

func TestTokenIsNotKept(t *testing.T) {
	r := newRig(t, nil)
	key := newKey(t)
	tok := r.Token(store.Token{Purpose: wire.ForUser, User: "bob"})
	_, id := r.welcome(caller{key: key, extra: wamp.Dict{"activation_code": tok.Secret(), "more": 1}})
	if s := fmt.Sprintf("%+v", id); strings.Contains(s, tok.Secret()) {
		t.Errorf("the token is still in the identity: %s", s)
	}
	if extra, _ := wamp.AsDict(id.Hello["authextra"]); extra["more"] == nil {
		t.Errorf("HELLO details %v", id.Hello)
	}
	for _, e := range r.audited.all {
		if strings.Contains(fmt.Sprintf("%+v", e), tok.Secret()) {
			t.Errorf("the token is in the audit log: %+v", e)
		}
	}
	d := wamp.Dict{"authextra": wamp.Dict{"activation_code": "x"}}
	before := maps.Clone(d)
	withoutToken(d, d["authextra"].(wamp.Dict))
	if !maps.EqualFunc(d, before, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Error("the client's message was changed")
	}
}
