// Package session is this product's WAMP client: it joins a relay (or any WAMP
// router) and then calls, serves, publishes and subscribes.
//
// It exists beside nexus' client for what a fleet needs and that client does
// not give: an ABORT keeps its reason and details; the realm may be null; a
// call returns when its context ends, whatever the far side does; a reply that
// comes late can never stop the reader; the first event after SUBSCRIBED is
// not lost; a GOODBYE's reason is told; and nothing is dropped, because a full
// queue here holds back the connection, where the relay bounds it.
//
// # Protocol
//
// Join dials, sends HELLO with the authextra that the relay expects (see
// WIRE.md, "Joining the relay"), answers CHALLENGE by cryptosign or ticket and
// waits for WELCOME. Over TLS the answer to a cryptosign challenge is bound to
// the connection (tls-exporter), so that whoever passes a challenge on from
// another relay gains nothing; a relay behind a proxy that ends TLS cannot
// bind, and is accepted only when Config.Unbound says so.
//
// One goroutine reads; replies go straight to who waits for them. Events are
// handled one after another, in the order of their arrival, in a goroutine of
// their own; each invocation has its own goroutine and a context that ends by
// INTERRUPT, by its deadline and with the session. Close waits for all of them.
package session
