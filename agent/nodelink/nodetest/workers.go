package nodetest

import (
	"context"
	"maps"
	"slices"
	"time"

	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

func (n *Node) getStatus(_ context.Context, _ *wamp.Invocation) client.InvokeResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	return value(wamp.Dict{"title": "Crossbar.io 26.10.1 — A Fake", "started": n.started, "controller_pid": n.cfg.PID, "directory": n.cfg.Dir,
		"running_workers": len(n.workers), "management_node_id": "node", "management_realm": "cfc.local"})
}

func (n *Node) getWorkers(_ context.Context, i *wamp.Invocation) client.InvokeResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	types, _ := wamp.AsList(append(i.Arguments, wamp.List{})[0])
	ids := wamp.List{}
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(n.workers))) { // unsorted on purpose
		if len(types) == 0 || slices.Contains(types, any(n.workers[id].Type)) {
			ids = append(ids, id)
		}
	}
	return value(ids)
}

func (n *Node) getWorker(_ context.Context, i *wamp.Invocation) client.InvokeResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	id, named := wamp.AsString(i.ArgumentsKw["worker_id"])
	if !named {
		id = arg[string](i, 0)
	}
	w := n.workers[id]
	if w == nil {
		return fault("crossbar.error.no_such_worker", "No worker with ID '%s'", id)
	}
	// "started" of a worker that has not is now.
	return value(wamp.Dict{"id": w.ID, "pid": w.PID, "type": w.Type, "status": w.Status,
		"created": wire.Time(w.Created), "started": wire.Time(time.Now()), "startup_time": 1.5, "uptime": 2.5})
}

func (n *Node) startWorker(ctx context.Context, i *wamp.Invocation) client.InvokeResult {
	id, typ := arg[string](i, 0), arg[string](i, 1)
	n.mu.Lock()
	if n.workers[id] != nil {
		n.mu.Unlock()
		return fault("crossbar.error.worker_already_running", "Could not start worker: a worker with ID '%s' is already running (or starting)", id)
	}
	w := n.newWorker(id, typ)
	options := dictArg(i, 2)
	n.mu.Unlock()
	switch {
	case options["python"] == "/bin/true": // ends at once; the call is never answered
		n.Log(id, "\x1b[31mno module named crossbar\x1b[0m")
		n.remove(id)
		<-ctx.Done()
		return client.InvocationCanceled
	case options["stuck"] == true: // never becomes ready
		<-ctx.Done()
		return client.InvocationCanceled
	}
	n.ready(w)
	result := wamp.Dict{"id": id, "status": "started", "started": wire.Time(time.Now()), "startup_time": 1.5, "who": 4711}
	if typ != "guest" {
		result["pid"] = w.PID
	}
	return value(result)
}

func (n *Node) newWorker(id, typ string) *Worker {
	n.nextPID++
	w := &Worker{ID: id, Type: typ, Status: "starting", PID: n.nextPID, Created: time.Now(), realms: map[string]*realm{}, transports: map[string]*transport{}}
	n.workers[id] = w
	return w
}

func (n *Node) ready(w *Worker) {
	n.mu.Lock()
	w.Status = "started"
	n.mu.Unlock()
	n.registerWorker(w)
}

func (n *Node) registerWorker(w *Worker) {
	for name, f := range n.procedures(w) {
		n.register("worker."+w.ID+"."+name, f)
	}
}

