package nodeapi

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/fleet"
)

// routed starts a router worker that has the tests' realm, with its roles.
func (o operator) routed(worker string) {
	o.Helper()
	o.worker(worker, "router", map[string]any{"pythonpath": []any{components(o.T)}})
	o.object("router", "router_realm", worker).start("app", map[string]any{"name": appRealm, "roles": appRoles()})
}

// endpoint is a place to listen at, and the URL prefix that leads there.
type endpoint struct {
	config map[string]any
	rest   string // what follows the scheme
}

func tcp(t *testing.T) endpoint {
	p := port(t)
	return endpoint{map[string]any{"type": "tcp", "interface": "127.0.0.1", "port": p}, fmt.Sprintf("://localhost:%d", p)}
}

func (e endpoint) tls(cert, key string) endpoint {
	e.config["tls"] = map[string]any{"certificate": cert, "key": key}
	return endpoint{e.config, "s" + e.rest}
}

func unix(t *testing.T, name string) endpoint {
	path := filepath.Join(t.TempDir(), name)
	return endpoint{map[string]any{"type": "unix", "path": path}, "+unix://" + path}
}

// TestTransports starts every type of transport at every kind of endpoint, uses
// it, stops it and uses its id again.
func TestTransports(t *testing.T) {
	o := operate(t, "autobahn/cbor")
	o.routed("transports")
	p := invite(t)
	cert, key, err := fleet.Certificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	transports := o.object("router", "router_transport", "transports")
	for id, tt := range map[string]struct {
		kind, scheme, path string
		at                 endpoint
	}{
		"ws":      {"websocket", "ws", "", tcp(t)},
		"ws_tls":  {"websocket", "ws", "", tcp(t).tls(cert, key)},
		"ws_unix": {"websocket", "ws", ":/", unix(t, "ws")},
		"rs":      {"rawsocket", "rs", "", tcp(t)},
		"rs_tls":  {"rawsocket", "rs", "", tcp(t).tls(cert, key)},
		"rs_unix": {"rawsocket", "rs", "", unix(t, "rs")},
		"uni":     {"universal", "ws", "/ws", tcp(t)},
		"web":     {"web", "ws", "/ws", tcp(t)},
	} {
		t.Run(id, func(t *testing.T) {
			transports := transports
			transports.T = t
			config := map[string]any{"type": tt.kind, "endpoint": tt.at.config}
			socket := map[string]any{"type": "websocket", "auth": p.auth}
			switch tt.kind {
			case "web":
				config["paths"] = map[string]any{"/": map[string]any{"type": "static", "directory": components(t)}, "ws": socket}
			case "universal":
				config["websocket"], config["rawsocket"] = map[string]any{"ws": socket}, map[string]any{"serializers": []any{"cbor", "json", "msgpack"}, "auth": p.auth}
			default:
				config["auth"] = p.auth
			}
			url := tt.scheme + tt.at.rest + tt.path
			transports.start(id, config)
			used(t, url, cert, p)
			transports.stop(id)
			refused(t, jsOr("autobahn/json", url), p.everybody(url, cert)["carl"])
			transports.start(id, config)
			if tt.kind == "universal" {
				used(t, "rs"+tt.at.rest, cert, p)
			}
			again := app(t, jsOr("nexus/json", url), p.everybody(url, cert)["carl"])
			transports.stop(id)
			exchange(t, again, again, url+" after its stop")
		})
	}
}

// TestLogins lets in by every way to log in whom the transport knows, and nobody else.
func TestLogins(t *testing.T) {
	o := operate(t, "autobahn-js/msgpack")
	o.routed("logins")
	p, at := invite(t), tcp(t)
	o.object("router", "router_transport", "logins").start("ws", map[string]any{"type": "websocket", "endpoint": at.config, "auth": p.auth})
	all := p.everybody("ws"+at.rest, "")
	for _, name := range []string{"nexus/cbor", "autobahn/msgpack", "autobahn-js/cbor"} {
		for who, l := range all {
			c := app(t, name, l)
			role := "worker"
			if who == "nobody" {
				role = "listener"
			}
			if got := c.Identity(); got.AuthRole != role || who != "nobody" && got.AuthID != who {
				t.Errorf("%s joins as %s and is %+v", name, who, got)
			}
		}
		for what, change := range map[string]func(*driver.Login){
			"a stranger's key":        func(l *driver.Login) { l.KeyFile = stage.KeyFile },
			"a name that is not hers": func(l *driver.Login) { l.AuthID = "dora" },
		} {
			l := all["carl"]
			change(&l)
			if c, err := stage.libraries.Join(within(t, 30*time.Second), name, l); err == nil {
				c.Close()
				t.Errorf("%s joins with %s", name, what)
			}
		}
		l := all["anna"]
		l.TicketFile = p.wrong
		refused(t, name, l)
		l = all["anna"]
		l.Realm = "com.example.none"
		refused(t, name, l)
		l = all["berta"]
		l.SecretFile = p.wrong
		refused(t, name, l)
	}
}

