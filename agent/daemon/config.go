package daemon

import (
	"net"
	"strings"
	"time"

	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
)

// Where an installed agent looks for its configuration.
const (
	DefaultFile = "/etc/cfc/agent.yaml"
	EnvPrefix   = "CFC_AGENT_"
)

//go:generate go test -count=1 -run ^TestPage$ . -update

// Config is the agent's configuration: agent.yaml, CFC_AGENT_… and flags.
type Config struct {
	Data    string `yaml:"data" default:"/var/lib/cfc-agent" doc:"directory of keys, pairing and state; for the agent alone (0700)"`
	Control string `yaml:"control" default:"/run/cfc-agent/agent.sock" doc:"socket on which the agent's commands reach it"`
	Policy  string `yaml:"policy" doc:"file of the host's own policy; /etc/cfc/policy.yaml if empty, which need not be there"`
	Relay   string `yaml:"relay" doc:"address of the relay in place of the one that was paired with; it has to be the same relay"`
	Node    Node   `yaml:"node"`
	Log     Log    `yaml:"log"`

	// Version is the program's.
	Version string `yaml:"-"`
}

// Node is the node of this host.
type Node struct {
	Listen      string        `yaml:"listen" default:"127.0.0.1:869" doc:"where the node dials in, loopback only; a socket that systemd hands over under the name node is taken in its place"`
	Pubkey      string        `yaml:"pubkey" doc:"public key of the node; read from its directory if empty"`
	Dir         string        `yaml:"cbdir" flag:"cbdir" doc:"directory of the node (crossbar's --cbdir)"`
	ApplyConfig bool          `yaml:"apply_config" default:"true" doc:"have the node start the workers of its own configuration"`
	Supervise   bool          `yaml:"supervise" flag:"supervise" doc:"start, watch and stop the node"`
	Crossbar    string        `yaml:"crossbar" flag:"crossbar" default:"crossbar" doc:"the crossbar command, with supervise"`
	WriteConfig bool          `yaml:"write_config" default:"true" doc:"with supervise: write the node's configuration where there is none, and its uplink where it leads elsewhere"`
	KeepRunning bool          `yaml:"keep_running" doc:"with supervise: leave the node running when the agent stops"`
	StopTimeout time.Duration `yaml:"stop_timeout" default:"30s" min:"1s" max:"10m" doc:"with supervise: how long an orderly stop of the node may take"`
}

// Log says what is logged; it goes to standard error.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug|info|warn|error" doc:"least level that is logged"`
	Format string `yaml:"format" default:"json" enum:"json|text" doc:"one JSON object a line, or text for people"`
}

// Validate finds what the keys' tags cannot say.
func (c Config) Validate() []config.Fault {
	var faults []config.Fault
	fault := func(key, format string, args ...any) { faults = append(faults, config.Faultf(key, format, args...)) }
	if c.Data == "" {
		fault("data", "expected a directory, found nothing")
	}
	if c.Control == "" {
		fault("control", "expected the path of a socket, found nothing")
	}
	if c.Relay != "" {
		if _, err := session.Address(c.Relay, wire.RoleNode); err != nil {
			fault("relay", "%v", err)
		}
	}
	if !local(c.Node.Listen) {
		fault("node.listen", "expected a loopback address and port such as 127.0.0.1:869, or unix:/path, found %q", c.Node.Listen)
	}
	if c.Node.Pubkey != "" && !wire.ValidPubkey(c.Node.Pubkey) {
		fault("node.pubkey", "expected %s", wire.PubkeyForm)
	}
	if c.Node.Supervise && c.Node.Dir == "" {
		fault("node.cbdir", "missing: node.supervise needs the node's directory")
	}
	return faults
}

// local reports whether only this host can reach the address: a node cannot
// authenticate its agent.
func local(address string) bool {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return path != ""
	}
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
