package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestStoreIsReadAsItWasWritten(t *testing.T) {
	r := newRig(t)
	want := &store{Version: 1, Current: "b", Contexts: []place{
		{Name: "a", Relay: "wss://relay.example.com", Realm: "com.example.a", User: "anna@example.com", Key: "/k/a", Pin: "sha256:" + strings.Repeat("0f", 32), CA: "/etc/ca.pem", Unbound: true},
		{Name: "b", Relay: "ws://[::1]:8080", Key: "/k/b"}}}
	want.dir = r.dir
	if err := want.save(); err != nil {
		t.Fatal(err)
	}
	if got := r.read(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if info, err := os.Stat(filepath.Join(r.dir, storeFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Of commands at once each says that it has kept its context.
func TestCommandsAtOnceKeepAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cfc")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			p := place{Name: fmt.Sprintf("c%d", i), Relay: "wss://relay.example.com", Key: "/k"}
			if err := changeStore(dir, func(s *store) error { s.put(p); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if s, err := openStore(dir); err != nil || len(s.Contexts) != 20 {
		t.Errorf("kept are %+v, %v", s, err)
	}
}

func TestBadStores(t *testing.T) {
	good := "version: 1\ncurrent: a\ncontexts:\n- {name: a, relay: wss://x, key: /k}\n"
	for name, tt := range map[string]struct{ text, want string }{
		"not YAML":       {"{", "cannot read contexts"},
		"unknown key":    {good + "extra: 1\n", `unknown field "extra"`},
		"unknown inside": {strings.Replace(good, "key:", "kye:", 1), `unknown field "kye"`},
		"version":        {strings.Replace(good, "version: 1", "version: 2", 1), "version is 2, expected 1"},
		"no version":     {strings.Replace(good, "version: 1", "", 1), "version is 0, expected 1"},
		"name":           {strings.Replace(good, "name: a", "name: ../a", 1), `contexts[0].name is "../a"`},
		"twice":          {good + "- {name: a, relay: wss://x, key: /k}\n", `contexts[1].name is "a": expected`},
		"relay":          {strings.Replace(good, "wss://x", "ftp://x", 1), `contexts[0].relay is "ftp://x"`},
		"key":            {strings.Replace(good, "/k", "k", 1), "contexts[0].key is \"k\": expected an absolute path"},
		"realm":          {strings.Replace(good, "key:", "realm: Demo, key:", 1), "contexts[0].realm"},
		"user":           {strings.Replace(good, "key:", "user: Anna, key:", 1), "contexts[0].user"},
		"pin":            {strings.Replace(good, "key:", "pin: md5, key:", 1), "contexts[0].pin"},
		"ca":             {strings.Replace(good, "key:", "ca: ca.pem, key:", 1), "contexts[0].ca"},
		"current":        {strings.Replace(good, "current: a", "current: b", 1), `current is "b": no such context`},
	} {
		r := newRig(t)
		path := filepath.Join(r.dir, storeFile)
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openStore(r.dir)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		_, errs, exit := r.run("status")
		if exit != exitLocal || !strings.Contains(errs, path) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit %d, %s", name, exit, errs)
		}
		if after, _ := os.ReadFile(path); string(after) != tt.text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestKeysAreNamedForContextAndRelay(t *testing.T) {
	s := &store{dir: "/c"}
	for _, tt := range []struct{ name, relay, want string }{
		{"a", "wss://Relay.Example.com", "/c/keys/a@relay.example.com_443.key"},
		{"a", "https://relay.example.com/ws", "/c/keys/a@relay.example.com_443.key"},
		{"a", "ws://127.0.0.1:8080", "/c/keys/a@127.0.0.1_8080.key"},
		{"a", "ws://[::1]:80", "/c/keys/a@%5B__1%5D_80.key"},
		{"a", "wss://x/a/b", "/c/keys/a@x_443+a+b.key"},
		{"a", "wss://x/a_b/ws", "/c/keys/a@x_443+a%5Fb.key"},
	} {
		if got := s.keyPath(tt.name, tt.relay); got != tt.want {
			t.Errorf("%s at %s: %s", tt.name, tt.relay, got)
		}
	}
	for relay, want := range map[string]string{"wss://relay.example.com": "relay.example.com_443", "ws://[::1]:80": "1__80", "wss://x/A b": "x_443_A_b"} {
		if got := nameFor(relay); got != want || !contextName.MatchString(got) {
			t.Errorf("context of %s: %s", relay, got)
		}
	}
	if sameRelay("ws://x", "wss://x") || sameRelay("wss://x/a", "wss://x/b") || !sameRelay("wss://x", "wss://x:443/ws") || sameRelay("bad", "bad") {
		t.Error("relays are told apart wrongly")
	}
}

// Flags go before the environment, that before the context; a key never goes
// to a relay that is not its own.
func TestPlace(t *testing.T) {
	const there = "wss://there.example.com"
	tests := []struct {
		name              string
		env               map[string]string
		flags             []string
		url, realm, keyOf string // key as the path below the directory
		fail              string
	}{
		{"current context", nil, nil, rigURL, "demo", "anna.key", ""},
		{"realm of the environment", map[string]string{envRealm: "env"}, nil, rigURL, "env", "anna.key", ""},
		{"realm of the flag", map[string]string{envRealm: "env"}, []string{"--realm", "flag"}, rigURL, "flag", "anna.key", ""},
		{"context of the environment", map[string]string{envContext: "there"}, nil, there, "site", "bob.key", ""},
		{"context of the flag", map[string]string{envContext: "there"}, []string{"--context", "local"}, rigURL, "demo", "anna.key", ""},
		{"relay finds its context", nil, []string{"--relay", there + ":443/ws"}, there, "site", "bob.key", ""},
		{"relay of the environment", map[string]string{envRelay: there}, nil, there, "site", "bob.key", ""},
		{"key of the flag", nil, []string{"--key", "bob.key"}, rigURL, "demo", "bob.key", ""},
		{"key of the environment", map[string]string{envKey: "bob.key"}, nil, rigURL, "demo", "bob.key", ""},
		{"relay of the flag, context of the environment", map[string]string{envContext: "local"}, []string{"--relay", there}, there, "site", "bob.key", ""},
		{"context of the flag, relay of the environment", map[string]string{envRelay: there}, []string{"--context", "local"}, rigURL, "demo", "anna.key", ""},
		{"all by flags", nil, []string{"--relay", "ws://localhost:1", "--realm", "r1", "--key", "bob.key"}, "ws://localhost:1", "r1", "bob.key", ""},
		{"unknown relay has no key", nil, []string{"--relay", "wss://elsewhere"}, "", "", "", "there is no key for relay wss://elsewhere: log in"},
		{"context of another relay", nil, []string{"--context", "local", "--relay", there}, "", "", "", "context local is of relay " + rigURL},
		{"no such context", nil, []string{"--context", "x"}, "", "", "", `there is no context "x"`},
		{"bad relay", map[string]string{envRelay: "relay"}, nil, "", "", "", `relay "relay": expected a URL`},
		{"bad realm", nil, []string{"--realm", "Demo"}, "", "", "", `realm "Demo": expected dot-separated`},
	}
	for _, tt := range tests {
		r := newRig(t)
		s := r.read()
		bob := filepath.Join(r.dir, "bob.key")
		if err := os.WriteFile(bob, []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
			t.Fatal(err)
		}
		s.put(place{Name: "there", Relay: there, Realm: "site", Key: bob})
		r.write(s)
		r.answers = answersOfAll()
		for k, v := range tt.env {
			r.env[k] = strings.Replace(v, "bob.key", bob, 1)
		}
		line := []string{"node", "get-workers", "n1"}
		for _, f := range tt.flags {
			line = append(line, strings.Replace(f, "bob.key", bob, 1))
		}
		if tt.fail != "" {
			r.bad(2, tt.fail, line...)
			continue
		}
		r.good(line...)
		key, err := os.ReadFile(filepath.Join(r.dir, tt.keyOf))
		if err != nil {
			t.Fatal(err)
		}
		if j := r.joins[0]; j.URL != tt.url || j.Realm != tt.realm || !keyIs(j.Key, key) || j.Token != "" || j.Ticket != "" {
			t.Errorf("%s: joined %s, realm %s, %s", tt.name, j.URL, j.Realm, j.Key)
		}
	}
}

func TestNoPlace(t *testing.T) {
	r := newRig(t)
	r.write(&store{Version: 1})
	r.bad(2, "no relay is chosen: log in with cfc login URL", "status")
	delete(r.env, envConfig)
	r.bad(1, "cannot find the configuration directory", "status")
	r.env["HOME"] = r.dir
	r.bad(2, "no relay is chosen", "status")
	r = newRig(t)
	s := r.read()
	s.Contexts[0].Realm = ""
	r.write(s)
	for _, line := range []string{"node get-status n1", "node ls", "node invite", "node rm n1", "node show n1", "realm show", "realm member ls",
		"realm member add bob viewer", "realm member rm bob", "user invite bob --role viewer", "token create node", "events", "call cfc.remote.node.get_status n1"} {
		r.bad(2, "no management realm is chosen", strings.Fields(line)...)
	}
	if len(r.joins) > 0 {
		t.Error("the relay was asked")
	}
}

func TestConfigurationDirectory(t *testing.T) {
	for _, tt := range []struct {
		env        map[string]string
		flag, want string
	}{
		{map[string]string{"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "", "/x/cfc"},
		{map[string]string{"XDG_CONFIG_HOME": "x", "HOME": "/h"}, "", "/h/.config/cfc"},
		{map[string]string{"XDG_CONFIG_HOME": "/x", envConfig: "/c"}, "", "/c"},
		{map[string]string{envConfig: "/c"}, "/f", "/f"},
	} {
		a := &app{Program: Program{Getenv: func(name string) string { return tt.env[name] }}}
		a.flags.config = tt.flag
		if got, err := a.configDir(); err != nil || got != tt.want {
			t.Errorf("%v, flag %q: %s, %v", tt.env, tt.flag, got, err)
		}
	}
}
