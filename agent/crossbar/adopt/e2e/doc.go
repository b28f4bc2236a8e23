// Package e2e adopts a real Crossbar.io node by the built cfc-agent, while a
// client of its own uses it before and after.
package e2e
