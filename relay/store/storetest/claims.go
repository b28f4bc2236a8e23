package storetest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/google/uuid"
)

func testTokens(t *testing.T, w *World) {
	tok := w.Token(store.Token{Purpose: wire.ForUser, User: "bob", Uses: 2})
	got, err := w.Store.Token(w.Ctx(), tok.ID)
	w.OK(err)
	if got.User != "bob" || got.Left != 2 || got.By != "root" || !got.Expires.Equal(w.Now.Add(time.Hour)) {
		t.Fatalf("token %+v", got)
	}
	_, err = w.RevokeToken(w.Ctx(), tok.ID, w.Now)
	w.OK(err)
	_, err = w.RevokeToken(w.Ctx(), tok.ID, w.Now.Add(time.Hour))
	w.OK(err)
	got, err = w.Store.Token(w.Ctx(), tok.ID)
	if err != nil || !got.Revoked.Equal(w.Now) {
		t.Fatalf("revoked %v, %v", got.Revoked, err)
	}
	_, err = w.RevokeToken(w.Ctx(), "none", w.Now)
	w.Refused(err, cfcerr.NoSuchToken)
	_, err = w.Store.Token(w.Ctx(), "none")
	w.Refused(err, cfcerr.NoSuchToken)
	w.Refused(w.AddToken(w.Ctx(), got), cfcerr.AlreadyExists)
	// Ended ones are forgotten after a while, by the next token.
	w.Now = w.Now.Add(30 * 24 * time.Hour)
	w.Token(store.Token{Purpose: wire.ForUser, User: "eve"})
	all, err := w.Tokens(w.Ctx())
	w.OK(err)
	if slices.ContainsFunc(all, func(o store.Token) bool { return o.ID == tok.ID }) {
		t.Fatal("a token that ended a month ago is still kept")
	}
}

func testTokenLimit(t *testing.T, w *World) {
	w.User("bob")
	for range MaxTokens {
		w.Token(store.Token{Purpose: wire.ForTicket, User: "bob", By: "bob"})
	}
	_, more := w.NewToken(store.Token{Purpose: wire.ForTicket, User: "bob", By: "bob"})
	w.Refused(w.AddToken(w.Ctx(), more), cfcerr.LimitExceeded)
	w.Token(store.Token{Purpose: wire.ForTicket, User: "bob", By: "root"})
	// What has ended does not count.
	w.Now = w.Now.Add(2 * time.Hour)
	w.Token(store.Token{Purpose: wire.ForTicket, User: "bob", By: "bob"})
}

func testFirstOwner(t *testing.T, w *World) {
	_, again := w.NewToken(store.Token{Purpose: wire.ForUser, User: "second", First: true, By: "relay"})
	w.Refused(w.AddToken(w.Ctx(), again), cfcerr.AlreadyExists)
}

func testClaimUser(t *testing.T, w *World) {
	w.Realm("r1", "root")
	key := Key(t)
	tok := w.Token(store.Token{Purpose: wire.ForUser, User: "bob", Realm: "r1", Role: wire.Operator})
	got, err := w.ClaimUser(w.Ctx(), store.UserClaim{Token: tok, Pubkey: key, Realm: "r1", Now: w.Now})
	w.OK(err)
	if !got.Claimed || got.User.Name != "bob" || got.Replaced || got.Token.ID != tok.ID || !slices.Equal(got.Token.Claimed, []string{key}) {
		t.Fatalf("claimed %+v", got)
	}
	w.left(tok, 0)
	w.holder(key, store.Holder{User: "bob"})
	if role, err := w.Role(w.Ctx(), "r1", "bob"); err != nil || role != wire.Operator {
		t.Fatalf("role %q, %v", role, err)
	}
	_, err = w.ByUser(tok, Key(t))
	w.Why(err, store.ReasonUsed)
}

