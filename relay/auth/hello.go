package auth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	methodKey    = "cryptosign"
	methodTicket = "ticket"
)

// clientRoles are WAMP's. Who has none of them would be refused as a session,
// and so must not get as far as to claim a token.
var clientRoles = []string{wamp.RoleCaller, wamp.RoleCallee, wamp.RolePublisher, wamp.RoleSubscriber}

// hello is what a HELLO says, checked for form. Nothing in it is believed yet.
type hello struct {
	realm   string // a management realm; empty for the users realm, and for an agent's own
	method  string
	authid  string // with a ticket
	pubkey  string
	bind    bool   // the client offers channel binding
	code    string // the token, which is in no other place
	nodeID  string
	agent   catalog.AgentInfo
	node    catalog.AttachedInfo
	details wamp.Dict // as they came, without the token
}

// secret reports whether this log-in sends a secret that must not be read on the way.
func (h hello) secret() bool { return h.code != "" || h.method == methodTicket }

func parseHello(m *wamp.Hello, agentPath bool) (hello, error) {
	h := hello{realm: string(m.Realm)}
	d := fields{m.Details, ""}
	extra, err := d.dict("authextra")
	if err != nil {
		return h, err
	}
	h.details = withoutToken(m.Details, extra.Dict)
	if roles, err := d.dict("roles"); err != nil || !slices.ContainsFunc(clientRoles, func(r string) bool { _, ok := roles.Dict[r]; return ok }) {
		return h, cfcerr.Argument("roles", "a dict with at least one of "+strings.Join(clientRoles, ", "))
	}
	role, err := d.text("authrole", 64)
	if err != nil {
		return h, err
	}
	if (role == wire.RoleNode) != agentPath {
		return h, refusal{errPath, "authrole " + role + " on the wrong path"}
	}
	if h.realm == wire.UsersRealm && !agentPath {
		h.realm = ""
	}
	if h.method, err = d.method(agentPath); err != nil {
		return h, err
	}
	if h.method == methodTicket {
		if h.authid, err = d.text("authid", 254); err == nil && h.authid == "" {
			err = cfcerr.Argument("authid", "the user whose ticket it is")
		}
		return h, err
	}
	return h, h.fromExtra(extra, agentPath)
}

// method is the first of the client's that is known here.
func (d fields) method(agentPath bool) (string, error) {
	list, ok := wamp.AsList(d.Dict["authmethods"])
	if !ok || len(list) > 32 {
		return "", cfcerr.Argument("authmethods", "a list of strings")
	}
	for _, v := range list {
		switch m, _ := v.(string); {
		case m == methodKey, m == methodTicket && !agentPath:
			return m, nil
		}
	}
	known := "cryptosign or ticket"
	if agentPath {
		known = methodKey
	}
	return "", cfcerr.Argument("authmethods", "a list with "+known)
}

func (h *hello) fromExtra(extra fields, agentPath bool) (err error) {
	if h.pubkey, err = extra.text("pubkey", 64); err != nil {
		return err
	}
	if h.pubkey = strings.ToLower(h.pubkey); !wire.ValidPubkey(h.pubkey) {
		return cfcerr.Argument("authextra.pubkey", wire.PubkeyForm)
	}
	if identity.Weak(h.pubkey) {
		return cfcerr.Argument("authextra.pubkey", "the public half of a real key: anybody can sign for this one")
	}
	if h.code, err = extra.text("activation_code", 256); err != nil {
		return err
	}
	binding, _ := extra.Dict["channel_binding"].(string)
	h.bind = binding == identity.Binding
	if !agentPath {
		return nil
	}
	if h.nodeID, err = extra.text("node_id", 256); err != nil || h.nodeID != "" && !wire.ValidNodeID(h.nodeID) {
		return cfcerr.Argument("authextra.node_id", wire.NodeIDForm)
	}
	return h.fromAgent(extra)
}

// fromAgent reads what an agent tells of itself. All of it may be missing.
func (h *hello) fromAgent(extra fields) error {
	info, err := extra.dict("agent")
	if err != nil {
		return err
	}
	for name, to := range map[string]*string{"version": &h.agent.Version, "os": &h.agent.OS, "arch": &h.agent.Arch,
		"hostname": &h.agent.Hostname, "started": &h.agent.Started} {
		if *to, err = info.text(name, 255); err != nil {
			return err
		}
	}
	if v, ok := info.Dict["protocol"]; ok {
		if n, isInt := wamp.AsInt64(v); !isInt || n < 1 || n > 1000 {
			return cfcerr.Argument("authextra.agent.protocol", "an integer from 1")
		}
	}
	node, err := info.dict("node")
	if err != nil {
		return err
	}
	kind, err := node.text("kind", 32)
	if err != nil {
		return err
	}
	if kind != "" {
		h.node.Kind = &kind
	}
	if h.node.Version, err = node.text("version", 255); err != nil {
		return err
	}
	switch v := node.Dict["attached"].(type) {
	case nil:
	case bool:
		h.node.Attached = v
	default:
		return cfcerr.Argument("authextra.agent.node.attached", "true or false")
	}
	return nil
}

// withoutToken copies the details, so that neither the session's keeper nor a
// log can meet the token.
func withoutToken(details, extra wamp.Dict) wamp.Dict {
	out := maps.Clone(details)
	if out == nil {
		out = wamp.Dict{}
	}
	if extra != nil {
		clean := maps.Clone(extra)
		delete(clean, "activation_code")
		out["authextra"] = clean
	}
	return out
}

// fields is a dict of a stranger, and where it stands.
type fields struct {
	wamp.Dict
	path string
}

// dict is an inner dict; one that is missing or null is empty.
func (f fields) dict(name string) (fields, error) {
	in := fields{nil, f.path + name + "."}
	v := f.Dict[name]
	if v == nil {
		return in, nil
	}
	switch d := v.(type) {
	case wamp.Dict:
		in.Dict = d
	case map[string]any:
		in.Dict = d
	default:
		return in, cfcerr.Argument(f.path+name, "a dict")
	}
	return in, nil
}

// text is a string that a person can be shown; one that is missing or null is empty.
func (f fields) text(name string, limit int) (string, error) {
	v := f.Dict[name]
	if v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok || len(s) > limit || !utf8.ValidString(s) || slices.ContainsFunc([]rune(s), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", cfcerr.Argument(f.path+name, fmt.Sprintf("a string of at most %d printable characters", limit))
	}
	return s, nil
}
