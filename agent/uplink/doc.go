// Package uplink keeps the agent's one session with its relay, for ever.
//
// # Protocol
//
// The agent dials out, logs in (WIRE.md, "Joining the relay") and registers
// exactly cfc.node.<its node id>. Each INVOCATION has the operation as args[0],
// "area.op", and goes to Config.Handler with the rest and the caller whom the
// relay discloses. Events are published by Publish, which never waits: they
// stand in a ring (10,000 events or 32 MiB, the oldest go first) and leave it
// only when the relay has acknowledged them, so that what a lost connection
// swallowed is sent again. Each carries time, boot, seq and tseq from the
// moment of Publish, by which losses and doubles show.
//
// # Never giving up
//
// Whatever ends a session or refuses one, the next attempt comes: after a
// random part of a window that is 1 s for the first two failures, then doubles,
// up to 15 s where the relay could not be reached and 60 s where it refused
// this agent (not paired, token, key). A relay that says after how many seconds
// to come is obeyed. A session that lived 10 s makes all forgotten. So agents
// are back within seconds of their relay, and 10,000 of them spread out. Why
// there is no session is in Status, not in an exit.
//
// A relay that is silent is found by pings; a host that slept tries at once.
package uplink
