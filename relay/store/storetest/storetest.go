// Package storetest is the conformance suite of store.Store: what every
// implementation must do, whatever it writes to. Each rule of the interface's
// comments has a case here; an implementation's own test calls Run.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/google/uuid"
)

// MaxTokens is the limit of tokens that the suite wants of a store.
const MaxTokens = 20

// Run runs the suite; open makes an empty store, with MaxTokens, that is closed
// with the test.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, test := range map[string]func(*testing.T, *World){
		"users": testUsers, "delete user": testDeleteUser, "heir": testHeir, "realms": testRealms, "delete realm": testDeleteRealm,
		"members": testMembers, "last owner": testLastOwner, "nodes": testNodes, "last seen": testLastSeen,
		"tokens": testTokens, "token limit": testTokenLimit, "first owner": testFirstOwner,
		"claim user": testClaimUser, "claim user refused": testClaimUserRefused, "claim user add": testClaimAdd, "claim user replace": testClaimReplaceUser,
		"claim node": testClaimNode, "claim node refused": testClaimNodeRefused, "claim node replace": testClaimReplaceNode,
		"claim repeated": testClaimRepeated, "one key one holder": testOneHolder, "makers": testMakers,
		"two claims at once": testTwoClaims, "ticket": testTicket, "context": testContext,
	} {
		t.Run(name, func(t *testing.T) { test(t, NewWorld(t, open(t))) })
	}
}

// Start is the time at which a World begins.
var Start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// World is a store with the relay's owner "root" and short ways to fill it.
type World struct {
	store.Store
	t   *testing.T
	Now time.Time
}

// NewWorld fills an empty store.
func NewWorld(t *testing.T, s store.Store) *World {
	w := &World{Store: s, t: t, Now: Start}
	tok := w.Token(store.Token{Purpose: wire.ForUser, User: "root", First: true, By: "relay", Uses: 1})
	_, err := w.ClaimUser(w.Ctx(), store.UserClaim{Token: tok, Pubkey: Key(t), Now: w.Now})
	w.OK(err)
	return w
}

// Ctx ends with the test.
func (w *World) Ctx() context.Context { return w.t.Context() }

// OK ends the test on an error.
func (w *World) OK(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Refused wants an error of the kind.
func (w *World) Refused(err error, kind cfcerr.Kind) {
	w.t.Helper()
	if !errors.Is(err, cfcerr.Of(kind)) {
		w.t.Fatalf("got error %v, want %s", err, kind.URI())
	}
}

// Why wants a refused token with the true reason.
func (w *World) Why(err error, reason string) {
	w.t.Helper()
	var e *store.TokenError
	if !errors.As(err, &e) || e.Reason != reason {
		w.t.Fatalf("got error %v, want a token refused as %q", err, reason)
	}
	w.Refused(err, cfcerr.TokenInvalid)
}

// Key is a fresh public key.
func Key(t testing.TB) string {
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

// Token adds a token; what is not given is an hour and one use by root.
func (w *World) Token(spec store.Token) wire.Token {
	w.t.Helper()
	secret, spec := w.NewToken(spec)
	w.OK(w.AddToken(w.Ctx(), spec))
	return secret
}

// NewToken is Token without adding it.
func (w *World) NewToken(spec store.Token) (wire.Token, store.Token) {
	w.t.Helper()
	secret, err := wire.NewToken(spec.Purpose)
	w.OK(err)
	spec.ID, spec.Hash, spec.Created = secret.ID, fmt.Sprintf("%x", secret.Hash()), w.Now
	if spec.Expires.IsZero() && !spec.First {
		spec.Expires = w.Now.Add(time.Hour)
	}
	if spec.Uses == 0 {
		spec.Uses = 1
	}
	spec.Left = spec.Uses
	if spec.By == "" {
		spec.By = "root"
	}
	return secret, spec
}

// User makes a user with one key, which it returns.
func (w *World) User(name string) string {
	w.t.Helper()
	key := Key(w.t)
	_, err := w.ClaimUser(w.Ctx(), store.UserClaim{Token: w.Token(store.Token{Purpose: wire.ForUser, User: name}), Pubkey: key, Now: w.Now})
	w.OK(err)
	return key
}

// Realm makes a realm of that owner.
func (w *World) Realm(name, owner string) {
	w.t.Helper()
	w.OK(w.CreateRealm(w.Ctx(), store.Realm{Name: name, OID: uuid.NewString(), Created: w.Now, Owner: owner}))
}

// Paired makes a node with a fresh key.
func (w *World) Paired(realm, id string) store.Node {
	w.t.Helper()
	n := store.Node{OID: uuid.NewString(), Realm: realm, ID: id, Pubkey: Key(w.t), Paired: w.Now, PairedBy: "root", Labels: map[string]string{"site": "a"}}
	w.OK(w.PairNode(w.Ctx(), n))
	return n
}

// ByNode claims a node token for a fresh node.
func (w *World) ByNode(tok wire.Token, key, id string) (store.NodeClaimed, error) {
	return w.ClaimNode(w.Ctx(), store.NodeClaim{Token: tok, Pubkey: key, NodeID: id, OID: uuid.NewString(), Now: w.Now})
}

// ByUser claims a user token.
func (w *World) ByUser(tok wire.Token, key string) (store.UserClaimed, error) {
	return w.ClaimUser(w.Ctx(), store.UserClaim{Token: tok, Pubkey: key, Now: w.Now})
}

func (w *World) left(tok wire.Token, want int) {
	w.t.Helper()
	got, err := w.Store.Token(w.Ctx(), tok.ID)
	w.OK(err)
	if got.Left != want {
		w.t.Fatalf("token has %d uses left, want %d", got.Left, want)
	}
}

func (w *World) holder(key string, want store.Holder) {
	w.t.Helper()
	got, err := w.Holder(w.Ctx(), key)
	w.OK(err)
	if got != want {
		w.t.Fatalf("key belongs to %+v, want %+v", got, want)
	}
}
