package catalog

import "fabric.center/cfc/shared/cfcerr"

// Arguments of the router area.
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
)

// Workers is the argument of rows that need the worker alone.
type Workers struct{ OnWorker }

// Rows of router realms.
var (
	RouterGetRealms = define[Workers, []string](Op{Realm: Remote, Area: "router", Name: "get_router_realms", Scope: Worker, Access: Read,
		Doc: "List the realms of a router worker.", Returns: "realm ids, sorted", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}})
	RouterGetRealm = define[OnRealm, Dict](Op{Realm: Remote, Area: "router", Name: "get_router_realm", Scope: Worker, Access: Read,
		Doc: "Show a realm of a router worker.", Returns: "id, config, created, roles, …", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NoSuchObject}})
	RouterStartRealm = define[StartRealmIn, Dict](Op{Realm: Remote, Area: "router", Name: "start_router_realm", Scope: Worker, Access: Write,
		Doc:     "Start a realm on a router worker, with the roles of its configuration. Returns when it has completely started; when a part fails, what was started is taken back.",
		Returns: "as get_router_realm", Emits: []string{"on_router_realm_starting", "on_router_realm_started"},
		Errors: []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.AlreadyRunning, cfcerr.InvalidConfiguration, cfcerr.DeniedByHost}})
	RouterStopRealm = define[OnRealm, Dict](Op{Realm: Remote, Area: "router", Name: "stop_router_realm", Scope: Worker, Access: Write,
		Doc: "Stop a realm of a router worker. Its sessions end; its id may be used again.", Returns: "id, config, created, stopped, …",
		Emits:  []string{"on_router_realm_stopping", "on_router_realm_stopped"},
		Errors: []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NoSuchObject, cfcerr.DeniedByHost}})
)

// Events of router realms.
var (
	OnRouterRealmStarting = event(Event{Area: "router", Name: "on_router_realm_starting", Args: realmArgs, By: ByAgent, Access: Read, Doc: "A realm is about to be started."})
	OnRouterRealmStarted  = event(Event{Area: "router", Name: "on_router_realm_started", Args: realmArgs, By: ByAgent, Access: Read, Doc: "A realm has completely started."})
	OnRouterRealmStopping = event(Event{Area: "router", Name: "on_router_realm_stopping", Args: realmArgs, By: ByAgent, Access: Read, Doc: "A realm is about to be stopped."})
	OnRouterRealmStopped  = event(Event{Area: "router", Name: "on_router_realm_stopped", Args: realmArgs, By: ByAgent, Access: Read, Doc: "A realm is stopped, or its start failed; details hold the reason."})
)
