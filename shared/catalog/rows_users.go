package catalog

import "fabric.center/cfc/shared/cfcerr"

// Results of the users realm. Times are ISO 8601 UTC strings with milliseconds.
type (
	// NodeCount counts nodes.
	NodeCount struct {
		Total  int `json:"total"`
		Online int `json:"online"`
	}
	// RelayInfo is the relay itself.
	RelayInfo struct {
		ID      string `json:"id"`
		Version string `json:"version"`
		Started string `json:"started"`
	}
	// UsersStatus counts what the caller may see.
	UsersStatus struct {
		Realm  string    `json:"realm"`
		Relay  RelayInfo `json:"relay"`
		Now    string    `json:"now"`
		Realms int       `json:"realms"`
		Nodes  NodeCount `json:"nodes"`
	}
	// RealmInfo is a management realm.
	RealmInfo struct {
		Name    string            `json:"name"`
		OID     string            `json:"oid"`
		Created string            `json:"created"`
		Owner   string            `json:"owner"`
		Members map[string]string `json:"members"`
		Nodes   NodeCount         `json:"nodes"`
	}
	// RealmDeleted says what went with the realm.
	RealmDeleted struct {
		Name     string   `json:"name"`
		Deleted  string   `json:"deleted"`
		Unpaired []string `json:"unpaired"`
	}
	// NodeUnpaired is the end of a pairing.
	NodeUnpaired struct {
		OID      string `json:"oid"`
		ID       string `json:"id"`
		Realm    string `json:"realm"`
		Unpaired string `json:"unpaired"`
	}
	// MemberInfo is one membership.
	MemberInfo struct {
		Realm string `json:"realm"`
		User  string `json:"user"`
		Role  string `json:"role"`
	}
	// MemberRemoved is the end of a membership.
	MemberRemoved struct {
		Realm   string `json:"realm"`
		User    string `json:"user"`
		Removed string `json:"removed"`
	}
	// UserInfo is a user.
	UserInfo struct {
		Name    string   `json:"name"`
		Pubkeys []string `json:"pubkeys"`
		Created string   `json:"created"`
	}
	// UserDeleted is the end of a user.
	UserDeleted struct {
		User    string `json:"user"`
		Deleted string `json:"deleted"`
		// Inherited are the realms that went to the heir.
		Inherited []string `json:"inherited"`
	}
	// TokenMade is the only answer that ever holds a token's secret.
	TokenMade struct {
		Token   string `json:"token"`
		ID      string `json:"id"`
		Purpose string `json:"purpose"`
		Expires string `json:"expires"`
		Uses    int    `json:"uses"`
		Pin     string `json:"pin,omitempty"`
	}
	// TokenInfo is a token without its secret.
	TokenInfo struct {
		ID      string  `json:"id"`
		Purpose string  `json:"purpose"`
		Realm   *string `json:"realm"`
		NodeID  *string `json:"node_id"`
		User    *string `json:"user"`
		Expires string  `json:"expires"`
		Uses    int     `json:"uses"`
		Left    int     `json:"left"`
		By      string  `json:"by"`
	}
	// TokenRevoked is the end of a token.
	TokenRevoked struct {
		ID      string `json:"id"`
		Revoked string `json:"revoked"`
	}
)

