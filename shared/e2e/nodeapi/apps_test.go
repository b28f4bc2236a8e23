package nodeapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
)

// appRealm is the WAMP realm that the tests start on the node, and its clients join.
const appRealm = "com.example.app"

// permissions of a role for everything.
func permissions(call, register, publish, subscribe bool) []any {
	return []any{map[string]any{"uri": "", "match": "prefix", "allow": map[string]any{"call": call, "register": register, "publish": publish, "subscribe": subscribe}}}
}

// appRoles are who may do everything, who may listen alone, and nobody's.
func appRoles() []any {
	return []any{
		map[string]any{"name": "worker", "permissions": permissions(true, true, true, true)},
		map[string]any{"name": "listener", "permissions": permissions(false, false, false, true)},
	}
}

// people are those who may log in to the tests' transports, one by each way.
type people struct {
	ticket, secret, key string // files
	wrong               string // a file of what nobody has
	auth                map[string]any
}

func invite(t *testing.T) people {
	t.Helper()
	dir := t.TempDir()
	p := people{ticket: filepath.Join(dir, "ticket"), secret: filepath.Join(dir, "secret"), key: filepath.Join(dir, "key"), wrong: filepath.Join(dir, "wrong")}
	for path, text := range map[string]string{p.ticket: "anna's ticket", p.secret: "berta's secret", p.wrong: "nobody's"} {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := identity.LoadOrCreate(p.key)
	if err != nil {
		t.Fatal(err)
	}
	p.auth = map[string]any{
		"anonymous":  map[string]any{"type": "static", "role": "listener"},
		"ticket":     map[string]any{"type": "static", "principals": map[string]any{"anna": map[string]any{"ticket": "anna's ticket", "role": "worker"}}},
		"wampcra":    map[string]any{"type": "static", "users": map[string]any{"berta": map[string]any{"secret": "berta's secret", "role": "worker"}}},
		"cryptosign": map[string]any{"type": "static", "principals": map[string]any{"carl": map[string]any{"authorized_keys": []any{key.Public()}, "role": "worker", "realm": appRealm}}},
	}
	return p
}

// everybody are their log-ins, by name; nobody's is anonymous.
func (p people) everybody(url, ca string) map[string]driver.Login {
	l := driver.Login{URL: url, Realm: appRealm, CA: ca}
	anna, berta, carl := l, l, l
	anna.AuthID, anna.TicketFile = "anna", p.ticket
	berta.AuthID, berta.SecretFile = "berta", p.secret
	carl.AuthID, carl.KeyFile = "carl", p.key
	return map[string]driver.Login{"nobody": l, "anna": anna, "berta": berta, "carl": carl}
}

// used has clients of both foreign libraries use a transport: one works, one
// listens, and may do no more.
func used(t *testing.T, url, ca string, p people) {
	t.Helper()
	all := p.everybody(url, ca)
	worker := app(t, "autobahn/json", all["carl"])
	listener := app(t, jsOr("autobahn/cbor", url), all["nobody"])
	exchange(t, worker, listener, url)
	for _, c := range []driver.Client{worker, listener} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// jsOr is autobahn-js where it has the transport, else another client.
func jsOr(other, url string) string {
	if strings.HasPrefix(url, "rss:") {
		return other
	}
	return "autobahn-js/json"
}

// exchange has the first call and publish, and the second, if it is another,
// hear it and do no more.
func exchange(t *testing.T, worker, listener driver.Client, where string) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	uri := fmt.Sprintf("com.example.p%d", time.Now().UnixNano())
	if err := worker.Register(ctx, uri); err != nil {
		t.Errorf("%s: the worker registers: %v", where, err)
	}
	if v, err := worker.Call(ctx, uri, []any{"hello"}, nil); err != nil || v != "hello" {
		t.Errorf("%s: the worker calls: %v, %v", where, v, err)
	}
	if listener == worker {
		return
	}
	if err := listener.Subscribe(ctx, uri, ""); err != nil {
		t.Errorf("%s: the listener subscribes: %v", where, err)
	}
	if err := worker.Publish(ctx, uri, []any{where}, nil); err != nil {
		t.Errorf("%s: the worker publishes: %v", where, err)
	}
	if _, err := listener.Events().Wait(ctx, func(e driver.Event) bool { return e.Topic == uri && e.Args[0] == where }); err != nil {
		t.Errorf("%s: the listener hears nothing: %v", where, err)
	}
	_, err := listener.Call(ctx, uri, nil, nil)
	denied(t, where+": the listener calls", err)
	denied(t, where+": the listener publishes", listener.Publish(ctx, uri, nil, nil))
	denied(t, where+": the listener registers", listener.Register(ctx, uri+".more"))
}

// denied expects that the role forbids it.
func denied(t *testing.T, what string, err error) {
	t.Helper()
	var e *driver.Error
	if !errors.As(err, &e) || e.URI != cfcerr.NotAuthorized.URI() {
		t.Errorf("%s: %v; expected wamp.error.not_authorized", what, err)
	}
}

// port is one that nobody listens on.
func port(t *testing.T) int {
	t.Helper()
	p, err := fleet.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fetch gets a web page's status and text; 0 for none.
func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t, 10*time.Second), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// components is the directory of the tests' components.
func components(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
