// Package e2e drives the whole system as its users do: built programs, a real
// Crossbar.io node, Autobahn|Python, the nexus client and the command line.
//
// All tests share one fleet: a relay, and the agent n1 of realm "demo", which
// supervises its node. A test that breaks something leaves the fleet whole.
package e2e

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
)

const realm = fleet.Realm

// stage is the fleet that all tests share.
var stage struct {
	*fleet.Stage
	secrets map[string]string // what must be seen nowhere, by what it is
	argv    *argvWatch
}

func TestMain(m *testing.M) {
	os.Exit(fleet.Main(context.Background(), m, 20*time.Minute, build, func(bool) (err error) {
		if stage.argv != nil {
			err = stage.argv.end()
		}
		return errors.Join(err, stage.Stop())
	}, func() string { return stage.LastWords() }))
}

// build starts the fleet the way a new user does: token, pair, run.
func build(ctx context.Context, home string) error {
	stage.secrets = map[string]string{}
	s, err := fleet.NewStage(ctx, home)
	if stage.Stage = s; err != nil {
		return err
	}
	seed, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return err
	}
	stage.argv = watchArguments(home, string(seed[:64]))
	err = s.Populate(ctx)
	stage.secrets["the first owner's token"], stage.secrets["the node's token"] = s.OwnerToken, s.NodeToken
	return err
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

// client joins a realm with one of driver.Names.
func client(t *testing.T, name, realm string) driver.Client {
	t.Helper()
	libraries, err := driver.Find()
	if err != nil {
		t.Fatal(err)
	}
	c, err := libraries.Join(within(t, 30*time.Second), name, driver.Login{URL: stage.Relay.URL() + wire.UserPath, Realm: realm, KeyFile: stage.KeyFile})
	if err != nil {
		t.Fatalf("%s joins %s: %v", name, realm, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
