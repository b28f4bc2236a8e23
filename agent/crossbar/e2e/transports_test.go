package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

type dict = map[string]any

// served starts a router worker with the realm com.example.one in it.
func (r *rig) served(worker string, options dict) {
	r.t.Helper()
	r.must("node.start_worker", worker, dict{"type": "router", "options": options})
	r.must("router.start_router_realm", worker, "realm1", realm1)
}

// join joins the realm through a transport; config may be zero.
func join(url string, config client.Config) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	config.Realm, config.Serialization = "com.example.one", client.CBOR
	return client.ConnectNet(ctx, url, config)
}

func (r *rig) joins(what, url string, config client.Config) *client.Client {
	r.t.Helper()
	c, err := join(url, config)
	if err != nil {
		r.t.Fatalf("%s: nobody can join through %s: %v", what, url, err)
	}
	return c
}

func (r *rig) joinsNot(what, url string, config client.Config) {
	r.t.Helper()
	if c, err := join(url, config); err == nil {
		c.Close()
		r.t.Errorf("%s: %s can be joined", what, url)
	}
}

// transports starts each type on each endpoint, joins through it, and stops it,
// three times with the same ids.
func transports(r *rig) {
	t := r.t
	r.served("tw", nil)
	trust := r.certificate()
	port := freePort(t)
	socket := filepath.Join(r.dir.Path, "t.sock")
	tcp := dict{"type": "tcp", "port": port, "interface": "127.0.0.1"}
	secure := dict{"type": "tcp", "port": port, "interface": "127.0.0.1", "tls": dict{"key": "server.key", "certificate": "server.crt"}}
	unix := dict{"type": "unix", "path": "t.sock"}
	at := func(scheme string) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }
	ws := dict{"type": "websocket"}
	cases := []struct {
		id     string
		config dict
		url    string
		client client.Config
	}{
		{"ws", dict{"type": "websocket", "endpoint": tcp}, at("ws"), client.Config{}},
		{"wss", dict{"type": "websocket", "endpoint": secure}, at("wss"), client.Config{TlsCfg: trust}},
		{"raw", dict{"type": "rawsocket", "endpoint": tcp}, at("tcp") + "/", client.Config{}},
		{"raws", dict{"type": "rawsocket", "endpoint": secure}, at("tcps") + "/", client.Config{TlsCfg: trust}},
		{"rawu", dict{"type": "rawsocket", "endpoint": unix}, "unix://" + socket, client.Config{}},
		{"web", dict{"type": "web", "endpoint": tcp, "paths": dict{"/": dict{"type": "json", "value": 1}, "ws": ws}}, at("ws") + "/ws", client.Config{}},
		{"webs", dict{"type": "web", "endpoint": secure, "paths": dict{"ws": ws}}, at("wss") + "/ws", client.Config{TlsCfg: trust}},
		{"uni", dict{"type": "universal", "endpoint": tcp, "rawsocket": dict{}, "websocket": dict{"ws": ws}, "web": dict{"paths": dict{"/": dict{"type": "json", "value": 1}}}}, at("ws") + "/ws", client.Config{}},
	}
	for round := range 3 {
		for _, c := range cases {
			what := fmt.Sprintf("round %d, %s", round, c.id)
			d := r.mustDict("router.start_router_transport", "tw", c.id, c.config)
			if d["id"] != c.id || d["type"] != c.config["type"] {
				t.Errorf("%s starts as %v", what, d)
			}
			session := r.joins(what, c.url, c.client)
			if err := session.Register("com.example.echo", echo, nil); err != nil {
				t.Errorf("%s: the role has no rights: %v", what, err)
			}
			if c.id == "uni" {
				r.joins(what, at("tcp")+"/", client.Config{}).Close()
			}
			if got := r.must("router.get_router_transports", "tw"); !reflect.DeepEqual(got, []string{c.id}) {
				t.Errorf("%s: transports are %v", what, got)
			}
			r.must("router.stop_router_transport", "tw", c.id)
			r.joinsNot(what+", stopped", c.url, c.client)
			select {
			case <-session.Done():
				t.Errorf("%s: the session ended with its transport", what)
			default:
			}
			session.Close()
			r.refused(cfcerr.NoSuchObject, "router.get_router_transport", "tw", c.id)
		}
	}
	var want []string
	for range 3 {
		want = append(want, "on_router_transport_starting", "on_router_transport_started", "on_router_transport_stopping", "on_router_transport_stopped")
	}
	for _, c := range cases {
		r.wantEvents([]string{"tw", c.id}, want...)
	}
	t.Run("that cannot be", func(t *testing.T) { r.t = t; noTransports(r, tcp) })
	r.t = t
	t.Run("log-in", func(t *testing.T) { r.t = t; logins(r, tcp, at("ws")) })
	r.t = t
	r.must("node.stop_worker", "tw")
}

