package store

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// sample is the bytes of a store with some of everything, several pages deep.
func sample(t testing.TB, nodes int) []byte {
	t.Helper()
	path := filepath.Join(dataDir(t), "sample.db")
	s := open(t, path)
	fill(t, s, nodes)
	must(t, s.Close())
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

func read(data []byte) error {
	state, err := readImage(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	_, err = inspect(state)
	return err
}

func TestOpenRefusesDamage(t *testing.T) {
	good := sample(t, 60)
	must(t, read(good))
	foreign := func(put func(tx *bbolt.Tx) error) []byte {
		path := filepath.Join(t.TempDir(), "foreign.db")
		db, err := bbolt.Open(path, 0o600, nil)
		must(t, err)
		must(t, db.Update(put))
		must(t, db.Close())
		data, err := os.ReadFile(path)
		must(t, err)
		return data
	}
	withHeader := func(h header) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			for _, b := range buckets {
				if _, err := tx.CreateBucket([]byte(b)); err != nil {
					return err
				}
			}
			return headers.put(&txn{Tx: tx}, "header", h)
		}
	}
	for name, c := range map[string]struct {
		data []byte
		why  string
	}{
		"empty":           {nil, "not a store"},
		"text":            {[]byte(strings.Repeat("hello\n", 5000)), "not a store"},
		"one page":        {good[:4096], "truncated"},
		"half":            {good[:len(good)/8*4], "truncated"},
		"zeros":           {make([]byte, 64<<10), "not a store"},
		"foreign bbolt":   {foreign(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err }), "not a store"},
		"foreign records": {foreign(func(tx *bbolt.Tx) error { b, _ := tx.CreateBucket([]byte("x")); return b.Put([]byte("a"), []byte("b")) }), "unknown bucket"},
		"newer schema":    {foreign(withHeader(header{product, schema + 1, "x"})), "another version"},
		"another product": {foreign(withHeader(header{"x", schema, "x"})), "not a store"},
		"loose membership": {foreign(func(tx *bbolt.Tx) error {
			_ = withHeader(header{product, schema, "x"})(tx)
			return members.put(&txn{Tx: tx}, pair("r", "u"), member{"owner"})
		}), "do not fit"},
		"loose key": {foreign(func(tx *bbolt.Tx) error {
			_ = withHeader(header{product, schema, "x"})(tx)
			return keys.put(&txn{Tx: tx}, "k", Holder{User: "u"})
		}), "do not fit"},
		"loose node id": {foreign(func(tx *bbolt.Tx) error {
			_ = withHeader(header{product, schema, "x"})(tx)
			return nodeIDs.put(&txn{Tx: tx}, pair("r", "n"), "oid")
		}), "do not fit"},
		"unknown field": {foreign(func(tx *bbolt.Tx) error {
			_ = withHeader(header{product, schema, "x"})(tx)
			return table[map[string]string](tokens).put(&txn{Tx: tx}, "t", map[string]string{"idd": "t"})
		}), "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dataDir(t), "relay.db")
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			must(t, os.WriteFile(path, c.data, 0o600))
			_, err := Open(path, Options{})
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), "backup") {
				t.Fatalf("got %v, want %q with the path and a hint", err, c.why)
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(after, c.data) {
				t.Fatal("the damaged file was changed")
			}
		})
	}
}

// Any one byte that changes is seen, or changes nothing of what is stored; and
// none makes us fall.
func TestEveryChangedByteIsSeen(t *testing.T) {
	good := sample(t, 30)
	state, err := readImage(bytes.NewReader(good), int64(len(good)))
	must(t, err)
	want, err := inspect(state)
	must(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	seen := 0
	for range 300 {
		bad := bytes.Clone(good)
		at := r.Int64N(int64(state.meta.high) * state.meta.pageSize)
		bad[at] ^= byte(1 + r.IntN(255))
		state, err := readImage(bytes.NewReader(bad), int64(len(bad)))
		var got contents
		if err == nil {
			got, err = inspect(state)
		}
		if err != nil {
			seen++
		} else if !reflect.DeepEqual(got, want) && at >= 2*state.meta.pageSize {
			t.Fatalf("byte %d changed what is stored, and nothing was seen", at)
		}
	}
	if seen < 30 {
		t.Fatalf("only %d changes hit what is in use", seen)
	}
}

// FuzzRead: no content of the file makes the reader fall. The changes are of a
// store that is whole, eight bytes each, so that they get behind the first check.
func FuzzRead(f *testing.F) {
	good := sample(f, 2)
	f.Add(uint32(0), uint64(0), uint32(0), uint64(0))
	f.Add(uint32(4096*3+16), uint64(0xFFFFFFFF), uint32(4096*2+8), uint64(1))
	f.Fuzz(func(t *testing.T, at uint32, change uint64, at2 uint32, change2 uint64) {
		bad := bytes.Clone(good)
		for at, change := range map[uint32]uint64{at: change, at2: change2} {
			i := int(at) % (len(bad) - 8)
			order.PutUint64(bad[i:], order.Uint64(bad[i:])^change)
		}
		_ = read(bad)
		_ = read(bad[:int(at)%len(bad)])
	})
}
