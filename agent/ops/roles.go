package ops

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// trustedRole is the role of the realm's own service session.
const trustedRole = "trusted"

var (
	matches  = []string{"exact", "prefix", "wildcard"}
	actions  = []string{"call", "register", "publish", "subscribe"}
	disclose = []string{"caller", "publisher"}
	grants   = []string{"uri", "match", "allow", "disclose", "validate", "cache"}
)

// checkRole refuses what the node would fail at without saying why, or accept
// and stumble over at the first message. At is where the role stands in the
// arguments.
func checkRole(at string, role map[string]any) error {
	switch configName(role) {
	case "":
		return cfcerr.Argument(at+".name", "the role's name, by which clients are given it")
	case trustedRole:
		return cfcerr.Argument(at+".name", "a name other than that of the router's own role")
	}
	permissions, static := role["permissions"]
	authorizer, dynamic := role["authorizer"]
	if static == dynamic {
		return cfcerr.Argument(at, "permissions or authorizer, one of the two")
	}
	if dynamic {
		if uri, _ := authorizer.(string); uri == "" || strings.ContainsAny(uri, " #") {
			return cfcerr.Argument(at+".authorizer", "the URI of a procedure on the realm")
		}
		return nil
	}
	list, ok := wamp.AsList(permissions)
	if !ok || permissions == nil {
		return cfcerr.Argument(at+".permissions", "a list of dicts, each with uri and allow")
	}
	for i, v := range list {
		if err := checkPermission(fmt.Sprintf("%s.permissions[%d]", at, i), v); err != nil {
			return err
		}
	}
	return nil
}

func checkPermission(at string, v any) error {
	p, ok := wamp.AsDict(v)
	if !ok || v == nil {
		return cfcerr.Argument(at, "a dict with uri and allow")
	}
	if _, ok := p["uri"].(string); !ok {
		return cfcerr.Argument(at+".uri", "a URI, or a part of one, of which match says how it is meant")
	}
	if err := onlyKeys(at, p, grants); err != nil {
		return err
	}
	if m, given := p["match"]; given && !slices.ContainsFunc(matches, func(s string) bool { return m == s }) {
		return cfcerr.Argument(at+".match", oneOf(matches))
	}
	if err := checkFlags(at+".allow", p["allow"], actions); err != nil {
		return err
	}
	if err := checkFlags(at+".disclose", p["disclose"], disclose); err != nil {
		return err
	}
	if cache, given := p["cache"]; given {
		if _, ok := cache.(bool); !ok {
			return cfcerr.Argument(at+".cache", "true or false")
		}
	}
	if _, ok := wamp.AsDict(p["validate"]); !ok {
		return cfcerr.Argument(at+".validate", "a dict")
	}
	return nil
}

// checkFlags wants a dict of true and false, or nothing.
func checkFlags(at string, v any, names []string) error {
	d, ok := wamp.AsDict(v)
	if !ok {
		return cfcerr.Argument(at, "a dict of true and false: "+strings.Join(names, ", "))
	}
	if err := onlyKeys(at, d, names); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if _, ok := d[name].(bool); !ok {
			return cfcerr.Argument(at+"."+name, "true or false")
		}
	}
	return nil
}

// onlyKeys refuses a key that is none of these.
func onlyKeys(at string, d map[string]any, keys []string) error {
	for _, key := range slices.Sorted(maps.Keys(d)) {
		if !slices.Contains(keys, key) {
			return cfcerr.Argument(at+"."+key, "only "+strings.Join(keys, ", "))
		}
	}
	return nil
}

func oneOf(names []string) string { return "one of " + strings.Join(names, ", ") }
