package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// counted is who has made how many tokens that have not ended, by the records.
func counted(t *testing.T, s *Bolt, now time.Time) map[string]int {
	t.Helper()
	all, err := s.Tokens(t.Context())
	must(t, err)
	out := map[string]int{}
	for _, o := range all {
		if !o.Ended(now) {
			out[o.By]++
		}
	}
	return out
}

func remembered(s *Bolt, now time.Time) map[string]int {
	out := map[string]int{}
	for by := range s.makers.by {
		if n := s.makers.count(by, now); n > 0 {
			out[by] = n
		}
	}
	return out
}

// What is counted without a look at the file stays what the file says, through
// everything that changes tokens, and through a restart.
func TestTokensAreCountedByMaker(t *testing.T) {
	path := filepath.Join(dataDir(t), "relay.db")
	s := open(t, path)
	fill(t, s, 0)
	ctx, rnd, now := t.Context(), rand.New(rand.NewPCG(1, 2)), time.Now()
	var made []wire.Token
	for i := range 300 {
		switch {
		case rnd.IntN(3) > 0 || len(made) == 0:
			tok, err := wire.NewToken(wire.ForUser)
			must(t, err)
			must(t, s.AddToken(ctx, Token{ID: tok.ID, Purpose: wire.ForUser, Hash: fmt.Sprintf("%x", tok.Hash()), User: fmt.Sprint("u", i), By: []string{"root", "ann", "bob"}[rnd.IntN(3)],
				Created: now, Expires: now.Add(time.Duration(rnd.IntN(1000)) * time.Hour), Uses: 1, Left: 1}))
			made = append(made, tok)
		case rnd.IntN(2) == 0:
			_, err := s.RevokeToken(ctx, made[rnd.IntN(len(made))].ID, now)
			if cfcerr.KindOf(err) != cfcerr.NoSuchToken {
				must(t, err)
			}
		default: // refused more often than not, which counts nothing down
			_, _ = s.ClaimUser(ctx, UserClaim{Token: made[rnd.IntN(len(made))], Pubkey: key(t), Now: now})
		}
		now = now.Add(time.Duration(rnd.IntN(120)) * time.Minute)
		if want, got := counted(t, s, now), remembered(s, now); !maps.Equal(want, got) {
			t.Fatalf("after %d: remembers %v, the records say %v", i, got, want)
		}
	}
	users, err := s.Users(ctx)
	must(t, err)
	if i := slices.IndexFunc(users, func(u User) bool { return !u.Owner }); i < 0 {
		t.Error("no token was ever claimed")
	} else {
		_, err := s.DeleteUser(ctx, users[i].Name, "")
		must(t, err)
	}
	want := counted(t, s, now)
	must(t, s.Close())
	if got := remembered(open(t, path), now); !maps.Equal(want, got) {
		t.Errorf("after a restart it remembers %v, want %v", got, want)
	}
}

// Over the limit nothing is written, nor read.
func TestTokenLimitTouchesNoFile(t *testing.T) {
	s := open(t, filepath.Join(dataDir(t), "relay.db"))
	fill(t, s, 0)
	s.maxTokens = 3
	add := func() error {
		tok, err := wire.NewToken(wire.ForTicket)
		must(t, err)
		return s.AddToken(t.Context(), Token{ID: tok.ID, Purpose: wire.ForTicket, User: "root", By: "root", Uses: 1, Left: 1})
	}
	for range 3 {
		must(t, add())
	}
	before := s.db.Stats().TxStats
	for range 5 {
		if err := add(); cfcerr.KindOf(err) != cfcerr.LimitExceeded {
			t.Fatalf("got %v", err)
		}
	}
	if after := s.db.Stats().TxStats; after != before {
		t.Errorf("the file was touched: %+v, before %+v", after, before)
	}
}
