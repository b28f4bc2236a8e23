package wire

import (
	"regexp"
	"strings"
)

// What a name must look like, in words that an error can quote.
const (
	NodeIDForm   = "1 to 63 of a-z, 0-9, _ and -, the first a letter or digit"
	RealmForm    = "dot-separated parts of a-z, 0-9, _ and -, the first of at least two characters, at most 253 in all"
	UserForm     = "1 to 63 of a-z, 0-9, _ and -, or an e-mail address"
	ObjectIDForm = "1 to 63 of A-Z, a-z, 0-9, _ and -, the first a letter"
	PathIDForm   = "a path without its leading slash, 1 to 64 of A-Z, a-z, 0-9, _ and -, or / for the root"
	PubkeyForm   = "64 hex digits"
)

var (
	pathID   = regexp.MustCompile(`^([A-Za-z0-9_-]{1,64}|/)$`)
	nodeID   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	realm    = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{1,62}(\.[a-z0-9][a-z0-9_-]{0,62})*$`)
	email    = regexp.MustCompile(`^[a-z0-9][a-z0-9._+-]{0,63}@[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	objectID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)
	oid      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	pubkey   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ValidNodeID reports whether s can name a node in its realm.
func ValidNodeID(s string) bool { return nodeID.MatchString(s) && !ValidOID(s) }

// ValidOID reports whether s is the form of an id that is unique for ever.
func ValidOID(s string) bool { return oid.MatchString(s) }

// ValidRealm reports whether s can name a management realm.
func ValidRealm(s string) bool {
	return len(s) <= 253 && realm.MatchString(s) && s != UsersRealm && s != "wamp" && !strings.HasPrefix(s, "wamp.")
}

// ValidUser reports whether s can name a user.
func ValidUser(s string) bool {
	return nodeID.MatchString(s) || len(s) <= 254 && email.MatchString(s)
}

// ValidObjectID reports whether s can name a worker, realm, role, transport,
// component or trace of a node.
func ValidObjectID(s string) bool { return objectID.MatchString(s) }

// ValidPathID reports whether s can name a path of a Web transport. A path
// within a path is part of that path's configuration, and has no id.
func ValidPathID(s string) bool { return pathID.MatchString(s) }

// ValidPubkey reports whether s is an Ed25519 public key in lower-case hex.
func ValidPubkey(s string) bool { return pubkey.MatchString(s) }
