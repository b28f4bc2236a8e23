package nodeconfig

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var agent = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 869}

func parsed(t *testing.T, name, text string) File {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(dir)
	if err != nil || f.Name != name {
		t.Fatalf("%s, %v", f.Name, err)
	}
	return f
}

// hole stands for the uplink in the wanted texts below.
const hole = "<uplink>"

func jsonUplink(indent string) string {
	return strings.ReplaceAll(`"fabric": {
    "transport": {
        "type": "rawsocket",
        "url": "rs://127.0.0.1:869",
        "serializer": "cbor",
        "endpoint": {
            "type": "tcp",
            "host": "127.0.0.1",
            "port": 869
        }
    },
    "heartbeat": {
        "startup_delay": 5,
        "heartbeat_period": 10,
        "include_system_stats": true,
        "send_workers_heartbeats": true,
        "aggregate_workers_heartbeats": true
    }
}`, "\n", "\n"+indent)
}

func yamlUplink(indent string) string {
	return indent + strings.ReplaceAll(`fabric:
  transport:
    type: rawsocket
    url: rs://127.0.0.1:869
    serializer: cbor
    endpoint:
      type: tcp
      host: 127.0.0.1
      port: 869
  heartbeat:
    startup_delay: 5
    heartbeat_period: 10
    include_system_stats: true
    send_workers_heartbeats: true
    aggregate_workers_heartbeats: true`, "\n", "\n"+indent)
}

const inBraces = `"fabric": {"transport":{"type":"rawsocket","url":"rs://127.0.0.1:869","serializer":"cbor","endpoint":{"type":"tcp","host":"127.0.0.1","port":869}},` +
	`"heartbeat":{"startup_delay":5,"heartbeat_period":10,"include_system_stats":true,"send_workers_heartbeats":true,"aggregate_workers_heartbeats":true}}`

// What an edit makes of a text: the uplink is put in, and nothing else is touched.
func TestWithUplink(t *testing.T) {
	for _, c := range []struct{ what, name, text, uplink, want string }{
		{"a controller with something in it", "config.json",
			"{\n  \"version\": 2,\n  \"controller\": {\n    \"id\": \"mine\",   \"options\": {}\n  },\n\n  \"workers\": []}",
			jsonUplink("    "),
			"{\n  \"version\": 2,\n  \"controller\": {\n    <uplink>,\n    \"id\": \"mine\",   \"options\": {}\n  },\n\n  \"workers\": []}"},
		{"an empty controller", "config.json", "{\n    \"controller\": {\n    }, \"version\": 2\n}\n", jsonUplink("        "),
			"{\n    \"controller\": {\n        <uplink>\n    }, \"version\": 2\n}\n"},
		{"no controller", "config.json", "{\n    \"version\": 2,\n    \"workers\": [1e3, 12345678901234567890]\n}\n", jsonUplink("        "),
			"{\n    \"version\": 2,\n    \"controller\": {\n        <uplink>\n    },\n    \"workers\": [1e3, 12345678901234567890]\n}\n"},
		{"no controller, no workers", "config.json", "{\n    \"version\": 2\n}", jsonUplink("        "), "{\n    \"controller\": {\n        <uplink>\n    },\n    \"version\": 2\n}"},
		{"a controller that is null", "config.json", "{\n    \"controller\": null\n}", jsonUplink("        "), "{\n    \"controller\": {\n        <uplink>\n    }\n}"},
		{"another uplink", "config.json", "{\n    \"controller\": {\n        \"fabric\": {\"transport\": {\"url\": \"ws://x\"}},\n        \"id\": \"mine\"\n    }\n}", jsonUplink("        "),
			"{\n    \"controller\": {\n        <uplink>,\n        \"id\": \"mine\"\n    }\n}"},
		{"all in one line", "config.json", `{"controller":{"id":"mine"},"workers":[]}`, jsonUplink(""), `{"controller":{<uplink>, "id":"mine"},"workers":[]}`},
		{"names that look like it", "config.json", "{\"workers\": [{\"controller\": \"\\\"fabric\\\": {\"}],\n\"controller\": {\n\"id\": \"a\"}}", jsonUplink(""),
			"{\"workers\": [{\"controller\": \"\\\"fabric\\\": {\"}],\n\"controller\": {\n<uplink>,\n\"id\": \"a\"}}"},

		{"a controller with something in it", "config.yaml", "# ours\nversion: 2 # two\ncontroller: # here\n    # the name\n    id: mine\nworkers: []\n", yamlUplink("    "),
			"# ours\nversion: 2 # two\ncontroller: # here\n<uplink>\n    # the name\n    id: mine\nworkers: []\n"},
		{"no controller", "config.yaml", "---\nversion: 2\nworkers:\n- type: router # é\n  # the end", yamlUplink("  "),
			"---\nversion: 2\nworkers:\n- type: router # é\n  # the end\ncontroller:\n<uplink>\n"},
		{"an empty controller", "config.yaml", "controller:\nversion: 2\n", yamlUplink("  "), "controller:\n<uplink>\nversion: 2\n"},
		{"a controller in braces", "config.yaml", "é: 1\ncontroller: {id: é, options: {title: x}} # c\nversion: 2\n", inBraces,
			"é: 1\ncontroller: {<uplink>, id: é, options: {title: x}} # c\nversion: 2\n"},
		{"empty braces", "config.yaml", "controller: {}\n", inBraces, "controller: {<uplink>}\n"},
		{"everything in braces", "config.yaml", "{version: 2}\n", `"controller": {` + strings.Replace(inBraces, ": ", ":", 1) + `}`, "{<uplink>, version: 2}\n"},
		{"another uplink", "config.yaml", "controller:\n  fabric:\n    transport:\n      type: websocket\n\n      # why\n      url: ws://x\n  # mine\n  id: mine\n", yamlUplink("  "),
			"controller:\n<uplink>\n  # mine\n  id: mine\n"},
		{"another uplink in braces", "config.yaml", "controller: {fabric: {transport: {url: 'ws://}'}}, id: mine}\n", strings.TrimPrefix(inBraces, `"fabric": `),
			"controller: {fabric: <uplink>, id: mine}\n"},
		{"an uplink at the end", "config.yaml", "controller:\n  fabric: {transport:\n      {url: 'ws://x'}}\n", yamlUplink("  "), "controller:\n<uplink>\n"},
		{"text that looks like it", "config.yaml", "workers:\n- text: |\n    controller:\n      fabric: {}\n\n", yamlUplink("  "), "workers:\n- text: |\n    controller:\n      fabric: {}\n\ncontroller:\n<uplink>\n"},
	} {
		t.Run(c.name+" "+c.what, func(t *testing.T) {
			for _, nl := range []string{"\n", "\r\n"} {
				if nl != "\n" && !strings.Contains(c.text, "\n") {
					continue
				}
				f := parsed(t, c.name, strings.ReplaceAll(c.text, "\n", nl))
				got, err := f.WithUplink(agent)
				want := strings.ReplaceAll(strings.ReplaceAll(c.want, hole, c.uplink), "\n", nl)
				if err != nil || string(got) != want {
					t.Fatalf("%v, got\n%q, want\n%q", err, got, want)
				}
				if again := parsed(t, c.name, string(got)); Uplink(again.Config) != "rs://127.0.0.1:869" {
					t.Errorf("it leads to %q", Uplink(again.Config))
				}
			}
		})
	}
}

