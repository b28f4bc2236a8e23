package store

import (
	"crypto/subtle"
	"encoding/hex"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// UserClaim is a key that asks to become a user's. The caller has verified that
// the claimer holds it.
type UserClaim struct {
	Token  wire.Token
	Pubkey string
	// Realm is the management realm that the claimer wants to join, empty for
	// the users realm. Without a right in it the claim is refused: NotAuthorized.
	Realm string
	Now   time.Time
}

// UserClaimed says whose the key is now.
type UserClaimed struct {
	User User
	// Claimed is false when the key was the user's before: the answer to an
	// earlier claim was lost, and nothing was used up.
	Claimed bool
	// Replaced says that all sessions, old keys and tokens of the user have ended.
	Replaced bool
	Token    Token // the zero Token unless Claimed
}

// NodeClaim is a key that asks to become a node's.
type NodeClaim struct {
	Token  wire.Token
	Pubkey string
	NodeID string // asked for; empty for Fallback
	// Fallback names the node when neither token nor claimer does.
	Fallback string
	// Realm that the claimer wants to join; empty for the token's.
	Realm string
	OID   string // of the node to be
	Now   time.Time
}

// NodeClaimed says which node the key is now.
type NodeClaimed struct {
	Node    Node
	Claimed bool // as in UserClaimed
	// Replaced is the key that this one has put out of use.
	Replaced string
	Token    Token
}

// TokenError is a refused token with the true reason, which is for log and
// audit. The claimer sees Unwrap: that the token is not valid, and no more.
type TokenError struct {
	ID     string
	Reason string
}

// Reasons of a TokenError.
const (
	ReasonForm    = "mistyped"
	ReasonUnknown = "unknown"
	ReasonSecret  = "wrong secret"
	ReasonPurpose = "for another purpose"
	ReasonExpired = "expired"
	ReasonUsed    = "used"
	ReasonRevoked = "revoked"
	ReasonNode    = "for another node"
	ReasonMaker   = "its maker may not make it any more"
	ReasonTarget  = "what it is for is gone"
	ReasonUser    = "of another user"
)

// Error is the true reason.
func (e *TokenError) Error() string { return "token " + e.ID + " refused: " + e.Reason }

// Unwrap is what the claimer may know.
func (e *TokenError) Unwrap() error {
	return cfcerr.New(cfcerr.TokenInvalid, "cannot use the token: it is unknown, expired, used, revoked or for something else")
}

// matches compares the secret in constant time.
func (t Token) matches(secret wire.Token) bool {
	want, err := hex.DecodeString(t.Hash)
	got := secret.Hash()
	return err == nil && subtle.ConstantTimeCompare(want, got[:]) == 1
}

// Ended reports whether nothing can come of the token any more.
func (t Token) Ended(now time.Time) bool { return t.Over(now) || t.Left <= 0 }

// Over reports whether the token was revoked or has expired.
func (t Token) Over(now time.Time) bool { return !t.Revoked.IsZero() || t.expired(now) }

func (t Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// usable is the reason for which the token may not be used, or empty.
func (t Token) usable(now time.Time) string {
	switch {
	case !t.Revoked.IsZero():
		return ReasonRevoked
	case t.expired(now):
		return ReasonExpired
	case t.Left <= 0:
		return ReasonUsed
	}
	return ""
}

const claimedKept = 64

// use takes one use away and notes the key.
func (t Token) use(pubkey string) Token {
	t.Left--
	if pubkey != "" {
		t.Claimed = append(append([]string{}, t.Claimed...), pubkey)
		if n := len(t.Claimed); n > claimedKept {
			t.Claimed = t.Claimed[n-claimedKept:]
		}
	}
	return t
}
