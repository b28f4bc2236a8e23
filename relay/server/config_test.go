package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fabric.center/cfc/shared/config"
)

// TestBadFiles loads each testdata/*.bad.yaml, one for each rule; its first
// line has the beginning of the one fault that is expected.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 15 {
		t.Fatalf("found %d bad files: %v", len(files), err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		must(t, err)
		first, _, _ := strings.Cut(string(b), "\n")
		want := strings.TrimPrefix(first, "#! ")
		err = config.Load(&Config{}, config.Sources{File: path})
		if err == nil || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "testdata/"), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", path, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") && !strings.HasPrefix(filepath.Base(path), "certificate-not-there") {
			t.Errorf("%s: more than one fault:\n%v", path, err)
		}
	}
}

func TestAddress(t *testing.T) {
	for want, c := range map[string]Config{
		"127.0.0.1:8080": {},
		":8443":          {TLS: TLS{Certificate: "c"}},
		"[::1]:1":        {Listen: "[::1]:1"},
	} {
		if got := c.Address(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false, "relay:1": false, "127.0.0.1": false, "localhost.example.com:1": false} {
		if loopback(address) != want {
			t.Errorf("%s: loopback is %v", address, !want)
		}
	}
}

func TestPlainTextWhenAskedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.yaml")
	write(t, path, []byte("version: 1\nlisten: 0.0.0.0:8080\ninsecure_plaintext: true\n"))
	must(t, config.Load(&Config{}, config.Sources{File: path}))
}

func TestCertificateInConfig(t *testing.T) {
	at := certificateFiles(t)
	newPair(t, "one").save(t, at)
	env := []string{"CFC_RELAY_TLS_CERTIFICATE=" + at.Certificate, "CFC_RELAY_TLS_KEY=" + at.Key}
	var c Config
	must(t, config.Load(&c, config.Sources{EnvPrefix: EnvPrefix, Environ: env}))
	if c.Address() != ":8443" {
		t.Errorf("listens on %s", c.Address())
	}
	write(t, at.Key, newPair(t, "two").key)
	err := config.Load(&c, config.Sources{EnvPrefix: EnvPrefix, Environ: env})
	if err == nil || !strings.HasPrefix(err.Error(), "CFC_RELAY_TLS_CERTIFICATE: tls.certificate: cannot use certificate") {
		t.Errorf("got %v", err)
	}
}

// TestPage keeps the relay's part of CONFIG.md.
func TestPage(t *testing.T) {
	page := config.Markdown(Config{}, EnvPrefix, true)
	must(t, config.UpdateRegion("../../shared/docs/CONFIG.md", "relay.yaml", page, *update))
}
