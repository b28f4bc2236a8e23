package nodeconfig

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"reflect"
)

// transport is the uplink. Of it only the url is really used, but the node's
// check of its configuration wants the endpoint too.
type transport struct {
	Type       string   `json:"type" yaml:"type"`
	URL        string   `json:"url" yaml:"url"`
	Serializer string   `json:"serializer" yaml:"serializer"`
	Endpoint   endpoint `json:"endpoint" yaml:"endpoint"`
}

type endpoint struct {
	Type string `json:"type" yaml:"type"`
	Host string `json:"host" yaml:"host"`
	Port int    `json:"port" yaml:"port"`
}

type heartbeat struct {
	StartupDelay int  `json:"startup_delay" yaml:"startup_delay"`
	Period       int  `json:"heartbeat_period" yaml:"heartbeat_period"`
	SystemStats  bool `json:"include_system_stats" yaml:"include_system_stats"`
	Workers      bool `json:"send_workers_heartbeats" yaml:"send_workers_heartbeats"`
	Aggregate    bool `json:"aggregate_workers_heartbeats" yaml:"aggregate_workers_heartbeats"`
}

type fabric struct {
	Transport transport `json:"transport" yaml:"transport"`
	Heartbeat any       `json:"heartbeat" yaml:"heartbeat"`
}

// controller is the whole item, for a configuration that has none.
type controller struct {
	Fabric fabric `json:"fabric" yaml:"fabric"`
}

// URL is the uplink to an agent that listens there.
func URL(a *net.TCPAddr) string { return "rs://" + a.String() }

// uplinkTo is controller.fabric for that address; a heartbeat that is
// configured already stays.
func uplinkTo(a *net.TCPAddr, config map[string]any) fabric {
	f := fabric{
		Transport: transport{"rawsocket", URL(a), "cbor", endpoint{"tcp", a.IP.String(), a.Port}},
		Heartbeat: heartbeat{5, 10, true, true, true},
	}
	c, _ := config["controller"].(map[string]any)
	if old, _ := c["fabric"].(map[string]any); old["heartbeat"] != nil {
		f.Heartbeat = old["heartbeat"]
	}
	return f
}

// fresh is the configuration of a node that has none. The end of a worker is
// not the end of the node: that is what the node itself takes for granted.
const fresh = `{
    "version": 2,
    "workers": []
}
`

// errShape is why a file cannot be edited.
var errShape = errors.New("its controller cannot be edited without touching the rest: set controller.fabric.transport by hand, or write controller and fabric in block style")

// WithUplink is the text of the file with its uplink to a, and the rest as it was.
func (f File) WithUplink(a *net.TCPAddr) ([]byte, error) {
	if f.Text == nil {
		config, err := decode(f.Name, []byte(fresh))
		if err != nil {
			return nil, err
		}
		f.Text, f.Config = []byte(fresh), config
	}
	put := putYAML
	if filepath.Ext(f.Name) == ".json" {
		put = putJSON
	}
	value := uplinkTo(a, f.Config)
	text, err := put(f.Text, value)
	if err == nil {
		err = f.onlyUplink(text, a)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot set the uplink in %s: %w", f.Name, err)
	}
	return text, nil
}

// onlyUplink checks an edit by what it says, however it was made.
func (f File) onlyUplink(text []byte, a *net.TCPAddr) error {
	config, err := decode(f.Name, text)
	if err != nil || Uplink(config) != URL(a) || !reflect.DeepEqual(withoutUplink(config), withoutUplink(f.Config)) {
		return errShape
	}
	return nil
}

// withoutUplink is the configuration but for what is the agent's.
func withoutUplink(config map[string]any) map[string]any {
	config = maps.Clone(config)
	if c, ok := config["controller"].(map[string]any); ok || config["controller"] == nil {
		c = maps.Clone(c)
		delete(c, "fabric")
		if config["controller"] = c; len(c) == 0 {
			delete(config, "controller") // to the node that is the same
		}
	}
	return config
}

// lineEnd is what ends the lines of the text.
func lineEnd(text []byte) string {
	if bytes.Contains(text, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// splice replaces text[from:to].
func splice(text []byte, from, to int, with string) []byte {
	return append(append(append([]byte(nil), text[:from]...), with...), text[to:]...)
}
