// Package identity is the Ed25519 key of a user or a node: its file, and its
// two sides of WAMP-cryptosign.
//
// A key file holds the 32-byte seed as 64 hex digits and a newline, mode 0600:
// what Autobahn reads too. The challenge is answered with
// hex(signature ‖ challenge); with channel binding the signed bytes are
// challenge XOR channel id, so that a challenge relayed from another relay's
// connection does not verify.
package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"fabric.center/cfc/shared/durable"
)

// ChallengeSize is the length of a challenge and of a channel id.
const ChallengeSize = 32

// Binding is the one kind of channel binding that is offered: RFC 9266.
const Binding = "tls-exporter"

// Key is a private key. It prints as its public half.
type Key struct{ private ed25519.PrivateKey }

// New makes a key.
func New() (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("cannot make a key: %w", err)
	}
	return Key{private}, nil
}

// Parse reads a seed of 64 hex digits.
func Parse(s string) (Key, error) {
	seed, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil || len(seed) != ed25519.SeedSize {
		return Key{}, errors.New("not a key: expected 64 hex digits")
	}
	return Key{ed25519.NewKeyFromSeed(seed)}, nil
}

// Load reads a key file. One that others can read is refused: the key has to
// be taken for known.
func Load(path string) (Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("cannot read key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("cannot use key %s: mode is %#o, others can read it; expected 0600", path, info.Mode().Perm())
	}
	b, err := durable.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("cannot read key: %w", err)
	}
	k, err := Parse(string(b))
	if err != nil {
		return Key{}, fmt.Errorf("cannot use key %s: %w", path, err)
	}
	return k, nil
}

// LoadOrCreate is Load, and makes the file where there is none. Of several who
// make one at once all get the same key: one that a relay knows is never replaced.
func LoadOrCreate(path string) (Key, error) {
	k, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = New(); err != nil {
		return Key{}, err
	}
	if err = durable.CreateFile(path, k.file(), 0o600); errors.Is(err, fs.ErrExist) {
		return Load(path)
	}
	return k, err
}

// Save writes the key file.
func (k Key) Save(path string) error { return durable.WriteFile(path, k.file(), 0o600) }

func (k Key) file() []byte { return []byte(hex.EncodeToString(k.private.Seed()) + "\n") }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.private == nil }

// Public is the public key in hex, the form it has on the wire.
func (k Key) Public() string {
	if k.IsZero() {
		return ""
	}
	return hex.EncodeToString(k.private.Public().(ed25519.PublicKey))
}

// String is the public key: a private one never reaches a log by accident.
func (k Key) String() string { return "key " + k.Public() }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// Sign answers a challenge. The channel id is nil where there is no binding.
func (k Key) Sign(challenge string, channelID []byte) (string, error) {
	if k.IsZero() {
		return "", errors.New("cannot sign: there is no key")
	}
	raw, err := hex.DecodeString(challenge)
	if err != nil || len(raw) != ChallengeSize {
		return "", errors.New("cannot sign: the challenge is not 64 hex digits")
	}
	signed, err := bind(raw, channelID)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(append(ed25519.Sign(k.private, signed), raw...)), nil
}

// NewChallenge is a fresh challenge in hex.
func NewChallenge() string {
	var b [ChallengeSize]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Verify checks the answer to a challenge that this side made.
func Verify(pubkey, challenge, signature string, channelID []byte) error {
	pk, err := hex.DecodeString(pubkey)
	if err != nil || len(pk) != ed25519.PublicKeySize {
		return errors.New("cannot verify: the public key is not 64 hex digits")
	}
	if Weak(pubkey) {
		return errors.New("cannot verify: anybody can sign for this public key")
	}
	want, err := hex.DecodeString(challenge)
	if err != nil || len(want) != ChallengeSize {
		return errors.New("cannot verify: the challenge is not 64 hex digits")
	}
	raw, err := hex.DecodeString(signature)
	if err != nil || len(raw) != ed25519.SignatureSize+ChallengeSize {
		return errors.New("cannot verify: the signature is not 192 hex digits")
	}
	signed, err := bind(want, channelID)
	if err != nil {
		return err
	}
	// Autobahn repeats the bytes that it signed, others the challenge; without
	// binding both are the same.
	repeated := raw[ed25519.SignatureSize:]
	if subtle.ConstantTimeCompare(repeated, want)|subtle.ConstantTimeCompare(repeated, signed) != 1 {
		return errors.New("cannot verify: another challenge was signed")
	}
	if !ed25519.Verify(pk, signed, raw[:ed25519.SignatureSize]) {
		return errors.New("cannot verify: the signature does not match")
	}
	return nil
}

// ChannelID is what both ends of one TLS connection, and nobody else, can
// derive. It is nil where there is no TLS 1.3.
func ChannelID(cs *tls.ConnectionState) []byte {
	if cs == nil || cs.Version < tls.VersionTLS13 {
		return nil
	}
	id, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, ChallengeSize)
	if err != nil {
		return nil
	}
	return id
}

func bind(challenge, channelID []byte) ([]byte, error) {
	if channelID == nil {
		return challenge, nil
	}
	if len(channelID) != ChallengeSize {
		return nil, fmt.Errorf("cannot bind to the channel: its id has %d bytes, expected %d", len(channelID), ChallengeSize)
	}
	out := make([]byte, ChallengeSize)
	subtle.XORBytes(out, challenge, channelID)
	return out, nil
}
