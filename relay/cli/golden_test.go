package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
)

// The help of every command, so that a change of a row shows what it does to
// the command line.
func TestHelp(t *testing.T) {
	a := &app{Program: Program{Version: "1.2.3"}}
	var b strings.Builder
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		fmt.Fprintf(&b, "==== %s\n%s\n", c.CommandPath(), helpOf(t, c))
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
	golden(t, "help.golden", b.String())
}

// helpOf leaves out what every help says alike.
func helpOf(t *testing.T, c *cobra.Command) string {
	t.Helper()
	var b strings.Builder
	c.SetOut(&b)
	c.InitDefaultHelpFlag()
	if err := c.Help(); err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(b.String(), "\nGlobal Flags:")
	if c.Short == "" {
		t.Errorf("%s has no summary", c.CommandPath())
	}
	return text
}

// answersOfAll has an answer for every procedure that the commands below call.
func answersOfAll() map[string]any {
	since, version := "2026-03-01T10:00:00.000Z", "26.10.1"
	node := func(id, status string, attached bool, reason string) wamp.Dict {
		n := wamp.Dict{"id": id, "oid": "7f1c3c9e-0d52-4c5e-9d7a-0b6f7a2f4f10", "realm": "demo", "pubkey": strings.Repeat("ab", 32),
			"labels": wamp.Dict{"site": "berlin"}, "paired": since, "paired_by": "anna", "status": status, "since": since, "reason": reason,
			"agent": wamp.Dict{"version": "1.2.3", "os": "linux", "arch": "amd64", "hostname": id + ".example", "started": since, "address": "192.0.2.1"},
			"node":  wamp.Dict{"kind": "crossbar", "version": version, "attached": attached, "since": since, "reason": reason}}
		if id == "never" {
			n["since"], n["agent"], n["node"] = nil, wamp.Dict{}, wamp.Dict{"kind": nil, "attached": false}
		}
		return n
	}
	nodes := map[string]wamp.Dict{"n1": node("n1", "online", true, ""), "n2": node("n2", "offline", false, "silent"),
		"n3": node("n3", "online", false, "connection lost"), "never": node("never", "offline", false, "never-connected")}
	realm := func(name string) wamp.Dict {
		return wamp.Dict{"name": name, "oid": "0b6f7a2f-0d52-4c5e-9d7a-7f1c3c9e4f10", "created": since, "owner": "anna",
			"members": wamp.Dict{"anna": "owner", "bob@example.com": "viewer"}, "nodes": wamp.Dict{"total": 4, "online": uint64(2)}}
	}
	by := func(f func(c call) any) any {
		return func(_ context.Context, c call) (any, error) { return f(c), nil }
	}
	token := func(c call) any {
		return wamp.Dict{"token": "cfcx_abcdefgh_secret", "id": "abcdefgh", "purpose": c.args[0], "expires": since, "uses": 1, "pin": "sha256:" + strings.Repeat("0f", 32)}
	}
	return map[string]any{
		"cfc.get_status": wamp.Dict{"realm": "com.crossbario.fabric", "relay": wamp.Dict{"id": "r1", "version": "1.2.3", "started": since}, "now": since,
			"realms": 2, "nodes": wamp.Dict{"total": 5, "online": 2}},
		"cfc.get_management_realms":   []any{"demo", "site-2"},
		"cfc.get_management_realm":    by(func(c call) any { return realm(c.args[0].(string)) }),
		"cfc.create_management_realm": by(func(c call) any { return realm(c.args[0].(string)) }),
		"cfc.delete_management_realm": wamp.Dict{"name": "site-2", "deleted": since, "unpaired": []any{"oid1", "oid2"}},
		"cfc.get_nodes":               []any{"n1", "n2", "n3", "never"},
		"cfc.get_node":                by(func(c call) any { return nodes[c.args[0].(string)] }),
		"cfc.unpair_node":             wamp.Dict{"oid": "oid1", "id": "n1", "realm": "demo", "unpaired": since},
		"cfc.get_members":             wamp.Dict{"bob@example.com": "viewer", "anna": "owner"},
		"cfc.add_member":              by(func(c call) any { return wamp.Dict{"realm": c.args[0], "user": c.args[1], "role": c.args[2]} }),
		"cfc.remove_member":           by(func(c call) any { return wamp.Dict{"realm": c.args[0], "user": c.args[1], "removed": since} }),
		"cfc.get_users":               []any{wamp.Dict{"name": "anna", "pubkeys": []any{"k1", "k2"}, "created": since}, wamp.Dict{"name": "bob@example.com", "pubkeys": []any{}, "created": since}},
		"cfc.delete_user":             wamp.Dict{"user": "bob@example.com", "deleted": since, "inherited": []any{"site-2"}},
		"cfc.create_token":            by(token),
		"cfc.get_tokens": []any{wamp.Dict{"id": "abcdefgh", "purpose": "node", "realm": "demo", "node_id": nil, "user": nil, "expires": since, "uses": 3, "left": 2, "by": "anna"},
			wamp.Dict{"id": "bcdefghi", "purpose": "user", "realm": nil, "node_id": nil, "user": "bob", "expires": since, "uses": 1, "left": 1, "by": "anna"}},
		"cfc.revoke_token":                     wamp.Dict{"id": "abcdefgh", "revoked": since},
		"cfc.remote.node.get_status":           wamp.Dict{"title": nil, "started": since, "controller_pid": 17, "workers_by_type": wamp.Dict{"router": 1}, "running_workers": []any{"w1"}, "directory": "/var/lib/node"},
		"cfc.remote.node.get_workers":          []any{"w1", "w2"},
		"cfc.remote.node.get_worker":           wamp.Dict{"id": "w1", "pid": 18, "type": "router", "status": "started", "uptime": 12.5},
		"cfc.remote.node.start_worker":         wamp.Dict{"id": "w1", "pid": 18, "type": "router", "who": nil},
		"cfc.remote.node.stop_worker":          wamp.Dict{"id": "w1", "type": "router", "kill": false},
		"cfc.remote.node.shutdown":             wamp.Dict{"node_id": "n1", "stopped": since, "restarting": false, "by": "anna"},
		"cfc.remote.router.get_router_realms":  []any{"realm1"},
		"cfc.remote.router.get_router_realm":   wamp.Dict{"id": "realm1", "config": wamp.Dict{"name": "com.example", "roles": []any{wamp.Dict{"name": "x"}}}, "created": since},
		"cfc.remote.router.start_router_realm": wamp.Dict{"id": "realm1", "config": wamp.Dict{"name": "com.example"}, "created": since},
		"cfc.remote.router.stop_router_realm":  wamp.Dict{"id": "realm1", "stopped": since},
		"com.example.none":                     &wamp.Result{},
		"com.example.many":                     &wamp.Result{Arguments: wamp.List{1, "two"}, ArgumentsKw: wamp.Dict{"three": []byte{3}}},
		"com.example.evil":                     "\x1b[2Jcleared\nline \u202e",
		"com.example.mixed":                    []any{wamp.Dict{"b": 1, "id": "x"}, wamp.Dict{"a": []any{}, "id": "y"}},
	}
}