func TestAHeartbeatThatIsConfiguredStays(t *testing.T) {
	for name, text := range map[string]string{
		"config.json": `{"controller": {"fabric": {"heartbeat": {"startup_delay": 77}}}}`,
		"config.yaml": "controller:\n  fabric:\n    heartbeat: {startup_delay: 77}\n",
	} {
		got, err := parsed(t, name, text).WithUplink(agent)
		if err != nil || !strings.Contains(string(got), "77") || strings.Contains(string(got), "heartbeat_period") {
			t.Errorf("%s, %v", got, err)
		}
	}
}

// What cannot be edited for sure is left to people.
func TestWithUplinkRefuses(t *testing.T) {
	for what, c := range map[string]struct{ name, text string }{
		"a controller that is a list":     {"config.json", `{"controller": []}`},
		"a controller that is a text":     {"config.yaml", "controller: x\n"},
		"a controller that is an alias":   {"config.yaml", "x: &x {id: mine}\ncontroller: *x\n"},
		"a written null":                  {"config.yaml", "controller: null\nversion: 2\n"},
		"an end of the document":          {"config.yaml", "version: 2\n...\n"},
		"an uplink that others refer to":  {"config.yaml", "controller:\n  fabric: &f\n    transport: {url: 'ws://x'}\nelse: *f\n"},
		"an uplink in braces, not a dict": {"config.yaml", "controller: {fabric: null}\n"},
	} {
		if got, err := parsed(t, c.name, c.text).WithUplink(agent); err == nil || !strings.Contains(err.Error(), c.name) || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("%s: %v, %s", what, err, got)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'a'; c < 'j'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c+1, c+1, strings.Repeat(fmt.Sprintf("*%c, ", c), 10))
	}
	for what, c := range map[string]struct{ name, text, say string }{
		"no JSON":          {"config.json", "{", "unexpected"},
		"JSON and more":    {"config.json", "{} {}", "goes on"},
		"null":             {"config.json", "null", "empty"},
		"no YAML":          {"config.yaml", "a: b: c", "config.yaml"},
		"nothing":          {"config.yaml", "# later\n", "empty"},
		"a bomb":           {"config.yaml", bomb, "aliases stand for more"},
		"a link to nobody": {"config.yaml", "", "nowhere"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, c.name)
		var err error
		if c.text == "" {
			err = os.Symlink(filepath.Join(dir, "nobody"), path)
		} else {
			err = os.WriteFile(path, []byte(c.text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Whoever owns the node directory makes nobody wait, or read without end.
func TestReadTakesRegularFilesOnly(t *testing.T) {
	for what, make := range map[string]func(path string) error{
		"pipe":    func(path string) error { return unix.Mkfifo(path, 0o600) },
		"endless": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		dir := t.TempDir()
		if err := make(filepath.Join(dir, "config.json")); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The node looks for YAML first.
func TestReadTakesWhatTheNodeTakes(t *testing.T) {
	dir := t.TempDir()
	if f, err := Read(dir); err != nil || f.Name != "config.json" || f.Text != nil {
		t.Errorf("of nothing: %+v, %v", f, err)
	}
	for _, name := range []string{"config.json", "config.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{\"version\": 2}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := Read(dir); err != nil || f.Name != name {
			t.Errorf("with %s: %s, %v", name, f.Name, err)
		}
	}
}

func TestUplink(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                               "",
		`{"controller": 3}`:                "",
		`{"controller": {"fabric": null}}`: "",
		`{"controller": {"fabric": {"transport": {"type": "websocket", "url": "ws://x"}}}}`:    "",
		`{"controller": {"fabric": {"transport": {"type": "rawsocket", "url": "rs://x:1/"}}}}`: "rs://x:1",
	} {
		if got := Uplink(parsed(t, "config.json", text).Config); got != want {
			t.Errorf("%s leads to %q", text, got)
		}
	}
}
