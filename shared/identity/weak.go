package identity

import "encoding/hex"

// smallOrder are the y coordinates of the eight points of Ed25519 whose order
// divides 8, little-endian, and those of them that can be written a second time
// because they are less than 2^255 - p. A signature by such a key is made
// without a private one: that of the neutral point fits every message.
var smallOrder = map[string]bool{
	"0000000000000000000000000000000000000000000000000000000000000000": true, // 0: order 4
	"0100000000000000000000000000000000000000000000000000000000000000": true, // 1: the neutral point
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05": true, // order 8
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a": true, // order 8
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true, // -1: order 2
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true, // 0 again, as p
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true, // 1 again, as p + 1
}

// Weak reports whether a public key in hex is one for which anybody can sign.
// It must become nobody's.
func Weak(pubkey string) bool {
	b, err := hex.DecodeString(pubkey)
	if err != nil || len(b) == 0 {
		return false
	}
	b[len(b)-1] &= 0x7F // the sign of x, which all of them may have
	return smallOrder[hex.EncodeToString(b)]
}
