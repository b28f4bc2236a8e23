package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"

	"fabric.center/cfc/shared/durable"
)

// A record is eight hex digits of CRC-32C over bucket, key and value, a space,
// and the value in JSON. The checksum shows a changed byte, the strict decoding
// a value of another version; a record that moved to another key shows too.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(bucket, key string, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("cannot encode %s %q: %w", bucket, key, err)
	}
	return append(checksum(bucket, key, text), text...), nil
}

func unseal(bucket, key string, record []byte, v any) error {
	bad := func(why string) error { return fmt.Errorf("record %q of %s is damaged: %s", key, bucket, why) }
	if len(record) < 9 {
		return bad("too short")
	}
	text := record[9:]
	if !bytes.Equal(record[:9], checksum(bucket, key, text)) {
		return bad("wrong checksum")
	}
	if err := durable.DecodeJSON(text, v); err != nil {
		return bad(err.Error())
	}
	return nil
}

func checksum(bucket, key string, text []byte) []byte {
	sum := crc32.Update(0, castagnoli, []byte(bucket+"\x00"+key+"\x00"))
	return fmt.Appendf(nil, "%08x ", crc32.Update(sum, castagnoli, text))
}

// table is a bucket of records of one type.
type table[T any] struct{ name string }

var (
	headers = table[header]{"header"}
	users   = table[User]{"users"}
	keys    = table[Holder]{"keys"} // public key to holder
	realms  = table[Realm]{"realms"}
	members = table[member]{"members"} // pair(realm, user)
	nodes   = table[Node]{"nodes"}     // oid to node
	nodeIDs = table[string]{"node_ids"}
	seen    = table[LastSeen]{"last_seen"} // by oid, apart from nodes because it is written all the time
	tokens  = table[Token]{"tokens"}
)

// buckets are all that a store has: another one means another program's file.
var buckets = []string{headers.name, users.name, keys.name, realms.name, members.name, nodes.name, nodeIDs.name, seen.name, tokens.name}

type header struct {
	Product string `json:"product"`
	Schema  int    `json:"schema"`
	RelayID string `json:"relay_id"`
}

type member struct {
	Role string `json:"role"`
}

// pair is the key of a record that belongs to a realm. No name has a zero byte.
func pair(realm, name string) string { return realm + "\x00" + name }

func (t table[T]) get(tx *txn, key string) (v T, ok bool, err error) {
	record := tx.Bucket([]byte(t.name)).Get([]byte(key))
	if record == nil {
		return v, false, nil
	}
	return v, true, unseal(t.name, key, record, &v)
}

func (t table[T]) put(tx *txn, key string, v T) error {
	record, err := seal(t.name, key, v)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(t.name)).Put([]byte(key), record)
}

func (t table[T]) del(tx *txn, key string) error {
	return tx.Bucket([]byte(t.name)).Delete([]byte(key))
}

// scan visits the records below a prefix in the order of their keys, which the
// visitor gets without it. The visitor changes nothing.
func (t table[T]) scan(tx *txn, prefix string, visit func(rest string, v T) error) error {
	c := tx.Bucket([]byte(t.name)).Cursor()
	for k, record := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, record = c.Next() {
		var v T
		if err := unseal(t.name, string(k), record, &v); err != nil {
			return err
		}
		if err := visit(strings.TrimPrefix(string(k), prefix), v); err != nil {
			return err
		}
	}
	return nil
}

// empty reports whether nothing is below the prefix.
func (t table[T]) empty(tx *txn, prefix string) bool {
	k, _ := tx.Bucket([]byte(t.name)).Cursor().Seek([]byte(prefix))
	return k == nil || !bytes.HasPrefix(k, []byte(prefix))
}