func testClaimUserRefused(t *testing.T, w *World) {
	w.Realm("r1", "root")
	w.Realm("r2", "root")
	w.User("taken")
	for name, c := range map[string]struct {
		spec   store.Token
		change func(*store.UserClaim)
		why    string
		kind   cfcerr.Kind
	}{
		"unknown":            {change: func(c *store.UserClaim) { c.Token, _ = wire.NewToken(wire.ForUser) }, why: store.ReasonUnknown},
		"wrong secret":       {change: func(c *store.UserClaim) { id := c.Token.ID; c.Token, _ = wire.NewToken(wire.ForUser); c.Token.ID = id }, why: store.ReasonSecret},
		"expired":            {change: func(c *store.UserClaim) { c.Now = c.Now.Add(time.Hour) }, why: store.ReasonExpired},
		"another purpose":    {spec: store.Token{Purpose: wire.ForNode, Realm: "r1"}, why: store.ReasonPurpose},
		"name taken":         {spec: store.Token{User: "taken"}, kind: cfcerr.NameTaken},
		"add to nobody":      {spec: store.Token{User: "nobody", By: "root", Add: true}, why: store.ReasonTarget},
		"replace nobody":     {spec: store.Token{User: "nobody", Replace: true}, why: store.ReasonTarget},
		"no right in realm":  {change: func(c *store.UserClaim) { c.Realm = "r1" }, kind: cfcerr.NotAuthorized},
		"another realm":      {spec: store.Token{Realm: "r1", Role: wire.Owner}, change: func(c *store.UserClaim) { c.Realm = "r2" }, kind: cfcerr.NotAuthorized},
		"realm not there":    {change: func(c *store.UserClaim) { c.Realm = "none" }, kind: cfcerr.NotAuthorized},
		"made by nobody":     {spec: store.Token{By: "ghost"}, why: store.ReasonMaker},
		"made by no owner":   {spec: store.Token{By: "taken"}, why: store.ReasonMaker},
		"replace by another": {spec: store.Token{By: "taken", User: "taken", Replace: true}, why: store.ReasonMaker},
	} {
		t.Run(name, func(t *testing.T) {
			if c.spec.Purpose == "" {
				c.spec.Purpose = wire.ForUser
			}
			if c.spec.User == "" {
				c.spec.User = "new-" + uuid.NewString()[:8]
			}
			tok, key := w.Token(c.spec), Key(t)
			claim := store.UserClaim{Token: tok, Pubkey: key, Now: w.Now}
			if c.change != nil {
				c.change(&claim)
			}
			_, err := w.ClaimUser(w.Ctx(), claim)
			if c.why != "" {
				w.Why(err, c.why)
			} else {
				w.Refused(err, c.kind)
			}
			// A refused claim leaves nothing behind and uses nothing up.
			w.left(tok, 1)
			w.holder(key, store.Holder{})
		})
	}
	tok := w.Token(store.Token{Purpose: wire.ForUser, User: "late"})
	_, err := w.RevokeToken(w.Ctx(), tok.ID, w.Now)
	w.OK(err)
	_, err = w.ByUser(tok, Key(t))
	w.Why(err, store.ReasonRevoked)
}

func testClaimAdd(t *testing.T, w *World) {
	old, key := w.User("bob"), Key(t)
	tok := w.Token(store.Token{Purpose: wire.ForUser, User: "bob", By: "bob", Add: true})
	got, err := w.ByUser(tok, key)
	w.OK(err)
	want := []string{old, key}
	slices.Sort(want)
	if !got.Claimed || !slices.Equal(got.User.Pubkeys, want) {
		t.Fatalf("claimed %+v, want keys %v", got, want)
	}
	w.holder(old, store.Holder{User: "bob"})
	w.holder(key, store.Holder{User: "bob"})
}

func testClaimReplaceUser(t *testing.T, w *World) {
	old, key := w.User("bob"), Key(t)
	w.Realm("r1", "bob")
	back := w.Token(store.Token{Purpose: wire.ForUser, User: "bob", By: "bob", Add: true})
	ticket := w.Token(store.Token{Purpose: wire.ForTicket, User: "bob", By: "bob"})
	tok := w.Token(store.Token{Purpose: wire.ForUser, User: "bob", Replace: true})
	got, err := w.ByUser(tok, key)
	w.OK(err)
	if !got.Claimed || !got.Replaced || !slices.Equal(got.User.Pubkeys, []string{key}) {
		t.Fatalf("claimed %+v", got)
	}
	w.holder(old, store.Holder{})
	if role, err := w.Role(w.Ctx(), "r1", "bob"); err != nil || role != wire.Owner {
		t.Fatalf("role %q, %v", role, err)
	}
	// Whoever had the old key has made no way back for himself.
	_, err = w.ByUser(back, old)
	w.Why(err, store.ReasonUnknown)
	_, err = w.Ticket(w.Ctx(), "bob", ticket, w.Now)
	w.Why(err, store.ReasonUnknown)
}

