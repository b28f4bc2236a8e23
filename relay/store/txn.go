package store

import (
	"time"

	"go.etcd.io/bbolt"
)

// txn is a transaction that remembers which tokens it changed.
type txn struct {
	*bbolt.Tx
	tokens map[string]*Token // nil: gone
	swept  time.Time         // when those that ended long ago were dropped; zero: not
}

// reading makes bbolt's transactions ours.
func reading(do func(tx *txn) error) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error { return do(&txn{Tx: tx}) }
}

func putToken(tx *txn, t Token) error {
	tx.note(t.ID, &t)
	return tokens.put(tx, t.ID, t)
}

func dropToken(tx *txn, id string) error {
	tx.note(id, nil)
	return tokens.del(tx, id)
}

func (tx *txn) note(id string, t *Token) {
	if tx.tokens == nil {
		tx.tokens = map[string]*Token{}
	}
	tx.tokens[id] = t
}

// makers knows, without a look at the file, which tokens count for whom: a
// limit that is reached must cost next to nothing, or asking again and again
// holds up everybody. It is changed by committed transactions alone, under the
// right to write, which its readers hold too.
type makers struct {
	by    map[string]map[string]time.Time // maker, token id, its end (zero: never)
	maker map[string]string               // of a token that counts
	swept time.Time
}

// sweepEvery is how often tokens that ended long ago are looked for.
const sweepEvery = time.Hour

func newMakers(all map[string]Token) *makers {
	m := &makers{by: map[string]map[string]time.Time{}, maker: map[string]string{}}
	for id, t := range all {
		m.set(id, &t)
	}
	return m
}

// committed takes over what a transaction has changed.
func (m *makers) committed(tx *txn) {
	for id, t := range tx.tokens {
		m.set(id, t)
	}
	if !tx.swept.IsZero() {
		m.swept = tx.swept
	}
}

func (m *makers) set(id string, t *Token) {
	if by, ok := m.maker[id]; ok {
		delete(m.maker, id)
		if delete(m.by[by], id); len(m.by[by]) == 0 {
			delete(m.by, by)
		}
	}
	if t == nil || t.Left <= 0 || !t.Revoked.IsZero() {
		return
	}
	if m.by[t.By] == nil {
		m.by[t.By] = map[string]time.Time{}
	}
	m.by[t.By][id], m.maker[id] = t.Expires, t.By
}

// count is how many tokens of the maker have not ended.
func (m *makers) count(by string, now time.Time) int {
	n := 0
	for _, end := range m.by[by] {
		if end.IsZero() || now.Before(end) {
			n++
		}
	}
	return n
}
