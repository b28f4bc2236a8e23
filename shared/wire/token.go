package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
)

// Purpose says what a token is for. It is also the token's prefix, so that a
// token for one thing can never be taken for another.
type Purpose string

// The purposes.
const (
	ForUser   Purpose = "user"
	ForNode   Purpose = "node"
	ForTicket Purpose = "ticket"
)

// PurposeForm says which purposes there are, for errors.
const PurposeForm = "user, node or ticket"

var prefixes = map[Purpose]string{ForUser: "cfcu_", ForNode: "cfcn_", ForTicket: "cfct_"}

// Token is a one-time secret: prefix, 8 characters of id, "_", 26 of secret,
// 4 of checksum over all before. The id may be shown, the rest never.
type Token struct {
	Purpose Purpose
	ID      string
	text    string
}

const (
	tokenID     = 8
	tokenSecret = 26
	tokenSum    = 4
)

const base32Digits = "abcdefghijklmnopqrstuvwxyz234567"

var lower32 = base32.NewEncoding(base32Digits).WithPadding(base32.NoPadding)

// NewToken makes a token with 128 bits of secret.
func NewToken(p Purpose) (Token, error) {
	prefix, ok := prefixes[p]
	if !ok {
		return Token{}, errors.New("cannot make a token: purpose must be " + PurposeForm)
	}
	var id [5]byte
	var secret [17]byte // 28 characters, of which 26 carry 130 bits
	rand.Read(id[:])
	rand.Read(secret[:])
	t := Token{Purpose: p, ID: lower32.EncodeToString(id[:])}
	body := prefix + t.ID + "_" + lower32.EncodeToString(secret[:])[:tokenSecret]
	t.text = body + checksum(body)
	return t, nil
}

// ErrTokenForm is what ParseToken answers: it never quotes the token.
var ErrTokenForm = errors.New("not a token, or mistyped: cfcu_, cfcn_ or cfct_, then id, secret and checksum in lower case")

// ParseToken reads a token and checks its checksum, which tells typing errors
// from tokens that the relay does not know.
func ParseToken(s string) (Token, error) {
	for p, prefix := range prefixes {
		rest, ok := strings.CutPrefix(s, prefix)
		if !ok {
			continue
		}
		id, secret, ok := strings.Cut(rest, "_")
		if !ok || len(id) != tokenID || len(secret) < tokenSecret+tokenSum || len(s) > 128 ||
			strings.Trim(id+secret, base32Digits) != "" {
			return Token{}, ErrTokenForm
		}
		body := s[:len(s)-tokenSum]
		if checksum(body) != s[len(body):] {
			return Token{}, ErrTokenForm
		}
		return Token{Purpose: p, ID: id, text: s}, nil
	}
	return Token{}, ErrTokenForm
}

// TokenIDForm is what a token's id looks like, for errors.
const TokenIDForm = "the 8 characters of a token's id (a-z, 2-7)"

// ValidTokenID reports whether s can be the id of a token.
func ValidTokenID(s string) bool { return len(s) == tokenID && strings.Trim(s, base32Digits) == "" }

// Secret is the whole token, to be shown once.
func (t Token) Secret() string { return t.text }

// Hash is what is stored.
func (t Token) Hash() [32]byte { return sha256.Sum256([]byte(t.text)) }

// String shows the id alone, so that a token in a log line gives nothing away.
func (t Token) String() string { return prefixes[t.Purpose] + t.ID + "_…" }

// GoString is String.
func (t Token) GoString() string { return t.String() }

func checksum(s string) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli)))
	return lower32.EncodeToString(b[:])[:tokenSum]
}
