package catalog

import (
	"reflect"

	"fabric.center/cfc/shared/wire"
)

// Argument types that check themselves. A Checker says in Form what it expects.
type (
	// ObjectID names a worker, realm, role, transport, component or trace.
	ObjectID string
	// PathID names a path of a Web transport: the path without its leading
	// slash, or "/", the root.
	PathID string
	// NodeID names a node in its realm.
	NodeID string
	// NodeRef is a node id or oid.
	NodeRef string
	// UserNodeRef names a node in the users realm: an oid, "realm/node-id" or
	// a public key.
	UserNodeRef string
	// RealmName names a management realm.
	RealmName string
	// UserName names a user.
	UserName string
	// Pubkey is an Ed25519 public key in hex.
	Pubkey string
	// RoleName is a role in a management realm.
	RoleName string
	// PurposeName is what a token is for.
	PurposeName string
	// NodeStatus filters nodes.
	NodeStatus string
)

// Checker is an argument type with a form of its own.
type Checker interface {
	Valid() bool
	Form() string
}

var checker = reflect.TypeFor[Checker]()

// Valid and Form make the types Checkers.
func (v ObjectID) Valid() bool  { return wire.ValidObjectID(string(v)) }
func (ObjectID) Form() string   { return wire.ObjectIDForm }
func (v PathID) Valid() bool    { return wire.ValidPathID(string(v)) }
func (PathID) Form() string     { return wire.PathIDForm }
func (v NodeID) Valid() bool    { return wire.ValidNodeID(string(v)) }
func (NodeID) Form() string     { return wire.NodeIDForm }
func (v NodeRef) Valid() bool   { return wire.ValidNodeID(string(v)) || wire.ValidOID(string(v)) }
func (NodeRef) Form() string    { return "a node id (" + wire.NodeIDForm + ") or an oid (a UUID)" }
func (v RealmName) Valid() bool { return wire.ValidRealm(string(v)) }
func (RealmName) Form() string  { return wire.RealmForm }
func (v UserName) Valid() bool  { return wire.ValidUser(string(v)) }
func (UserName) Form() string   { return wire.UserForm }
func (v Pubkey) Valid() bool    { return wire.ValidPubkey(string(v)) }
func (Pubkey) Form() string     { return wire.PubkeyForm }
func (v RoleName) Valid() bool  { return wire.Role(v).Valid() }
func (RoleName) Form() string   { return wire.RoleForm }

// Valid reports whether v is one of the purposes.
func (v PurposeName) Valid() bool {
	return v == PurposeName(wire.ForUser) || v == PurposeName(wire.ForNode) || v == PurposeName(wire.ForTicket)
}

// Form names the purposes.
func (PurposeName) Form() string { return wire.PurposeForm }

// Valid reports whether v is a status of a node.
func (v NodeStatus) Valid() bool { return v == "online" || v == "offline" || v == "detached" }

// Form names the statuses.
func (NodeStatus) Form() string {
	return "online, offline or detached (online, and its node is not attached)"
}

// Valid reports whether v can name a node to somebody who sees many realms.
func (v UserNodeRef) Valid() bool {
	if wire.ValidOID(string(v)) || wire.ValidPubkey(string(v)) {
		return true
	}
	_, _, ok := v.Split()
	return ok
}

// Split is realm and node id of the form realm/node-id.
func (v UserNodeRef) Split() (realm, node string, ok bool) {
	for i := range len(v) {
		if v[i] == '/' {
			realm, node = string(v[:i]), string(v[i+1:])
			return realm, node, wire.ValidRealm(realm) && wire.ValidNodeID(node)
		}
	}
	return "", "", false
}

// Form says what names a node in the users realm.
func (UserNodeRef) Form() string { return "an oid (a UUID), realm/node-id or a public key" }
