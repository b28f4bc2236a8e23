package e2e

import (
	"fmt"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// policy writes the host's policy for the length of a test.
func policy(t *testing.T, rules string) {
	t.Helper()
	write := func(rules string) error {
		return durable.WriteFile(stage.Agent.Policy, []byte("version: 1\n"+rules), 0o600)
	}
	if err := write(rules); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := write(""); err != nil {
			t.Error(err)
		}
	})
}

func TestTheHostsPolicyIsObeyed(t *testing.T) {
	s := owner(t)
	must(t, s, catalog.NodeGetStatus.Op, "n1")
	policy(t, "read_only: true\n")
	start := func() error {
		_, err := call(t, s, catalog.NodeStartWorker.Op, "n1", "forbidden", wamp.Dict{"type": "no-such-type"})
		return err
	}
	// The file is looked at every two seconds; an unknown type starts nothing meanwhile.
	denied := func() error {
		if err := start(); cfcerr.KindOf(err) != cfcerr.DeniedByHost {
			return fmt.Errorf("not denied: %w", err)
		}
		return nil
	}
	if err := fleet.Poll(within(t, 15*time.Second), denied); err != nil {
		t.Fatal(err)
	}
	must(t, s, catalog.NodeGetStatus.Op, "n1")
	// A policy that is wrong allows reading alone: it meant to forbid something.
	policy(t, "raed_only: false\n")
	broken := func() error {
		st, err := stage.Agent.Status(t.Context())
		if err == nil && len(st.Faults) == 0 {
			err = fmt.Errorf("the status says nothing of the broken policy")
		}
		return err
	}
	if err := fleet.Poll(within(t, 15*time.Second), broken); err != nil {
		t.Error(err)
	}
	if err := start(); cfcerr.KindOf(err) != cfcerr.DeniedByHost {
		t.Errorf("with a broken policy: %v", err)
	}
	policy(t, "")
	allowed := func() error {
		if err := start(); cfcerr.KindOf(err) == cfcerr.DeniedByHost {
			return err
		}
		return nil
	}
	if err := fleet.Poll(within(t, 15*time.Second), allowed); err != nil {
		t.Error(err)
	}
}

// member makes a user with a role in the realm, and joins as him.
func member(t *testing.T, name string, role wire.Role) *session.Session {
	t.Helper()
	d, _ := wamp.AsDict(must(t, join(t, wire.UsersRealm), catalog.CreateToken.Op, "user", wamp.Dict{"user": name, "realm": realm, "role": string(role)}))
	token, _ := wamp.AsString(d["token"])
	key, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	first, err := session.Join(within(t, 20*time.Second), session.Config{URL: stage.Relay.URL(), Key: key, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	s, err := session.Join(within(t, 20*time.Second), session.Config{URL: stage.Relay.URL(), Realm: realm, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestGuestsAreForOwners starts any executable: the arguments decide that it
// takes the higher right, and so the agent does.
func TestGuestsAreForOwners(t *testing.T) {
	operator, boss := member(t, "oscar", wire.Operator), owner(t)
	guest := wamp.Dict{"type": "guest", "executable": "/bin/sleep", "arguments": []any{"600"}}
	if _, err := call(t, operator, catalog.NodeStartWorker.Op, "n1", "guest1", guest); cfcerr.KindOf(err) != cfcerr.NotAuthorized {
		t.Errorf("an operator starts a guest: %v", err)
	}
	options := wamp.Dict{"executable": "/bin/sleep", "arguments": []any{"600"}}
	if _, err := call(t, operator, catalog.NodeStartWorker.Op, "n1", "guest1", "guest", options); cfcerr.KindOf(err) != cfcerr.NotAuthorized {
		t.Errorf("an operator starts a guest by the other form: %v", err)
	}
	for option, value := range map[string]any{"python": "/bin/sh", "pythonpath": []any{"/tmp"}, "env": wamp.Dict{"vars": wamp.Dict{"LD_PRELOAD": "/tmp/x.so"}}} {
		config := wamp.Dict{"type": "router", "options": wamp.Dict{option: value}}
		if _, err := call(t, operator, catalog.NodeStartWorker.Op, "n1", "router9", config); cfcerr.KindOf(err) != cfcerr.NotAuthorized {
			t.Errorf("an operator starts a router with option %s: %v", option, err)
		}
	}
	if _, err := call(t, operator, catalog.NodeShutdownOp.Op, "n1"); cfcerr.KindOf(err) != cfcerr.NotAuthorized {
		t.Errorf("an operator shuts the node down: %v", err)
	}
	must(t, boss, catalog.NodeStartWorker.Op, "n1", "guest1", guest)
	if d, _ := wamp.AsDict(must(t, operator, catalog.NodeGetWorker.Op, "n1", "guest1")); d["type"] != "guest" {
		t.Errorf("get_worker: %v", d)
	}
	must(t, operator, catalog.NodeStopWorker.Op, "n1", "guest1")
	if _, err := call(t, operator, catalog.NodeGetWorker.Op, "n1", "guest1"); cfcerr.KindOf(err) != cfcerr.NoSuchWorker {
		t.Errorf("after the stop: %v", err)
	}
}

// TestUnpairedAndPairedAgain ends the pairing and makes a new one; neither
// touches the node.
func TestUnpairedAndPairedAgain(t *testing.T) {
	s, users := owner(t), join(t, wire.UsersRealm)
	pid, err := stage.Agent.NodePID()
	if err != nil {
		t.Fatal(err)
	}
	must(t, users, catalog.UnpairNode.Op, realm+"/n1")
	if _, err := call(t, s, catalog.NodeGetStatus.Op, "n1"); cfcerr.KindOf(err) != cfcerr.NoSuchNode {
		t.Errorf("a call to an unpaired node: %v", err)
	}
	told := func() error {
		st, err := stage.Agent.Status(t.Context())
		last, _ := st.Uplink["last_error"].(map[string]any)
		if err == nil && last["uri"] != cfcerr.NodeUnpaired.URI() {
			err = fmt.Errorf("the agent does not say that it is unpaired: %v", st.Uplink)
		}
		return err
	}
	if err := fleet.Poll(within(t, 10*time.Second), told); err != nil {
		t.Error(err)
	}
	if !stage.Agent.Running() {
		t.Fatal("the agent gave up")
	}
	d, _ := wamp.AsDict(must(t, users, catalog.CreateToken.Op, "node", wamp.Dict{"realm": realm, "node_id": "n1"}))
	token, _ := wamp.AsString(d["token"])
	stage.secrets["the second node token"] = token
	if err := stage.Agent.Pair(within(t, time.Minute), stage.Relay.URL(), token, "--replace"); err != nil {
		t.Fatal(err)
	}
	recovered(t)
	must(t, s, catalog.NodeGetStatus.Op, "n1")
	if now, err := stage.Agent.NodePID(); err != nil || now != pid {
		t.Errorf("the node was touched: pid %d became %d, %v", pid, now, err)
	}
}
