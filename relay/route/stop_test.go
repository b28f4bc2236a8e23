package route_test

import (
	"context"
	"testing"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestStop(t *testing.T) {
	table, working, finished := catalog.NewTable(), make(chan struct{}, 2), make(chan error, 2)
	work := func(ctx context.Context) {
		working <- struct{}{}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
		finished <- ctx.Err()
	}
	catalog.Bind(table, catalog.CreateManagementRealm, func(ctx context.Context, _ catalog.Caller, _ catalog.CreateRealmIn) (catalog.RealmInfo, error) {
		work(ctx)
		return catalog.RealmInfo{}, nil
	})
	r := newRig(t, route.Config{Table: table}, peer.Options{})
	r.addNode("n1", oid1)
	a := r.rawAgent("n1", "cbor")
	c := r.raw(realmName, "alice", "viewer", "json")
	c.say(call(1, status, "n1"))
	a.next()
	u := r.raw(wire.UsersRealm, "alice", wire.RoleUser, "cbor")
	u.say(call(1, "cfc.create_management_realm", "acme"))
	wait(t, working, "handler")
	r.stop()
	if got := show(u.next()); got != "ERROR CALL 1 cfc.error.connection_lost map[reason:relay-stopped]" {
		t.Errorf("the change got %s", got)
	}
	if err := wait(t, finished, "end of the change"); err != nil {
		t.Errorf("the change was not let finish: %v", err)
	}
	if got := show(c.next()); got != "ERROR CALL 1 cfc.error.connection_lost map[node_id:n1 reason:relay-stopped]" {
		t.Errorf("the call got %s", got)
	}
	for _, s := range []*raw{c, a, u} {
		if g := s.goodbye(); g.Reason != wamp.CloseSystemShutdown {
			t.Errorf("goodbye %v", g)
		}
		if m := s.next(); m != nil {
			t.Errorf("after GOODBYE %s", show(m))
		}
	}
	began := time.Now()
	wait(t, r.stopped, "end of the hub")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopped after %v", took)
	}
	if err := r.hub.AddRealm("late"); err == nil {
		t.Error("a realm was added to a hub that has stopped")
	}
	late := r.dial(realmName, "alice", "viewer", "cbor")
	late.Send() <- &wamp.Hello{Realm: realmName, Details: callee()}
	if m := wait(t, late.Recv(), "ABORT"); m.MessageType() != wamp.ABORT {
		t.Errorf("late: %s", show(m))
	}
}

func TestAttachWaitsForRun(t *testing.T) {
	h := route.New(route.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	defer func() {
		cancel()
		wait(t, stopped, "end of the hub")
	}()
	go func() { stopped <- h.Run(ctx) }()
	if err := h.AddRealm("com.crossbario.fabric"); err == nil {
		t.Error("the users realm was added twice")
	}
}
