package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// serializer of the client with both contestants.
const serializer = "cbor"

// contestant is a way to the node.
type contestant struct {
	name   string
	call   func(ctx context.Context) error
	memory map[string][]int // processes by what they are
	stop   func() error
}

// startOurs starts relay, agent and node, with one router worker.
func startOurs(ctx context.Context, home string) (*contestant, error) {
	home = filepath.Join(home, "ours")
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	s, err := fleet.NewStage(ctx, home)
	if err == nil {
		err = s.Populate(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, errors.New(s.LastWords()), s.Stop())
	}
	c, err := driver.DialNexus(ctx, driver.Login{URL: s.Relay.URL() + wire.UserPath, Realm: fleet.Realm, KeyFile: s.KeyFile, Serializer: serializer})
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	stop := func() error { return errors.Join(c.Close(), s.Stop()) }
	if _, err := c.Call(ctx, catalog.NodeStartWorker.URI(), nil, wamp.List{fleet.NodeID, "router1", wamp.Dict{"type": "router"}}, nil, nil); err != nil {
		return nil, errors.Join(err, stop())
	}
	return &contestant{name: "cfc", stop: stop,
		call:   statusOf(c, catalog.NodeGetStatus.URI(), fleet.NodeID),
		memory: map[string][]int{"agent": {s.Agent.PID()}, "relay": {s.Relay.PID()}}}, nil
}

// statusOf asks a node for its status, the same procedure of the node on both
// ways, and looks whether it is one.
func statusOf(c *client.Client, uri, node string) func(context.Context) error {
	return func(ctx context.Context) error {
		r, err := c.Call(ctx, uri, nil, wamp.List{node}, nil, nil)
		if err != nil {
			return err
		}
		if len(r.Arguments) == 1 {
			if d, _ := wamp.AsDict(r.Arguments[0]); d["controller_pid"] != nil {
				return nil
			}
		}
		return errors.New("this is not the status of a node")
	}
}
