package state

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fabric.center/cfc/agent/uplink/relaytest"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

var logIn = LogIn(wamp.Dict{"version": "1.2.3", "hostname": "host1"})

func TestPair(t *testing.T) {
	d, relay := open(t), relaytest.New(t, true)
	token := relay.Invite("")
	p, err := d.Pair(t.Context(), Request{URL: relay.URL(), Token: token, NodeID: "wished", CAFile: relay.CAFile()}, logIn)
	if err != nil {
		t.Fatal(err)
	}
	k, err := d.Key(relay.URL())
	if err != nil {
		t.Fatal(err)
	}
	if p.NodeID != "wished" || p.Realm != relaytest.Realm || !wire.ValidOID(p.OID) || p.Pubkey != k.Public() || p.Relay != relay.URL()+wire.AgentPath {
		t.Errorf("pairing %+v", p)
	}
	if kept, err := d.Pairing(); err != nil || *kept != *p {
		t.Errorf("kept %+v, %v", kept, err)
	}
	b, err := os.ReadFile(d.pairing())
	if err != nil || strings.Contains(string(b), token) {
		t.Errorf("the pairing's file: %s, %v", b, err)
	}
}

func TestAClaimWhoseAnswerWasLostIsMadeAgain(t *testing.T) {
	d, relay := open(t), relaytest.New(t, false)
	r := Request{URL: relay.URL(), Token: relay.Invite("n1")}
	relay.LoseAnswers(true)
	if p, err := d.Pair(t.Context(), r, logIn); err == nil {
		t.Fatalf("paired as %+v", p)
	}
	if p, err := d.Pairing(); p != nil || err != nil {
		t.Errorf("kept %+v, %v", p, err)
	}
	relay.LoseAnswers(false)
	if p, err := d.Pair(t.Context(), r, logIn); err != nil || p.NodeID != "n1" {
		t.Errorf("the second time: %+v, %v", p, err)
	}
}

func TestAPairingThatCannotBeKeptIsNoPairing(t *testing.T) {
	d, relay := open(t), relaytest.New(t, false)
	r := Request{URL: relay.URL(), Token: relay.Invite("n1")}
	claim := func(ctx context.Context, r Request, k identity.Key) (Granted, error) {
		g, err := logIn(ctx, r, k)
		// In the place of a full disk: a directory where the file should go.
		return g, errors.Join(err, os.MkdirAll(filepath.Join(d.pairing(), "x"), 0o700))
	}
	if _, err := d.Pair(t.Context(), r, claim); err == nil || !strings.Contains(err.Error(), "pair again") {
		t.Errorf("got %v", err)
	}
	if err := os.RemoveAll(d.pairing()); err != nil {
		t.Fatal(err)
	}
	if p, err := d.Pair(t.Context(), r, logIn); err != nil || p.NodeID != "n1" {
		t.Errorf("the second time: %+v, %v", p, err)
	}
}

func TestARelayThatSaysNonsenseIsNotKept(t *testing.T) {
	d := open(t)
	for _, g := range []Granted{{}, {"demo", "n.1", "7d3ac4e0-62b1-4a9e-8a5b-6f0c8f1b2a11"}, {"../x", "n1", "7d3ac4e0-62b1-4a9e-8a5b-6f0c8f1b2a11"}, {"demo", "n1", "x"}} {
		_, err := d.Pair(t.Context(), Request{URL: "wss://relay.example"}, func(context.Context, Request, identity.Key) (Granted, error) { return g, nil })
		if err == nil {
			t.Errorf("%+v was taken", g)
		}
	}
	if p, err := d.Pairing(); p != nil || err != nil {
		t.Errorf("kept %+v, %v", p, err)
	}
}

func TestRefusalsComeThrough(t *testing.T) {
	d, relay := open(t), relaytest.New(t, false)
	relay.Refuse(cfcerr.New(cfcerr.NameTaken, "cannot join: the name is taken"))
	if _, err := d.Pair(t.Context(), Request{URL: relay.URL(), Token: relay.Invite("n1")}, logIn); cfcerr.KindOf(err) != cfcerr.NameTaken {
		t.Errorf("got %v", err)
	}
}

func TestRequestsAreCheckedFirst(t *testing.T) {
	node, err := wire.NewToken(wire.ForNode)
	if err != nil {
		t.Fatal(err)
	}
	user, err := wire.NewToken(wire.ForUser)
	if err != nil {
		t.Fatal(err)
	}
	good := Request{URL: "wss://relay.example", Token: node.Secret(), NodeID: "n1", Pin: "sha256:" + strings.Repeat("0a", 32)}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Request){
		"url":     func(r *Request) { r.URL = "relay.example" },
		"node-id": func(r *Request) { r.NodeID = "N1" },
		"pin":     func(r *Request) { r.Pin = "0a0a" },
		"token":   func(r *Request) { r.Token = node.Secret()[:30] },
		" token ": func(r *Request) { r.Token = user.Secret() },
	} {
		r := good
		change(&r)
		err := r.Check()
		var e *cfcerr.Error
		if !errors.As(err, &e) || e.Kind != cfcerr.InvalidArgument || e.Details["argument"] != strings.TrimSpace(name) || strings.Contains(err.Error(), user.Secret()) || strings.Contains(err.Error(), node.Secret()[:30]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What root writes belongs to the directory's owner, as whom the agent runs.
func TestRootWritesForTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can give files away
	}
	const nobody = 65534
	d := open(t)
	if err := os.Chown(d.Path(), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	d, err := Open(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Save(pairing(t, d)); err != nil {
		t.Fatal(err)
	}
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	for _, path := range []string{d.pairing(), d.keys(), filepath.Join(d.keys(), "relay.example_443.key"), filepath.Join(d.Path(), "lock")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if sys, ok := info.Sys().(*syscall.Stat_t); !ok || sys.Uid != nobody || sys.Gid != nobody {
			t.Errorf("%s belongs to %+v", path, sys)
		}
	}
}