// noTransports are refused with the reason, and leave nothing behind.
func noTransports(r *rig, tcp dict) {
	t := r.t
	r.must("router.start_router_transport", "tw", "first", dict{"type": "rawsocket", "endpoint": tcp})
	other := dict{"type": "tcp", "port": freePort(t), "interface": "127.0.0.1"}
	with := func(key string, v any) dict {
		return dict{"type": "tcp", "port": other["port"], "interface": "127.0.0.1", key: v}
	}
	for name, c := range map[string]struct {
		config dict
		kind   cfcerr.Kind
		says   string
	}{
		"the port of another":  {dict{"type": "websocket", "endpoint": tcp}, cfcerr.CannotListen, "Address already in use"},
		"an address elsewhere": {dict{"type": "websocket", "endpoint": with("interface", "192.0.2.1")}, cfcerr.CannotListen, "assign requested address"},
		"no key of TLS":        {dict{"type": "websocket", "endpoint": with("tls", dict{"key": "none.key", "certificate": "server.crt"})}, cfcerr.CannotListen, "No such file"},
		"a socket nowhere":     {dict{"type": "rawsocket", "endpoint": dict{"type": "unix", "path": "none/t.sock"}}, cfcerr.CannotListen, "No such file"},
		"a folder's path":      {dict{"type": "rawsocket", "endpoint": dict{"type": "unix", "path": "."}}, cfcerr.CannotListen, "is no socket"},
		"an unknown option":    {dict{"type": "websocket", "endpoint": other, "nonsense": 1}, cfcerr.InvalidConfiguration, "nonsense"},
		"a bad path":           {dict{"type": "web", "endpoint": other, "paths": dict{"a": dict{"type": "json", "value": 1}, "b": dict{"type": "resource", "classname": "nowhere.X"}}}, cfcerr.InvalidConfiguration, "nowhere"},
		"no port":              {dict{"type": "websocket", "endpoint": with("port", nil)}, cfcerr.InvalidArgument, "transport_config.endpoint.port"},
	} {
		e := r.refused(c.kind, "router.start_router_transport", "tw", "second", c.config)
		if !strings.Contains(e.Message, c.says) || strings.Contains(e.Message, "\n") {
			t.Errorf("%s: it says %q, expected %q in a line", name, e.Message, c.says)
		}
		if got := r.must("router.get_router_transports", "tw"); !reflect.DeepEqual(got, []string{"first"}) {
			t.Fatalf("%s has left %v", name, got)
		}
	}
	r.refused(cfcerr.AlreadyRunning, "router.start_router_transport", "tw", "first", dict{"type": "websocket", "endpoint": other})
	// What was taken back does not hold the port.
	r.must("router.start_router_transport", "tw", "second", dict{"type": "websocket", "endpoint": other})
	r.must("router.stop_router_transport", "tw", "second")
	r.must("router.stop_router_transport", "tw", "first")
}

