// Package e2e drives the whole system as its users do: built programs, a real
// Crossbar.io node, Autobahn|Python, the nexus client and the command line.
//
// All tests share one fleet: a relay, and the agent n1 of realm "demo", which
// supervises its node. A test that breaks something leaves the fleet whole.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

const realm = "demo"

// stage is the fleet that all tests share.
var stage struct {
	home    string
	tools   fleet.Tools
	node    fleet.Node
	relay   *fleet.Relay
	agent   *fleet.Agent
	keyFile string
	secrets map[string]string // what must be seen nowhere, by what it is
	argv    *argvWatch
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	home, err := os.MkdirTemp("", "cfc-e2e-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	defer func() {
		if n, err := fleet.Reap(ctx, home, 0); n > 0 || err != nil {
			fmt.Fprintf(os.Stderr, "%d processes were left behind, %v\n", n, err)
			code = 1
		}
	}()
	code = 1
	if err := build(ctx, home); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	if stage.argv != nil {
		err = stage.argv.end()
	}
	if stage.agent != nil && stage.agent.Proc != nil {
		err = errors.Join(err, stage.agent.Stop())
	}
	if stage.relay != nil {
		err = errors.Join(err, stage.relay.Stop())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	for _, a := range fleet.Alarms(home) {
		fmt.Fprintln(os.Stderr, a)
		code = 1
	}
	if code != 0 {
		lastWords()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

func lastWords() {
	if stage.relay != nil {
		fmt.Fprintln(os.Stderr, "the relay's last words:\n"+stage.relay.Tail(30))
	}
	if stage.agent != nil && stage.agent.Proc != nil {
		fmt.Fprintln(os.Stderr, "the agent's last words:\n"+stage.agent.Tail(60))
	}
}

// build starts the fleet the way a new user does: token, pair, run.
func build(ctx context.Context, home string) (err error) {
	stage.home, stage.secrets = home, map[string]string{}
	if stage.tools, err = fleet.Find(ctx); err != nil {
		return err
	}
	if stage.node, err = fleet.FindNode(); err != nil {
		return err
	}
	if stage.relay, err = fleet.StartRelay(ctx, stage.tools, home, fleet.RelayOptions{}); err != nil {
		return err
	}
	token, err := stage.relay.OwnerToken()
	if err != nil {
		return err
	}
	stage.secrets["the first owner's token"] = token
	stage.keyFile = filepath.Join(home, "user.key")
	key, err := identity.LoadOrCreate(stage.keyFile)
	if err != nil {
		return err
	}
	seed, err := os.ReadFile(stage.keyFile)
	if err != nil {
		return err
	}
	stage.argv = watchArguments(home, string(seed[:64]))
	s, err := session.Join(ctx, session.Config{URL: stage.relay.URL(), Key: key, Token: token})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Call(ctx, catalog.CreateManagementRealm.URI(), wamp.List{realm}, nil, session.CallOptions{}); err != nil {
		return err
	}
	invitation, err := s.Call(ctx, catalog.CreateToken.URI(), wamp.List{string(wire.ForNode), wamp.Dict{"realm": realm, "node_id": "n1"}}, nil, session.CallOptions{})
	if err != nil {
		return err
	}
	d, _ := wamp.AsDict(invitation.Arguments[0])
	token, _ = wamp.AsString(d["token"])
	stage.secrets["the node's token"] = token
	if stage.agent, err = fleet.NewAgent(ctx, stage.tools, stage.node, home, fleet.AgentOptions{}); err != nil {
		return err
	}
	if err := stage.agent.Pair(ctx, stage.relay.URL(), token); err != nil {
		return err
	}
	if err := stage.agent.Start(ctx); err != nil {
		return err
	}
	return ready(ctx)
}

// ready waits until the node is attached and the relay knows it.
func ready(ctx context.Context) error {
	if err := stage.agent.Attached(ctx); err != nil {
		return err
	}
	key, err := identity.Load(stage.keyFile)
	if err != nil {
		return err
	}
	s, err := session.Join(ctx, session.Config{URL: stage.relay.URL(), Realm: realm, Key: key})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return fleet.Poll(ctx, func() error {
		r, err := s.Call(ctx, catalog.RealmGetNode.URI(), wamp.List{"n1"}, nil, session.CallOptions{})
		if err != nil {
			return err
		}
		info, _ := wamp.AsDict(r.Arguments[0])
		if node, _ := wamp.AsDict(info["node"]); node["attached"] != true {
			return fmt.Errorf("the relay does not know that the node is attached: %v", info)
		}
		return nil
	})
}

// within bounds what a test may take.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// owner joins realm demo with this product's own client.
func owner(t *testing.T) *session.Session {
	t.Helper()
	return join(t, realm)
}

// clients are the libraries and serializers that the contract is shown with.
func clients() []string {
	var names []string
	for _, s := range driver.Serializers {
		names = append(names, "nexus/"+s, "autobahn/"+s)
	}
	return names
}

// client joins a realm with one of them.
func client(t *testing.T, name, realm string) driver.Client {
	t.Helper()
	library, serializer := filepath.Split(name)
	l := driver.Login{URL: stage.relay.URL() + wire.UserPath, Realm: realm, KeyFile: stage.keyFile, Serializer: serializer}
	ctx := within(t, 30*time.Second)
	var c driver.Client
	var err error
	if library == "nexus/" {
		c, err = driver.Nexus(ctx, l)
	} else {
		c, err = driver.Autobahn(ctx, stage.node.Python, "autobahn/client.py", l)
	}
	if err != nil {
		t.Fatalf("%s joins %s: %v", name, realm, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
