package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func tryJoin(t *testing.T, c session.Config) (*session.Session, error) {
	t.Helper()
	return session.Join(t.Context(), c)
}

// secure is a relay with a certificate of its own.
func secure(t *testing.T) *relay {
	t.Helper()
	conf := defaults(t, t.TempDir())
	conf.TLS = certificateFiles(t)
	newPair(t, "localhost").save(t, conf.TLS)
	return start(t, conf)
}

// TestJoiningOverTLS with the certificate pinned or trusted; the log-in is
// bound to the connection, and every token tells the pin.
func TestJoiningOverTLS(t *testing.T) {
	t.Parallel()
	r := secure(t)
	if !strings.HasPrefix(r.URL(), "wss://") {
		t.Fatalf("the relay is at %s", r.URL())
	}
	key, owner := r.owner()
	d, _ := wamp.AsDict(call(t, owner, "cfc.create_token", "user", wamp.Dict{"user": "bob"}))
	if d["pin"] != r.Pin() || r.Pin() == "" {
		t.Errorf("the token's pin is %v, the relay's %s", d["pin"], r.Pin())
	}
	trusting := r.as(key, "")
	trusting.Pin, trusting.CAFile = "", r.cfg.TLS.Certificate
	r.join(trusting)

	wrong := r.as(key, "")
	wrong.Pin = "sha256:" + strings.Repeat("0", 64)
	if _, err := tryJoin(t, wrong); !errors.Is(err, session.ErrPin) {
		t.Errorf("wrong pin: %v", err)
	}
	unknown := r.as(key, "")
	unknown.Pin = ""
	if _, err := tryJoin(t, unknown); err == nil {
		t.Error("a certificate that nobody signed was trusted")
	}
	plain := r.as(key, "")
	plain.Pin, plain.URL = "", strings.Replace(r.URL(), "wss://", "ws://", 1)
	if _, err := tryJoin(t, plain); err == nil {
		t.Error("the relay takes plain text beside TLS")
	}
}

// TestSessionsOutliveTheirCertificate: a renewed certificate is for those who
// come; nobody is sent away.
func TestSessionsOutliveTheirCertificate(t *testing.T) {
	t.Parallel()
	r := secure(t)
	key, owner := r.owner()
	old := r.Pin()
	newPair(t, "renewed").save(t, r.cfg.TLS)
	l, err := loadCertificate(r.cfg.TLS)
	must(t, err)
	r.cert.use(l)
	if r.Pin() == old {
		t.Fatal("the certificate is the old one")
	}
	call(t, owner, "cfc.get_status")
	r.join(r.as(key, ""))
	c := r.as(key, "")
	c.Pin = old
	if _, err := tryJoin(t, c); !errors.Is(err, session.ErrPin) {
		t.Errorf("the old pin: %v", err)
	}
}

func TestExpiringCertificateIsWarnedOf(t *testing.T) {
	for lifetime, want := range map[time.Duration]zapcore.Level{24 * time.Hour: zapcore.WarnLevel, 30 * 24 * time.Hour: zapcore.InfoLevel} {
		at := certificateFiles(t)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		sign(t, "x", key, lifetime).save(t, at)
		core, logs := observer.New(zapcore.DebugLevel)
		_, err = openCertificate(at, zap.New(core))
		must(t, err)
		if all := logs.All(); len(all) != 1 || all[0].Level != want {
			t.Errorf("%s: logged %v", lifetime, all)
		}
	}
}
