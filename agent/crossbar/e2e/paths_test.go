package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

func jsonPath(v any) dict { return dict{"type": "json", "value": v} }

// fetch is the status and the body of a page.
func (r *rig) fetch(url string) (int, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func (r *rig) serves(url string, want any) {
	r.t.Helper()
	status, body := r.fetch(url)
	var got any
	if err := json.Unmarshal([]byte(body), &got); status != 200 || err != nil || !reflect.DeepEqual(got, want) {
		r.t.Errorf("%s gives %d, %q, expected %v", url, status, body, want)
	}
}

// paths of Web and universal transports are started, fetched and stopped,
// three times with the same ids; an agent that restarts knows them.
func paths(r *rig) {
	t := r.t
	r.served("pw", nil)
	port, other := freePort(t), freePort(t)
	if err := os.MkdirAll(filepath.Join(r.dir.Path, "pages"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir.Path, "pages", "page.json"), []byte(`"root"`), 0o600); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	web := dict{"type": "web", "endpoint": dict{"type": "tcp", "port": port, "interface": "127.0.0.1"},
		"paths": dict{"/": dict{"type": "static", "directory": "pages"}, "given": jsonPath("given"), "deep": dict{"type": "path", "paths": dict{"a": jsonPath("deep")}}}}
	list := func(transport string, want ...string) {
		t.Helper()
		if got := r.must("router.get_transport_paths", "pw", transport); !reflect.DeepEqual(got, append([]string{}, want...)) {
			t.Errorf("paths of %s are %v, expected %v", transport, got, want)
		}
	}
	for range 3 {
		r.must("router.start_router_transport", "pw", "web", web)
		list("web", "/", "deep", "given")
		r.serves("http://"+at+"/page.json", "root")
		r.serves("http://"+at+"/given", "given")
		r.serves("http://"+at+"/deep/a", "deep")
		r.must("router.start_router_transport_path", "pw", "web", "ws", dict{"type": "websocket"})
		r.joins("a path", "ws://"+at+"/ws", client.Config{}).Close()
		r.must("router.stop_router_transport_path", "pw", "web", "given")
		if status, _ := r.fetch("http://" + at + "/given"); status != 404 {
			t.Errorf("a stopped path gives %d", status)
		}
		r.must("router.start_router_transport_path", "pw", "web", "given", jsonPath("again"))
		r.serves("http://"+at+"/given", "again")
		list("web", "/", "deep", "given", "ws")
		d := r.mustDict("router.get_router_transport_path", "pw", "web", "given")
		if config, _ := wamp.AsDict(d["config"]); d["id"] != "given" || config["value"] != "again" {
			t.Errorf("a path shows as %v", d)
		}
		r.must("router.stop_router_transport", "pw", "web")
		r.refused(cfcerr.NoSuchObject, "router.get_transport_paths", "pw", "web")
	}
	r.must("router.start_router_transport", "pw", "uni", dict{"type": "universal", "endpoint": dict{"type": "tcp", "port": other, "interface": "127.0.0.1"},
		"rawsocket": dict{}, "web": dict{"paths": dict{"a": jsonPath("a")}}})
	r.must("router.start_router_transport_path", "pw", "uni", "b", jsonPath(dict{"n": 2}))
	r.serves(fmt.Sprintf("http://127.0.0.1:%d/b", other), dict{"n": 2.0})
	list("uni", "a", "b")
	noPaths(r)

	r.stopParts()
	r.start()
	list("uni", "a", "b")
	d := r.mustDict("router.get_router_transport_path", "pw", "uni", "b")
	if config, _ := wamp.AsDict(d["config"]); config["type"] != "json" {
		t.Errorf("after a restart of the agent a path shows as %v", d)
	}
	r.must("router.stop_router_transport_path", "pw", "uni", "b")
	list("uni", "a")
	r.must("router.stop_router_transport", "pw", "uni")
	// What ran all the time is not told again, and a path ends with its transport.
	r.wantEvents([]string{"pw", "uni", "a"}, "on_web_transport_service_stopped")
	r.wantEvents([]string{"pw", "uni", "b"}, "on_web_transport_service_stopping", "on_web_transport_service_stopped")
	r.must("node.stop_worker", "pw")
}

// noPaths are refused with the reason.
func noPaths(r *rig) {
	r.must("router.start_router_transport", "pw", "ws", dict{"type": "rawsocket", "endpoint": dict{"type": "unix", "path": "p.sock"}})
	if got := r.must("router.get_transport_paths", "pw", "ws"); !reflect.DeepEqual(got, []string{}) {
		r.t.Errorf("paths of a transport that has none are %#v", got)
	}
	for _, c := range []struct {
		kind      cfcerr.Kind
		transport string
		path      string
		config    dict
	}{
		{cfcerr.InvalidArgument, "ws", "a", jsonPath(1)},
		{cfcerr.NotSupported, "uni", "/", jsonPath(1)},
		{cfcerr.AlreadyRunning, "uni", "a", jsonPath(1)},
		{cfcerr.NoSuchObject, "none", "a", jsonPath(1)},
		{cfcerr.InvalidArgument, "uni", "/a", jsonPath(1)},
		{cfcerr.InvalidArgument, "uni", "a/b", jsonPath(1)},
		{cfcerr.InvalidArgument, "uni", "c", dict{"type": "magic"}},
		{cfcerr.InvalidConfiguration, "uni", "c", dict{"type": "json"}},
		{cfcerr.InvalidConfiguration, "uni", "c", dict{"type": "resource", "classname": "nowhere.X"}},
	} {
		e := r.refused(c.kind, "router.start_router_transport_path", "pw", c.transport, c.path, c.config)
		r.t.Log(e)
	}
	r.refused(cfcerr.NoSuchObject, "router.stop_router_transport_path", "pw", "uni", "c")
	if got := r.must("router.get_transport_paths", "pw", "uni"); !reflect.DeepEqual(got, []string{"a", "b"}) {
		r.t.Errorf("bad starts have left %v", got)
	}
	r.must("router.stop_router_transport", "pw", "ws")
}
