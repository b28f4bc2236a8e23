package catalog

import "fabric.center/cfc/shared/cfcerr"

// Arguments of realms and their roles.
type (
	// OnRealm names a realm of a router worker.
	OnRealm struct {
		OnWorker
		RealmID ObjectID `wamp:"realm_id" doc:"the realm's id on the worker"`
	}
	// StartRealmIn is a realm to be.
	StartRealmIn struct {
		OnWorker
		RealmID *ObjectID      `wamp:"realm_id" doc:"its id on the worker; null makes one up"`
		Config  map[string]any `wamp:"realm_config" doc:"name (the WAMP realm), options, roles; the roles are started too"`
	}
	// OnRole names a role of a realm.
	OnRole struct {
		OnRealm
		RoleID ObjectID `wamp:"role_id" doc:"the role's id in the realm"`
	}
	// StartRoleIn is a role to be.
	StartRoleIn struct {
		OnRealm
		RoleID *ObjectID      `wamp:"role_id" doc:"its id in the realm; null makes one up"`
		Config map[string]any `wamp:"role_config" doc:"name, and permissions or authorizer"`
	}
)

// Place and Settings say where the object is and what it is to be.
func (in OnRealm) Place() Place { return Place{Worker: string(in.Worker), ID: string(in.RealmID)} }
func (in StartRealmIn) Place() Place {
	return Place{Worker: string(in.Worker), ID: orEmpty(in.RealmID)}
}
func (in StartRealmIn) Settings() map[string]any { return in.Config }
func (in OnRole) Place() Place {
	return Place{string(in.Worker), string(in.RealmID), string(in.RoleID)}
}
func (in StartRoleIn) Place() Place {
	return Place{string(in.Worker), string(in.RealmID), orEmpty(in.RoleID)}
}
func (in StartRoleIn) Settings() map[string]any { return in.Config }

// Workers is the argument of rows that need the worker alone.
type Workers struct{ OnWorker }

// Events of realms and their roles.
var (
	RouterRealmLife = life("router", "router_realm", "A realm", "realm_id")
	RealmRoleLife   = life("router", "router_realm_role", "A role of a realm", "realm_id", "role_id")
)

// What can go wrong with an object of a worker, in a look, a start and a stop.
var (
	lookErrors  = []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NoSuchObject}
	startErrors = []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NoSuchObject, cfcerr.AlreadyRunning, cfcerr.InvalidConfiguration, cfcerr.DeniedByHost}
	stopErrors  = []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NoSuchObject, cfcerr.DeniedByHost}
)

// Rows of router realms.
var (
	RouterGetRealms = define[Workers, []string](Op{Realm: Remote, Area: "router", Name: "get_router_realms", Scope: Worker, Access: Read,
		Doc: "List the realms of a router worker.", Returns: "realm ids, sorted", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}})
	RouterGetRealm = define[OnRealm, Dict](Op{Realm: Remote, Area: "router", Name: "get_router_realm", Scope: Worker, Access: Read,
		Doc: "Show a realm of a router worker.", Returns: "id, config, created, roles, …", Errors: lookErrors})
	RouterStartRealm = define[StartRealmIn, Dict](Op{Realm: Remote, Area: "router", Name: "start_router_realm", Scope: Worker, Access: Write,
		Doc:     "Start a realm on a router worker, with the roles of its configuration. Returns when it has completely started; when a part fails, what was started is taken back.",
		Returns: "as get_router_realm", Emits: RouterRealmLife.starts(),
		Errors: []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.AlreadyRunning, cfcerr.InvalidConfiguration, cfcerr.DeniedByHost},
		Repair: "The node starts none of the configuration's roles, and never takes an id again once it has stopped: the agent starts the roles, and gives the node another id for what keeps its own for callers."})
	RouterStopRealm = define[OnRealm, Dict](Op{Realm: Remote, Area: "router", Name: "stop_router_realm", Scope: Worker, Access: Write,
		Doc: "Stop a realm of a router worker. Its sessions end; its id may be used again.", Returns: "id, config, created, stopped, …",
		Emits: RouterRealmLife.stops(), Errors: stopErrors,
		Repair: "The node fails after the realm is down, goes on listing it, and leaves its sessions connected to nothing: the agent ends them first and no longer shows the realm. Without bridge_meta_api they find out when they next send something."})
)

// Rows of the roles of a realm.
var (
	RealmGetRoles = define[OnRealm, []string](Op{Realm: Remote, Area: "router", Name: "get_router_realm_roles", Aliases: []string{"get_realm_roles"}, Scope: Worker, Access: Read,
		Doc: "List the roles of a realm.", Returns: "role ids, sorted", Crossbar: "a list of dicts: id, config", Errors: lookErrors,
		Repair: "The node's list cannot be serialized: the agent takes the roles from the realm."})
	RealmGetRole = define[OnRole, Dict](Op{Realm: Remote, Area: "router", Name: "get_router_realm_role", Aliases: []string{"get_realm_role"}, Scope: Worker, Access: Read,
		Doc: "Show a role of a realm.", Returns: "id, config", Errors: lookErrors})
	RealmStartRole = define[StartRoleIn, Dict](Op{Realm: Remote, Area: "router", Name: "start_router_realm_role", Aliases: []string{"start_realm_role"}, Scope: Worker, Access: Write,
		Doc:     "Start a role on a realm: a bundle of permissions that clients are given when they join. Decisions are not cached (cache in a permission is dropped), so that other rights count at once when the role is stopped and started again.",
		Returns: "id, config",
		Emits:   RealmRoleLife.starts(), Errors: startErrors,
		Repair: "The node repeats decisions that it has cached also for a later role of the same name: the agent starts roles whose decisions are not cached."})
	RealmStopRole = define[OnRole, Dict](Op{Realm: Remote, Area: "router", Name: "stop_router_realm_role", Aliases: []string{"stop_realm_role"}, Scope: Worker, Access: Write,
		Doc:     "Stop a role of a realm. Nobody can join with it any more, but anonymous clients, who get no rights; sessions that have it stay, and what they have registered and subscribed, but may do nothing new. Decisions that the node has cached for a role of its own configuration stay until the realm stops. The id may be used again.",
		Returns: "id, config, stopped",
		Emits:   RealmRoleLife.stops(), Errors: stopErrors,
		Repair: "The node only forgets the role's name, and its sessions go on with its rights: the agent has a role of that name without rights take its place. Anonymous clients can still join, without rights."})
)
