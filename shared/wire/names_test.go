package wire

import (
	"strings"
	"testing"
)

const aUUID = "7f1c3c9e-0d52-4c5e-9d7a-0b6f7a2f4f10"

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	label := strings.Repeat("b", 63)
	tests := []struct {
		name  string
		valid func(string) bool
		good  []string
		bad   []string
	}{
		{"node id", ValidNodeID,
			[]string{"a", "0", "node-1", "n_1", "0-", long},
			[]string{"", "-a", "_a", "Node", "a.b", "a b", "ä", "а", "a/b", "a\n", "\na", "a\x00", long + "a", aUUID}},
		{"oid", ValidOID,
			[]string{aUUID},
			[]string{"", strings.ToUpper(aUUID), aUUID + "0", "7f1c3c9e0d524c5e9d7a0b6f7a2f4f10", "{" + aUUID + "}", aUUID + "\n"}},
		{"realm", ValidRealm,
			[]string{"demo", "ab", "0a", "a-b_c", "com.example.site-1", "aa.b.c", "wampum", "wampum.a", long, strings.Join([]string{label, label, label, strings.Repeat("c", 61)}, ".")},
			[]string{"", "a", "a.b", ".ab", "ab.", "ab..c", "Demo", "ab.-c", "ab c", "réalm", "ab\n", UsersRealm, "wamp", "wamp.a",
				long + "a", "ab." + label + "b", strings.Join([]string{label, label, label, strings.Repeat("c", 62)}, ".")}},
		{"user", ValidUser,
			[]string{"anna", "a-1_b", "anna@example.com", "a.b+c@x.example.co", long},
			[]string{"", "Anna", "an na", "a.b", "@example.com", "anna@", "anna@localhost", "anna@-x.com", "anna@x-.com", "anna@x..com", "Anna@example.com", "anna@example.com\n",
				long + "a", strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("x.", 126) + "com"}},
		{"object id", ValidObjectID,
			[]string{"a", "A", "worker-001", "w_3f9c", strings.Repeat("Z", 63)},
			[]string{"", "1a", "_a", "-a", "a.b", "a b", "wörker", "a\n", "a..b", "a/b", strings.Repeat("Z", 64)}},
		{"path id", ValidPathID,
			[]string{"/", "a", "-", "9", "ws_2-b", strings.Repeat("Z", 64)},
			[]string{"", "/ws", "ws/", "a/b", "//", "a.b", "a b", "ä", "a\n", "..", strings.Repeat("Z", 65)}},
		{"pubkey", ValidPubkey,
			[]string{strings.Repeat("0af9", 16)},
			[]string{"", strings.Repeat("0AF9", 16), strings.Repeat("a", 63), strings.Repeat("a", 65), strings.Repeat("g", 64), strings.Repeat("a", 64) + "\n"}},
	}
	for _, tt := range tests {
		for _, s := range tt.good {
			if !tt.valid(s) {
				t.Errorf("%s %q is refused", tt.name, s)
			}
		}
		for _, s := range tt.bad {
			if tt.valid(s) {
				t.Errorf("%s %q is taken", tt.name, s)
			}
		}
	}
}

// A name that is taken becomes part of a URI: whatever the input, it must not
// bring a separator, a pattern or another script in.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"node-1", "com.example", "anna@example.com", aUUID, "a\n", "ä", "wamp.a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ValidNodeID(s) && ValidOID(s) {
			t.Errorf("%q is both a node id and an oid", s)
		}
		if (ValidNodeID(s) || ValidObjectID(s)) && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
			t.Errorf("id %q is taken", s)
		}
		if ValidRealm(s) && (s == UsersRealm || strings.HasPrefix(s+".", "wamp.") || len(s) > 253) {
			t.Errorf("realm %q is taken", s)
		}
	})
}