func testClaimNode(t *testing.T, w *World) {
	w.Realm("r1", "root")
	tok := w.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", Uses: 3, Labels: map[string]string{"site": "b"}})
	key, oid := Key(t), uuid.NewString()
	got, err := w.ClaimNode(w.Ctx(), store.NodeClaim{Token: tok, Pubkey: key, NodeID: "n1", Fallback: "host", OID: oid, Realm: "r1", Now: w.Now})
	w.OK(err)
	n := got.Node
	if !got.Claimed || n.OID != oid || n.ID != "n1" || n.Realm != "r1" || n.Pubkey != key || n.PairedBy != "root" || !maps.Equal(n.Labels, map[string]string{"site": "b"}) {
		t.Fatalf("claimed %+v", got)
	}
	got, err = w.ClaimNode(w.Ctx(), store.NodeClaim{Token: tok, Pubkey: Key(t), Fallback: "host", OID: uuid.NewString(), Now: w.Now})
	if err != nil || got.Node.ID != "host" {
		t.Fatalf("claimed %+v, %v", got, err)
	}
	w.left(tok, 1)
	fixed := w.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", NodeID: "n2"})
	got, err = w.ClaimNode(w.Ctx(), store.NodeClaim{Token: fixed, Pubkey: Key(t), Fallback: "host", OID: uuid.NewString(), Now: w.Now})
	if err != nil || got.Node.ID != "n2" {
		t.Fatalf("claimed %+v, %v", got, err)
	}
	_, err = w.ByNode(fixed, Key(t), "")
	w.Why(err, store.ReasonUsed)
}

func testClaimNodeRefused(t *testing.T, w *World) {
	w.User("bob")
	w.Realm("r1", "root")
	w.Paired("r1", "taken")
	for name, c := range map[string]struct {
		spec   store.Token
		change func(*store.NodeClaim)
		why    string
		kind   cfcerr.Kind
	}{
		"unknown":          {change: func(c *store.NodeClaim) { c.Token, _ = wire.NewToken(wire.ForNode) }, why: store.ReasonUnknown},
		"expired":          {change: func(c *store.NodeClaim) { c.Now = c.Now.Add(time.Hour) }, why: store.ReasonExpired},
		"another purpose":  {spec: store.Token{Purpose: wire.ForUser, User: "x"}, why: store.ReasonPurpose},
		"another node":     {spec: store.Token{NodeID: "n1"}, change: func(c *store.NodeClaim) { c.NodeID = "n10" }, why: store.ReasonNode},
		"name taken":       {change: func(c *store.NodeClaim) { c.NodeID = "taken" }, kind: cfcerr.NameTaken},
		"bad id":           {change: func(c *store.NodeClaim) { c.NodeID = "N1" }, kind: cfcerr.InvalidArgument},
		"bad host name":    {change: func(c *store.NodeClaim) { c.Fallback = "a.b" }, kind: cfcerr.InvalidArgument},
		"no id":            {kind: cfcerr.InvalidArgument},
		"another realm":    {change: func(c *store.NodeClaim) { c.Realm = "r2"; c.NodeID = "n1" }, kind: cfcerr.NotAuthorized},
		"realm gone":       {spec: store.Token{Realm: "none"}, why: store.ReasonMaker},
		"made by no owner": {spec: store.Token{By: "bob"}, why: store.ReasonMaker},
	} {
		t.Run(name, func(t *testing.T) {
			if c.spec.Purpose == "" {
				c.spec.Purpose = wire.ForNode
			}
			if c.spec.Realm == "" {
				c.spec.Realm = "r1"
			}
			tok, key := w.Token(c.spec), Key(t)
			claim := store.NodeClaim{Token: tok, Pubkey: key, OID: uuid.NewString(), Now: w.Now}
			if c.change != nil {
				c.change(&claim)
			}
			_, err := w.ClaimNode(w.Ctx(), claim)
			if c.why != "" {
				w.Why(err, c.why)
			} else {
				w.Refused(err, c.kind)
			}
			w.left(tok, 1)
			w.holder(key, store.Holder{})
		})
	}
}

