// Package crossbar is what is particular to stock Crossbar.io, 26.10.1: how a
// node is found or started on the host (Supervisor), and how its management
// procedures are brought to do what they promise (Node).
// Package nodeconfig writes its uplink into its configuration, package adopt
// does so with a node that ran before there was an agent.
//
// All repairs go through the node's own procedures; nothing of the installed
// package is touched:
//
//   - stop_router_realm fails with a KeyError after the realm has gone down,
//     and its id can never be used again on that worker. Ids in use by callers
//     are therefore mapped to ids on the node (r_<id>_<n> when the id itself is
//     burnt), dead ones are hidden, and the memory of it survives the agent. The
//     realm's sessions are left connected to nothing: they are ended first.
//   - start_router_realm starts none of the roles of its configuration, and
//     takes a name that is in use.
//   - start_worker never answers when the process ends before it is ready, and
//     applies no cpu_affinity. stop_worker does not stop a worker that is not
//     ready, and does not wait for a guest's end.
//   - shutdown breaks the call that asks for it.
//   - What a call changes is told to everybody but the caller, and the end of a
//     worker to nobody: so after every sign of a change, and every two seconds,
//     the node is asked what runs.
package crossbar
