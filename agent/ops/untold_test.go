package ops

import "testing"

// What an operation comes upon is told before what is done to it: the node may
// have started it a moment ago, by itself.
func TestWhatOperationsComeUponIsToldFirst(t *testing.T) {
	v, r := newTestInventory("")
	v.stoppingWorker(v.Mark(), worker("w", "1"), "eve")(nil)
	r.want(t, "a worker", "worker_starting w - -", "worker_started w - -", "worker_stopping w - eve", "worker_stopped w stopped eve")
	half := worker("w", "2")
	half.Ready = false
	v.stoppingWorker(v.Mark(), half, "eve")(nil)
	r.want(t, "one that is starting", "worker_starting w - -", "worker_stopping w - eve", "worker_stopped w stopped eve")

	role := Ref{Kind: RealmRole, Worker: "w", Parent: "a", ID: "x"}
	if v.knows(role, false) || v.knows(realm("w", "a"), false) {
		t.Error("nothing has been told, and is known")
	}
	v.met(v.Mark(), worker("w", "3", "a"))
	r.want(t, "what it belongs to", "worker_starting w - -", "worker_started w - -", "router_realm_starting w a - -", "router_realm_started w a - -")
	v.met(v.Mark(), worker("w", "3", "a"))
	r.want(t, "that again")
	if !v.knows(role, false) || !v.knows(realm("w", "b"), false) || !v.knows(realm("w", "a"), true) {
		t.Error("what has been told is not known")
	}
	if v.knows(role, true) || v.knows(realm("w", "b"), true) {
		t.Error("they themselves have not been told")
	}
	v.met(v.Mark(), worker("w", "3", "a", "b").with(RealmRole, "a", "x"))
	v.stopping(v.Mark(), role, "eve")(nil)
	v.stopping(v.Mark(), realm("w", "b"), "eve")(nil)
	r.want(t, "objects", "router_realm_starting w b - -", "router_realm_started w b - -", "router_realm_role_starting w a x - -", "router_realm_role_started w a x - -",
		"router_realm_role_stopping w a x - eve", "router_realm_role_stopped w a x stopped eve", "router_realm_stopping w b - eve", "router_realm_stopped w b stopped eve")

	// The end of what was there a moment ago has been told: nothing is left to tell.
	mark := v.Mark()
	v.NodeGone("node gone", "")
	r.list = nil
	v.stoppingWorker(mark, worker("w", "3"), "eve")(nil)
	v.met(mark, worker("w", "3", "a"))
	v.stopping(mark, realm("w", "a"), "eve")(nil)
	r.want(t, "after their end")
}

// A start that was told by an agent that has died is told to its end by the next.
func TestStartsOutliveTheAgent(t *testing.T) {
	for what, c := range map[string]struct {
		seen []Worker
		want []string
	}{
		"they went on":    {[]Worker{worker("w", "1", "a"), worker("new", "2")}, []string{"worker_started new - -", "router_realm_started w a - -"}},
		"they failed":     {[]Worker{worker("w", "1")}, []string{"worker_stopped new ended while the agent was away -", "router_realm_stopped w a ended while the agent was away -"}},
		"their node died": {nil, []string{"worker_stopped new ended while the agent was away -", "router_realm_stopped w a worker stopped -", "worker_stopped w ended while the agent was away -"}},
	} {
		dir := t.TempDir()
		v, _ := newTestInventory(dir)
		v.see(worker("w", "1"))
		v.starting(realm("w", "a"), "com.a", "bob")
		v.startingWorker("new", "router", "bob")
		v, r := newTestInventory(dir)
		v.see(c.seen...)
		if what == "they went on" { // in the order of the workers' ids, which does not matter
			c.want = []string{c.want[1], c.want[0]}
		}
		r.want(t, what, c.want...)
		v, r = newTestInventory(dir)
		v.see(c.seen...)
		r.want(t, what+", and another agent comes")
	}
}
