package catalog

import (
	"strings"

	"fabric.center/cfc/shared/cfcerr"
)

// Arguments of the meta API of a realm; what they mean is WAMP's, their names
// are Crossbar.io's.
type (
	// MetaRolesIn filters sessions.
	MetaRolesIn struct {
		OnRealm
		Roles []string `wamp:"filter_authroles,optional" doc:"only sessions with one of these authroles"`
	}
	// MetaSessionIn names a session.
	MetaSessionIn struct {
		OnRealm
		Session int64 `wamp:"session_id" doc:"the session's id"`
	}
	// MetaKillIn ends a session.
	MetaKillIn struct {
		MetaSessionIn
		MetaReason
	}
	// MetaKillByAuthIDIn ends the sessions of one who has logged in.
	MetaKillByAuthIDIn struct {
		OnRealm
		AuthID string `wamp:"authid" doc:"the authid of the sessions"`
		MetaReason
	}
	// MetaKillByRoleIn ends the sessions of a role.
	MetaKillByRoleIn struct {
		OnRealm
		Role string `wamp:"authrole" doc:"the authrole of the sessions"`
		MetaReason
	}
	// MetaReason is what the ended sessions are told.
	MetaReason struct {
		Reason  *string `wamp:"reason,optional" doc:"the URI that they are given as the reason"`
		Message *string `wamp:"message,optional" doc:"a text for people"`
	}
	// MetaOfSessionIn filters registrations or subscriptions.
	MetaOfSessionIn struct {
		OnRealm
		Session *int64 `wamp:"session_id,optional" doc:"only those of this session"`
	}
	// MetaRegistrationIn names a registration.
	MetaRegistrationIn struct {
		OnRealm
		Registration int64 `wamp:"registration_id" doc:"the registration's id"`
	}
	// MetaSubscriptionIn names a subscription.
	MetaSubscriptionIn struct {
		OnRealm
		Subscription int64 `wamp:"subscription_id" doc:"the subscription's id"`
	}
	// MetaProcedureIn names a procedure of the realm.
	MetaProcedureIn struct {
		OnRealm
		Procedure string `wamp:"procedure" doc:"URI of the procedure"`
	}
	// MetaTopicIn names a topic of the realm.
	MetaTopicIn struct {
		OnRealm
		Topic string `wamp:"topic" doc:"URI of the topic"`
	}
	// MetaOptions are those of REGISTER or SUBSCRIBE.
	MetaOptions struct {
		Options map[string]any `wamp:"options,optional" doc:"as of REGISTER or SUBSCRIBE: match"`
	}
	// MetaLookupProcedureIn asks for the registration of a procedure.
	MetaLookupProcedureIn struct {
		MetaProcedureIn
		MetaOptions
	}
	// MetaLookupTopicIn asks for the subscription of a topic.
	MetaLookupTopicIn struct {
		MetaTopicIn
		MetaOptions
	}
	// MetaRemoveCalleeIn takes a callee off a registration.
	MetaRemoveCalleeIn struct {
		MetaRegistrationIn
		Callee int64   `wamp:"callee_id" doc:"the callee's session id"`
		Reason *string `wamp:"reason,optional" doc:"the URI that it is given as the reason"`
	}
	// MetaRemoveSubscriberIn takes a subscriber off a subscription.
	MetaRemoveSubscriberIn struct {
		MetaSubscriptionIn
		Subscriber int64   `wamp:"subscriber_id" doc:"the subscriber's session id"`
		Reason     *string `wamp:"reason,optional" doc:"the URI that it is given as the reason"`
	}
	// MetaEventsIn asks for the history of a subscription.
	MetaEventsIn struct {
		MetaSubscriptionIn
		Limit int64 `wamp:"limit,optional" default:"10" doc:"at most so many events"`
	}
)

const (
	metaPrefix = "meta."
	metaName   = metaPrefix + "wamp."
)

// sessionSecrets is what may hold credentials in the details of a session.
func sessionSecrets(at string) []string {
	var paths []string
	for _, transport := range []string{at + "transport.", at + "authextra.transport."} {
		for _, key := range []string{"http_headers_received", "http_headers_sent", "http_cbtid", "channel_id"} {
			paths = append(paths, transport+key)
		}
	}
	return paths
}