// Arguments of the users realm.
type (
	// None is for rows without arguments of their own.
	None struct{}
	// RealmIn names a realm.
	RealmIn struct {
		Name RealmName `wamp:"name" doc:"the management realm"`
	}
	// RealmOf names a realm of which a part is meant.
	RealmOf struct {
		Realm RealmName `wamp:"realm" doc:"the management realm"`
	}
	// CreateRealmIn is a realm to be.
	CreateRealmIn struct {
		Name   RealmName      `wamp:"name" doc:"its name"`
		Config map[string]any `wamp:"config,optional" doc:"reserved; must be empty"`
	}
	// DeleteRealmIn is a realm to end.
	DeleteRealmIn struct {
		Name    RealmName `wamp:"name" doc:"the management realm"`
		Cascade bool      `wamp:"cascade,optional" doc:"unpair its nodes too"`
	}
	// UsersNodesIn filters nodes.
	UsersNodesIn struct {
		Realm  *RealmName  `wamp:"realm,optional" doc:"only of this realm"`
		Status *NodeStatus `wamp:"status,optional" doc:"only with this status"`
	}
	// UserNodeIn names a node of any realm.
	UserNodeIn struct {
		Node UserNodeRef `wamp:"node" doc:"the node: oid, realm/node-id or public key"`
	}
	// PairNodeIn is a pairing to be.
	PairNodeIn struct {
		Pubkey Pubkey         `wamp:"pubkey" doc:"the agent's public key"`
		Realm  RealmName      `wamp:"realm" doc:"the management realm"`
		NodeID NodeID         `wamp:"node_id" doc:"the node's id in the realm"`
		Config map[string]any `wamp:"config,optional" doc:"labels: a dict of strings"`
	}
	// AddMemberIn is a membership to be, or to change.
	AddMemberIn struct {
		Realm RealmName `wamp:"realm" doc:"the management realm"`
		User  UserName  `wamp:"user" doc:"the user"`
		Role  RoleName  `wamp:"role" doc:"viewer, operator or owner"`
	}
	// MemberIn is a membership.
	MemberIn struct {
		Realm RealmName `wamp:"realm" doc:"the management realm"`
		User  UserName  `wamp:"user" doc:"the user"`
	}
	// RealmsIn says how realms are listed.
	RealmsIn struct {
		ReturnNames *bool `wamp:"return_names,optional" doc:"names and not oids, or the other way round"`
	}
	// DeleteUserIn is the end of a user, and who comes after.
	DeleteUserIn struct {
		User UserName  `wamp:"user" doc:"the user"`
		Heir *UserName `wamp:"heir,optional" doc:"the user who becomes owner of the realms that have no other"`
	}
	// CreateTokenIn is a token to be. The options are checked by name.
	CreateTokenIn struct {
		Purpose PurposeName    `wamp:"purpose" doc:"user, node or ticket"`
		Options map[string]any `wamp:"options,optional" doc:"realm, node_id, user, role, ttl (s or 90m, 12h, 7d), uses, replace, add, labels"`
	}
	// TokenIn names a token.
	TokenIn struct {
		ID string `wamp:"id" doc:"the token's id, never its secret"`
	}
)