// logins join with a ticket, and are refused by the role once it is stopped.
func logins(r *rig, tcp dict, url string) {
	t := r.t
	r.must("router.start_router_realm_role", "tw", "realm1", "guest", guestRole(dict{"uri": "com.example.", "match": "prefix", "allow": dict{"publish": true}, "cache": true}))
	r.must("router.start_router_transport", "tw", "ticket", dict{"type": "websocket", "endpoint": tcp,
		"auth": dict{"ticket": dict{"type": "static", "principals": dict{"joe": dict{"ticket": "s3cret", "role": "guest"}}}}})
	ticket := func(s string) client.Config {
		return client.Config{HelloDetails: wamp.Dict{"authid": "joe"},
			AuthHandlers: map[string]client.AuthFunc{"ticket": func(*wamp.Challenge) (string, wamp.Dict) { return s, wamp.Dict{} }}}
	}
	r.joinsNot("a wrong ticket", url, ticket("guessed"))
	joe := r.joins("the ticket", url, ticket("s3cret"))
	defer joe.Close()
	may := func() error {
		return joe.Publish("com.example.news", wamp.Dict{"acknowledge": true}, nil, nil)
	}
	for round := range 3 {
		if err := may(); err != nil {
			t.Errorf("round %d: what the role allows is refused: %v", round, err)
		}
		if err := joe.Register("com.example.proc", echo, nil); err == nil {
			t.Errorf("round %d: what the role does not allow is possible", round)
		}
		r.must("router.stop_router_realm_role", "tw", "realm1", "guest")
		if err := may(); err == nil {
			t.Errorf("round %d: a session goes on with the rights of a stopped role", round)
		}
		r.joinsNot("a stopped role", url, ticket("s3cret"))
		// Other rights count at once, also for what was refused before.
		r.must("router.start_router_realm_role", "tw", "realm1", "guest", guestRole(dict{"uri": "", "match": "prefix", "allow": dict{"register": true}}))
		if err := joe.Register("com.example.proc", echo, nil); err != nil {
			t.Errorf("round %d: what the new role allows is refused: %v", round, err)
		} else if err := joe.Unregister("com.example.proc"); err != nil {
			t.Error(err)
		}
		if err := may(); err == nil {
			t.Errorf("round %d: the session keeps rights of the old role", round)
		}
		r.must("router.stop_router_realm_role", "tw", "realm1", "guest")
		r.must("router.start_router_realm_role", "tw", "realm1", "guest", guestRole(dict{"uri": "com.example.", "match": "prefix", "allow": dict{"publish": true}, "cache": true}))
	}
	anonymousRole(r, tcp)
	r.must("router.stop_router_transport", "tw", "ticket")
}

func guestRole(permissions ...any) dict { return dict{"name": "guest", "permissions": permissions} }

// anonymousRole stops the role that anybody may have: the node lets clients
// join with it even so.
func anonymousRole(r *rig, tcp dict) {
	port := freePort(r.t)
	r.must("router.start_router_transport", "tw", "open", dict{"type": "websocket", "endpoint": dict{"type": "tcp", "port": port, "interface": "127.0.0.1"}})
	r.must("router.stop_router_realm_role", "tw", "realm1", "anonymous")
	c, err := join(fmt.Sprintf("ws://127.0.0.1:%d", port), client.Config{})
	if err == nil {
		defer c.Close()
		if err := c.Subscribe("com.example.x", func(*wamp.Event) {}, nil); err == nil {
			r.t.Error("an anonymous client has rights without the role")
		}
	}
	r.must("router.start_router_realm_role", "tw", "realm1", "anonymous", dict{"name": "anonymous", "authorizer": "com.example.authorize"})
	authorizer := r.joins("before the authorizer", fmt.Sprintf("ws://127.0.0.1:%d", port), client.Config{})
	defer authorizer.Close()
	if err := authorizer.Subscribe("com.example.x", func(*wamp.Event) {}, nil); err == nil {
		r.t.Error("without its authorizer a dynamic role allows something")
	}
	r.must("router.stop_router_transport", "tw", "open")
}

// certificate writes server.key and server.crt into the node's directory, and
// returns who trusts them.
func (r *rig) certificate() *tls.Config {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"server.key": {Type: "PRIVATE KEY", Bytes: private}, "server.crt": {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(r.dir.Path, name), pem.EncodeToMemory(block), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		r.t.Fatal(err)
	}
	pool.AddCert(leaf)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}
