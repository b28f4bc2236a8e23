package catalog

// Arguments of further rows of realms.
type (
	// RealmByNameIn names a realm as WAMP does.
	RealmByNameIn struct {
		OnWorker
		Name string `wamp:"realm_name" doc:"the name of the WAMP realm"`
	}
	// RealmStatsIn names a realm, or all.
	RealmStatsIn struct {
		OnWorker
		RealmID *ObjectID `wamp:"realm_id,optional" doc:"the realm's id on the worker; without it all realms"`
	}
	// KillByAuthIDIn names sessions by their authid.
	KillByAuthIDIn struct {
		OnRealm
		AuthID  string  `wamp:"authid" doc:"the authid of the sessions to end"`
		Reason  string  `wamp:"reason,optional" default:"wamp.close.killed" doc:"a URI that the sessions are told"`
		Message *string `wamp:"message,optional" doc:"a text that the sessions are told"`
	}
	// OnLink names a link of a realm.
	OnLink struct {
		OnRealm
		LinkID ObjectID `wamp:"link_id" doc:"the link's id in the realm"`
	}
)

// Further rows of realms, which Crossbar.io has beyond the reference.
var (
	RouterGetRealmByName = define[RealmByNameIn, Dict](Op{Realm: Remote, Area: "router", Name: "get_router_realm_by_name", Scope: Worker, Access: Read,
		Doc: "Show the realm of a router worker that has a name.", Returns: "as get_router_realm", Errors: lookErrors,
		Repair: "The node also finds a realm that is down: the agent looks among those that run."})
	RouterGetRealmStats = define[RealmStatsIn, Dict](Op{Realm: Remote, Area: "router", Name: "get_router_realm_stats", Scope: Worker, Access: Read,
		Doc: "Count the sessions, roles and messages of realms.", Returns: "by realm id: sessions, roles, and messages received and sent by type", Errors: lookErrors,
		Repair: "The node counts realms that are down too, under ids of its own: the agent gives those that run, under the ids that callers use."})
	RouterKillByAuthID = define[KillByAuthIDIn, []int64](Op{Realm: Remote, Area: "router", Name: "kill_by_authid", Scope: Worker, Access: Write,
		Doc: "End all sessions of a realm that have an authid. Unlike the meta API, this needs no bridge_meta_api.", Returns: "ids of the sessions that were ended", Errors: stopErrors})
	RealmGetLinks = define[OnRealm, []string](Op{Realm: Remote, Area: "router", Name: "get_router_realm_links", Scope: Worker, Access: Read,
		Doc: "List the links of a realm to realms of other routers.", Returns: "link ids, sorted", Errors: lookErrors})
	RealmGetLink = define[OnLink, Dict](Op{Realm: Remote, Area: "router", Name: "get_router_realm_link", Scope: Worker, Access: Read,
		Doc: "Show a link of a realm.", Returns: "id, config, started, connected", Errors: lookErrors, Secrets: []string{"config.transport.**.auth"}})
)
