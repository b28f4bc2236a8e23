package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) *Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "agent"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func pairing(t *testing.T, d *Dir) Pairing {
	t.Helper()
	k, err := d.Key("wss://relay.example")
	if err != nil {
		t.Fatal(err)
	}
	return Pairing{Relay: "wss://relay.example/agent", Realm: "demo", NodeID: "node1", OID: "7d3ac4e0-62b1-4a9e-8a5b-6f0c8f1b2a11",
		Pubkey: k.Public(), Paired: "2026-11-23T20:00:00.000Z"}
}

func TestNothingIsOpenToOthers(t *testing.T) {
	d := open(t)
	if err := d.Save(pairing(t, d)); err != nil {
		t.Fatal(err)
	}
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	files := 0
	err = filepath.WalkDir(d.Path(), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := e.Info()
		if err == nil && i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %#o", path, i.Mode().Perm())
		}
		files++
		return err
	})
	if err != nil || files != 5 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestADirectoryThatOthersSeeIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("it was used")
	}
}

func TestEachRelayHasItsKeyAndKeepsIt(t *testing.T) {
	d := open(t)
	seen := map[string]string{}
	for url, same := range map[string]string{
		"wss://relay.example": "a", "wss://RELAY.example:443/agent": "a", "https://relay.example/ws": "a",
		"wss://relay.example:8443": "b", "wss://other.example": "c", "ws://127.0.0.1:8080/ws": "d", "ws://[::1]:8080": "e",
	} {
		k, err := d.Key(url)
		if err != nil {
			t.Fatal(err)
		}
		if old, ok := seen[same]; ok && old != k.Public() {
			t.Errorf("%s has a second key", url)
		}
		seen[same] = k.Public()
	}
	keys := map[string]bool{}
	for _, k := range seen {
		keys[k] = true
	}
	if len(keys) != 5 {
		t.Errorf("%d keys for 5 relays", len(keys))
	}
	if entries, err := os.ReadDir(d.keys()); err != nil || len(entries) != 5 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestPairingComesBackAsItWasSaved(t *testing.T) {
	d := open(t)
	if p, err := d.Pairing(); p != nil || err != nil {
		t.Errorf("before: %v, %v", p, err)
	}
	want := pairing(t, d)
	want.Version = version
	want.Pin = "sha256:" + strings.Repeat("0a", 32)
	if err := d.Save(want); err != nil {
		t.Fatal(err)
	}
	if p, err := d.Pairing(); err != nil || *p != want {
		t.Errorf("got %v, %v", p, err)
	}
	for range 2 {
		if err := d.Unpair(); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := d.Pairing(); p != nil || err != nil {
		t.Errorf("after: %v, %v", p, err)
	}
}

func TestADamagedPairingIsRefusedWithItsPath(t *testing.T) {
	d := open(t)
	if err := d.Save(pairing(t, d)); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(d.pairing())
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty":       "",
		"cut":         string(good[:len(good)/2]),
		"two":         string(good) + string(good),
		"version":     strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"unknown key": strings.Replace(string(good), `"realm"`, `"raelm"`, 1),
		"relay":       strings.Replace(string(good), "wss://", "ftp://", 1),
		"realm":       strings.Replace(string(good), `"demo"`, `"Demo"`, 1),
		"node":        strings.Replace(string(good), `"node1"`, `"n.1"`, 1),
		"oid":         strings.Replace(string(good), "7d3ac4e0", "7d3ac4e", 1),
		"pubkey":      strings.Replace(string(good), `"pubkey": "`, `"pubkey": "x`, 1),
		"paired":      strings.Replace(string(good), "2026-11", "2026-99", 1),
	} {
		if err := os.WriteFile(d.pairing(), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := d.Pairing(); err == nil || !strings.Contains(err.Error(), d.pairing()) {
			t.Errorf("%s: got %v, %v", name, p, err)
		}
	}
	if err := errors.Join(os.Remove(d.pairing()), syscall.Mkfifo(d.pairing(), 0o600)); err != nil {
		t.Fatal(err)
	}
	if p, err := d.Pairing(); err == nil || !strings.Contains(err.Error(), d.pairing()) { // and is not waited for
		t.Errorf("a pipe: got %v, %v", p, err)
	}
}

func TestOneAgentADirectory(t *testing.T) {
	d := open(t)
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("a second one: %v", err)
	}
	unlock()
	if unlock, err = d.Lock(); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"relay":"wss://r/agent","realm":"demo","node_id":"n1","oid":"7d3ac4e0-62b1-4a9e-8a5b-6f0c8f1b2a11","pubkey":"","paired":"2026-11-23T20:00:00Z"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parse(b); err == nil && p.check() != nil {
			t.Error("an unchecked pairing came through")
		}
	})
}
