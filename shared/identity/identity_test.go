package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What Autobahn|Python 26 signs with this seed, unbound.
const (
	vectorSeed      = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"
	vectorPublic    = "1adfc8bfe1d35616e64dffbd900096f23b066f914c8c2ffbb66f6075b96e116d"
	vectorChallenge = "ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00"
	vectorSignature = "6d2469ae2413aa7e6d581c59f151b75f9b82cb85675605ae1a98fc447170aed8f43618aa9504cec9c4478f53a83581db8de6ac581943b4506073e187cbf80909" + vectorChallenge
)

func mustKey(t *testing.T) Key {
	t.Helper()
	k, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignIsAutobahns(t *testing.T) {
	k, err := Parse(vectorSeed)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Sign(vectorChallenge, nil)
	if err != nil || got != vectorSignature || k.Public() != vectorPublic {
		t.Errorf("%s signs %s, %v", k, got, err)
	}
}

func TestSignAndVerify(t *testing.T) {
	k, other := mustKey(t), mustKey(t)
	challenge := NewChallenge()
	mine, theirs := []byte(strings.Repeat("a", ChallengeSize)), []byte(strings.Repeat("b", ChallengeSize))
	tests := []struct {
		name           string
		signed, expect []byte // channel ids of signer and verifier
		key            Key
		challenge      string
		want           string
	}{
		{"unbound", nil, nil, k, challenge, ""},
		{"bound", mine, mine, k, challenge, ""},
		{"bound, verified unbound", mine, nil, k, challenge, "does not match"},
		{"unbound, verified bound", nil, mine, k, challenge, "does not match"},
		{"bound to another channel", mine, theirs, k, challenge, "does not match"},
		{"another key", nil, nil, other, challenge, "does not match"},
		{"another challenge", nil, nil, k, NewChallenge(), "another challenge was signed"},
		{"short channel id", nil, mine[1:], k, challenge, "31 bytes, expected 32"},
		{"empty channel id", nil, []byte{}, k, challenge, "0 bytes, expected 32"},
	}
	for _, tt := range tests {
		sig, err := k.Sign(challenge, tt.signed)
		if err != nil {
			t.Fatal(err)
		}
		check(t, tt.name, Verify(tt.key.Public(), tt.challenge, sig, tt.expect), tt.want)
	}
}

func TestVerifyRefusesBadForms(t *testing.T) {
	k, challenge := mustKey(t), NewChallenge()
	sig, err := k.Sign(challenge, nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, pubkey, challenge, signature, want string }{
		{"no pubkey", "", challenge, sig, "the public key is not"},
		{"long pubkey", k.Public() + "00", challenge, sig, "the public key is not"},
		{"pubkey not hex", strings.Repeat("x", 64), challenge, sig, "the public key is not"},
		{"no challenge", k.Public(), "", sig, "the challenge is not"},
		{"challenge not hex", k.Public(), strings.Repeat("x", 64), sig, "the challenge is not"},
		{"no signature", k.Public(), challenge, "", "192 hex digits"},
		{"signature without challenge", k.Public(), challenge, sig[:128], "192 hex digits"},
		{"signature too long", k.Public(), challenge, sig + "00", "192 hex digits"},
		{"signature not hex", k.Public(), challenge, strings.Repeat("x", 192), "192 hex digits"},
		{"one bit off", k.Public(), challenge, flip(sig), "does not match"},
	}
	for _, tt := range tests {
		check(t, tt.name, Verify(tt.pubkey, tt.challenge, tt.signature, nil), tt.want)
	}
	for _, bad := range []string{"", "00", strings.Repeat("x", 64), challenge + "00"} {
		if _, err := k.Sign(bad, nil); err == nil {
			t.Errorf("challenge %q was signed", bad)
		}
	}
	if _, err := k.Sign(challenge, []byte{1}); err == nil {
		t.Error("a channel id of one byte was signed")
	}
	if _, err := (Key{}).Sign(challenge, nil); err == nil {
		t.Error("no key signed")
	}
}

func flip(sig string) string {
	b, _ := hex.DecodeString(sig)
	b[5] ^= 1
	return hex.EncodeToString(b)
}

func check(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want %q", name, err, want)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "user.key")
	made, err := LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 65 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	again, err := LoadOrCreate(path)
	if err != nil || again.Public() != made.Public() {
		t.Fatalf("the key is another one when it is read: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		check(t, mode.String(), err, path)
		_, err = LoadOrCreate(path)
		check(t, mode.String(), err, "expected 0600")
	}
}

// Who makes a key has it known by a relay next; nobody may put another in its place.
func TestKeyFileThatManyMakeAtOnce(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "user.key")
		var keys [8]Key
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range keys {
			wg.Go(func() {
				<-start
				k, err := LoadOrCreate(path)
				if err != nil {
					t.Error(err)
				}
				keys[i] = k
			})
		}
		close(start)
		wg.Wait()
		kept, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if k.Public() != kept.Public() {
				t.Fatalf("one has key %s, the file %s", k.Public(), kept.Public())
			}
		}
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestKeyFileThatIsDamagedIsKept(t *testing.T) {
	seed := strings.Repeat("ab", 32)
	for name, text := range map[string]string{"empty": "", "short": seed[2:], "long": seed + "ab", "not hex": strings.Repeat("zz", 32), "two lines": seed + "\n" + seed} {
		path := filepath.Join(t.TempDir(), "user.key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadOrCreate(path)
		check(t, name, err, path)
		if after, _ := os.ReadFile(path); string(after) != text {
			t.Errorf("%s: the file was overwritten", name)
		} else if err != nil && len(text) > 8 && strings.Contains(err.Error(), text[:8]) {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
	_, err := LoadOrCreate(filepath.Join(t.TempDir(), "no", "such", "dir", "user.key"))
	check(t, "no directory", err, "cannot write")
}

// Who reads a pipe waits for whoever writes it, for ever.
func TestKeyFileThatIsAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreate(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe as a key file: %v", err)
	}
}

func TestKeyPrintsAsItsPublicHalf(t *testing.T) {
	k, _ := Parse(vectorSeed)
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x"} {
		got := fmt.Sprintf(verb, k)
		if strings.Contains(got, vectorSeed) || strings.Contains(got, "4d57") && verb != "%x" {
			t.Errorf("%s shows the key", verb)
		}
	}
	if k.String() != "key "+k.Public() || (Key{}).Public() != "" || !(Key{}).IsZero() || k.IsZero() {
		t.Error("a key does not print as its public half")
	}
}

// Both ends of one TLS 1.3 connection derive one id, another connection
// another; an older TLS has none.
func TestChannelID(t *testing.T) {
	client, server := tlsPair(t, tls.VersionTLS13)
	id := ChannelID(client)
	if len(id) != ChallengeSize || string(id) != string(ChannelID(server)) {
		t.Errorf("ends derive %x and %x", id, ChannelID(server))
	}
	other, _ := tlsPair(t, tls.VersionTLS13)
	if string(id) == string(ChannelID(other)) {
		t.Error("two connections have one id")
	}
	old, _ := tlsPair(t, tls.VersionTLS12)
	if ChannelID(old) != nil || ChannelID(nil) != nil {
		t.Error("an id where there is no TLS 1.3")
	}
}

func tlsPair(t *testing.T, version uint16) (client, server *tls.ConnectionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"relay"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	roots := x509.NewCertPool()
	cert, _ := x509.ParseCertificate(der)
	roots.AddCert(cert)
	c := tls.Client(a, &tls.Config{RootCAs: roots, ServerName: "relay", MaxVersion: version})
	s := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version, SessionTicketsDisabled: true})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cs, ss := c.ConnectionState(), s.ConnectionState()
	return &cs, &ss
}

