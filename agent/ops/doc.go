// Package ops carries out the remote operations at their node: the agent's side
// of every Remote row of the catalogue.
//
// A call comes as "area.op" with the caller's identity and the row's own
// arguments. In this order it is refused or let through: the row exists, the
// caller's role suffices, the host's own policy allows it, the arguments are
// right, its place in the queue of that worker, then the work itself. Rows with
// Forward go to the node as they came; the others have code here, which asks a
// Node for what is more than one call of it.
//
// Changes of one worker happen one after the other, in the order in which they
// came; at most 16 wait. Reads and other workers never wait for them.
//
// The Inventory knows what runs on the node, and publishes each change of it
// once, whoever caused it: a caller of this package, the node's own
// configuration, or a process that died.
//
// The journal has what is to run again of workers that are being restarted. What
// breaks off with the agent's end, or the node's connection, is finished when
// the same process of the node is there again.
package ops