// What every command prints, for people and with --json.
func TestOutput(t *testing.T) {
	lines := []string{
		"status", "context ls",
		"realm ls", "realm create site-2", "realm show", "realm show site-2", "realm rm site-2 --cascade", "realm use site-2",
		"realm member ls", "realm member add bob@example.com operator", "realm member rm bob@example.com",
		"user ls", "user rm bob@example.com --heir anna", "user invite bob@example.com --role viewer", "user invite bob -q",
		"token ls", "token create ticket --user anna --ttl 7d", "token create node", "token rm abcdefgh",
		"node ls", "node ls --status online", "node show n1", "node show never", "node rm n1", "node invite --node-id n4 --ttl 2h", "node invite -q",
		"node get-status n1", "node get-workers n1", "node get-worker n1 w1", "node start-worker n1 w1 router", "node stop-worker n1 w1 --kill", "node shutdown n1",
		"router get-router-realms n1 w1", "router get-router-realm n1 w1 realm1", "router start-router-realm n1 w1 realm1 {\"name\":\"com.example\"}", "router stop-router-realm n1 w1 realm1",
		"call cfc.remote.node.get_workers n1", "call com.example.none", "call com.example.many", "call com.example.evil", "call com.example.mixed",
		"version", "logout",
	}
	for file, flags := range map[string][]string{"people.golden": nil, "json.golden": {"--json"}} {
		var b strings.Builder
		for _, line := range lines {
			r := newRig(t)
			r.answers = answersOfAll()
			out := strings.ReplaceAll(r.good(append(strings.Fields(line), flags...)...), r.dir, "DIR")
			fmt.Fprintf(&b, "$ cfc %s\n%s\n", line, out)
			if r.leaves != len(r.joins) {
				t.Errorf("cfc %s: joined %d times, left %d times", line, len(r.joins), r.leaves)
			}
		}
		golden(t, file, b.String())
	}
}