// TestWhatATransportCannotBe is what start_router_transport refuses.
func TestWhatATransportCannotBe(t *testing.T) {
	o := operate(t, "nexus/json")
	o.routed("refusals")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := map[string]any{"type": "tcp", "interface": "127.0.0.1", "port": l.Addr().(*net.TCPAddr).Port}
	const start = "router.start_router_transport"
	o.fails(cfcerr.CannotListen, start, "refusals", "t1", map[string]any{"type": "websocket", "endpoint": busy})
	at := tcp(t)
	for what, config := range map[string]map[string]any{
		"no type":         {"endpoint": at.config},
		"unknown type":    {"type": "carrier-pigeon", "endpoint": at.config},
		"no endpoint":     {"type": "websocket"},
		"unknown option":  {"type": "websocket", "endpoint": at.config, "no_such_option": 1},
		"no certificate":  {"type": "websocket", "endpoint": tcp(t).tls("/nowhere/cert", "/nowhere/key").config},
		"unknown service": {"type": "web", "endpoint": at.config, "paths": map[string]any{"/": map[string]any{"type": "no-such-service"}}},
		"a path fails":    {"type": "web", "endpoint": at.config, "paths": map[string]any{"/": map[string]any{"type": "static", "directory": components(t)}, "x": map[string]any{"type": "resource", "classname": "nothing.Resource"}}},
	} {
		_, err := o.try(start, "refusals", "t1", config)
		if err == nil {
			t.Errorf("a transport with %s is started", what)
		}
		if status, _ := fetch(t, "http"+at.rest+"/"); status != 0 {
			t.Errorf("after the refusal of a transport with %s somebody listens", what)
		}
	}
	o.list([]string{}, "router.get_router_transports", "refusals")
}

// TestPaths starts and stops the paths of a Web transport while it is in use.
func TestPaths(t *testing.T) {
	o := operate(t, "autobahn-js/cbor")
	o.routed("paths")
	p, at := invite(t), tcp(t)
	transports := o.object("router", "router_transport", "paths")
	transports.start("web", map[string]any{"type": "web", "endpoint": at.config,
		"paths": map[string]any{"/": map[string]any{"type": "static", "directory": components(t)}, "first": map[string]any{"type": "json", "value": "first"}}})
	o.list([]string{"/", "first"}, "router.get_router_transport_paths", "paths", "web")
	expect := func(path string, status int, text string) {
		t.Helper()
		if got, body := fetch(t, "http"+at.rest+"/"+path); got != status || !strings.Contains(body, text) {
			t.Errorf("/%s answers %d %q, expected %d %q", path, got, body, status, text)
		}
	}
	expect("echo.py", 200, "class Echo")
	expect("first", 200, "first")
	services := map[string]struct {
		config map[string]any
		text   string
	}{
		"json":   {map[string]any{"type": "json", "value": map[string]any{"a": 1}}, `"a"`},
		"info":   {map[string]any{"type": "nodeinfo"}, "Crossbar"},
		"static": {map[string]any{"type": "static", "directory": components(t)}, "class Echo"},
	}
	for path, s := range services {
		expect(path, 404, "")
		o.path("paths", "web", path, s.config, func() { expect(path+below(path), 200, s.text) })
		expect(path, 404, "")
	}
	o.path("paths", "web", "ws", map[string]any{"type": "websocket", "auth": p.auth}, func() { used(t, "ws"+at.rest+"/ws", "", p) })
	refused(t, "autobahn/cbor", p.everybody("ws"+at.rest+"/ws", "")["carl"])
	o.fails(cfcerr.NoSuchObject, "router.start_router_transport_path", "paths", "none", "x", map[string]any{"type": "nodeinfo"})
	o.fails(cfcerr.InvalidArgument, "router.start_router_transport_path", "paths", "web", "x", map[string]any{"type": "no-such-service"})
	o.list([]string{"/", "first"}, "router.get_router_transport_paths", "paths", "web")
	transports.stop("web")
}

// below is what is there below a path.
func below(path string) string {
	if path == "static" {
		return "/echo.py"
	}
	return ""
}

// path starts a path, looks at it, has it used and stops it, twice.
func (o operator) path(worker, transport, path string, config map[string]any, use func()) {
	o.Helper()
	for range 2 {
		o.dict("id path config", "router.start_router_transport_path", worker, transport, path, config)
		o.fails(cfcerr.AlreadyRunning, "router.start_router_transport_path", worker, transport, path, config)
		if d := o.dict("id path config", "router.get_router_transport_path", worker, transport, path); d["id"] != path {
			o.Errorf("get_router_transport_path of %s: %v", path, d)
		}
		use()
		o.dict("id path", "router.stop_router_transport_path", worker, transport, path)
		o.fails(cfcerr.NoSuchObject, "router.get_router_transport_path", worker, transport, path)
		o.fails(cfcerr.NoSuchObject, "router.stop_router_transport_path", worker, transport, path)
	}
	o.life("router.on_web_transport_service", worker, transport, path)
}

