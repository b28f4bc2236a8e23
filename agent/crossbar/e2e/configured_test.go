package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/client"
)

// TestWhatTheNodeItselfHasStarted is about a node with a proxy, which has no id,
// before a router with components in a container, all from its own configuration,
// as one has it that was adopted: each can be used, stopped and started again, and
// the proxy restarted with the options that it had.
func TestWhatTheNodeItselfHasStarted(t *testing.T) {
	const proxy = "worker001"
	web, extra := freePort(t), t.TempDir()
	f := front{port: freePort(t)}
	local := func(port int) dict { return dict{"type": "tcp", "port": port, "interface": "127.0.0.1"} }
	socket := dict{"type": "unix", "path": "one.sock"}
	text, err := json.Marshal(dict{"version": 2, "workers": []any{
		dict{"type": "router", "id": "one", "realms": []any{realm1}, "transports": []any{
			dict{"id": "uds", "type": "rawsocket", "endpoint": socket, "auth": dict{"anonymous-proxy": dict{"type": "static"}, "anonymous": dict{"type": "static", "role": "anonymous"}}}}},
		dict{"type": "container", "id": "box", "options": dict{"pythonpath": []any{"."}}, "components": []any{
			dict{"id": "idle", "type": "class", "classname": "cfcmodules.Idle", "realm": "com.example.one",
				"transport": dict{"type": "rawsocket", "url": "rs://localhost", "serializer": "cbor", "endpoint": socket}}}},
		dict{"type": "proxy", "options": dict{"pythonpath": []any{extra}},
			"connections": dict{"c1": dict{"transport": dict{"type": "rawsocket", "url": "rs://localhost", "serializer": "cbor", "endpoint": socket}, "auth": dict{"anonymous-proxy": dict{"type": "static"}}}},
			"routes":      dict{"com.example.one": dict{"anonymous": "c1"}},
			"transports": []any{
				dict{"id": "socket", "type": "websocket", "endpoint": local(f.port), "auth": dict{"anonymous": dict{"type": "static", "role": "anonymous"}}},
				dict{"id": "web", "type": "web", "endpoint": local(web), "paths": dict{"/": jsonPath("root"), "a": jsonPath("a")}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.rig = newRig(t, configured(string(text)), module("cfcmodules", idle))
	r := f.rig
	defer r.end()
	runs := func(key string, want ...string) {
		t.Helper()
		r.wait(fmt.Sprint(key, " runs ", want), func() bool {
			got, err := r.call("proxy.get_proxy_"+key, proxy)
			return err == nil && reflect.DeepEqual(got, want)
		})
	}
	runs("transports", "socket", "web")
	runs("connections", "c1")
	f.serves(fmt.Sprintf("http://127.0.0.1:%d/a", web), "a")
	f.joins("the proxy", f.url(), client.Config{}).Close()
	r.wait("the events tell of all", func() bool {
		running, err := lives(r.told(), true)
		return err == nil && !slices.ContainsFunc([]string{"on_proxy_transport " + proxy + ".web", "on_proxy_transport " + proxy + ".socket",
			"on_proxy_connection " + proxy + ".c1", "on_container_component box.idle", "on_router_transport one.uds"}, func(s string) bool { return !slices.Contains(running, s) })
	})

	// In a container things come and go as if an operator had started them.
	config := r.mustDict("container.get_container_component", "box", "idle")["config"]
	for range 2 {
		r.must("container.stop_container_component", "box", "idle")
		r.must("container.start_container_component", "box", "idle", config)
	}

	r.refused(cfcerr.InvalidArgument, "proxy.stop_proxy_transport", proxy, "web")
	file := filepath.Join(r.dir.Path, "config.json")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	touch := func(at time.Time) {
		t.Helper()
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	touch(time.Now().Add(time.Second))
	e := r.refused(cfcerr.NotSupported, "proxy.stop_proxy_transport", proxy, "web", true)
	if e.Details["reason"] == nil {
		t.Errorf("a proxy of a configuration that was changed: %v", e)
	}
	touch(info.ModTime())
	r.must("proxy.stop_proxy_transport", proxy, "web", true)
	runs("transports", "socket")
	runs("connections", "c1")
	runs("routes", "com.example.one")
	f.joins("the proxy after its restart", f.url(), client.Config{}).Close()
	if paths := r.must("worker.get_pythonpath", proxy); !slices.Contains(texts(paths), extra) {
		t.Errorf("its pythonpath is %v", paths)
	}
	r.must("proxy.start_proxy_transport", proxy, "web", dict{"type": "web", "endpoint": local(web), "paths": dict{"/": jsonPath("root"), "a": jsonPath("a")}})
	f.serves(fmt.Sprintf("http://127.0.0.1:%d/a", web), "a")
	if _, err := lives(r.told(), true); err != nil {
		t.Error(err)
	}
}

// texts are the strings of a list, of whatever type.
func texts(v any) []string {
	var all []string
	list := reflect.ValueOf(v)
	for i := range list.Len() {
		all = append(all, fmt.Sprint(list.Index(i).Interface()))
	}
	return all
}
