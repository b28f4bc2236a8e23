package nodeapi

import (
	"errors"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/driver"
)

// TestContainer runs components of users in a container; they are clients of a
// router like any other.
func TestContainer(t *testing.T) {
	o := operate(t, "autobahn-js/cbor")
	o.routed("host")
	p, at := invite(t), tcp(t)
	socket := unix(t, "components")
	transports := o.object("router", "router_transport", "host")
	transports.start("ws", map[string]any{"type": "websocket", "endpoint": at.config, "auth": p.auth})
	transports.start("components", map[string]any{"type": "rawsocket", "endpoint": socket.config, "auth": map[string]any{"anonymous": map[string]any{"type": "static", "role": "worker"}}})
	c := app(t, "autobahn-js/msgpack", p.everybody("ws"+at.rest, "")["anna"])
	o.worker("box", "container", map[string]any{"pythonpath": []any{components(t)}})
	in := o.object("container", "container_component", "box")
	component := func(class, prefix string) map[string]any {
		return map[string]any{"type": "class", "classname": class, "realm": appRealm, "extra": map[string]any{"prefix": prefix},
			"transport": map[string]any{"type": "rawsocket", "url": "rs://localhost", "serializer": "cbor", "endpoint": socket.config}}
	}
	for range 2 {
		in.start("one", component("echo.Echo", "com.example.one"))
		in.start("two", component("echo.Echo", "com.example.two"))
		answers(t, c, "com.example.one")
		answers(t, c, "com.example.two")
		in.stop("one")
		silent(t, c, "com.example.one")
		answers(t, c, "com.example.two")
		in.stop("two")
	}
	made := o.dict("id", "container.start_container_component", "box", component("echo.Echo", "com.example.made"))
	answers(t, c, "com.example.made")
	o.dict("id", "container.stop_container_component", "box", made["id"])
	for class, kind := range map[string]cfcerr.Kind{"echo.Nothing": cfcerr.InvalidConfiguration, "nothing.Echo": cfcerr.InvalidConfiguration,
		"echo.Failing": cfcerr.Timeout} { // the node never answers for that
		_, err := o.tryFor(5*time.Second, "container.start_container_component", "box", "bad", component(class, "com.example.bad"))
		var e *driver.Error
		if !errors.As(err, &e) || e.URI != kind.URI() {
			t.Errorf("starting component %s: %v; expected %s", class, err, kind.URI())
		}
		if in.there("bad") {
			t.Errorf("component %s is listed", class)
		}
	}
	in.start("one", component("echo.Echo", "com.example.one"))
	o.dict("id", "container.restart_container_component", "box", "one")
	answers(t, c, "com.example.one")
	o.fails(cfcerr.NoSuchObject, "container.restart_container_component", "box", "two")
}

// answers expects that a component's procedure can be called.
func answers(t *testing.T, c driver.Client, uri string) {
	t.Helper()
	v, err := c.Call(within(t, 10*time.Second), uri, []any{"hello"}, nil)
	if got, _ := v.([]any); err != nil || len(got) != 2 || got[0] != uri || got[1] != "hello" {
		t.Errorf("%s answers %v, %v", uri, v, err)
	}
}
