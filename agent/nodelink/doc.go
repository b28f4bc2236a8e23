// Package nodelink is the local management router of one node: the end of the
// wire that a node dials into, on loopback TCP or a Unix socket.
//
// An unmodified Crossbar.io node ("crossbar edge start" with controller.fabric
// in its configuration) speaks this contract, and so does any other node of
// this product:
//
//   - Transport: WAMP RawSocket, CBOR or MessagePack, 16 MiB a message. JSON is
//     refused, it would break binary arguments.
//   - HELLO: realm null, authrole "node", cryptosign, authextra.pubkey. Exactly
//     the node whose public key was told is admitted. While its session lives,
//     a second one with the same key is refused; one that does not answer
//     within three seconds is replaced.
//   - WELCOME: authid "node" (so that pairing never touches the node), realm,
//     and authextra.on_start_apply_config: whether the node boots the workers
//     of its own configuration, which each process of it does once.
//   - The node registers its management procedures below
//     "crossbarfabriccenter.node.node.", publishes below that prefix and on the
//     two heartbeat topics, and calls crossbarfabriccenter.mrealm.get_status
//     when all its registrations are in place: it is ready from then on.
//     Nothing else is answered but with an error.
//
// The messages are nexus', the routing is not: with one caller and one callee
// a dealer adds only what has to be worked around (replies dropped when a queue
// is full, INTERRUPT that a stock node cannot handle, registrations told
// through a meta event that overtakes others, calls that outlive their
// deadline). Here the session's one reader sees every message in order, and a
// call ends at its deadline whatever the node does.
//
// A node cannot authenticate its master, so the port must never be free to
// take: hand in a listener that systemd holds (a socket unit), which also keeps
// a dialing node waiting while the agent restarts.
package nodelink
