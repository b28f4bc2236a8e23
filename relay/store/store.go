// Package store keeps the relay's only state: users and their keys, management
// realms and their members, paired nodes, and tokens.
//
// Store is what the rest of the relay sees: methods of the domain, each of them
// atomic, so that an implementation on a key-value service with compare-and-set
// is possible. Rules that must hold whoever calls, and whatever happens at the
// same moment, are kept here: a public key is one user or one node, never two;
// a name has one holder; a realm keeps an owner; a token brings in as many keys
// as it says and no more. Who may call what is the business of package pairing.
//
// Bolt is the implementation that ships: one bbolt file, flushed on every
// commit. The file is read and checked in full before bbolt maps it (bbolt
// trusts its file, and a damaged one ends the process by a fault that nobody can
// catch), each record carries a checksum, and what does not fit together is
// refused with the file's path. Backup and Restore work on the file.
package store

import (
	"context"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/wire"
)

// User is a person or a program with keys.
type User struct {
	Name    string    `json:"name"`
	Pubkeys []string  `json:"pubkeys"` // sorted
	Created time.Time `json:"created"`
	// Owner says that this user owns the relay.
	Owner bool `json:"owner,omitempty"`
}

// Realm is a management realm.
type Realm struct {
	Name    string    `json:"name"`
	OID     string    `json:"oid"`
	Created time.Time `json:"created"`
	// Owner is who created it, or another of its owners when that user is none any more.
	Owner string `json:"owner"`
}

// Node is a pairing.
type Node struct {
	OID      string            `json:"oid"`
	Realm    string            `json:"realm"`
	ID       string            `json:"id"`
	Pubkey   string            `json:"pubkey"`
	Labels   map[string]string `json:"labels,omitempty"`
	Paired   time.Time         `json:"paired"`
	PairedBy string            `json:"paired_by"`

	Last LastSeen `json:"-"` // the zero LastSeen when it never connected
}

// LastSeen is the last known presence of a node's agent.
type LastSeen struct {
	Online bool                 `json:"online"`
	Since  time.Time            `json:"since"`
	Reason string               `json:"reason"`
	Agent  catalog.AgentInfo    `json:"agent"`
	Node   catalog.AttachedInfo `json:"node"`
}

// Holder is whose a public key is: a user's or a node's. The zero Holder is nobody.
type Holder struct {
	User string `json:"user,omitempty"` // user name
	Node string `json:"node,omitempty"` // node oid
}

// Nobody reports whether the key is free.
func (h Holder) Nobody() bool { return h == Holder{} }

// Token is a token without its secret.
type Token struct {
	ID      string       `json:"id"`
	Purpose wire.Purpose `json:"purpose"`
	Hash    string       `json:"hash"` // SHA-256 of the whole, hex
	Realm   string       `json:"realm,omitempty"`
	NodeID  string       `json:"node_id,omitempty"` // empty: the agent's choice
	User    string       `json:"user,omitempty"`
	Role    wire.Role    `json:"role,omitempty"`
	Created time.Time    `json:"created"`
	Expires time.Time    `json:"expires"` // zero: never; only the first owner's
	Uses    int          `json:"uses"`
	Left    int          `json:"left"`
	Replace bool         `json:"replace,omitempty"`
	Add     bool         `json:"add,omitempty"`
	// First makes its claimer the relay's owner. It is good only while there is no user at all.
	First   bool              `json:"first,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	By      string            `json:"by"`
	Revoked time.Time         `json:"revoked"`           // zero: not
	Claimed []string          `json:"claimed,omitempty"` // the keys that it brought in, the last 64
}

// Store keeps the state. Every method is atomic: it happens in full and is on
// disk when it returns nil, or has not happened. Failures of the domain are
// *cfcerr.Error (NoSuchRealm, AlreadyExists, …) or *TokenError; all others are
// the store's own. A name that is not there is NoSuchX unless the method says
// otherwise. Lists are sorted by name, id or oid.
type Store interface {
	// RelayID is made once, with the store, and never changes.
	RelayID(ctx context.Context) (string, error)

	User(ctx context.Context, name string) (User, error)
	Users(ctx context.Context) ([]User, error)
	// DeleteUser removes keys, memberships and tokens with the user. Realms that
	// have no other owner go to the heir, who is told with the role that he had
	// there. LastOwner when there is none, and for the relay's owner.
	DeleteUser(ctx context.Context, name, heir string) (inherited map[string]wire.Role, err error)
	// Holder is whose a key is; nobody's is no error.
	Holder(ctx context.Context, pubkey string) (Holder, error)

	Realm(ctx context.Context, name string) (Realm, error)
	Realms(ctx context.Context) ([]Realm, error)
	// CreateRealm makes r.Owner, who must exist, the realm's first owner.
	CreateRealm(ctx context.Context, r Realm) error
	// DeleteRealm removes members and tokens with the realm and, with cascade,
	// its nodes, which it returns. NotEmpty when there are nodes and no cascade.
	DeleteRealm(ctx context.Context, name string, cascade bool) ([]Node, error)

	Members(ctx context.Context, realm string) (map[string]wire.Role, error)
	// Memberships is realm to role.
	Memberships(ctx context.Context, user string) (map[string]wire.Role, error)
	// Role is a member's; empty for anybody else, a realm that is not there included.
	Role(ctx context.Context, realm, user string) (wire.Role, error)
	// SetMember adds a member or changes his role, and returns the role before.
	SetMember(ctx context.Context, realm, user string, role wire.Role) (before wire.Role, err error)
	// RemoveMember answers NoSuchUser for somebody who is no member.
	RemoveMember(ctx context.Context, realm, user string) error

	Node(ctx context.Context, oid string) (Node, error)
	NodeNamed(ctx context.Context, realm, id string) (Node, error)
	// Nodes are a realm's, by id; an unknown realm has none.
	Nodes(ctx context.Context, realm string) ([]Node, error)
	// NodeIDs is id to oid of a realm's nodes: Nodes at a fraction of the cost.
	NodeIDs(ctx context.Context, realm string) (map[string]string, error)
	// PairNode answers AlreadyExists for a key in use, NameTaken for an id in use.
	PairNode(ctx context.Context, n Node) error
	UnpairNode(ctx context.Context, oid string) (Node, error)
	// SaveLastSeen writes presence by oid; nodes that are gone are passed over.
	SaveLastSeen(ctx context.Context, seen map[string]LastSeen) error

	Token(ctx context.Context, id string) (Token, error)
	Tokens(ctx context.Context) ([]Token, error)
	// AddToken keeps a new token and forgets those that ended long before t.Created.
	AddToken(ctx context.Context, t Token) error
	RevokeToken(ctx context.Context, id string, now time.Time) (Token, error)

	ClaimUser(ctx context.Context, c UserClaim) (UserClaimed, error)
	ClaimNode(ctx context.Context, c NodeClaim) (NodeClaimed, error)
	// Ticket checks a ticket of the named user and uses nothing up.
	Ticket(ctx context.Context, user string, t wire.Token, now time.Time) (Token, error)
	// UseTicket is Ticket and counts one log-in.
	UseTicket(ctx context.Context, user string, t wire.Token, now time.Time) (Token, error)

	// Healthy is an error when the store can serve no more.
	Healthy() error
	Close() error
}