func (n *Node) procedures(w *Worker) map[string]func(context.Context, *wamp.Invocation) client.InvokeResult {
	type table = map[string]handler
	if w.Type == "guest" {
		return nil
	}
	t := table{
		"utcnow": func(context.Context, *wamp.Invocation) client.InvokeResult { return value(wire.Time(time.Now())) },
		"set_cpu_affinity": func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
			cpus, _ := wamp.AsList(i.Arguments[0])
			if slices.ContainsFunc(cpus, func(c any) bool { v, _ := wamp.AsInt64(c); return v > 7 }) {
				return broken("list index out of range")
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			w.CPUs = cpus
			return value(cpus)
		},
	}
	if w.Type == "container" {
		maps.Copy(t, n.containerProcedures(w))
	}
	if w.Type == "proxy" {
		maps.Copy(t, n.proxyProcedures(w))
	}
	if w.Type == "router" {
		maps.Copy(t, n.transportProcedures(w))
		maps.Copy(t, n.componentProcedures(w))
		maps.Copy(t, n.realmProcedures(w))
		maps.Copy(t, table{
			"get_router_realms":       func(context.Context, *wamp.Invocation) client.InvokeResult { return n.getRealms(w) },
			"get_router_realm":        func(_ context.Context, i *wamp.Invocation) client.InvokeResult { return n.getRealm(w, i) },
			"start_router_realm":      func(_ context.Context, i *wamp.Invocation) client.InvokeResult { return n.startRealm(w, i) },
			"stop_router_realm":       func(_ context.Context, i *wamp.Invocation) client.InvokeResult { return n.stopRealm(w, i) },
			"get_router_realm_role":   func(_ context.Context, i *wamp.Invocation) client.InvokeResult { return n.getRole(w, i) },
			"stop_router_realm_role":  func(_ context.Context, i *wamp.Invocation) client.InvokeResult { return n.stopRole(w, i) },
			"start_router_realm_role": func(_ context.Context, i *wamp.Invocation) client.InvokeResult { return n.startRole(w, i) },
		})
	}
	return t
}

func (n *Node) stopWorker(_ context.Context, i *wamp.Invocation) client.InvokeResult {
	id, kill := arg[string](i, 0), arg[bool](i, 1)
	n.mu.Lock()
	w := n.workers[id]
	n.mu.Unlock()
	switch {
	case w == nil:
		return fault("crossbar.error.no_such_worker", "No worker with ID '%s'", id)
	case w.Status != "started":
		return fault("crossbar.error.worker_not_running", "worker with ID '%s' is not in status 'started', but status: '%s')", id, w.Status)
	}
	n.remove(id)
	return value(wamp.Dict{"id": id, "type": w.Type, "kill": kill, "who": 4711, "when": wire.Time(time.Now())})
}

// shutdown goes away before it has answered.
func (n *Node) shutdown(ctx context.Context, _ *wamp.Invocation) client.InvokeResult {
	go func() {
		n.mu.Lock()
		n.workers = map[string]*Worker{}
		n.mu.Unlock()
		_ = n.Close()
	}()
	<-ctx.Done()
	return client.InvocationCanceled
}

func (n *Node) remove(id string) {
	n.mu.Lock()
	w := n.workers[id]
	delete(n.workers, id)
	n.mu.Unlock()
	if w == nil || w.Status != "started" {
		return
	}
	n.mu.Lock()
	names := slices.Clone(w.extra)
	n.mu.Unlock()
	for name := range n.procedures(w) {
		names = append(names, "worker."+id+"."+name)
	}
	for _, name := range names {
		if err := n.Client().Unregister(n.prefix + name); err != nil {
			n.note(err)
		}
	}
}

// Boot starts a worker as the node's own configuration would, with its events.
func (n *Node) Boot(id, typ string) *Worker { return n.BootAs(id, typ, 0) }

// BootAs is Boot for a worker that a process stands for, where its pid is not 0.
func (n *Node) BootAs(id, typ string, pid int) *Worker {
	n.mu.Lock()
	w := n.newWorker(id, typ)
	if pid != 0 {
		w.PID = pid
	}
	n.mu.Unlock()
	n.Publish("on_"+typ+"_starting", wamp.Dict{"id": id, "status": "starting", "created": wire.Time(w.Created), "who": nil})
	n.ready(w)
	if typ != "guest" {
		n.Publish("worker."+id+".on_worker_ready", wamp.Dict{"type": typ, "id": id, "pid": w.PID})
	}
	n.Publish("on_"+typ+"_started", wamp.Dict{"id": id, "status": "started", "pid": w.PID, "who": nil})
	return w
}

// Die ends a worker by itself, which nobody is told.
func (n *Node) Die(id string) { n.remove(id) }

// Log publishes a line of a worker's output.
func (n *Node) Log(id, line string) { n.Publish("worker."+id+".on_log", line) }

// Worker is a worker as it is now; nil when there is none.
func (n *Node) Worker(id string) *Worker {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.workers[id]; w != nil {
		c := *w
		return &c
	}
	return nil
}
