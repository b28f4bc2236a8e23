package daemon

import (
	"flag"
	"os"
	"strings"
	"testing"

	"fabric.center/cfc/shared/config"
)

var update = flag.Bool("update", false, "write the generated files anew")

// TestPage keeps the agent's part of CONFIG.md.
func TestPage(t *testing.T) {
	page := config.Markdown(Config{}, EnvPrefix, true)
	if err := config.UpdateRegion("../../shared/docs/CONFIG.md", "agent.yaml", page, *update); err != nil {
		t.Error(err)
	}
}

// The node is started in its own directory: a path that a person has given from
// another one must not be looked up there.
func TestPathsOfTheNodeAreAbsolute(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range [][4]string{
		{"node", "venv/bin/crossbar", here + "/node", here + "/venv/bin/crossbar"},
		{"/srv/node", "/opt/crossbar", "/srv/node", "/opt/crossbar"},
		{"", "crossbar", "", "crossbar"},
	} {
		c, err := Config{Node: Node{Dir: tt[0], Crossbar: tt[1]}}.Absolute()
		if err != nil || c.Node.Dir != tt[2] || c.Node.Crossbar != tt[3] {
			t.Errorf("%q %q: %q %q, %v", tt[0], tt[1], c.Node.Dir, c.Node.Crossbar, err)
		}
	}
}

func TestConfigurationFaults(t *testing.T) {
	long := "/run/" + strings.Repeat("x", 103)
	for _, c := range []struct {
		key    string // empty for none
		change func(*Config)
	}{
		{"data", func(c *Config) { c.Data = "" }},
		{"control", func(c *Config) { c.Control = "" }},
		{"control", func(c *Config) { c.Control = long }},
		{"", func(c *Config) { c.Control = long[:len(long)-1] }},
		{"relay", func(c *Config) { c.Relay = "ftp://x" }},
		{"node.listen", func(c *Config) { c.Node.Listen = "0.0.0.0:869" }},
		{"node.listen", func(c *Config) { c.Node.Listen = "127.0.0.1:65536" }},
		{"node.listen", func(c *Config) { c.Node.Listen = "127.0.0.1:http" }},
		{"node.listen", func(c *Config) { c.Node.Listen = "unix:" + long }},
		{"node.pubkey", func(c *Config) { c.Node.Pubkey = "xyz" }},
		{"node.cbdir", func(c *Config) { c.Node.Supervise = true }},
		{"docker.host", func(c *Config) { c.Docker.Host = "http://127.0.0.1:2375" }},
		{"docker.cert", func(c *Config) { c.Docker.Host, c.Docker.Cert = "tcp://127.0.0.1:2376", "c" }},
		{"docker.ca", func(c *Config) { c.Docker.Host = "tcp://192.0.2.1:2376" }},
	} {
		var conf Config
		if err := config.Load(&conf, config.Sources{}); err != nil {
			t.Fatalf("the defaults: %v", err)
		}
		c.change(&conf)
		faults := conf.Validate()
		if c.key == "" && len(faults) > 0 || c.key != "" && (len(faults) != 1 || faults[0].Key != c.key) {
			t.Errorf("%q: %v", c.key, faults)
		}
	}
}