// Rows of the users realm.
var (
	UsersGetStatus = define[None, UsersStatus](Op{Realm: Users, Name: "get_status", Access: AnyUser,
		Doc: "Show the relay, and count the realms and nodes that the caller may see."})
	GetManagementRealms = define[RealmsIn, []string](Op{Realm: Users, Name: "get_management_realms", Aliases: []string{"list_mrealms"}, Access: AnyUser,
		Doc: "List the management realms that the caller is a member of.", Returns: "names, sorted", Crossbar: "oids, sorted; with return_names names"})
	GetManagementRealm = define[RealmIn, RealmInfo](Op{Realm: Users, Name: "get_management_realm", Aliases: []string{"get_mrealm"}, Access: AnyUser,
		Doc: "Show a management realm.", Errors: []cfcerr.Kind{cfcerr.NoSuchRealm}})
	CreateManagementRealm = define[CreateRealmIn, RealmInfo](Op{Realm: Users, Name: "create_management_realm", Aliases: []string{"create_mrealm"}, Access: AnyUser,
		Doc: "Create a management realm and start its backend. The caller is its owner.", Errors: []cfcerr.Kind{cfcerr.AlreadyExists, cfcerr.LimitExceeded, cfcerr.Busy}})
	DeleteManagementRealm = define[DeleteRealmIn, RealmDeleted](Op{Realm: Users, Name: "delete_management_realm", Aliases: []string{"delete_mrealm"}, Access: AnyUser,
		Doc: "Delete a management realm. Its sessions end and its nodes are free for another; for owners of the realm.", Errors: []cfcerr.Kind{cfcerr.NoSuchRealm, cfcerr.NotEmpty, cfcerr.Busy}})
	UsersGetNodes = define[UsersNodesIn, []string](Op{Realm: Users, Name: "get_nodes", Aliases: []string{"list_nodes"}, Access: AnyUser,
		Doc: "List the nodes of the caller's realms.", Returns: "oids, sorted", Errors: []cfcerr.Kind{cfcerr.NoSuchRealm}})
	UsersGetNode = define[UserNodeIn, NodeInfo](Op{Realm: Users, Name: "get_node", Access: AnyUser,
		Doc: "Show a node.", Errors: []cfcerr.Kind{cfcerr.NoSuchNode}})
	PairNode = define[PairNodeIn, NodeInfo](Op{Realm: Users, Name: "pair_node", Access: AnyUser, Emits: []string{"on_node_paired"},
		Doc: "Pair an agent whose public key is known. For owners of the realm; a token is the other way.", Errors: []cfcerr.Kind{cfcerr.NoSuchRealm, cfcerr.AlreadyExists, cfcerr.NameTaken, cfcerr.Busy}})
	UnpairNode = define[UserNodeIn, NodeUnpaired](Op{Realm: Users, Name: "unpair_node", Access: AnyUser, Emits: []string{"on_node_unpaired"},
		Doc: "End a pairing. The agent's session ends at once; for owners of the realm.", Errors: []cfcerr.Kind{cfcerr.NoSuchNode, cfcerr.Busy}})
	GetMembers = define[RealmOf, map[string]string](Op{Realm: Users, Name: "get_members", Access: AnyUser,
		Doc: "List the members of a management realm.", Returns: "user to role", Errors: []cfcerr.Kind{cfcerr.NoSuchRealm}})
	AddMember = define[AddMemberIn, MemberInfo](Op{Realm: Users, Name: "add_member", Access: AnyUser,
		Doc: "Add a member to a management realm, or change a member's role. For owners of the realm.", Errors: []cfcerr.Kind{cfcerr.NoSuchRealm, cfcerr.NoSuchUser, cfcerr.LastOwner, cfcerr.LimitExceeded, cfcerr.Busy}})
	RemoveMember = define[MemberIn, MemberRemoved](Op{Realm: Users, Name: "remove_member", Access: AnyUser,
		Doc: "Remove a member from a management realm. The member's sessions there end at once; owners remove anybody, a member himself.", Errors: []cfcerr.Kind{cfcerr.NoSuchRealm, cfcerr.NoSuchUser, cfcerr.LastOwner, cfcerr.Busy}})
	GetUsers = define[None, []UserInfo](Op{Realm: Users, Name: "get_users", Access: RelayOwner,
		Doc: "List the users of the relay."})
	DeleteUser = define[DeleteUserIn, UserDeleted](Op{Realm: Users, Name: "delete_user", Access: RelayOwner,
		Doc: "Delete a user with all keys and memberships. Realms that have no other owner go to the heir; without one the user stays.", Errors: []cfcerr.Kind{cfcerr.NoSuchUser, cfcerr.LastOwner, cfcerr.Busy}})
	CreateToken = define[CreateTokenIn, TokenMade](Op{Realm: Users, Name: "create_token", Access: AnyUser,
		Doc: "Make a one-time token that brings in a node or a user, or a ticket for scripts. The secret is shown this once.", Errors: []cfcerr.Kind{cfcerr.NoSuchRealm, cfcerr.NoSuchUser, cfcerr.NameTaken, cfcerr.LimitExceeded, cfcerr.Busy}})
	GetTokens = define[None, []TokenInfo](Op{Realm: Users, Name: "get_tokens", Access: AnyUser,
		Doc: "List the tokens that the caller made or owns."})
	RevokeToken = define[TokenIn, TokenRevoked](Op{Realm: Users, Name: "revoke_token", Access: AnyUser,
		Doc: "End a token.", Errors: []cfcerr.Kind{cfcerr.NoSuchToken, cfcerr.Busy}})
)
