package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"fabric.center/cfc/shared/durable"
)

// PinForm says what a pin looks like.
const PinForm = "sha256: and 64 hex digits"

var pinForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func validPin(s string) bool { return pinForm.MatchString(s) }

// ValidPin reports whether s is the form of a pin.
func ValidPin(s string) bool { return validPin(s) }

// Pin names the key of a certificate: SHA-256 of its SubjectPublicKeyInfo. It
// stays when the certificate is renewed with the same key.
func Pin(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ErrPin is in the chain of a join that failed because the relay showed
// another key than the pinned one.
var ErrPin = errors.New("the relay's certificate is not the pinned one")

func (c Config) tls(host string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if c.CAFile != "" {
		pem, err := durable.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use CA file %s: no certificate in it", c.CAFile)
		}
	}
	if c.Pin != "" {
		// The key that was told beforehand is the stronger proof: whatever
		// name or signature the certificate has, nobody else has its key.
		conf.InsecureSkipVerify = true
		conf.VerifyConnection = func(cs tls.ConnectionState) error { return checkPin(cs, c.Pin) }
	}
	return conf, nil
}

func checkPin(cs tls.ConnectionState, pin string) error {
	if len(cs.PeerCertificates) == 0 {
		return fmt.Errorf("%w: it showed none", ErrPin)
	}
	if got := Pin(cs.PeerCertificates[0]); subtle.ConstantTimeCompare([]byte(got), []byte(pin)) != 1 {
		return fmt.Errorf("%w: it is %s, expected %s", ErrPin, got, pin)
	}
	return nil
}
