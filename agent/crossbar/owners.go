package crossbar

import (
	"context"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// owner is a component and its session. The node tells neither which session
// is a component's nor the reverse. But sessions of components are known by
// their transport, which is a function; they stand in the order in which they
// joined, as components do. So as many components as sessions of one realm and
// role, whose other sessions are known, belong together one by one. This is
// found once, and kept.
type owner struct {
	id, realm string // the realm by the node's id
	session   int64  // zero where that cannot be told
	dead      bool   // its session has left
	absent    bool   // it has none, or not yet
	unknown   string // why it cannot be told
}

// group are components whose sessions can only be told from each other by
// their order.
type group struct{ realm, role string } // by name

const (
	keptSession = "session"
	keptRealm   = "realm"
	// joining is how long a component that the node lists may take to join, from
	// when it is seen: when the node has made it is told by a clock that may be set.
	joining = 10 * time.Second
	// maxLookedInto bounds how many sessions of a realm are looked into.
	maxLookedInto = 256
)

const (
	notBridged = "its realm was started without the option bridge_meta_api"
	isTrusted  = "it has the role trusted, whose sessions the realm does not show"
	notTold    = "which of its realm's sessions it has cannot be told"
)

// owners are the components that the node lists, by the node's id.
func (s *site) owners(ctx context.Context) (map[string]owner, error) {
	v, err := s.call(ctx, "get_router_components")
	if err != nil {
		return nil, err
	}
	list, _ := wamp.AsList(v)
	kept := s.n.memory.kept(s.place())
	all, strangers := map[string]owner{}, map[group][]component{}
	for _, x := range list {
		c := readComponent(x)
		session, _ := wamp.AsInt64(kept[c.id][keptSession])
		realm, _ := kept[c.id][keptRealm].(string)
		switch {
		case s.n.memory.burnt(s.place(), c.id):
			all[c.id] = owner{id: c.id, dead: true}
		case realm == "":
			strangers[c.group] = append(strangers[c.group], c)
		case session == 0:
			all[c.id] = owner{id: c.id, realm: realm, unknown: notTold}
		default:
			all[c.id] = owner{id: c.id, realm: realm, session: session}
		}
	}
	for g, cs := range strangers {
		if err := s.meet(ctx, g, cs, all); err != nil {
			return nil, err
		}
	}
	return all, s.bury(ctx, all)
}

type component struct {
	id string
	group
}

func readComponent(v any) component {
	d, _ := wamp.AsDict(v)
	config, _ := wamp.AsDict(d["config"])
	c := component{group: group{role: "anonymous"}}
	c.id, _ = wamp.AsString(d["id"])
	c.realm, _ = wamp.AsString(config["realm"])
	if role, ok := wamp.AsString(config["role"]); ok {
		c.role = role
	}
	return c
}

// meet finds the sessions of components of which nothing is known yet.
func (s *site) meet(ctx context.Context, g group, cs []component, all map[string]owner) error {
	realm, err := s.realmNamed(ctx, g.realm)
	if err != nil {
		return err
	}
	gone := realm == ""
	for _, c := range cs {
		all[c.id] = owner{id: c.id, realm: realm, dead: gone, unknown: unreachable(s, realm, g.role)}
	}
	if gone || all[cs[0].id].unknown != "" {
		return nil
	}
	sessions, err := s.embedded(ctx, realm, g.role, all)
	if err != nil {
		return err
	}
	for i, c := range cs {
		o := all[c.id]
		switch {
		case len(sessions) == len(cs):
			o.session = sessions[i]
		case len(sessions) == 0 && s.unjoined(c.id) > joining:
			o.dead = true
		case len(sessions) == 0: // may come yet
			o.unknown, o.absent = notTold, true
			all[c.id] = o
			continue
		default:
			o.unknown = notTold
		}
		all[c.id] = o
		if !o.dead {
			if err := s.n.memory.started(s.place(), c.id, map[string]any{keptSession: o.session, keptRealm: realm}); err != nil {
				return err
			}
		}
	}
	return nil
}

// unjoined is for how long the component has been seen without a session.
func (s *site) unjoined(id string) time.Duration {
	key := nameKey{s.place(), id}
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	since, seen := s.n.unjoined[key]
	if !seen {
		since = time.Now()
		s.n.unjoined[key] = since
	}
	return time.Since(since)
}

// realmNamed is the node's id of a realm that runs; empty where none does. The
// node finds one by its name also when it is down.
func (s *site) realmNamed(ctx context.Context, name string) (string, error) {
	d, err := s.dict(ctx, "get_router_realm_by_name", name)
	if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
		return "", nil
	}
	id, _ := wamp.AsString(d["id"])
	if s.n.memory.hidden(s.site(ops.RouterRealm, "", "").place(), id) {
		return "", err
	}
	return id, err
}

// unreachable says why sessions of the role cannot be seen; empty if they can.
func unreachable(s *site, realm, role string) string {
	switch {
	case role == "trusted":
		return isTrusted
	case !s.n.cfg.Link.Has(meta{s.n, s.id, realm}.name(listSessions)):
		return notBridged
	}
	return ""
}

// embedded are the sessions of a role, in the order in which they joined, that
// are of components of which nothing is known yet.
func (s *site) embedded(ctx context.Context, realm, role string, all map[string]owner) ([]int64, error) {
	m := meta{s.n, s.id, realm}
	v, err := m.call(ctx, listSessions, wamp.List{wamp.List{role}}, nil)
	if err != nil {
		return nil, err
	}
	taken := map[int64]bool{}
	for _, o := range all {
		taken[o.session] = true
	}
	list, _ := wamp.AsList(v)
	var found []int64
	for _, x := range list[:min(len(list), maxLookedInto)] {
		id, ok := wamp.AsInt64(x)
		if !ok || taken[id] {
			continue
		}
		v, err := m.session(ctx, wamp.List{id}, nil)
		if err != nil {
			continue // has left meanwhile
		}
		d, _ := wamp.AsDict(v)
		if transport, _ := wamp.AsDict(d["transport"]); transport["channel_type"] == "function" {
			found = append(found, id)
		}
	}
	return found, nil
}

// bury marks those whose sessions have left, or whose realm is gone.
func (s *site) bury(ctx context.Context, all map[string]owner) error {
	there := map[string]map[int64]bool{}
	for id, o := range all {
		if o.session == 0 || o.dead {
			continue
		}
		if there[o.realm] == nil {
			sessions, err := s.sessions(ctx, o.realm)
			if err != nil {
				return err
			}
			there[o.realm] = sessions
		}
		o.dead = !there[o.realm][o.session]
		all[id] = o
	}
	return nil
}

// sessions are those of a realm; none where it is gone.
func (s *site) sessions(ctx context.Context, realm string) (map[int64]bool, error) {
	m := meta{s.n, s.id, realm}
	there := map[int64]bool{}
	if s.n.memory.hidden(s.site(ops.RouterRealm, "", "").place(), realm) {
		return there, nil
	}
	v, err := m.call(ctx, listSessions, nil, nil)
	if err != nil {
		return nil, err
	}
	list, _ := wamp.AsList(v)
	for _, x := range list {
		id, _ := wamp.AsInt64(x)
		there[id] = true
	}
	return there, nil
}
