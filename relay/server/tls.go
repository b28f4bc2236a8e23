package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"fabric.center/cfc/shared/durable"
	"go.uber.org/zap"
)

// reloadEvery is how often the certificate's files are looked at. They are
// small, and reading them finds every kind of change: a rename, a link that
// points elsewhere, a copy that keeps the time.
const reloadEvery = 10 * time.Second

// certificate is the relay's certificate, kept as its files are.
type certificate struct {
	conf    TLS
	log     *zap.Logger
	current atomic.Pointer[loaded]
}

type loaded struct {
	files [2][]byte // certificate and key as read
	pair  tls.Certificate
}

func openCertificate(t TLS, log *zap.Logger) (*certificate, error) {
	l, err := loadCertificate(t)
	if err != nil {
		return nil, err
	}
	c := &certificate{conf: t, log: log}
	c.use(l)
	return c, nil
}

func loadCertificate(t TLS) (*loaded, error) {
	files, err := readCertificate(t)
	if err != nil {
		return nil, err
	}
	return parseCertificate(t, files)
}

func readCertificate(t TLS) (files [2][]byte, err error) {
	for i, path := range []string{t.Certificate, t.Key} {
		if files[i], err = durable.ReadFile(path); err != nil {
			return files, fmt.Errorf("cannot read certificate: %w", err)
		}
	}
	return files, nil
}

func parseCertificate(t TLS, files [2][]byte) (*loaded, error) {
	pair, err := tls.X509KeyPair(files[0], files[1])
	if err != nil {
		return nil, fmt.Errorf("cannot use certificate %s with key %s: %w", t.Certificate, t.Key, err)
	}
	return &loaded{files: files, pair: pair}, nil
}

func (c *certificate) use(l *loaded) {
	c.current.Store(l)
	left := time.Until(l.pair.Leaf.NotAfter)
	fields := []zap.Field{zap.String("pin", c.pin()), zap.Strings("names", l.pair.Leaf.DNSNames), zap.Time("expires", l.pair.Leaf.NotAfter)}
	if left < 7*24*time.Hour {
		c.log.Warn("certificate expires soon or has expired", fields...)
		return
	}
	c.log.Info("certificate loaded", fields...)
}

// watch loads changed files until ctx ends. Files that do not work change
// nothing; they are complained of once.
func (c *certificate) watch(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var bad [2][]byte
	var complaint string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		files, err := readCertificate(c.conf)
		if err == nil && same(files, c.current.Load().files) {
			complaint = ""
			continue
		}
		if err == nil {
			var l *loaded
			if l, err = parseCertificate(c.conf, files); err == nil {
				c.use(l)
				complaint = ""
				continue
			}
		}
		if err.Error() != complaint || !same(files, bad) {
			c.log.Error("certificate files changed but cannot be used; the old certificate stays", zap.Error(err))
			complaint, bad = err.Error(), files
		}
	}
}

func same(a, b [2][]byte) bool { return bytes.Equal(a[0], b[0]) && bytes.Equal(a[1], b[1]) }

// pin names the certificate's key: what invitations carry and agents check.
func (c *certificate) pin() string { return pinOf(c.leaf()) }

func (c *certificate) leaf() *x509.Certificate { return c.current.Load().pair.Leaf }

func pinOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// config is what the listener uses. Only HTTP/1.1 is offered: a WebSocket
// needs it.
func (c *certificate) config() *tls.Config {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			l := c.current.Load()
			if l == nil {
				return nil, errors.New("no certificate")
			}
			return &l.pair, nil
		}}
	if c.conf.MinVersion == "1.3" {
		conf.MinVersion = tls.VersionTLS13
	}
	return conf
}
