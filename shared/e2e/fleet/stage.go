package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Stage is the whole product on one machine, as tests and benchmarks of all of
// it need it: a relay with one owner and one realm, and the agent n1 with its
// node.
type Stage struct {
	Home    string
	Tools   Tools
	Node    Node
	Relay   *Relay
	Agent   *Agent
	KeyFile string // of the owner
	Policy  string // further lines of the agent's policy, to be set before Populate

	OwnerToken, NodeToken string // used up; they must be seen nowhere
}

// Realm and NodeID are what a Stage is made of.
const (
	Realm  = "demo"
	NodeID = "n1"
)

// NewStage starts the relay below home and makes the key that will own it.
// Whoever fails later stops what is there with Stop.
func NewStage(ctx context.Context, home string) (s *Stage, err error) {
	s = &Stage{Home: home, KeyFile: filepath.Join(home, "user.key")}
	if s.Tools, err = Find(ctx); err != nil {
		return s, err
	}
	if s.Relay, err = StartRelay(ctx, s.Tools, home, RelayOptions{}); err != nil {
		return s, err
	}
	if s.OwnerToken, err = s.Relay.OwnerToken(); err != nil {
		return s, err
	}
	_, err = identity.LoadOrCreate(s.KeyFile)
	return s, err
}

// Populate is Pair and Start.
func (s *Stage) Populate(ctx context.Context) (err error) {
	if s.Node, err = FindNode(); err != nil {
		return err
	}
	if err := s.Pair(ctx, AgentOptions{}); err != nil {
		return err
	}
	return s.Start(ctx)
}

// Pair claims the relay, makes the realm, and pairs the agent by a token.
func (s *Stage) Pair(ctx context.Context, o AgentOptions) error {
	key, err := identity.Load(s.KeyFile)
	if err != nil {
		return err
	}
	owner, err := session.Join(ctx, session.Config{URL: s.Relay.URL(), Key: key, Token: s.OwnerToken})
	if err != nil {
		return err
	}
	defer owner.Close()
	if _, err := owner.Call(ctx, catalog.CreateManagementRealm.URI(), wamp.List{Realm}, nil, session.CallOptions{}); err != nil {
		return err
	}
	invitation, err := owner.Call(ctx, catalog.CreateToken.URI(), wamp.List{string(wire.ForNode), wamp.Dict{"realm": Realm, "node_id": NodeID}}, nil, session.CallOptions{})
	if err != nil {
		return err
	}
	d, _ := wamp.AsDict(invitation.Arguments[0])
	s.NodeToken, _ = wamp.AsString(d["token"])
	if s.Agent, err = NewAgent(ctx, s.Tools, s.Node, s.Home, o); err != nil {
		return err
	}
	if err := os.WriteFile(s.Agent.Policy, []byte("version: 1\n"+s.Policy), 0o600); err != nil {
		return err
	}
	return s.Agent.Pair(ctx, s.Relay.URL(), s.NodeToken)
}

// Start starts the agent with its node, and waits until all know of each other.
func (s *Stage) Start(ctx context.Context) error {
	if err := s.Agent.Start(ctx); err != nil {
		return err
	}
	return s.Ready(ctx)
}

// Join joins a realm as the owner.
func (s *Stage) Join(ctx context.Context, realm string) (*session.Session, error) {
	key, err := identity.Load(s.KeyFile)
	if err != nil {
		return nil, err
	}
	return session.Join(ctx, session.Config{URL: s.Relay.URL(), Realm: realm, Key: key})
}

// Ready waits until the node is attached and the relay knows it.
func (s *Stage) Ready(ctx context.Context) error {
	if err := s.Agent.Attached(ctx); err != nil {
		return err
	}
	owner, err := s.Join(ctx, Realm)
	if err != nil {
		return err
	}
	defer owner.Close()
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	return Poll(ctx, func() error {
		r, err := owner.Call(ctx, catalog.RealmGetNode.URI(), wamp.List{NodeID}, nil, session.CallOptions{Timeout: 5 * time.Second})
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

// Stop ends agent, node and relay in order.
func (s *Stage) Stop() error {
	var errs []error
	if s.Agent != nil && s.Agent.Proc != nil {
		errs = append(errs, s.Agent.Stop())
	}
	if s.Relay != nil {
		errs = append(errs, s.Relay.Stop())
	}
	return errors.Join(errs...)
}

// LastWords are the last lines that relay and agent printed.
func (s *Stage) LastWords() string {
	var words string
	if s.Relay != nil {
		words += "the relay's last words:\n" + s.Relay.Tail(30) + "\n"
	}
	if s.Agent != nil && s.Agent.Proc != nil {
		words += "the agent's last words:\n" + s.Agent.Tail(60) + "\n"
	}
	return words
}
