package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/uplink/relaytest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/fleet"
	"github.com/gammazero/nexus/v3/wamp"
)

// agentConfig writes the agent's configuration.
func (s *shop) agentConfig(listen int, supervise bool) {
	s.Helper()
	s.write(filepath.Join(s.home, "policy.yaml"), "version: 1\n", 0o600)
	s.write(filepath.Join(s.home, "agent.yaml"), fmt.Sprintf("version: 1\ndata: %s/data\ncontrol: %s/agent.sock\npolicy: %s/policy.yaml\nnode:\n  listen: 127.0.0.1:%d\n  cbdir: %s\n  supervise: %v\n  crossbar: %s\n",
		s.home, s.home, s.home, listen, s.dir, supervise, s.stock.Crossbar), 0o600)
}

// agent runs the agent until the function that it gives is called.
func (s *shop) agent() (stop func()) {
	s.Helper()
	p, err := fleet.Start(fleet.Command{Name: "agent", Path: s.tools.Agent, Args: []string{"run", "--config", filepath.Join(s.home, "agent.yaml")},
		Env: []string{ticket}, Dir: s.home, Home: s.home})
	if err != nil {
		s.Fatal(err)
	}
	if err := fleet.Poll(s.ctx, func() error {
		if out, code := s.cfc("status"); code != 0 {
			return fmt.Errorf("the agent is not there: %s", out)
		}
		return nil
	}); err != nil {
		s.Fatal(err)
	}
	return func() {
		s.Helper()
		if err := p.Stop(); err != nil {
			s.Errorf("the agent ends with %v", err)
		}
	}
}

// attached waits until the node is managed.
func (s *shop) attached() {
	s.Helper()
	if err := fleet.Poll(s.ctx, func() error {
		if out, code := s.cfc("status"); code != 0 || !strings.Contains(out, "attached since") {
			return fmt.Errorf("the node is not attached: %s", out)
		}
		return nil
	}); err != nil {
		s.Fatalf("%v\n%s", err, s.logs())
	}
}

// pair pairs the agent with a relay, by which the test asks the node.
func (s *shop) pair() *relaytest.Relay {
	s.Helper()
	relay := relaytest.New(s, false)
	s.write(filepath.Join(s.home, "token"), relay.Invite("n1"), 0o600)
	s.does("node n1", "pair", relay.URL(), "--token-file", filepath.Join(s.home, "token"))
	relay.WaitOnline("n1")
	return relay
}

// has wants the node to have everything under the ids of its configuration, and
// under numbers where that has none.
func (s *shop) has(relay *relaytest.Relay) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	for _, c := range []struct {
		op   *catalog.Op
		args []any
		want []string
	}{
		{catalog.NodeGetWorkers.Op, nil, []string{"front", "helper", "worker001"}},
		{catalog.RouterGetRealms.Op, []any{"front"}, []string{"realm001"}},
		{catalog.RealmGetRoles.Op, []any{"front", "realm001"}, []string{"of_backends", "role001"}},
	} {
		v, err := relay.Call(ctx, "n1", c.op.Key(), c.args...)
		list, _ := wamp.AsList(v)
		var ids []string
		for _, id := range list {
			ids = append(ids, fmt.Sprint(id))
		}
		slices.Sort(ids)
		if err != nil || !slices.Equal(ids, c.want) {
			s.Errorf("%s%v gives %v, %v", c.op.Key(), c.args, v, err)
		}
	}
}

func TestANodeIsTakenOver(t *testing.T) {
	s := newShop(t, "config.json", jsonConfig)
	port, err := fleet.FreePort(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.agentConfig(port, false)
	s.start("start")
	s.works("before")

	s.refuses("was started as crossbar start", "adopt")
	s.asBefore()
	out := s.does("unmanaged", "adopt", "--supervise")
	if !strings.Contains(out, "TICKET_OF_JOE from the environment") || !strings.Contains(out, fmt.Sprintf(`+                "url": "rs://127.0.0.1:%d"`, port)) {
		t.Errorf("it says %s", out)
	}
	s.works("adopted, and not restarted")

	s.agentConfig(port, true)
	stop := s.agent()
	s.works("under an agent, and not restarted")
	s.does("is attached to the agent", "adopt", "--restart")
	if s.process.Running() {
		t.Error("the old node still runs")
	}
	s.works("managed")
	relay := s.pair()
	s.has(relay)
	s.does("nothing to do", "adopt")
	s.refuses("node.supervise", "adopt", "--undo")
	stop()
	s.silent()

	s.agentConfig(port, false)
	s.does("is undone", "adopt", "--undo")
	s.asBefore()
	s.start("start")
	s.works("undone")
	s.stop()
	s.silent()
}

// Its owner goes on starting it, and has changed how before.
func TestANodeThatItsOwnerStarts(t *testing.T) {
	s := newShop(t, "config.yaml", yamlConfig)
	port, err := fleet.FreePort(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.agentConfig(port, false)
	s.start("edge", "start")
	s.works("as edge, unmanaged")
	stop := s.agent()
	defer stop()
	s.does("goes on as it was started", "adopt")
	s.does("nothing to do", "adopt")
	s.works("adopted, and not restarted")
	s.stop()
	s.start("edge", "start")
	s.attached()
	s.works("managed")
	s.has(s.pair())

	s.does("is undone", "adopt", "--undo")
	s.asBefore()
	s.works("undone, and not restarted")
	s.stop()
	s.start("start")
	s.works("standalone again")
	s.stop()
	s.silent()
}

// What stock Crossbar.io refuses is passed on, and its reason with it.
func TestTheNodesOwnCheckIsPassedOn(t *testing.T) {
	s := newShop(t, "config.json", strings.Replace(jsonConfig, `"front"`, `"Front"`, 1))
	s.agentConfig(18690, false)
	s.refuses(`invalid configuration item ID "Front"`, "adopt")
	s.refuses("no configuration and no keys", "adopt", "--cbdir", s.home)
	s.asBefore()
}
