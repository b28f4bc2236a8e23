package uplink_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/uplink"
	"fabric.center/cfc/agent/uplink/relaytest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// rig is an uplink that runs against a relay of the test.
type rig struct {
	relay *relaytest.Relay
	u     *uplink.Uplink
	key   identity.Key
	logs  *observer.ObservedLogs
}

func newRig(t *testing.T, tls bool, h uplink.Handler) *rig {
	t.Helper()
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	kind := "crossbar"
	r := &rig{relay: relaytest.New(t, tls), key: k, logs: logs}
	r.u = uplink.New(uplink.Config{Handler: h, Ping: 200 * time.Millisecond, Log: zap.New(core), Agent: uplink.Describe("1.2.3", "host1", time.Now()),
		Attached: func() catalog.AttachedInfo {
			return catalog.AttachedInfo{Kind: &kind, Version: "26.10.1", Attached: true}
		}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.u.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) identity() uplink.Identity { return uplink.Identity{URL: r.relay.URL(), Key: r.key} }

func (r *rig) paired(t *testing.T) {
	t.Helper()
	r.relay.Known(r.key.Public(), "n1")
	id := r.identity()
	r.u.Use(&id)
	r.relay.WaitOnline("n1")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestAClaimBecomesTheSession(t *testing.T) {
	r := newRig(t, true, nil)
	id := r.identity()
	id.CAFile = r.relay.CAFile()
	token := r.relay.Invite("")
	got, err := r.u.Claim(t.Context(), id, token, "wished")
	if err != nil || got.Realm != relaytest.Realm || got.NodeID != "wished" || !wire.ValidOID(got.OID) {
		t.Fatalf("got %+v, %v", got, err)
	}
	r.relay.WaitOnline("wished")
	hellos := r.relay.Hellos()
	extra, _ := wamp.AsDict(hellos[0]["authextra"])
	agent, _ := wamp.AsDict(extra["agent"])
	node, _ := wamp.AsDict(agent["node"])
	if len(hellos) != 1 || agent["version"] != "1.2.3" || agent["hostname"] != "host1" || node["kind"] != "crossbar" || node["attached"] != true {
		t.Errorf("%d HELLOs: %v", len(hellos), hellos)
	}
	r.relay.Break()
	eventually(t, "a second log-in", func() bool { return len(r.relay.Hellos()) > 1 })
	extra, _ = wamp.AsDict(r.relay.Hellos()[1]["authextra"])
	if extra["activation_code"] != nil {
		t.Error("the token was sent again")
	}
	for _, l := range r.logs.All() {
		if text := l.Message + fields(l); strings.Contains(text, token) {
			t.Errorf("the log has the token: %s", text)
		}
	}
}

func fields(l observer.LoggedEntry) string {
	var b strings.Builder
	for _, f := range l.Context {
		b.WriteString(f.String)
		if err, ok := f.Interface.(error); ok {
			b.WriteString(err.Error())
		}
	}
	return b.String()
}

func TestARefusedClaimLeavesThePairingThatWas(t *testing.T) {
	r := newRig(t, false, nil)
	r.paired(t)
	other := relaytest.New(t, false)
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.u.Claim(t.Context(), uplink.Identity{URL: other.URL(), Key: k}, "cfcn_not_a_token", "")
	if cfcerr.KindOf(err) != cfcerr.TokenInvalid {
		t.Errorf("got %v", err)
	}
	eventually(t, "back at the first relay", func() bool { return r.u.Status().State == uplink.Connected && r.u.NodeID() == "n1" })
}

func TestALostAnswerOfAClaimIsNoLoss(t *testing.T) {
	r := newRig(t, false, nil)
	token := r.relay.Invite("n1")
	r.relay.LoseAnswers(true)
	if _, err := r.u.Claim(t.Context(), r.identity(), token, ""); err == nil {
		t.Fatal("it cannot have succeeded")
	}
	r.relay.LoseAnswers(false)
	if id, err := r.u.Claim(t.Context(), r.identity(), token, ""); err != nil || id.NodeID != "n1" {
		t.Errorf("the second time: %+v, %v", id, err)
	}
}

func TestCallsReachTheHandler(t *testing.T) {
	r := newRig(t, false, func(ctx context.Context, c catalog.Caller, key string, args wamp.List, _ wamp.Dict) (any, error) {
		switch key {
		case "node.get_status":
			return wamp.Dict{"caller": c.AuthID, "role": string(c.Role), "realm": c.Realm, "args": args}, nil
		case "node.shutdown":
			return nil, errors.New("secret text of a defect")
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	r.paired(t)
	v, err := r.relay.Call(t.Context(), "n1", "node.get_status", "x")
	d, _ := wamp.AsDict(v)
	if args, _ := wamp.AsList(d["args"]); err != nil || d["caller"] != "alice" || d["role"] != "owner" || d["realm"] != relaytest.Realm || len(args) != 1 || args[0] != "x" {
		t.Errorf("got %v, %v", v, err)
	}
	if _, err = r.relay.Call(t.Context(), "n1", "node.shutdown"); cfcerr.KindOf(err) != cfcerr.Internal || strings.Contains(err.Error(), "secret") {
		t.Errorf("a defect: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.relay.Call(ctx, "n1", "node.block"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("canceled: %v", err)
	}
	eventually(t, "the handler's end", func() bool { return r.logs.FilterField(zap.String("operation", "node.block")).Len() == 1 })
}

func TestItComesBackAfterEachKindOfEnd(t *testing.T) {
	r := newRig(t, false, nil)
	r.paired(t)
	for name, end := range map[string]func(){
		"broken":  r.relay.Break,
		"goodbye": func() { r.relay.Goodbye(wire.CloseReplaced) },
		"outage":  func() { r.relay.Down(); r.relay.Up() },
	} {
		before := len(r.relay.Hellos())
		end()
		eventually(t, name, func() bool {
			return len(r.relay.Hellos()) > before && r.relay.Online("n1") && r.u.Status().State == uplink.Connected
		})
		if s := r.u.Status(); s.LastError == nil {
			t.Errorf("%s: nothing is told of it", name)
		}
	}
}

func TestAnUnpairedNodeKeepsTryingAndSaysWhy(t *testing.T) {
	r := newRig(t, false, nil)
	r.paired(t)
	r.relay.Forget()
	r.relay.Goodbye(wire.CloseNodeUnpaired)
	eventually(t, "two refusals", func() bool { return r.u.Status().Failures >= 2 })
	if s := r.u.Status(); s.LastError.URI != cfcerr.NodeUnpaired.URI() {
		t.Errorf("status %+v, %+v", s, s.LastError)
	}
	r.relay.Known(r.key.Public(), "n2")
	r.relay.WaitOnline("n2")
	if r.u.NodeID() != "n2" {
		t.Errorf("it calls itself %q", r.u.NodeID())
	}
}

func TestEventsSurviveAnOutage(t *testing.T) {
	r := newRig(t, false, nil)
	r.paired(t)
	r.relay.Down()
	for range 1000 {
		r.u.Publish(catalog.OnWorkerStarted, "w1", wamp.Dict{"type": "router"})
	}
	r.relay.Up()
	eventually(t, "all events", func() bool { return len(r.relay.Events()) >= 1000 && r.u.Status().EventsWaiting == 0 })
	last := int64(0)
	for _, e := range r.relay.Events() {
		d, _ := wamp.AsDict(e.Arguments[2])
		seq, _ := wamp.AsInt64(d["seq"])
		if e.Topic != wamp.URI(catalog.OnWorkerStarted.URI()) || e.Arguments[0] != "n1" || e.Arguments[1] != "w1" || seq < last || seq > last+1 {
			t.Fatalf("event %v after %d", e, last)
		}
		last = seq
	}
}

func TestASilentRelayIsFoundAndLeft(t *testing.T) {
	r := newRig(t, false, nil)
	r.paired(t)
	r.relay.Freeze(true)
	r.u.Publish(catalog.OnNodeAttached, nil)
	eventually(t, "the silence is noticed", func() bool {
		s := r.u.Status()
		return s.State != uplink.Connected && s.LastError != nil && strings.Contains(s.LastError.Text, "silent")
	})
	r.relay.Freeze(false)
	eventually(t, "back", func() bool {
		return r.u.Status().State == uplink.Connected && r.relay.Online("n1") && r.u.Status().EventsWaiting == 0
	})
	if len(r.relay.Events()) == 0 {
		t.Error("the event is lost")
	}
}
