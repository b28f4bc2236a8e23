package identity_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"strings"
	"testing"

	"fabric.center/cfc/shared/identity"
)

// points are the encodings of which anybody can sign for the key, without the
// sign of x.
var points = []string{
	strings.Repeat("00", 32),
	"01" + strings.Repeat("00", 31),
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ec" + strings.Repeat("ff", 30) + "7f",
	"ed" + strings.Repeat("ff", 30) + "7f",
	"ee" + strings.Repeat("ff", 30) + "7f",
}

// forged is an answer to a challenge that needs no private key: R is the
// neutral point and S is 0, which fits whenever the hash is a multiple of the
// key's order. It gives the challenge for which it does.
func forged(t *testing.T, pub []byte) (challenge, answer string) {
	t.Helper()
	signature := append([]byte{1}, make([]byte, ed25519.SignatureSize-1)...)
	for range 1000 {
		challenge = identity.NewChallenge()
		raw, err := hex.DecodeString(challenge)
		if err != nil {
			t.Fatal(err)
		}
		if ed25519.Verify(pub, raw, signature) {
			return challenge, hex.EncodeToString(signature) + challenge
		}
	}
	return "", ""
}

func TestWeakKeysAreRefused(t *testing.T) {
	fit := 0
	for _, point := range points {
		for _, sign := range []byte{0, 0x80} {
			pub, err := hex.DecodeString(point)
			if err != nil {
				t.Fatal(err)
			}
			pub[31] |= sign
			key := hex.EncodeToString(pub)
			if !identity.Weak(key) || !identity.Weak(strings.ToUpper(key)) {
				t.Errorf("%s is not known to be weak", key)
			}
			challenge, answer := forged(t, pub)
			if challenge == "" {
				continue
			}
			fit++
			if err := identity.Verify(key, challenge, answer, nil); err == nil {
				t.Errorf("anybody can sign for %s", key)
			}
		}
	}
	// Go's own Verify takes each of them: the list is right, and needed.
	if fit != 2*len(points) {
		t.Errorf("%d of %d encodings could be signed for", fit, 2*len(points))
	}
}

func TestOrdinaryKeysAreNotWeak(t *testing.T) {
	for range 100 {
		k, err := identity.New()
		if err != nil {
			t.Fatal(err)
		}
		if identity.Weak(k.Public()) {
			t.Errorf("%s is called weak", k.Public())
		}
	}
	for _, s := range []string{"", "xy", "01"} {
		if identity.Weak(s) {
			t.Errorf("%q is called weak", s)
		}
	}
}
