package cfcerr

// Kind is what went wrong, as a program sees it. The zero Kind is invalid.
type Kind uint8

// The kinds. Each has one URI and one exit code, in the table below.
const (
	InvalidArgument Kind = iota + 1
	NoSuchRealm
	NoSuchNode
	NoSuchUser
	NoSuchToken
	NodeOffline
	NodeDetached
	Busy
	ConnectionLost
	AlreadyExists
	NotEmpty
	NameTaken
	TokenInvalid
	DuplicateIdentity
	LastOwner
	LimitExceeded
	NotSupported
	DeniedByHost
	Unavailable
	Internal
	NotAuthorized
	NoSuchProcedure
	Timeout
	Canceled
	AuthenticationFailed
	NodeUnpaired
	NoSuchWorker
	NoSuchObject
	AlreadyRunning
	NotRunning
	InvalidConfiguration
	CannotListen
	CannotStart
	CannotStop
	NodeError
)

// Info is a row of the table of kinds.
type Info struct {
	Kind Kind
	URI  string
	Exit int    // exit code of the command line
	Doc  string // when it is answered
}

// Table is the only place where a kind becomes a URI or an exit code. A kind
// of failure keeps its exit code for ever; 1 is for what is no answer of the
// relay at all, 2 for a wrong command line.
var Table = []Info{
	{InvalidArgument, "cfc.error.invalid_argument", 3, "an argument is wrong, missing or superfluous; `argument`, `expected`"},
	{NotAuthorized, "wamp.error.not_authorized", 4, "the caller's role may not do this"},
	{AuthenticationFailed, "wamp.error.authentication_failed", 4, "the key or ticket is not known"},
	{TokenInvalid, "cfc.error.token_invalid", 4, "the token is unknown, expired, used, revoked or for something else"},
	{NodeUnpaired, "fabric.auth-failed.node-unpaired", 4, "the node's key is not, or no longer, paired"},
	{NoSuchRealm, "cfc.error.no_such_realm", 5, "no such management realm, or not the caller's to see"},
	{NoSuchNode, "cfc.error.no_such_node", 5, "no such node in the realm"},
	{NoSuchUser, "cfc.error.no_such_user", 5, "no such user, or not the caller's to see"},
	{NoSuchToken, "cfc.error.no_such_token", 5, "no such token, or not the caller's to see"},
	{NoSuchProcedure, "wamp.error.no_such_procedure", 5, "no such operation"},
	{NoSuchWorker, "crossbar.error.no_such_worker", 5, "the node has no such worker; `worker_id`"},
	{NoSuchObject, "crossbar.error.no_such_object", 5, "the worker has no such realm, role, transport, component, …"},
	{NodeOffline, "cfc.error.node_offline", 6, "the node is paired, its agent is not connected; `since`, `reason`"},
	{NodeDetached, "cfc.error.node_detached", 6, "the agent is connected, its node is not; `since`, `reason`"},
	{ConnectionLost, "cfc.error.connection_lost", 7, "agent or node went away during the call; what was done is not known"},
	{Timeout, "wamp.error.timeout", 8, "the deadline passed; what was done is not known"},
	{Canceled, "wamp.error.canceled", 8, "the caller canceled"},
	{Busy, "cfc.error.busy", 9, "a change of this object is under way and the queue behind it is full"},
	{LimitExceeded, "cfc.error.limit_exceeded", 9, "over a limit; `limit` or `after`"},
	{AlreadyExists, "cfc.error.already_exists", 10, "there is one already"},
	{NameTaken, "cfc.error.name_taken", 10, "the name belongs to another key"},
	{DuplicateIdentity, "cfc.error.duplicate_identity", 10, "the same key is in use by another, living host"},
	{AlreadyRunning, "crossbar.error.already_running", 10, "the id is in use on the node"},
	{NotEmpty, "cfc.error.not_empty", 11, "there is something in it"},
	{LastOwner, "cfc.error.last_owner", 11, "a realm keeps at least one owner"},
	{NotRunning, "crossbar.error.not_running", 11, "the object is not running"},
	{InvalidConfiguration, "crossbar.error.invalid_configuration", 12, "the node refuses this configuration"},
	{CannotListen, "crossbar.error.cannot_listen", 12, "the node cannot listen there"},
	{CannotStart, "crossbar.error.cannot_start", 12, "the node could not start it"},
	{CannotStop, "crossbar.error.cannot_stop", 12, "the node could not stop it"},
	{NotSupported, "cfc.error.not_supported", 13, "this node cannot do it; `reason`"},
	{Unavailable, "cfc.error.unavailable", 13, "a part that the operation needs is missing or down; `part`, `reason`"},
	{DeniedByHost, "cfc.error.denied_by_host", 14, "the host's own policy forbids it; `rule`"},
	{Internal, "cfc.error.internal", 15, "a defect of this product; the log has it under `id`"},
	// NodeError has no URI of its own: it keeps the one that the node gave.
	{NodeError, "", 16, "the node's own error, passed on as it is (`crossbar.error.*` and others)"},
}

var (
	byKind = map[Kind]Info{}
	byURI  = map[string]Info{}
)

func init() {
	for _, i := range Table {
		byKind[i.Kind] = i
		if i.URI != "" {
			byURI[i.URI] = i
		}
	}
}

// URI is the kind's name on the wire.
func (k Kind) URI() string { return byKind[k].URI }

// Exit is the exit code of a command that ends with this kind.
func (k Kind) Exit() int { return byKind[k].Exit }

// Doc says when the kind is answered.
func (k Kind) Doc() string { return byKind[k].Doc }

// Known reports whether the table has a row for the kind.
func (k Kind) Known() bool { _, ok := byKind[k]; return ok }
