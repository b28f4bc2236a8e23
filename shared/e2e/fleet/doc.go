// Package fleet runs the product as its users do: built binaries, started as
// processes, around a real Crossbar.io node. End-to-end tests, benchmarks and
// `make run` stand on it.
//
// It knows the programs by their command lines, environment and configuration
// files only; it imports neither the relay nor the agent. Everything that a
// fleet starts lives below one directory: state, configuration, logs, pid files.
// Each process leads a process group of its own, so that it can be killed with
// all that it started, and Survivors finds whatever is left of a fleet by that
// directory, even when the program that started it is gone.
package fleet