// TestRolesCount stops and starts a role under clients that have it.
func TestRolesCount(t *testing.T) {
	o := operate(t, "nexus/msgpack")
	o.routed("roles")
	p, at := invite(t), tcp(t)
	o.object("router", "router_transport", "roles").start("rs", map[string]any{"type": "rawsocket", "endpoint": at.config, "auth": p.auth})
	roles := o.object("router", "router_realm_role", "roles", "app")
	ids, _ := o.call("router.get_router_realm_roles", "roles", "app").([]any)
	if len(ids) != 2 {
		t.Fatalf("the realm's roles are %v", ids)
	}
	visitor := map[string]any{"name": "visitor", "permissions": permissions(true, false, false, false)}
	roles.start("visitor", visitor)
	roles.stop("visitor")
	roles.start("visitor", visitor)
	o.fails(cfcerr.InvalidArgument, "router.start_router_realm_role", "roles", "app", "other", map[string]any{"name": "other"})
	o.fails(cfcerr.NoSuchObject, "router.start_router_realm_role", "roles", "none", "other", visitor)

	all := p.everybody("rs"+at.rest, "")
	c := app(t, "autobahn-js/json", all["carl"])
	ctx := within(t, time.Minute)
	if err := c.Register(ctx, "com.example.before"); err != nil {
		t.Fatal(err)
	}
	role, _ := ids[0].(string)
	for _, id := range ids {
		if d := o.dict("id config", "router.get_router_realm_role", "roles", "app", id); d["config"].(map[string]any)["name"] == "worker" {
			role, _ = id.(string)
		}
	}
	o.dict("id", "router.stop_router_realm_role", "roles", "app", role)
	denied(t, "a session whose role was stopped registers", c.Register(ctx, "com.example.after"))
	refused(t, "autobahn/cbor", all["anna"])
	o.dict("id", "router.start_router_realm_role", "roles", "app", role, appRoles()[0])
	if err := c.Register(ctx, "com.example.after"); err != nil {
		t.Errorf("a session whose role was started again registers: %v", err)
	}
	app(t, "autobahn/cbor", all["anna"])
}

// TestRealmStopsUnderItsClients ends the sessions of a realm, and its id and
// name are used again.
func TestRealmStopsUnderItsClients(t *testing.T) {
	o := operate(t, "autobahn/msgpack")
	o.routed("realms")
	p, at := invite(t), tcp(t)
	o.object("router", "router_transport", "realms").start("ws", map[string]any{"type": "websocket", "endpoint": at.config, "auth": p.auth})
	realms := o.object("router", "router_realm", "realms")
	if d := o.dict("id config", "router.get_router_realm_by_name", "realms", appRealm); d["id"] != "app" {
		t.Errorf("the realm by its name: %v", d)
	}
	o.dict("app", "router.get_router_realm_stats", "realms")
	o.list(nil, "router.get_router_realm_links", "realms", "app")
	one := app(t, "autobahn/cbor", p.everybody("ws"+at.rest, "")["carl"])
	if killed, _ := o.call("router.kill_by_authid", "realms", "app", one.Identity().AuthID).([]any); len(killed) != 1 {
		t.Errorf("of one session were ended %v", killed)
	}
	if _, err := one.Left(within(t, 10*time.Second)); err != nil {
		t.Errorf("a session that was ended by its authid: %v", err)
	}
	for range 2 {
		l := p.everybody("ws"+at.rest, "")["carl"]
		clients := []driver.Client{app(t, "autobahn/cbor", l), app(t, "autobahn-js/cbor", l), app(t, "nexus/cbor", l)}
		used(t, "ws"+at.rest, "", p)
		realms.stop("app")
		for i, c := range clients {
			if _, err := c.Left(within(t, 10*time.Second)); err != nil {
				t.Errorf("client %d of a realm that was stopped: %v", i, err)
			}
		}
		refused(t, "autobahn/cbor", l)
		realms.start("app", map[string]any{"name": appRealm, "roles": appRoles()})
	}
	o.fails(cfcerr.InvalidArgument, "router.start_router_realm", "realms", "nameless", map[string]any{})
	used(t, "ws"+at.rest, "", p)
}

// silent expects that nobody has registered it.
func silent(t *testing.T, c driver.Client, uri string) {
	t.Helper()
	if v, err := c.Call(within(t, 10*time.Second), uri, []any{"hello"}, nil); err == nil || !strings.Contains(err.Error(), "no_such_procedure") {
		t.Errorf("%s answers %v, %v; it was stopped", uri, v, err)
	}
}
