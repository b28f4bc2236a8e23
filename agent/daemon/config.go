package daemon

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"go.uber.org/zap"
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
	Docker  Docker `yaml:"docker"`
	Log     Log    `yaml:"log"`

	// Version is the program's.
	Version string `yaml:"-"`
}

// Node is the node of this host.
type Node struct {
	Listen      string        `yaml:"listen" default:"127.0.0.1:869" doc:"where the node dials in, loopback only; a socket that systemd hands over under the name node is taken in its place"`
	Pubkey      string        `yaml:"pubkey" doc:"public key of the node; read from its directory if empty"`
	Dir         string        `yaml:"cbdir" flag:"cbdir" doc:"directory of the node (crossbar's --cbdir)"`
	ApplyConfig bool          `yaml:"apply_config" default:"true" doc:"have the node start the workers of its own configuration, once in the life of its process"`
	Supervise   bool          `yaml:"supervise" flag:"supervise" doc:"start, watch and stop the node"`
	Crossbar    string        `yaml:"crossbar" flag:"crossbar" default:"crossbar" doc:"the crossbar command, with supervise"`
	WriteConfig bool          `yaml:"write_config" default:"true" doc:"with supervise: write the node's configuration where there is none, and its uplink where it leads elsewhere"`
	KeepRunning bool          `yaml:"keep_running" doc:"with supervise: leave the node running when the agent stops"`
	StopTimeout time.Duration `yaml:"stop_timeout" default:"30s" min:"1s" max:"10m" doc:"with supervise: how long an orderly stop of the node may take"`
}

// Docker is where the Docker Engine of this host is. What may be done with it
// stands in the host's policy.
type Docker struct {
	Socket      string `yaml:"socket" default:"/var/run/docker.sock" doc:"socket of the Docker Engine; there need be none"`
	Host        string `yaml:"host" doc:"address of the Docker Engine in place of the socket, tcp://host:port; other than loopback takes TLS"`
	CA          string `yaml:"ca" doc:"with docker.host: file with the certificates that the engine's is checked by"`
	Cert        string `yaml:"cert" doc:"with docker.host: file with the agent's certificate for the engine"`
	Key         string `yaml:"key" doc:"with docker.host: file with the key of docker.cert"`
	Credentials string `yaml:"credentials" doc:"file with what registries ask for, in the form of Docker's config.json (auths), for the agent alone (0600); it goes to the engine and nowhere else"`
}

func (d Docker) engine(log *zap.Logger) engine.Config {
	return engine.Config{Socket: d.Socket, Host: d.Host, CA: d.CA, Cert: d.Cert, Key: d.Key, Credentials: d.Credentials, Log: log}
}

// faults finds what the keys' tags cannot say.
func (d Docker) faults(fault func(key, format string, args ...any)) {
	address, tcp := strings.CutPrefix(d.Host, "tcp://")
	host, port, err := net.SplitHostPort(address)
	switch ip := net.ParseIP(host); {
	case (d.Cert == "") != (d.Key == ""):
		fault("docker.cert", "expected both docker.cert and docker.key, or none")
	case d.Host == "" && d.CA+d.Cert != "":
		fault("docker.ca", "TLS needs docker.host: a socket has none")
	case d.Host != "" && (!tcp || err != nil || host == "" || port == ""):
		fault("docker.host", "expected tcp://host:port, found %q", d.Host)
	case d.Host != "" && d.CA == "" && (ip == nil || !ip.IsLoopback()):
		fault("docker.ca", "missing: an engine on another host is reached by TLS alone")
	}
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
	if !socketPath(c.Control) {
		fault("control", "expected the path of a socket, of %d bytes at most, found %q", maxSocketPath, c.Control)
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
	c.Docker.faults(fault)
	return faults
}

// Absolute is c with the paths that the node is started with made absolute: it
// is started in its own directory, where others would lead elsewhere.
func (c Config) Absolute() (Config, error) {
	paths := []*string{&c.Node.Dir}
	if strings.ContainsRune(c.Node.Crossbar, filepath.Separator) { // else it is looked up in PATH
		paths = append(paths, &c.Node.Crossbar)
	}
	for _, p := range paths {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return c, fmt.Errorf("cannot tell where %s is: %w", *p, err)
		}
		*p = abs
	}
	return c, nil
}

// policyFile is where the host's policy is, and whether there need be none.
func (c Config) policyFile() (path string, optional bool) {
	if c.Policy == "" {
		return policy.DefaultPath, true
	}
	return c.Policy, false
}

// CheckPolicy finds what is wrong with the host's policy.
func (c Config) CheckPolicy() error { return policy.Check(c.policyFile()) }

// local reports whether only this host can reach the address: a node cannot
// authenticate its agent.
func local(address string) bool {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return socketPath(path)
	}
	host, port, err := net.SplitHostPort(address)
	if _, wrong := strconv.ParseUint(port, 10, 16); wrong != nil {
		return false
	}
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// maxSocketPath is what fits into an address, with a zero behind it (unix(7)).
const maxSocketPath = 107

func socketPath(path string) bool { return path != "" && len(path) <= maxSocketPath }