// meta declares a row of the meta API: "session.list" of every realm that
// bridges it. Without the inner "wamp." it is the same procedure.
func meta[In any](name string, access Access, doc, returns string, errors ...cfcerr.Kind) Spec[In, any] {
	op := Op{Realm: Remote, Area: "router", Name: metaName + name, Aliases: []string{metaPrefix + name}, Scope: Worker, Access: access,
		Keys: []string{"realm." + metaName + name, "realm." + metaPrefix + name},
		Doc:  doc, Returns: returns, Errors: append([]cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NoSuchObject, cfcerr.NotSupported}, errors...)}
	op.Repair = metaRepairs[name]
	if name == "session.get" {
		op.Secrets = sessionSecrets("")
	}
	return define[In, any](op)
}

const oneEnding = "The node stops at a session that has been told to go and has not gone yet: the agent goes on with each by itself, and counts it as ended."

// metaRepairs are what a stock node does wrongly in the meta API, and what the
// agent makes of it.
var metaRepairs = map[string]string{
	"session.get":                    "A realm with a store in memory fails at a session that is not there: the agent says that there is none.",
	"session.kill":                   "The node fails at a session that has been told to go and has not gone yet: the agent says that it is done.",
	"session.kill_by_authid":         oneEnding,
	"session.kill_by_authrole":       oneEnding,
	"registration.remove_callee":     "The node fails after it has removed the callee: the agent sees that it has, and tells the events. The callee is not told.",
	"subscription.list_subscribers":  "Where events of the topic are kept, the node fails at their store: the agent asks each session for its subscriptions.",
	"subscription.count_subscribers": "Where events of the topic are kept, the node counts their store too: the agent counts the sessions.",
	"subscription.get_events":        "The node gives an event once for each of its receivers: the agent gives each once.",
}

const sorted = "{exact: ids, prefix: ids, wildcard: ids}"

// Rows of the meta API of realms, whose procedures WAMP names.
var (
	MetaSessionList  = meta[MetaRolesIn]("session.list", Read, "List the sessions that have joined a realm.", "session ids")
	MetaSessionCount = meta[MetaRolesIn]("session.count", Read, "Count the sessions that have joined a realm.", "how many")
	MetaSessionGet   = meta[MetaSessionIn]("session.get", Read, "Show a session of a realm.", "session, authid, authrole, authmethod, authprovider, authextra, transport")
	MetaSessionKill  = meta[MetaKillIn]("session.kill", Write, "End a session of a realm.", "null")
	MetaKillByAuthID = meta[MetaKillByAuthIDIn]("session.kill_by_authid", Write, "End all sessions of a realm that have an authid.", "ids of the sessions that were ended")
	MetaKillByRole   = meta[MetaKillByRoleIn]("session.kill_by_authrole", Write, "End all sessions of a realm that have an authrole.", "ids of the sessions that were ended")

	MetaRegistrationList   = meta[MetaOfSessionIn]("registration.list", Read, "List the registrations of a realm.", sorted)
	MetaRegistrationGet    = meta[MetaRegistrationIn]("registration.get", Read, "Show a registration of a realm.", "id, uri, match, invoke, created")
	MetaRegistrationLookup = meta[MetaLookupProcedureIn]("registration.lookup", Read, "Find the registration under exactly this procedure.", "its id, or null")
	MetaRegistrationMatch  = meta[MetaProcedureIn]("registration.match", Read, "Find the registration that a call of this procedure reaches.", "its id, or null")
	MetaCalleesList        = meta[MetaRegistrationIn]("registration.list_callees", Read, "List the callees of a registration.", "session ids")
	MetaCalleesCount       = meta[MetaRegistrationIn]("registration.count_callees", Read, "Count the callees of a registration.", "how many")
	MetaCalleeRemove       = meta[MetaRemoveCalleeIn]("registration.remove_callee", Write, "Take a callee off a registration; its session goes on. A stock node does not tell the callee.", "null")

	MetaSubscriptionList   = meta[MetaOfSessionIn]("subscription.list", Read, "List the subscriptions of a realm.", sorted)
	MetaSubscriptionGet    = meta[MetaSubscriptionIn]("subscription.get", Read, "Show a subscription of a realm.", "id, uri, match, created")
	MetaSubscriptionLookup = meta[MetaLookupTopicIn]("subscription.lookup", Read, "Find the subscription to exactly this topic.", "its id, or null")
	MetaSubscriptionMatch  = meta[MetaTopicIn]("subscription.match", Read, "Find the subscriptions that an event of this topic reaches.", "their ids, or null")
	MetaSubscribersList    = meta[MetaSubscriptionIn]("subscription.list_subscribers", Read, "List the subscribers of a subscription.", "session ids")
	MetaSubscribersCount   = meta[MetaSubscriptionIn]("subscription.count_subscribers", Read, "Count the subscribers of a subscription.", "how many")
	MetaSubscriberRemove   = meta[MetaRemoveSubscriberIn]("subscription.remove_subscriber", Write, "Take a subscriber off a subscription; its session goes on.", "null")
	MetaEvents             = meta[MetaEventsIn]("subscription.get_events", Read, "Show the last events of a subscription. The realm's configuration needs a store with event-history for its topic.", "events, the newest first")
)

