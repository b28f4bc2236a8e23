package crossbar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// A proxy never forgets which connections a role of a realm had: as long as
// any route serves the role, sessions take turns through all of them, also those
// of routes that are stopped. So what each had is kept, and a change that would
// make the proxy mix the living with the dead takes a restart.

// turns is one role of a realm.
type turns struct{ realm, role string }

// serving are the connections, by what they are, that routes give to roles.
func (x routes) serving(ctx context.Context, w *worker, all []route) (map[turns][]string, error) {
	serving, known := map[turns][]string{}, map[string]string{}
	for _, r := range all {
		for role, connection := range r.roles {
			id, _ := wamp.AsString(connection)
			if known[id] == "" {
				print, err := fingerprint(ctx, w, id)
				if err != nil {
					return nil, err
				}
				known[id] = print
			}
			serving[turns{r.realm, role}] = append(serving[turns{r.realm, role}], known[id])
		}
	}
	return serving, nil
}

// fingerprint is what a connection is: one of the same configuration leads to
// the same router. One that is stopped is another one.
func fingerprint(ctx context.Context, w *worker, connection string) (string, error) {
	d, err := w.dict(ctx, "get_proxy_connection", connection)
	if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
		return "stopped " + connection, nil
	}
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(d["config"])
	if err != nil {
		return "", fmt.Errorf("cannot compare connections: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// had is the place of what roles had.
func (s *site) had() place { return place{s.id, s.life, "proxy_turns"} }

// remember keeps which connections a route's roles have.
func (x routes) remember(ctx context.Context, s *site, realm string, roles map[string]any) error {
	serving, err := x.serving(ctx, s.worker, []route{{realm: realm, roles: roles}})
	if err != nil {
		return err
	}
	kept := s.n.memory.kept(s.had())
	for t, prints := range serving {
		for _, print := range prints {
			key := strings.Join([]string{t.realm, t.role, print}, " ")
			if kept[key] != nil {
				continue
			}
			if err := s.n.memory.started(s.had(), key, map[string]any{"realm": t.realm, "role": t.role, "connection": print}); err != nil {
				return err
			}
		}
	}
	return nil
}

// mixed is a role that these routes serve, and that would get connections too
// which none of them gives it.
func (x routes) mixed(ctx context.Context, s *site, all []route) (t turns, mixed bool, err error) {
	serving, err := x.serving(ctx, s.worker, all)
	if err != nil {
		return t, false, err
	}
	kept := s.n.memory.kept(s.had())
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		t.realm, _ = kept[key]["realm"].(string)
		t.role, _ = kept[key]["role"].(string)
		if prints := serving[t]; len(prints) > 0 && !slices.Contains(prints, fmt.Sprint(kept[key]["connection"])) {
			return t, true, nil
		}
	}
	return turns{}, false, nil
}

// mayStart tells whether a start would mix, as MayStart does.
func (x routes) mayStart(ctx context.Context, s *site, config map[string]any, options ops.StopOptions) (anew bool, err error) {
	all, err := x.all(ctx, s.worker)
	if err != nil {
		return false, err
	}
	given, _ := wamp.AsDict(config["roles"])
	for _, connection := range given {
		if _, err := s.site(ops.ProxyConnection, "", "").find(ctx, fmt.Sprint(connection)); err != nil {
			return false, err
		}
	}
	realm, roles := x.split(s, config)
	return x.consent(ctx, s, append(all, route{realm: realm, roles: roles}), options)
}

// mayStop implements picky.
func (x routes) mayStop(ctx context.Context, s *site, id string, options ops.StopOptions) (anew bool, err error) {
	all, err := x.all(ctx, s.worker)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(all, func(r route) bool { return r.id == id })
	if i < 0 {
		return false, nil
	}
	if err := x.remember(ctx, s, all[i].realm, all[i].roles); err != nil {
		return false, err
	}
	return x.consent(ctx, s, slices.Delete(slices.Clone(all), i, i+1), options)
}

func (x routes) consent(ctx context.Context, s *site, all []route, options ops.StopOptions) (anew bool, err error) {
	t, mixed, err := x.mixed(ctx, s, all)
	if err != nil || !mixed {
		return false, err
	}
	if !options.RestartWorker {
		return false, needsRestart(fmt.Sprintf("this proxy would go on passing sessions of role %s in realm %s on through a connection that it had", t.role, t.realm))
	}
	return true, nil
}
