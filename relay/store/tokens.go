package store

import (
	"context"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

const (
	// MaxTokens of a store that is not told otherwise.
	MaxTokens = 1000
	// tokensKept is how long a token is kept after its end, for those who ask
	// what became of it.
	tokensKept = 7 * 24 * time.Hour
)

// Token implements Store.
func (b *Bolt) Token(ctx context.Context, id string) (t Token, err error) {
	err = b.view(ctx, func(tx *txn) error { t, err = tokenOf(tx, id, "show"); return err })
	return t, err
}

func tokenOf(tx *txn, id, what string) (Token, error) {
	t, ok, err := tokens.get(tx, id)
	if err == nil && !ok {
		err = cfcerr.New(cfcerr.NoSuchToken, "cannot %s token %s: there is no such token", what, id).With("id", id)
	}
	return t, err
}

// Tokens implements Store.
func (b *Bolt) Tokens(ctx context.Context) ([]Token, error) {
	var all []Token
	err := b.view(ctx, func(tx *txn) error {
		return tokens.scan(tx, "", func(_ string, t Token) error { all = append(all, t); return nil })
	})
	return all, err
}

// AddToken implements Store.
func (b *Bolt) AddToken(ctx context.Context, t Token) error {
	may := func() error {
		if made := b.makers.count(t.By, t.Created); made >= b.maxTokens {
			return cfcerr.New(cfcerr.LimitExceeded, "cannot make a token: %s has %d that have not ended", t.By, made).With("limit", b.maxTokens)
		}
		return nil
	}
	return b.updateIf(ctx, may, func(tx *txn) error {
		if _, ok, err := tokens.get(tx, t.ID); err != nil {
			return err
		} else if ok {
			return cfcerr.New(cfcerr.AlreadyExists, "cannot make token %s: there is one already", t.ID).With("id", t.ID)
		}
		if t.First && !users.empty(tx, "") {
			return cfcerr.New(cfcerr.AlreadyExists, "cannot make a first owner's token: the relay has users")
		}
		if t.First || t.Created.Sub(b.makers.swept) >= sweepEvery {
			tx.swept = t.Created
			old := func(o Token) bool { return t.First && o.First || endedBefore(o, t.Created.Add(-tokensKept)) }
			if err := dropTokens(tx, old); err != nil {
				return err
			}
		}
		return putToken(tx, t)
	})
}

// endedBefore reports whether the token ended before the instant. When it was
// used up is not kept, so that a used one waits for its expiry.
func endedBefore(t Token, at time.Time) bool {
	return t.expired(at) || !t.Revoked.IsZero() && t.Revoked.Before(at)
}

// dropTokens removes the tokens of which drop says so.
func dropTokens(tx *txn, drop func(Token) bool) error {
	var gone []string
	err := tokens.scan(tx, "", func(id string, t Token) error {
		if drop(t) {
			gone = append(gone, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range gone {
		if err := dropToken(tx, id); err != nil {
			return err
		}
	}
	return nil
}

// RevokeToken implements Store. A token that has ended can be revoked again.
func (b *Bolt) RevokeToken(ctx context.Context, id string, now time.Time) (t Token, err error) {
	err = b.update(ctx, func(tx *txn) error {
		if t, err = tokenOf(tx, id, "revoke"); err != nil {
			return err
		}
		if !t.Revoked.IsZero() {
			return errUnchanged
		}
		t.Revoked = now
		return putToken(tx, t)
	})
	return t, err
}

// check finds the token that a secret belongs to. A nil refusal means that it
// can be used; the token is returned with a refusal too where it is known.
func check(tx *txn, secret wire.Token, purpose wire.Purpose, now time.Time) (Token, *TokenError, error) {
	t, ok, err := tokens.get(tx, secret.ID)
	if err != nil {
		return Token{}, nil, err
	}
	refuse := func(why string) (Token, *TokenError, error) { return t, &TokenError{secret.ID, why}, nil }
	switch {
	case !ok:
		return refuse(ReasonUnknown)
	case !t.matches(secret):
		return refuse(ReasonSecret)
	case t.Purpose != purpose || secret.Purpose != purpose:
		return refuse(ReasonPurpose)
	}
	if why := t.usable(now); why != "" {
		return refuse(why)
	}
	return t, nil, nil
}

// Ticket implements Store.
func (b *Bolt) Ticket(ctx context.Context, user string, secret wire.Token, now time.Time) (t Token, err error) {
	err = b.view(ctx, func(tx *txn) error { t, err = ticketOf(tx, user, secret, now); return err })
	return t, err
}

// UseTicket implements Store.
func (b *Bolt) UseTicket(ctx context.Context, user string, secret wire.Token, now time.Time) (t Token, err error) {
	err = b.update(ctx, func(tx *txn) error {
		if t, err = ticketOf(tx, user, secret, now); err != nil {
			return err
		}
		t = t.use("")
		return putToken(tx, t)
	})
	return t, err
}

func ticketOf(tx *txn, user string, secret wire.Token, now time.Time) (Token, error) {
	t, refused, err := check(tx, secret, wire.ForTicket, now)
	switch {
	case err != nil:
		return Token{}, err
	case refused != nil:
		return Token{}, refused
	case t.User != user:
		return Token{}, &TokenError{t.ID, ReasonUser}
	}
	if _, ok, err := users.get(tx, user); err != nil || !ok {
		return Token{}, orTarget(err, t)
	}
	return t, nil
}

// orTarget is err, and without one that the token's object is gone.
func orTarget(err error, t Token) error {
	if err != nil {
		return err
	}
	return &TokenError{t.ID, ReasonTarget}
}
