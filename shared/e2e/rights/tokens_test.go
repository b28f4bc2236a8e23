package rights

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func typeName(v any) string { return fmt.Sprintf("%T %v", v, v) }

func newKey(t *testing.T) identity.Key {
	t.Helper()
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// enroll tries a token with a new key and says how it went.
func enroll(ctx context.Context, c session.Config) error {
	s, err := session.Join(ctx, c)
	if err != nil {
		return err
	}
	return s.Close()
}

func user(key identity.Key, token string) session.Config {
	return session.Config{URL: w.relay.URL(), Key: key, Token: token}
}

func TestTokensThatAreNoGood(t *testing.T) {
	ctx := within(t, time.Minute)
	boss := join(t, "boss", wire.UsersRealm)
	make := func(p wire.Purpose, o wamp.Dict) string {
		t.Helper()
		token, err := w.token(ctx, boss, p, o)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	invalid := func(what string, err error) { t.Helper(); refused(t, what, err, cfcerr.TokenInvalid) }

	used := make(wire.ForNode, wamp.Dict{"realm": realm, "node_id": "t1"})
	if err := enroll(ctx, w.agent(newKey(t), used)); err != nil {
		t.Fatal(err)
	}
	invalid("used", enroll(ctx, w.agent(newKey(t), used)))

	revoked := make(wire.ForUser, wamp.Dict{"user": "t2"})
	parsed, err := wire.ParseToken(revoked)
	if err != nil {
		t.Fatal(err)
	}
	if err := do(ctx, boss, catalog.RevokeToken.Op, parsed.ID); err != nil {
		t.Fatal(err)
	}
	invalid("revoked", enroll(ctx, user(newKey(t), revoked)))

	short := make(wire.ForUser, wamp.Dict{"user": "t3", "ttl": 1})
	expired := time.NewTimer(1100 * time.Millisecond)
	defer expired.Stop()

	invalid("for a node, by a user", enroll(ctx, user(newKey(t), make(wire.ForNode, wamp.Dict{"realm": realm, "node_id": "t4"}))))
	invalid("for a user, by a node", enroll(ctx, w.agent(newKey(t), make(wire.ForUser, wamp.Dict{"user": "t5"}))))
	invalid("a ticket, by a node", enroll(ctx, w.agent(newKey(t), make(wire.ForTicket, wamp.Dict{}))))

	bound := w.agent(newKey(t), make(wire.ForNode, wamp.Dict{"realm": realm, "node_id": "t6"}))
	bound.NodeID = "t7"
	invalid("for another node", enroll(ctx, bound))

	unknown, err := wire.NewToken(wire.ForUser)
	if err != nil {
		t.Fatal(err)
	}
	invalid("never made", enroll(ctx, user(newKey(t), unknown.Secret())))
	good := make(wire.ForUser, wamp.Dict{"user": "t8"})
	other, err := wire.NewToken(wire.ForUser)
	if err != nil {
		t.Fatal(err)
	}
	// The id is known to the relay, the secret is another's.
	mixed := strings.Replace(other.Secret(), other.ID, mustParse(t, good).ID, 1)
	invalid("with another's secret", enroll(ctx, user(newKey(t), mixed)))
	if err := enroll(ctx, user(newKey(t), good)); err != nil {
		t.Errorf("refused claims used it up: %v", err)
	}
	<-expired.C
	invalid("expired", enroll(ctx, user(newKey(t), short)))
}

func mustParse(t *testing.T, s string) wire.Token {
	t.Helper()
	token, err := wire.ParseToken(s)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestTwoClaimsAtOnce has two keys claim one token: one wins, each time.
func TestTwoClaimsAtOnce(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	boss := join(t, "boss", wire.UsersRealm)
	for i := range 200 {
		token, err := w.token(ctx, boss, wire.ForNode, wamp.Dict{"realm": realm, "node_id": fmt.Sprintf("race-%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		var errs [2]error
		var wg sync.WaitGroup
		for j := range errs {
			c := w.agent(newKey(t), token)
			wg.Go(func() { errs[j] = enroll(ctx, c) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("try %d: %v and %v; expected one to win", i, errs[0], errs[1])
		}
		for _, err := range errs {
			if err != nil {
				refused(t, "the loser", err, cfcerr.TokenInvalid, cfcerr.NameTaken)
			}
		}
	}
}

// TestAClaimWhoseAnswerIsLost repeats a claim with the same key: it just logs in.
func TestAClaimWhoseAnswerIsLost(t *testing.T) {
	ctx := within(t, 30*time.Second)
	boss := join(t, "boss", wire.UsersRealm)
	token, err := w.token(ctx, boss, wire.ForNode, wamp.Dict{"realm": realm, "node_id": "lost"})
	if err != nil {
		t.Fatal(err)
	}
	c := w.agent(newKey(t), token)
	for i := range 3 {
		if err := enroll(ctx, c); err != nil {
			t.Fatalf("claim %d: %v", i, err)
		}
	}
	if err := do(ctx, boss, catalog.RevokeToken.Op, mustParse(t, token).ID); err != nil && cfcerr.KindOf(err) != cfcerr.NoSuchToken {
		t.Fatal(err)
	}
	if err := enroll(ctx, c); err != nil {
		t.Errorf("after the token was revoked: %v", err)
	}
}

func TestNamesAndKeysAreTakenOnce(t *testing.T) {
	ctx := within(t, 30*time.Second)
	boss := join(t, "boss", wire.UsersRealm)
	fresh(t, "mine")
	token, err := w.token(ctx, boss, wire.ForNode, wamp.Dict{"realm": realm, "node_id": "mine"})
	if err == nil {
		refused(t, "the name of a paired node", enroll(ctx, w.agent(newKey(t), token)), cfcerr.NameTaken)
	} else {
		refused(t, "the name of a paired node", err, cfcerr.NameTaken)
	}
	token, err = w.token(ctx, boss, wire.ForNode, wamp.Dict{"realm": realm, "node_id": "mine", "replace": true})
	if err != nil {
		t.Fatal(err)
	}
	if err := enroll(ctx, w.agent(newKey(t), token)); err != nil {
		t.Errorf("replaced by its owner's leave: %v", err)
	}
	if _, err = w.token(ctx, boss, wire.ForUser, wamp.Dict{"user": "vera"}); err == nil {
		t.Error("a token was made for a user who exists")
	}
	token, err = w.token(ctx, boss, wire.ForNode, wamp.Dict{"realm": realm, "node_id": "mine2"})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "a user's key pairs a node", enroll(ctx, w.agent(w.keys["vera"], token)), cfcerr.AlreadyExists)
	refused(t, "pair_node with a user's key", do(ctx, boss, catalog.PairNode.Op, w.keys["vera"].Public(), realm, "mine3"), cfcerr.AlreadyExists)
}

// TestTheSecretIsShownOnce looks for a token's secret in all that can be asked for.
func TestTheSecretIsShownOnce(t *testing.T) {
	ctx := within(t, 30*time.Second)
	boss := join(t, "boss", wire.UsersRealm)
	token, err := w.token(ctx, boss, wire.ForUser, wamp.Dict{"user": "seen"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Join(ctx, user(newKey(t), token))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if strings.Contains(fmt.Sprint(s.Welcome()), token) {
		t.Error("WELCOME has the token")
	}
	r, err := boss.Call(ctx, catalog.GetTokens.URI(), nil, nil, session.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret := token[len(token)-20:]
	if strings.Contains(fmt.Sprint(r.Arguments...), secret) || strings.Contains(w.relay.Log(), secret) {
		t.Error("a list of tokens or the log has the secret")
	}
}

func TestTicketsAreNarrowed(t *testing.T) {
	ctx := within(t, 30*time.Second)
	boss := join(t, "boss", wire.UsersRealm)
	ticket, err := w.token(ctx, boss, wire.ForTicket, wamp.Dict{"realm": realm, "role": "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	c := session.Config{URL: w.relay.URL(), Realm: realm, AuthID: w.owner, Ticket: ticket}
	s, err := session.Join(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.AuthRole() != "viewer" || s.AuthID() != w.owner {
		t.Errorf("joined as %s, %s", s.AuthID(), s.AuthRole())
	}
	refused(t, "a viewer's ticket starts a worker", do(ctx, s, catalog.NodeStartWorker.Op, "n1", "w1", wamp.Dict{"type": "router"}), no)
	c.Realm = other
	refused(t, "for another realm", enroll(ctx, c), no, cfcerr.AuthenticationFailed)
	c.Realm, c.AuthID = realm, "vera"
	refused(t, "of another user", enroll(ctx, c), cfcerr.AuthenticationFailed)
}
