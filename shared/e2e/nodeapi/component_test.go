package nodeapi

import (
	"testing"
)

// TestRouterComponents runs a component of a user inside of a router.
func TestRouterComponents(t *testing.T) {
	o := operate(t, "autobahn-js/json")
	o.routed("inside")
	p, at := invite(t), tcp(t)
	o.object("router", "router_transport", "inside").start("ws", map[string]any{"type": "websocket", "endpoint": at.config, "auth": p.auth})
	c := app(t, "autobahn/msgpack", p.everybody("ws"+at.rest, "")["berta"])
	inside := o.object("router", "router_component", "inside")
	echo := map[string]any{"type": "class", "classname": "echo.Echo", "realm": appRealm, "role": "worker", "extra": map[string]any{"prefix": "com.example.inside"}}
	for range 2 {
		inside.start("echo", echo)
		answers(t, c, "com.example.inside")
		inside.stop("echo")
		silent(t, c, "com.example.inside")
	}
	inside.start("echo", echo)
	o.dict("id", "router.stop_router_component", "inside") // the only one
	silent(t, c, "com.example.inside")
	for what, class := range map[string]string{"is not there": "echo.Nothing", "fails": "echo.Failing", "has no module": "nothing.Echo"} {
		bad := map[string]any{"type": "class", "classname": class, "realm": appRealm, "role": "worker"}
		if _, err := o.try("router.start_router_component", "inside", "bad", bad); err == nil {
			t.Errorf("a component whose class %s is started", what)
		}
		if inside.there("bad") {
			t.Errorf("a component whose class %s is listed", what)
		}
	}
}