func testClaimReplaceNode(t *testing.T, w *World) {
	w.Realm("r1", "root")
	old, key := w.Paired("r1", "n1"), Key(t)
	w.OK(w.SaveLastSeen(w.Ctx(), map[string]store.LastSeen{old.OID: {Reason: "closed"}}))
	tok := w.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", NodeID: "n1", Replace: true, Labels: map[string]string{"rack": "7"}})
	got, err := w.ByNode(tok, key, "")
	w.OK(err)
	if got.Replaced != old.Pubkey || got.Node.OID != old.OID || got.Node.Pubkey != key {
		t.Fatalf("claimed %+v", got)
	}
	n, err := w.Node(w.Ctx(), old.OID)
	if err != nil || n.Pubkey != key || n.Last.Reason != "closed" || !maps.Equal(n.Labels, map[string]string{"site": "a", "rack": "7"}) {
		t.Fatalf("node %+v, %v", n, err)
	}
	w.holder(old.Pubkey, store.Holder{})
	w.holder(key, store.Holder{Node: old.OID})
}

// testClaimRepeated: the answer to a claim was lost, and the token is by now
// used up, expired, revoked or forgotten.
func testClaimRepeated(t *testing.T, w *World) {
	w.Realm("r1", "root")
	userKey, nodeKey := Key(t), Key(t)
	user := w.Token(store.Token{Purpose: wire.ForUser, User: "bob", Uses: 2})
	node := w.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", NodeID: "n1", Uses: 2})
	_, err := w.ByUser(user, userKey)
	w.OK(err)
	first, err := w.ByNode(node, nodeKey, "n1")
	w.OK(err)
	unknownUser, err := wire.NewToken(wire.ForUser)
	w.OK(err)
	unknownNode, err := wire.NewToken(wire.ForNode)
	w.OK(err)
	repeat := func(when string, user, node wire.Token) {
		u, err := w.ByUser(user, userKey)
		if err != nil || u.Claimed || u.User.Name != "bob" {
			t.Fatalf("%s: user %+v, %v", when, u, err)
		}
		n, err := w.ByNode(node, nodeKey, "n1")
		if err != nil || n.Claimed || n.Node.OID != first.Node.OID {
			t.Fatalf("%s: node %+v, %v", when, n, err)
		}
	}
	repeat("at once", user, node)
	w.left(user, 1)
	w.left(node, 1)
	repeat("of an unknown token", unknownUser, unknownNode)
	for _, tok := range []wire.Token{user, node} {
		_, err := w.RevokeToken(w.Ctx(), tok.ID, w.Now)
		w.OK(err)
	}
	repeat("revoked", user, node)
	w.Now = w.Now.Add(2 * time.Hour)
	repeat("expired", user, node)
	// An unpaired key is a stranger again.
	_, err = w.UnpairNode(w.Ctx(), first.Node.OID)
	w.OK(err)
	_, err = w.ByNode(node, nodeKey, "n1")
	w.Why(err, store.ReasonRevoked)
}

func testOneHolder(t *testing.T, w *World) {
	w.Realm("r1", "root")
	bob, n := w.User("bob"), w.Paired("r1", "n1")
	user := w.Token(store.Token{Purpose: wire.ForUser, User: "eve"})
	node := w.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", NodeID: "n2"})
	_, err := w.ByUser(user, bob)
	w.Refused(err, cfcerr.AlreadyExists)
	_, err = w.ByUser(user, n.Pubkey)
	w.Refused(err, cfcerr.AlreadyExists)
	_, err = w.ByNode(node, bob, "")
	w.Refused(err, cfcerr.AlreadyExists)
	_, err = w.ByNode(node, n.Pubkey, "")
	w.Refused(err, cfcerr.AlreadyExists)
	w.left(user, 1)
	w.left(node, 1)
	w.Refused(w.PairNode(w.Ctx(), store.Node{OID: uuid.NewString(), Realm: "r1", ID: "n3", Pubkey: bob}), cfcerr.AlreadyExists)
	// With a token that is no good the key's kind is not told.
	dead, err := wire.NewToken(wire.ForNode)
	w.OK(err)
	_, err = w.ByNode(dead, bob, "")
	w.Why(err, store.ReasonUnknown)
}

