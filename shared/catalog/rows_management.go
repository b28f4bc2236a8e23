package catalog

import "fabric.center/cfc/shared/cfcerr"

// Results of a management realm.
type (
	// RealmNodeCount counts the nodes of one realm.
	RealmNodeCount struct {
		Total   int `json:"total"`
		Online  int `json:"online"`
		Offline int `json:"offline"`
	}
	// RealmStatus is a management realm as its members see it.
	RealmStatus struct {
		Realm   string         `json:"realm"`
		OID     string         `json:"oid"`
		Created string         `json:"created"`
		Now     string         `json:"now"`
		Nodes   RealmNodeCount `json:"nodes"`
	}
	// NodeInfo is a paired node: who it is, and how it is now.
	NodeInfo struct {
		ID       string            `json:"id"`
		OID      string            `json:"oid"`
		Realm    string            `json:"realm"`
		Pubkey   string            `json:"pubkey"`
		Labels   map[string]string `json:"labels"`
		Paired   string            `json:"paired"`
		PairedBy string            `json:"paired_by"`
		Status   string            `json:"status"`
		Since    *string           `json:"since"`
		Reason   string            `json:"reason"`
		Agent    AgentInfo         `json:"agent"`
		Node     AttachedInfo      `json:"node"`
	}
	// AgentInfo is the agent of a node; the last known while it is offline.
	AgentInfo struct {
		Version  string `json:"version"`
		OS       string `json:"os"`
		Arch     string `json:"arch"`
		Hostname string `json:"hostname"`
		Started  string `json:"started"`
		Address  string `json:"address"`
	}
	// AttachedInfo is the node at its agent.
	AttachedInfo struct {
		Kind     *string `json:"kind"`
		Version  string  `json:"version"`
		Attached bool    `json:"attached"`
		Since    *string `json:"since"`
		Reason   string  `json:"reason"`
	}
)

// Arguments of a management realm.
type (
	// NodesIn filters nodes.
	NodesIn struct {
		Status      *NodeStatus `wamp:"status,optional" doc:"only with this status"`
		ReturnNames *bool       `wamp:"return_names,optional" doc:"ids and not oids, or the other way round"`
	}
	// NodeIn names a node of the realm.
	NodeIn struct {
		Node NodeRef `wamp:"node" doc:"the node: id or oid"`
	}
)

// Rows of a management realm that the relay answers.
var (
	RealmGetStatus = define[None, RealmStatus](Op{Realm: Management, Name: "get_status", Access: Read,
		Doc: "Show the management realm and count its nodes."})
	RealmGetNodes = define[NodesIn, []string](Op{Realm: Management, Name: "get_nodes", Access: Read,
		Doc: "List the nodes of the management realm.", Returns: "node ids, sorted", Crossbar: "oids, sorted; with return_names ids"})
	RealmGetNode = define[NodeIn, NodeInfo](Op{Realm: Management, Name: "get_node", Aliases: []string{"get_node_by_authid"}, Access: Read,
		Doc: "Show a node of the management realm.", Errors: []cfcerr.Kind{cfcerr.NoSuchNode}})
)

// Events of a management realm.
var (
	OnNodePaired   = event(Event{Name: "on_node_paired", Args: nodeArgs, By: ByRelay, Access: Read, Doc: "A node was paired."})
	OnNodeUnpaired = event(Event{Name: "on_node_unpaired", Args: nodeArgs, By: ByRelay, Access: Read, Doc: "A node was unpaired."})
	OnNodeOnline   = event(Event{Name: "on_node_online", Args: nodeArgs, By: ByRelay, Access: Read, Doc: "The agent of a node joined."})
	OnNodeOffline  = event(Event{Name: "on_node_offline", Args: nodeArgs, By: ByRelay, Access: Read, Doc: "The agent of a node is gone; details hold the reason."})
	OnNodeAttached = event(Event{Name: "on_node_attached", Args: nodeArgs, By: ByAgent, Access: Read, Doc: "A node joined its agent; details hold its kind and version."})
	OnNodeDetached = event(Event{Name: "on_node_detached", Args: nodeArgs, By: ByAgent, Access: Read, Doc: "A node left its agent; details hold the reason."})
)
