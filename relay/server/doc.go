// Package server is the relay as one process: it opens what the relay stands on
// (store, audit log, certificate, sockets), puts the parts together, runs them
// and ends them in order.
//
// # Listeners
//
// One listener is for users and agents: WebSocket at /ws and /agent, every
// other path is 404. It speaks TLS where there is a certificate, and plain text
// on loopback only unless the configuration insists. A connection counts as
// half-open from accept until its WELCOME, however slow its TLS, its headers or
// its log-in are. The other listener, loopback by default, is for whoever runs
// the relay: /healthz, /readyz and /metrics. systemd may hand over both
// (FileDescriptorName=relay and monitor).
//
// # Life
//
// Open reads everything before it takes the first connection, so that a
// relay which cannot serve does not start. Run serves until its context ends,
// and then: not ready any more, listeners closed, half-open connections ended,
// GOODBYE wamp.close.system_shutdown to every session, presence written down,
// store closed; all of it within stop_timeout. When a part fails the others are
// ended in the same way.
package server
