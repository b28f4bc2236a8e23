package server

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

// get is one request to the monitor.
func get(t *testing.T, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	must(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, string(b)
}

func TestMonitor(t *testing.T) {
	r := start(t, defaults(t, t.TempDir()))
	for _, test := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/healthz", 200, "alive\n"},
		{"GET", "/readyz", 200, "ready\n"},
		{"GET", "/", 404, ""},
		{"GET", "/ws", 404, ""},
		{"GET", "/debug/pprof/", 404, ""},
		{"POST", "/healthz", 405, ""},
		{"POST", "/metrics", 405, ""},
	} {
		status, body := get(t, test.method, r.MonitorURL()+test.path)
		if status != test.status || test.body != "" && body != test.body {
			t.Errorf("%s %s: %d %q", test.method, test.path, status, body)
		}
	}
}

func TestReadinessFollowsTheRelay(t *testing.T) {
	r := start(t, defaults(t, t.TempDir()))
	ask := r.cfg
	ask.Monitor.Listen = strings.TrimPrefix(r.MonitorURL(), "http://")
	must(t, Ready(t.Context(), ask))
	for phase, want := range map[string]string{phaseStarting: "not ready: the relay is starting\n", phaseStopping: "not ready: the relay is stopping\n"} {
		r.ready.enter(phase)
		if status, body := get(t, "GET", r.MonitorURL()+"/readyz"); status != 503 || body != want {
			t.Errorf("%s: %d %q", phase, status, body)
		}
		if err := Ready(t.Context(), ask); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%s: asked, it says %v", phase, err)
		}
		if status, _ := get(t, "GET", r.MonitorURL()+"/healthz"); status != 200 {
			t.Errorf("%s: alive is %d", phase, status)
		}
		if _, body := get(t, "GET", r.MonitorURL()+"/metrics"); !strings.Contains(body, "\ncfc_relay_ready 0\n") {
			t.Errorf("%s: the metric says ready", phase)
		}
	}
	r.ready.enter(phaseReady)
	// A store that was cut under the relay's feet serves no more.
	must(t, os.Truncate(r.cfg.StoreFile(), 4096))
	k := newKey(t)
	if s, err := tryJoin(t, r.as(k, "")); err == nil {
		s.Close()
		t.Error("somebody logged in without a store")
	}
	if status, body := get(t, "GET", r.MonitorURL()+"/readyz"); status != 503 || !strings.Contains(body, r.cfg.StoreFile()) {
		t.Errorf("damaged store: %d %q", status, body)
	}
}

// TestMetrics: what a dashboard needs is there, moves, and names nobody.
func TestMetrics(t *testing.T) {
	r := start(t, defaults(t, t.TempDir()))
	_, owner := r.owner()
	call(t, owner, "cfc.create_management_realm", "demo-realm")
	agent := r.join(r.agent(newKey(t), token(t, owner, "node", wamp.Dict{"realm": "demo-realm", "node_id": "node-one"}), ""))
	serveNode(t, agent)
	until(t, "nobody is half-open", func() bool { return r.parts.gate.Waiting() == 0 }) // a moment after WELCOME
	_, body := get(t, "GET", r.MonitorURL()+"/metrics")
	for _, want := range []string{`cfc_relay_build_info\{go="go[^"]*",version="test"\} 1`, `cfc_relay_ready 1`, `cfc_relay_nodes_online 1`,
		`cfc_relay_sessions\{kind="[a-z]+"\} 1`, `cfc_relay_calls_total\{outcome="ok"\} [2-9]`, `cfc_relay_connections_half_open 0`,
		`cfc_relay_connections_dropped_total 0`, `process_open_fds \d+`, `go_goroutines \d+`} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(body) {
			t.Errorf("no %s in\n%s", want, regexp.MustCompile(`(?m)^(#|go_|process_).*\n`).ReplaceAllString(body, ""))
		}
	}
	for _, secret := range []string{"demo-realm", "node-one", "admin", "127.0.0.1"} {
		if strings.Contains(body, secret) {
			t.Errorf("metrics name %s", secret)
		}
	}
}

func TestNoMonitor(t *testing.T) {
	conf := defaults(t, t.TempDir())
	conf.Monitor.Listen = ""
	if r := start(t, conf); r.MonitorURL() != "" {
		t.Errorf("the monitor is at %s", r.MonitorURL())
	}
}
