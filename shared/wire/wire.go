// Package wire holds what relay, agent and command line must spell alike on
// the wire and that is not an operation: names and their patterns, roles,
// tokens, times, paths and the fixed URIs.
//
// Operations and events are rows of package catalog; errors are kinds of
// package cfcerr. Nothing here knows a transport.
package wire

import "time"

const (
	// UsersRealm is the realm in which users manage realms, members and pairings.
	UsersRealm = "com.crossbario.fabric"
	// UserPath and AgentPath are where users and agents join the relay.
	UserPath  = "/ws"
	AgentPath = "/agent"
	// Protocol is the version of the contract between agent and relay.
	Protocol = 1
	// RoleUser is the authrole of every session on the users realm.
	RoleUser = "user"
	// RoleNode is the authrole of an agent, and of a node at its agent.
	RoleNode = "node"
	// AuthProvider is what WELCOME names as the source of an identity.
	AuthProvider = "cfc"
)

// Prefixes of the URIs that the product owns, and Crossbar.io's names for them.
const (
	Prefix       = "cfc."
	RemotePrefix = "cfc.remote."
	NodePrefix   = "cfc.node."
	AliasPrefix  = "crossbarfabriccenter."
	AliasRemote  = "crossbarfabriccenter.remote."
	AliasRealm   = "crossbarfabriccenter.mrealm."
)

// Reasons of a GOODBYE or ABORT that are not errors of a call.
const (
	CloseMemberRemoved = "cfc.close.member_removed"
	CloseRoleChanged   = "cfc.close.role_changed"
	CloseUserDeleted   = "cfc.close.user_deleted"
	CloseRealmDeleted  = "cfc.close.realm_deleted"
	CloseReplaced      = "cfc.close.replaced"
	CloseTokenRevoked  = "cfc.close.token_revoked" // of a ticket's sessions
	CloseNodeUnpaired  = "fabric.auth-failed.node-unpaired"
)

// NodeProcedure is the one registration of the agent of a node.
func NodeProcedure(nodeID string) string { return NodePrefix + nodeID }

// Time is how an instant stands on the wire: ISO 8601, UTC, milliseconds.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// OptionalTime is Time, and null for the zero instant.
func OptionalTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := Time(t)
	return &s
}