func FuzzVerify(f *testing.F) {
	k, _ := Parse(vectorSeed)
	f.Add(k.Public(), vectorChallenge, vectorSignature, []byte(nil))
	f.Add("", "", "", []byte{1})
	f.Fuzz(func(t *testing.T, pubkey, challenge, signature string, channel []byte) {
		if len(channel) == 0 {
			channel = nil
		}
		if Verify(pubkey, challenge, signature, channel) == nil && !strings.EqualFold(signature[128:], challenge) {
			t.Error("a signature over another challenge verifies")
		}
	})
}

// Autobahn repeats the bound bytes behind the signature where we repeat the
// challenge. Both forms sign the same bytes.
func TestVerifyTakesBothFormsOfABoundAnswer(t *testing.T) {
	k, err := New()
	if err != nil {
		t.Fatal(err)
	}
	challenge, channel := NewChallenge(), make([]byte, ChallengeSize)
	for i := range channel {
		channel[i] = byte(i + 1)
	}
	raw, _ := hex.DecodeString(challenge)
	bound := make([]byte, ChallengeSize)
	for i := range bound {
		bound[i] = raw[i] ^ channel[i]
	}
	theirs := hex.EncodeToString(append(ed25519.Sign(k.private, bound), bound...))
	if err := Verify(k.Public(), challenge, theirs, channel); err != nil {
		t.Errorf("Autobahn's form: %v", err)
	}
	if err := Verify(k.Public(), challenge, theirs, nil); err == nil {
		t.Error("a bound answer is taken on another connection")
	}
	ours, err := k.Sign(challenge, channel)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(k.Public(), challenge, ours, channel); err != nil {
		t.Errorf("our form: %v", err)
	}
}
