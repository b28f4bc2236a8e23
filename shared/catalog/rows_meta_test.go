package catalog

import (
	"slices"
	"testing"

	"fabric.center/cfc/shared/wire"
)

func init() {
	on := func(name, args, access string) {
		contract[Remote]["cfc.remote.router.meta.wamp."+name+"(node_id, worker_id, realm_id"+args+")"] = access
	}
	on("session.list", ", filter_authroles=[]", "read")
	on("session.count", ", filter_authroles=[]", "read")
	on("session.get", ", session_id", "read")
	on("session.kill", ", session_id, reason=null, message=null", "write")
	on("session.kill_by_authid", ", authid, reason=null, message=null", "write")
	on("session.kill_by_authrole", ", authrole, reason=null, message=null", "write")
	for what, name := range map[string]string{"registration": "procedure", "subscription": "topic"} {
		id := ", " + what + "_id"
		on(what+".list", ", session_id=null", "read")
		on(what+".get", id, "read")
		on(what+".lookup", ", "+name+", options={}", "read")
		on(what+".match", ", "+name, "read")
	}
	on("registration.list_callees", ", registration_id", "read")
	on("registration.count_callees", ", registration_id", "read")
	on("registration.remove_callee", ", registration_id, callee_id, reason=null", "write")
	on("subscription.list_subscribers", ", subscription_id", "read")
	on("subscription.count_subscribers", ", subscription_id", "read")
	on("subscription.remove_subscriber", ", subscription_id, subscriber_id, reason=null", "write")
	on("subscription.get_events", ", subscription_id, limit=10", "read")
}

func TestNamesOfTheMetaAPI(t *testing.T) {
	x := NewIndex()
	for _, uri := range []string{wire.RemotePrefix + "router.meta.wamp.session.list", wire.RemotePrefix + "router.meta.session.list",
		wire.AliasRemote + "router.meta.wamp.session.list", wire.AliasRemote + "realm.meta.wamp.session.list", wire.AliasRemote + "realm.meta.session.list"} {
		if o, ok := x.Management(uri); !ok || o != MetaSessionList.Op {
			t.Errorf("%s is %v", uri, o)
		}
	}
	if o, ok := x.Management(wire.RemotePrefix + "realm.meta.session.list"); ok {
		t.Errorf("a name of Crossbar.io's alone is ours too: %s", o.URI())
	}
	if name, ok := MetaSessionList.MetaProcedure(); name != "wamp.session.list" || !ok {
		t.Errorf("WAMP calls it %q", name)
	}
	if _, ok := NodeGetStatus.MetaProcedure(); ok {
		t.Error("get_status is of the meta API")
	}
	if area, name := MetaSessionList.Group(); area != "meta" || name != "session_list" {
		t.Errorf("for people it is %s %s", area, name)
	}
	if area, name := NodeGetStatus.Group(); area != "node" || name != "get_status" {
		t.Errorf("for people it is %s %s", area, name)
	}
	if !slices.Contains(MetaSessionGet.Secrets, "transport.http_headers_received") || !slices.Contains(OnMetaSessionJoin.Secrets, "session.transport.http_headers_received") {
		t.Error("headers of sessions are no secrets")
	}
}
