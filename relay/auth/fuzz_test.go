package auth

import (
	"encoding/json"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

// FuzzHello: details of a stranger are read without a fall, on either path,
// and a token in them is in no other place afterwards.
func FuzzHello(f *testing.F) {
	f.Add("r1", `{"roles":{"caller":{}},"authmethods":["cryptosign"],"authextra":{"pubkey":"00","activation_code":"cfcu_x"}}`)
	f.Add("", `{"roles":{"caller":null},"authrole":"node","authmethods":["cryptosign"],"authextra":{"pubkey":"`+
		`0123456789012345678901234567890123456789012345678901234567890123","node_id":"n1","agent":{"os":1,"protocol":1.5,"node":{"attached":true,"kind":null}}}}`)
	f.Add("com.crossbario.fabric", `{"roles":[],"authmethods":{"a":1},"authid":["x"],"authextra":[]}`)
	f.Fuzz(func(t *testing.T, realm, details string) {
		var d wamp.Dict
		if json.Unmarshal([]byte(details), &d) != nil {
			return
		}
		for _, agent := range []bool{false, true} {
			h, err := parseHello(&wamp.Hello{Realm: wamp.URI(realm), Details: d}, agent)
			if extra, ok := h.details["authextra"].(wamp.Dict); ok && extra["activation_code"] != nil {
				t.Fatal("the token is still in the details")
			}
			if err == nil && h.method == methodKey && len(h.pubkey) != 64 {
				t.Fatalf("public key %q", h.pubkey)
			}
		}
	})
}
