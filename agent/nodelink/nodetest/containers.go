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

// component is one of a container.
type component struct {
	config    wamp.Dict
	started   time.Time
	connected bool
}

func (n *Node) containerProcedures(w *Worker) map[string]handler {
	return map[string]handler{
		"get_components": func(context.Context, *wamp.Invocation) client.InvokeResult {
			n.mu.Lock()
			defer n.mu.Unlock()
			return value(slices.Sorted(maps.Keys(w.components)))
		},
		"get_component":   func(_ context.Context, i *wamp.Invocation) client.InvokeResult { return n.getComponent(w, i) },
		"start_component": func(ctx context.Context, i *wamp.Invocation) client.InvokeResult { return n.startComponent(ctx, w, i) },
		"stop_component":  func(_ context.Context, i *wamp.Invocation) client.InvokeResult { return n.stopComponent(w, i) },
	}
}

func noComponent(id string) client.InvokeResult {
	return fault("crossbar.error.no_such_object", "no component with ID %s running in this container", id)
}

func (c *component) marshal(id string) wamp.Dict {
	return wamp.Dict{"id": id, "started": wire.Time(c.started), "uptime": time.Since(c.started).Seconds(), "config": c.config}
}

func (n *Node) getComponent(w *Worker, i *wamp.Invocation) client.InvokeResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := arg[string](i, 0)
	c := w.components[id]
	if c == nil {
		return noComponent(id)
	}
	return value(c.marshal(id))
}

// startComponent answers with nothing when the component is ready, and never
// while it cannot connect; then it is listed all the same.
func (n *Node) startComponent(ctx context.Context, w *Worker, i *wamp.Invocation) client.InvokeResult {
	id, config := arg[string](i, 0), dictArg(i, 1)
	n.mu.Lock()
	if w.components[id] != nil {
		n.mu.Unlock()
		return fault("crossbar.error.already_running", "duplicate component %q", id)
	}
	c := &component{config: config, started: time.Now(), connected: config["classname"] != "x.Hangs"}
	switch config["classname"] {
	case "x.Missing":
		n.mu.Unlock()
		return fault("crossbar.error.class_import_failed", "Failed to import class 'x.Missing'\nTraceback (most recent call last):\n  File\nModuleNotFoundError: No module named 'x'\n")
	case "x.Refused":
		n.mu.Unlock()
		return fault("wamp.error.no_such_realm", "no such realm")
	case "x.Fails": // is called ready, and ends
		n.mu.Unlock()
		n.Log(w.ID, "Fatal error in component: the oven is cold")
		return value(nil)
	}
	if w.components == nil {
		w.components = map[string]*component{}
	}
	w.components[id] = c
	n.mu.Unlock()
	if !c.connected {
		n.Log(w.ID, "connection refused")
		<-ctx.Done()
		return client.InvocationCanceled
	}
	return value(nil)
}

// stopComponent fails without a word at a component that has not connected.
func (n *Node) stopComponent(w *Worker, i *wamp.Invocation) client.InvokeResult {
	id := arg[string](i, 0)
	n.mu.Lock()
	defer n.mu.Unlock()
	c := w.components[id]
	switch {
	case c == nil:
		return noComponent(id)
	case !c.connected:
		return client.InvokeResult{Err: "wamp.error.runtime_error"}
	}
	delete(w.components, id)
	return value(wamp.Dict{"component_id": id, "uptime": time.Since(c.started).Seconds(), "caller": wamp.Dict{"session": 4711}})
}

// Connect has a component connect that could not.
func (n *Node) Connect(worker, id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.workers[worker].components[id].connected = true
}

// Age makes a component older.
func (n *Node) Age(worker, id string, by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.workers[worker].components[id]
	c.started = c.started.Add(-by)
}

// Components are the ids that a container lists.
func (n *Node) Components(worker string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.workers[worker].components))
}

// EndComponent ends one by itself, and starts it again where anew is true.
func (n *Node) EndComponent(worker, id string, anew bool) {
	n.mu.Lock()
	c := n.workers[worker].components[id]
	event := c.marshal(id)
	if delete(n.workers[worker].components, id); anew {
		n.workers[worker].components[id] = &component{config: c.config, started: c.started.Add(time.Second), connected: true}
	}
	n.mu.Unlock()
	n.Publish("worker."+worker+".container.on_component_stop", event)
}
