package catalog

import (
	"slices"

	"fabric.center/cfc/shared/cfcerr"
)

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
	// StartLinkIn is a link to be.
	StartLinkIn struct {
		OnRealm
		LinkID *ObjectID      `wamp:"link_id" doc:"its id in the realm; null makes one up"`
		Config map[string]any `wamp:"link_config" doc:"realm and transport of the other router"`
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
		Doc: "Show a link of a realm.", Returns: "id, config, started, connected", Errors: lookErrors, Secrets: []string{"config.transport.**.auth"},
		Unshown: "a link has to be in the node's own configuration, and its other end has to take it in."})
	RealmStartLink = define[StartLinkIn, Dict](Op{Realm: Remote, Area: "router", Name: "start_router_realm_link", Scope: Worker, Access: Write,
		Doc: "Start a link of a realm to a realm of another router. The node's own configuration can.", Returns: "nothing: this is refused", Impossible: NoLinks + ".",
		Errors: append(slices.Clone(lookErrors), cfcerr.NotSupported)})
	RealmStopLink = define[OnLink, Dict](Op{Realm: Remote, Area: "router", Name: "stop_router_realm_link", Scope: Worker, Access: Write,
		Doc: "Stop a link of a realm. Stopping its worker does.", Returns: "nothing: this is refused", Impossible: NoLinks + ".",
		Errors: append(slices.Clone(lookErrors), cfcerr.NotSupported)})
)

// NoLinks is why links are neither started nor stopped.
const NoLinks = "Crossbar.io has no code to stop a link: one that the other router does not take in is never given up before its worker ends"
