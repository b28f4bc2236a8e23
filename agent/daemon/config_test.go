package daemon

import (
	"flag"
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

func TestConfigurationFaults(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"data":        func(c *Config) { c.Data = "" },
		"control":     func(c *Config) { c.Control = "" },
		"relay":       func(c *Config) { c.Relay = "ftp://x" },
		"node.listen": func(c *Config) { c.Node.Listen = "0.0.0.0:869" },
		"node.pubkey": func(c *Config) { c.Node.Pubkey = "xyz" },
		"node.cbdir":  func(c *Config) { c.Node.Supervise = true },
		"docker.host": func(c *Config) { c.Docker.Host = "http://127.0.0.1:2375" },
		"docker.cert": func(c *Config) { c.Docker.Host, c.Docker.Cert = "tcp://127.0.0.1:2376", "c" },
		"docker.ca":   func(c *Config) { c.Docker.Host = "tcp://192.0.2.1:2376" },
	} {
		var c Config
		if err := config.Load(&c, config.Sources{}); err != nil {
			t.Fatalf("the defaults: %v", err)
		}
		change(&c)
		if faults := c.Validate(); len(faults) != 1 || faults[0].Key != key {
			t.Errorf("%s: %v", key, faults)
		}
	}
}