// testMakers: a right that ends does not live on in tokens.
func testMakers(t *testing.T, w *World) {
	w.User("bob")
	w.Realm("r1", "root")
	_, err := w.SetMember(w.Ctx(), "r1", "bob", wire.Owner)
	w.OK(err)
	node := w.Token(store.Token{Purpose: wire.ForNode, Realm: "r1", By: "bob", Uses: 2})
	user := w.Token(store.Token{Purpose: wire.ForUser, User: "eve", Realm: "r1", Role: wire.Owner, By: "bob"})
	_, err = w.ByNode(node, Key(t), "n1")
	w.OK(err)
	_, err = w.SetMember(w.Ctx(), "r1", "bob", wire.Operator)
	w.OK(err)
	_, err = w.ByNode(node, Key(t), "n2")
	w.Why(err, store.ReasonMaker)
	_, err = w.ByUser(user, Key(t))
	w.Why(err, store.ReasonMaker)
}

// testTwoClaims tries 200 times whether of two claims at once exactly one wins.
func testTwoClaims(t *testing.T, w *World) {
	w.Realm("r1", "root")
	for try := range 200 {
		name := fmt.Sprintf("n%d", try)
		purpose := wire.ForNode
		if try%2 == 0 {
			purpose = wire.ForUser
		}
		tok := w.Token(store.Token{Purpose: purpose, Realm: "r1", Role: wire.Viewer, User: name, NodeID: name})
		keys := []string{Key(t), Key(t)}
		errs := make([]error, 2)
		var ready, done sync.WaitGroup
		ready.Add(1)
		for i := range keys {
			done.Go(func() {
				ready.Wait()
				if purpose == wire.ForUser {
					_, errs[i] = w.ByUser(tok, keys[i])
				} else {
					_, errs[i] = w.ByNode(tok, keys[i], "")
				}
			})
		}
		ready.Done()
		done.Wait()
		won := 0
		for i, err := range errs {
			h, herr := w.Holder(w.Ctx(), keys[i])
			w.OK(herr)
			if err == nil {
				won++
			} else {
				w.Why(err, store.ReasonUsed)
			}
			if h.Nobody() != (err != nil) {
				t.Fatalf("try %d: claim %v, but the key belongs to %+v", try, err, h)
			}
		}
		if won != 1 {
			t.Fatalf("try %d: %d claims won", try, won)
		}
	}
}

func testTicket(t *testing.T, w *World) {
	w.User("bob")
	w.User("eve")
	tok := w.Token(store.Token{Purpose: wire.ForTicket, User: "bob", By: "bob", Uses: 2})
	for range 3 {
		_, err := w.Ticket(w.Ctx(), "bob", tok, w.Now)
		w.OK(err)
	}
	w.left(tok, 2)
	_, err := w.UseTicket(w.Ctx(), "eve", tok, w.Now)
	w.Why(err, store.ReasonUser)
	_, err = w.UseTicket(w.Ctx(), "bob", tok, w.Now.Add(time.Hour))
	w.Why(err, store.ReasonExpired)
	other := w.Token(store.Token{Purpose: wire.ForUser, User: "new"})
	_, err = w.UseTicket(w.Ctx(), "bob", other, w.Now)
	w.Why(err, store.ReasonPurpose)
	for left := 1; left >= 0; left-- {
		got, err := w.UseTicket(w.Ctx(), "bob", tok, w.Now)
		if err != nil || got.Left != left {
			t.Fatalf("ticket %+v, %v", got, err)
		}
	}
	_, err = w.UseTicket(w.Ctx(), "bob", tok, w.Now)
	w.Why(err, store.ReasonUsed)
}
