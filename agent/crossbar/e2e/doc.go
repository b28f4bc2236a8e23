// Package e2e drives a real, unmodified Crossbar.io node through the agent's
// own parts: nodelink, crossbar and ops. The node is the executable in
// CFC_CROSSBAR, else .cache/venv/bin/crossbar below the repository.
package e2e
