package ops

import (
	"fmt"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Kinds of objects in router workers.
var (
	RouterRealm = &Kind{Key: "router_realm", Noun: "realm", Worker: "router", Prefix: "realm_",
		Life: catalog.RouterRealmLife, Check: checkRealm, Name: configName}
	RealmRole = &Kind{Key: "router_realm_role", Noun: "role", Worker: "router", Parent: RouterRealm, Prefix: "role_",
		Life: catalog.RealmRoleLife, Check: func(config map[string]any) error { return checkRole("role_config", config) }, Name: configName}
)

func (o *Ops) bindRouter() {
	bindKind(o, RouterRealm, catalog.RouterGetRealms, catalog.RouterGetRealm, catalog.RouterStartRealm, catalog.RouterStopRealm)
	bindKind(o, RealmRole, catalog.RealmGetRoles, catalog.RealmGetRole, catalog.RealmStartRole, catalog.RealmStopRole)
}

// configName is the name that a configuration gives: of a WAMP realm, of a role.
func configName(config map[string]any) string {
	name, _ := wamp.AsString(config["name"])
	return name
}

func checkRealm(config map[string]any) error {
	if configName(config) == "" {
		return cfcerr.Argument("realm_config.name", "the name of the WAMP realm")
	}
	if v, given := config["options"]; given {
		if _, ok := wamp.AsDict(v); !ok || v == nil {
			return cfcerr.Argument("realm_config.options", "a dict")
		}
	}
	v, given := config["roles"]
	if !given {
		return nil
	}
	roles, ok := wamp.AsList(v)
	if !ok || v == nil {
		return cfcerr.Argument("realm_config.roles", "a list of roles, each a dict")
	}
	names, ids := map[string]bool{}, map[string]bool{}
	for i, v := range roles {
		at := fmt.Sprintf("realm_config.roles[%d]", i)
		role, ok := wamp.AsDict(v)
		if !ok || v == nil {
			return cfcerr.Argument(at, "a dict with name, and permissions or authorizer")
		}
		name := configName(role)
		if name == "" || names[name] {
			return cfcerr.Argument(at+".name", "a name that no other role of the realm has")
		}
		names[name] = true
		if v, given := role["id"]; given {
			id, _ := v.(string)
			if !wire.ValidObjectID(id) || ids[id] {
				return cfcerr.Argument(at+".id", "an id that no other role of the realm has: "+wire.ObjectIDForm)
			}
			ids[id] = true
		}
		if err := checkRole(at, role); err != nil {
			return err
		}
	}
	return nil
}
