package docker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"fabric.center/cfc/shared/e2e/fleet"
	"github.com/gammazero/nexus/v3/wamp"
)

// authority makes certificates of its own.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(name, template, nil, nil)
	return a
}

// file is where a certificate or key is.
func (a *authority) file(name string) string { return filepath.Join(a.dir, name+".pem") }

func (a *authority) sign(name string, c, by *x509.Certificate, with *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by, with = c, key
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, with)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]pem.Block{name: {Type: "CERTIFICATE", Bytes: der}, name + "-key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(&block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// TestAnEngineByTLS trusts nobody but who the files say, on both sides.
func TestAnEngineByTLS(t *testing.T) {
	a, other := newAuthority(t, "ca"), newAuthority(t, "ca")
	a.sign("engine", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, a.cert, a.key)
	for _, by := range []*authority{a, other} {
		by.sign("agent", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, by.cert, by.key)
	}
	port, err := fleet.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("tcp://127.0.0.1:%d", port)
	real := enginetest.Start(t, enginetest.Options{Args: []string{"--host", address, "--tlsverify", "--tlscacert", a.file("ca"), "--tlscert", a.file("engine"), "--tlskey", a.file("engine-key")}})
	real.Build("box:1", nil)
	by := func(ca, cert, key string) *host {
		return hostOf(t, real, func(c *engine.Config) {
			c.Socket, c.Host, c.CA, c.Cert, c.Key = "", address, ca, cert, key
			c.Rules = func() policy.Docker { return policy.Docker{Binds: []string{"/"}} }
		})
	}
	h := by(a.file("ca"), a.file("agent"), a.file("agent-key"))
	if s := do(h, catalog.DockerGetStatus); s.Address != address {
		t.Errorf("status %+v", s)
	}
	do(h, catalog.DockerStartContainer, "web", box(nil))
	refuse(h, cfcerr.DeniedByHost, "docker.binds", catalog.DockerStartContainer, nil, box(wamp.Dict{"volumes": []any{"/:/host"}}))
	for what, stranger := range map[string]*host{
		"an engine that is not trusted": by(other.file("ca"), a.file("agent"), a.file("agent-key")),
		"an agent that is not":          by(a.file("ca"), other.file("agent"), other.file("agent-key")),
		"an agent without a name":       by(a.file("ca"), "", ""),
		"no TLS at all":                 by("", "", ""),
	} {
		if _, err := try(stranger, within(t, 30*time.Second), catalog.DockerGetStatus); cfcerr.KindOf(err) != cfcerr.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
}
