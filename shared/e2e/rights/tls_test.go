package rights

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gorilla/websocket"
)

// certificate writes a self-signed one for 127.0.0.1.
func certificate(t *testing.T) (cert, key string, parsed *x509.Certificate) {
	t.Helper()
	cert, key, err := fleet.Certificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, pair.Leaf
}

// TestAChallengeOfAnotherRelay has a relay that its user trusts pass on the
// challenge of a second relay where the same key is known, and the answer to
// it: the second relay must not be fooled.
func TestAChallengeOfAnotherRelay(t *testing.T) {
	ctx := within(t, time.Minute)
	tools, err := fleet.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, parsed := certificate(t)
	home := t.TempDir()
	t.Cleanup(func() {
		if _, err := fleet.Reap(context.Background(), home, 0); err != nil {
			t.Error(err)
		}
	})
	good, err := fleet.StartRelay(ctx, tools, home, fleet.RelayOptions{Config: map[string]string{"tls": "{certificate: " + cert + ", key: " + key + "}"}})
	if err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(good.URL(), "ws://", "wss://", 1)
	token, err := good.OwnerToken()
	if err != nil {
		t.Fatal(err)
	}
	me := newKey(t)
	honest := session.Config{URL: url, Key: me, Token: token, Pin: session.Pin(parsed), Serializer: "json"}
	if err := enroll(ctx, honest); err != nil {
		t.Fatalf("over TLS, pinned: %v", err)
	}
	honest.Pin = session.Pin(parsed)[:len("sha256:")] + strings.Repeat("0", 64)
	if err := enroll(ctx, honest); err == nil {
		t.Error("joined a relay with another key than the pinned one")
	}
	for name, strip := range map[string]bool{"as it is": false, "without its binding": true} {
		t.Run(name, func(t *testing.T) {
			evil := &middle{to: url + wire.UserPath, strip: strip, verdict: make(chan []any, 1)}
			srv := httptest.NewTLSServer(evil)
			defer srv.Close()
			victim := session.Config{URL: strings.Replace(srv.URL, "https://", "wss://", 1), Key: me, Pin: session.Pin(srv.Certificate()), Serializer: "json", Timeout: 10 * time.Second}
			err := enroll(ctx, victim)
			if err == nil {
				t.Error("the victim's log-in went through the relay in the middle")
			}
			select {
			case m := <-evil.verdict:
				if m[0] != 3.0 || m[2] != cfcerr.AuthenticationFailed.URI() {
					t.Errorf("the relay answered %v", m)
				}
			default: // the victim did not even sign
			}
		})
	}
	honest.Pin, honest.Token = session.Pin(parsed), ""
	if err := enroll(ctx, honest); err != nil {
		t.Errorf("the honest log-in after that: %v", err)
	}
}

// middle is a relay that passes messages of a log-in on.
type middle struct {
	to      string
	strip   bool // take what asks for channel binding out
	verdict chan []any
}

func (m *middle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{"wamp.2.json"}}
	victim, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer victim.Close()
	d := websocket.Dialer{Subprotocols: []string{"wamp.2.json"}, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	relay, resp, err := d.DialContext(r.Context(), m.to, nil)
	if err != nil {
		return
	}
	resp.Body.Close()
	defer relay.Close()
	pass := func(from, to *websocket.Conn) []any {
		if err := from.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return nil
		}
		_, b, err := from.ReadMessage()
		if err != nil {
			return nil
		}
		if m.strip {
			b = bytes.ReplaceAll(b, []byte(`"tls-exporter"`), []byte(`null`))
		}
		var msg []any
		if json.Unmarshal(b, &msg) != nil || to.WriteMessage(websocket.TextMessage, b) != nil {
			return nil
		}
		return msg
	}
	if pass(victim, relay) == nil || pass(relay, victim) == nil || pass(victim, relay) == nil {
		return
	}
	if msg := pass(relay, victim); msg != nil {
		m.verdict <- msg
	}
}
