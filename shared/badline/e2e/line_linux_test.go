// Package e2e has a host at the end of a bad line: a relay, and a real
// Crossbar.io node with its agent, in a network of their own.
package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/badline"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// line is what some hosts have: 100 kbit/s and 150 ms each way, and of packets so
// many are lost that three of ten have no answer.
var line = badline.Line{Rate: 100_000 / 8, Delay: 150 * time.Millisecond, Queue: 16 << 10, Lost: badline.Share(0.163)}

// stage is the relay at the near end, and the agent at the far one.
var stage struct {
	relay *fleet.Relay
	agent *fleet.Agent
	key   identity.Key
	pin   string
	stop  func()
}

func TestMain(m *testing.M) {
	os.Exit(badline.Main(context.Background(), func() int {
		return fleet.Main(context.Background(), m, 10*time.Minute, build, end, words)
	}))
}

func build(ctx context.Context, home string) (err error) {
	if stage.stop, err = line.Lay(); err != nil {
		return err
	}
	tools, err := fleet.Find(ctx)
	if err != nil {
		return err
	}
	node, err := fleet.FindNode()
	if err != nil {
		return err
	}
	cert, key, err := fleet.Certificate(home)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	stage.pin = session.Pin(pair.Leaf)
	stage.relay, err = fleet.StartRelay(ctx, tools, home, fleet.RelayOptions{Host: badline.Near, Config: map[string]string{"tls": "{certificate: " + cert + ", key: " + key + "}"}})
	if err != nil {
		return err
	}
	if stage.key, err = identity.LoadOrCreate(filepath.Join(home, "user.key")); err != nil {
		return err
	}
	token, err := invite(ctx)
	if err != nil {
		return err
	}
	if stage.agent, err = fleet.NewAgent(ctx, tools, node, home, fleet.AgentOptions{}); err != nil {
		return err
	}
	if err := stage.agent.Pair(ctx, badline.FarURL(url()), token, "--pin", stage.pin); err != nil {
		return err
	}
	return stage.agent.Start(ctx)
}

func url() string { return "wss://" + stage.relay.Address() }

func join(ctx context.Context, realm, token string) (*session.Session, error) {
	return session.Join(ctx, session.Config{URL: url(), Realm: realm, Key: stage.key, Token: token, Pin: stage.pin})
}

// invite claims the relay and gives a token for a node of a new realm.
func invite(ctx context.Context) (string, error) {
	token, err := stage.relay.OwnerToken()
	if err != nil {
		return "", err
	}
	owner, err := join(ctx, wire.UsersRealm, token)
	if err != nil {
		return "", err
	}
	defer owner.Close()
	if _, err := owner.Call(ctx, catalog.CreateManagementRealm.URI(), wamp.List{fleet.Realm}, nil, session.CallOptions{}); err != nil {
		return "", err
	}
	r, err := owner.Call(ctx, catalog.CreateToken.URI(), wamp.List{string(wire.ForNode), wamp.Dict{"realm": fleet.Realm, "node_id": fleet.NodeID}}, nil, session.CallOptions{})
	if err != nil {
		return "", err
	}
	d, _ := wamp.AsDict(r.Arguments[0])
	invitation, _ := wamp.AsString(d["token"])
	return invitation, nil
}

func end(bool) (err error) {
	if stage.agent != nil && stage.agent.Proc != nil {
		err = stage.agent.Stop()
	}
	if stage.relay != nil {
		if failed := stage.relay.Stop(); err == nil {
			err = failed
		}
	}
	if stage.stop != nil {
		stage.stop()
	}
	return err
}

func words() string {
	if stage.agent == nil || stage.agent.Proc == nil {
		return ""
	}
	return stage.relay.Tail(30) + "\n" + stage.agent.Tail(60)
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestABadLine has the host stay online all the time, while an answer that takes
// the line a quarter of a minute is on its way too, and every call is answered.
func TestABadLine(t *testing.T) {
	owner, err := join(within(t, 30*time.Second), fleet.Realm, "")
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	call := func(o *catalog.Op, args ...any) (*wamp.Result, error) {
		began := time.Now()
		r, err := owner.Call(within(t, 2*time.Minute), o.URI(), args, nil, session.CallOptions{Timeout: 100 * time.Second})
		if err == nil {
			t.Log(o.Key(), "took", time.Since(began).Round(time.Millisecond))
		}
		return r, err
	}
	if err := fleet.Poll(within(t, 3*time.Minute), func() error {
		_, err := call(catalog.NodeGetStatus.Op, fleet.NodeID)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var offline []string
	if _, err := owner.Subscribe(within(t, 10*time.Second), catalog.OnNodeOffline.URI(), "", func(v *wamp.Event) {
		mu.Lock()
		defer mu.Unlock()
		offline = append(offline, fmt.Sprint(v.Arguments))
	}); err != nil {
		t.Fatal(err)
	}
	const lines, width = 300, 100
	if _, err := call(catalog.NodeStartWorker.Op, fleet.NodeID, "talks", wamp.Dict{"type": "guest", "executable": "/bin/sh",
		"arguments": wamp.List{"-c", fmt.Sprintf("yes %s | head -%d; sleep 1000", strings.Repeat("x", width), lines)}}); err != nil {
		t.Fatal(err)
	}
	var large sync.WaitGroup
	large.Go(func() {
		r, err := call(catalog.WorkerGetLog.Op, fleet.NodeID, "talks", 10_000)
		if err != nil {
			t.Error(err)
			return
		}
		if list, _ := wamp.AsList(r.Arguments[0]); len(list) < lines {
			t.Errorf("%d lines came", len(list))
		}
	})
	for range 10 {
		if _, err := call(catalog.NodeGetStatus.Op, fleet.NodeID); err != nil {
			t.Error(err)
		}
	}
	large.Wait()
	if _, err := call(catalog.NodeStopWorker.Op, fleet.NodeID, "talks"); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(offline) > 0 {
		t.Errorf("it went offline: %v", offline)
	}
}
