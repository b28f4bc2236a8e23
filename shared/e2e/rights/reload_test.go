package rights

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// TestCertificateReload gives a relay another certificate while a user and an
// agent are connected: nobody is disturbed, whoever comes later meets the new
// one, and the agent comes back over it.
func TestCertificateReload(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	tools, err := fleet.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	t.Cleanup(func() {
		if _, err := fleet.Reap(context.Background(), home, 0); err != nil {
			t.Error(err)
		}
	})
	cert, key, old := certificate(t)
	relay, err := fleet.StartRelay(ctx, tools, home, fleet.RelayOptions{Config: map[string]string{"tls": "{certificate: " + cert + ", key: " + key + "}"}})
	if err != nil {
		t.Fatal(err)
	}
	url := "wss://" + relay.Address()
	token, err := relay.OwnerToken()
	if err != nil {
		t.Fatal(err)
	}
	me := newKey(t)
	enter := func(realm, token string) *session.Session {
		t.Helper()
		s, err := session.Join(ctx, session.Config{URL: url, Realm: realm, Key: me, Token: token, CAFile: cert})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	owner := enter(wire.UsersRealm, token)
	if err := do(ctx, owner, catalog.CreateManagementRealm.Op, realm); err != nil {
		t.Fatal(err)
	}
	if token, err = w.token(ctx, owner, wire.ForNode, wamp.Dict{"realm": realm, "node_id": "n1"}); err != nil {
		t.Fatal(err)
	}
	a := lonelyAgent(t, tools, home, nil)
	if err := a.Pair(ctx, url, token, "--ca", cert); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(ctx); err != nil {
		t.Fatal(err)
	}
	member := enter(realm, "")
	since := func(s *session.Session) (at string) {
		t.Helper()
		err := fleet.Poll(within(t, 30*time.Second), func() error {
			r, err := s.Call(ctx, catalog.RealmGetNode.URI(), wamp.List{"n1"}, nil, session.CallOptions{})
			if err != nil {
				return err
			}
			d, _ := wamp.AsDict(r.Arguments[0])
			if d["status"] != "online" {
				return fmt.Errorf("n1 is %v", d["status"])
			}
			at = fmt.Sprint(d["since"])
			return nil
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, a.Tail(10))
		}
		return at
	}
	before := since(member)

	if _, _, err := fleet.Certificate(filepath.Dir(cert)); err != nil {
		t.Fatal(err)
	}
	err = fleet.Poll(within(t, 30*time.Second), func() error {
		c, err := tls.Dial("tcp", relay.Address(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return err
		}
		defer c.Close()
		if c.ConnectionState().PeerCertificates[0].Equal(old) {
			return fmt.Errorf("the relay has the old certificate still")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := since(member); after != before {
		t.Errorf("the agent is online since %s, it was since %s", after, before)
	}
	if err := do(ctx, owner, catalog.UsersGetStatus.Op); err != nil {
		t.Errorf("the user's session: %v", err)
	}
	enter(realm, "")
	pinned := session.Config{URL: url, Key: me, Pin: session.Pin(old)}
	if err := enroll(ctx, pinned); err == nil || !strings.Contains(err.Error(), "pin") {
		t.Errorf("whoever has pinned the old key: %v", err)
	}
	if err := relay.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := relay.Start(ctx); err != nil {
		t.Fatal(err)
	}
	since(enter(realm, ""))
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
	if err := relay.Stop(); err != nil {
		t.Error(err)
	}
}
