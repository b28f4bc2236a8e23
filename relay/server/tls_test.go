package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// watched is a certificate whose files are looked at all the time, and its log.
func watched(t *testing.T, at TLS) (*certificate, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	c, err := openCertificate(at, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = c.watch(ctx, time.Millisecond) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return c, logs
}

func TestCertificateIsReloadedWhenItsFilesChange(t *testing.T) {
	at := certificateFiles(t)
	newPair(t, "one").save(t, at)
	c, _ := watched(t, at)
	first := c.pin()
	newPair(t, "two").save(t, at)
	until(t, "the new certificate is used", func() bool { return c.leaf().DNSNames[0] == "two" })
	if c.pin() == first {
		t.Error("another key has the same pin")
	}
}

func TestPinStaysWithTheKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	at := certificateFiles(t)
	sign(t, "old", key, 30*24*time.Hour).save(t, at)
	c, _ := watched(t, at)
	first := c.pin()
	sign(t, "renewed", key, 60*24*time.Hour).save(t, at)
	until(t, "the renewed certificate is used", func() bool { return c.leaf().DNSNames[0] == "renewed" })
	if c.pin() != first || !strings.HasPrefix(first, "sha256:") || len(first) != 71 {
		t.Errorf("pin was %s and is %s", first, c.pin())
	}
}

// TestBadFilesChangeNothing: whatever becomes of the files, the certificate
// that works stays, the log says so once, and good files are taken again.
func TestBadFilesChangeNothing(t *testing.T) {
	good := newPair(t, "good")
	for name, spoil := range map[string]func(t *testing.T, at TLS){
		"no PEM":         func(t *testing.T, at TLS) { write(t, at.Certificate, []byte("nonsense")) },
		"empty":          func(t *testing.T, at TLS) { write(t, at.Key, nil) },
		"another's key":  func(t *testing.T, at TLS) { write(t, at.Key, newPair(t, "other").key) },
		"gone":           func(t *testing.T, at TLS) { must(t, os.Remove(at.Certificate)) },
		"half a new one": func(t *testing.T, at TLS) { write(t, at.Certificate, newPair(t, "other").certificate) },
	} {
		t.Run(name, func(t *testing.T) {
			at := certificateFiles(t)
			good.save(t, at)
			c, logs := watched(t, at)
			spoil(t, at)
			complaints := func() int { return logs.FilterLevelExact(zapcore.ErrorLevel).Len() }
			until(t, "it is complained of", func() bool { return complaints() > 0 })
			if c.leaf().DNSNames[0] != "good" {
				t.Error("the good certificate is gone")
			}
			next := newPair(t, "next")
			next.save(t, at)
			until(t, "the next certificate is used", func() bool { return c.leaf().DNSNames[0] == "next" })
			if n := complaints(); n > 3 {
				t.Errorf("complained %d times of one and the same", n)
			}
		})
	}
}

func TestBadCertificateIsRefusedAtStart(t *testing.T) {
	at := certificateFiles(t)
	if _, err := openCertificate(at, zap.NewNop()); err == nil || !strings.Contains(err.Error(), at.Certificate) {
		t.Errorf("missing: %v", err)
	}
	newPair(t, "one").save(t, at)
	write(t, at.Key, newPair(t, "two").key)
	if _, err := openCertificate(at, zap.NewNop()); err == nil || !strings.Contains(err.Error(), at.Key) {
		t.Errorf("another's key: %v", err)
	}
}

// TestOldProtocolsAreRefused by the versions of TLS that each setting allows.
func TestOldProtocolsAreRefused(t *testing.T) {
	for _, test := range []struct {
		min    string
		client uint16
		ok     bool
	}{{"1.2", tls.VersionTLS11, false}, {"1.2", tls.VersionTLS12, true}, {"1.2", tls.VersionTLS13, true}, {"1.3", tls.VersionTLS12, false}, {"1.3", tls.VersionTLS13, true}} {
		at := certificateFiles(t)
		at.MinVersion = test.min
		newPair(t, "one").save(t, at)
		c, _ := watched(t, at)
		near, far := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() {
			s := tls.Server(far, c.config())
			_ = s.HandshakeContext(t.Context())
			far.Close()
		})
		err := tls.Client(near, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: test.client}).HandshakeContext(t.Context())
		near.Close()
		serving.Wait()
		if (err == nil) != test.ok {
			t.Errorf("min %s, client %x: %v", test.min, test.client, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
