package control

import (
	"fabric.center/cfc/agent/state"
	"fabric.center/cfc/agent/uplink"
	"fabric.center/cfc/shared/catalog"
)

// Status is what the agent tells about itself.
type Status struct {
	Agent   AgentStatus          `json:"agent"`
	Pairing *state.Pairing       `json:"pairing"` // null where there is none
	Uplink  uplink.Status        `json:"uplink"`
	Node    catalog.AttachedInfo `json:"node"`
	// Process is the node's, where the agent supervises it.
	Process *ProcessStatus `json:"process"`
	Policy  PolicyStatus   `json:"policy"`
	// Faults are what is wrong and needs a person.
	Faults []string `json:"faults"`
}

// AgentStatus is the agent's process.
type AgentStatus struct {
	Version  string `json:"version"`
	Protocol int    `json:"protocol"`
	PID      int    `json:"pid"`
	Started  string `json:"started"`
	Boot     string `json:"boot"`
	Data     string `json:"data"`
	Listen   string `json:"node_listen"` // where the node dials in
	// Dir is the node's directory, empty where the agent knows its key only.
	Dir       string `json:"cbdir"`
	Supervise bool   `json:"supervise"` // the agent starts the node
}

// PolicyStatus is the host's own policy.
type PolicyStatus struct {
	Path    string `json:"path"`
	Present bool   `json:"present"`         // not there: the defaults are in force
	Error   string `json:"error,omitempty"` // set: only reading is allowed
}

// ProcessStatus is the process of a supervised node.
type ProcessStatus struct {
	State    string `json:"state"` // running, waiting (to be started again), stopped, stuck (killed and not ended)
	PID      int    `json:"pid"`
	Since    string `json:"since"`
	Adopted  bool   `json:"adopted"` // ran before this agent did
	Restarts int    `json:"restarts"`
	LastEnd  string `json:"last_end"` // how it ended the last time, or why it could not be started
}