// metaEvent declares an event of the meta API. Behind the realm come the
// arguments that the router gave it.
func metaEvent(name, doc string, args ...string) *Event {
	all := append([]string{"node_id", "worker_id", "realm_id"}, args...)
	e := Event{Area: "router", Name: metaName + name, Keys: []string{"realm." + metaName + name}, Args: append(all, "details"), By: ByAgent, Access: Read, Passing: true, Doc: doc}
	if name == "session.on_join" {
		e.Secrets = sessionSecrets("session.")
	}
	return event(e)
}

// Events of the meta API of realms.
var (
	OnMetaSessionJoin  = metaEvent("session.on_join", "A session has joined a realm; session is what meta.wamp.session.get shows of it.", "session")
	OnMetaSessionLeave = metaEvent("session.on_leave", "A session has left a realm.", "session_id")
	OnMetaSessionStats = metaEvent("session.on_stats", "What a session has sent and received, where the realm's configuration has stats.", "session", "stats")

	OnMetaRegistrationCreate = metaEvent("registration.on_create", "The first callee has registered a procedure.", "session_id", "registration")
	OnMetaRegister           = metaEvent("registration.on_register", "A callee has registered a procedure.", "session_id", "registration_id")
	OnMetaUnregister         = metaEvent("registration.on_unregister", "A callee has left a registration.", "session_id", "registration_id")
	OnMetaRegistrationDelete = metaEvent("registration.on_delete", "The last callee has left a registration.", "session_id", "registration_id")

	OnMetaSubscriptionCreate = metaEvent("subscription.on_create", "The first subscriber has subscribed to a topic.", "session_id", "subscription")
	OnMetaSubscribe          = metaEvent("subscription.on_subscribe", "A subscriber has subscribed to a topic.", "session_id", "subscription_id")
	OnMetaUnsubscribe        = metaEvent("subscription.on_unsubscribe", "A subscriber has left a subscription.", "session_id", "subscription_id")
	OnMetaSubscriptionDelete = metaEvent("subscription.on_delete", "The last subscriber has left a subscription.", "session_id", "subscription_id")
)

// MetaProcedure is WAMP's name of a row of the meta API: "wamp.session.list".
func (o *Op) MetaProcedure() (name string, ok bool) {
	return strings.CutPrefix(o.Name, metaPrefix)
}

// MetaTopic is WAMP's name of an event of the meta API.
func (e *Event) MetaTopic() (name string, ok bool) {
	return strings.CutPrefix(e.Name, metaPrefix)
}

// Group is where the row stands for people, in the command line and in a
// host's policy: its area and name, but for the meta API, which has an area of
// its own.
func (o *Op) Group() (area, name string) {
	if name, ok := strings.CutPrefix(o.Name, metaName); ok && o.Realm == Remote {
		return "meta", strings.ReplaceAll(name, ".", "_")
	}
	return o.Area, o.Name
}
