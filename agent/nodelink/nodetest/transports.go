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

type transport struct {
	config wamp.Dict
	paths  map[string]wamp.Dict // that run, but the root
}

func (t *transport) marshal(id string) wamp.Dict {
	return wamp.Dict{"id": id, "type": t.config["type"], "config": t.config, "created_at": wire.Time(time.Now()), "state": 3}
}

// web reports whether it has paths, and those of its configuration.
func (t *transport) web() (wamp.Dict, bool) {
	config := t.config
	if config["type"] == "universal" {
		config, _ = wamp.AsDict(config["web"])
	} else if config["type"] != "web" {
		return nil, false
	}
	paths, _ := wamp.AsDict(config["paths"])
	return paths, len(config) > 0
}

// transportProcedures are those of a router worker's transports.
func (n *Node) transportProcedures(w *Worker) map[string]handler {
	with := func(f func(*Worker, *wamp.Invocation) client.InvokeResult) handler {
		return func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
			n.mu.Lock()
			defer n.mu.Unlock()
			return f(w, i)
		}
	}
	return map[string]handler{
		"get_router_transports":       with(getTransports),
		"get_router_transport":        with(getTransport),
		"start_router_transport":      func(_ context.Context, i *wamp.Invocation) client.InvokeResult { return n.startTransport(w, i) },
		"stop_router_transport":       with(stopTransport),
		"get_web_transport_services":  with(getServices),
		"get_web_transport_service":   with(getService),
		"start_web_transport_service": with(startService),
		"stop_web_transport_service":  with(stopService),
	}
}

func getTransports(w *Worker, _ *wamp.Invocation) client.InvokeResult {
	list := wamp.List{}
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(w.transports))) {
		list = append(list, w.transports[id].marshal(id))
	}
	return value(list)
}

func getTransport(w *Worker, i *wamp.Invocation) client.InvokeResult {
	id := arg[string](i, 0)
	if t := w.transports[id]; t != nil {
		return value(t.marshal(id))
	}
	return fault("crossbar.error.no_such_object", "No transport %s", id)
}

// startTransport starts no path but the root, and does not say in its answer
// why it cannot listen.
func (n *Node) startTransport(w *Worker, i *wamp.Invocation) client.InvokeResult {
	id, config := arg[string](i, 0), dictArg(i, 1)
	endpoint, _ := wamp.AsDict(config["endpoint"])
	n.mu.Lock()
	defer n.mu.Unlock()
	if w.transports[id] != nil {
		return fault("crossbar.error.already_running", "Could not start transport: a transport with ID %q is already running (or starting)", id)
	}
	if config["nonsense"] != nil {
		return fault("crossbar.error.invalid_configuration", "Invalid router transport configuration: encountered unknown attribute 'nonsense'")
	}
	for _, t := range w.transports {
		if other, _ := wamp.AsDict(t.config["endpoint"]); other["port"] != nil && other["port"] == endpoint["port"] {
			if w.Type == "proxy" {
				return fault("crossbar.error.cannot_listen", "Cannot listen on transport endpoint: Couldn't listen on 127.0.0.1:1: [Errno 98] Address already in use.")
			}
			// The log comes by another way, and later.
			go n.Log(w.ID, "Cannot listen on transport endpoint: [Failure instance: Traceback: <class 'twisted.internet.error.CannotListenError'>: Couldn't listen on 127.0.0.1:1: [Errno 98] Address already in use.\n/usr/lib/x.py:1:f\n]")
			return fault("crossbar.error.cannot_listen", "Cannot listen on transport endpoint: {log_failure}")
		}
	}
	w.transports[id] = &transport{config: config, paths: map[string]wamp.Dict{}}
	return value(w.transports[id].marshal(id))
}

func stopTransport(w *Worker, i *wamp.Invocation) client.InvokeResult {
	id := arg[string](i, 0)
	t := w.transports[id]
	if t == nil {
		return fault("crossbar.error.not_running", "Cannot stop transport: no transport with ID '%s' or transport is already stopping", id)
	}
	delete(w.transports, id)
	return value(t.marshal(id))
}

// getServices are those of the start configuration, whether they run or not,
// and of a universal transport none.
func getServices(w *Worker, i *wamp.Invocation) client.InvokeResult {
	t := w.transports[arg[string](i, 0)]
	if t == nil {
		return notWeb()
	}
	paths, _ := wamp.AsDict(t.config["paths"])
	list := wamp.List{}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		list = append(list, path)
	}
	return value(list)
}

func notWeb() client.InvokeResult {
	return fault("crossbar.error.not_running", "No transport with this ID or transport is not a Web transport")
}

// running is the transport when a path runs on it.
func running(w *Worker, i *wamp.Invocation) (*transport, string) {
	t, path := w.transports[arg[string](i, 0)], arg[string](i, 1)
	if t == nil || t.paths[path] == nil {
		return nil, path
	}
	return t, path
}

func getService(w *Worker, i *wamp.Invocation) client.InvokeResult {
	if t, _ := running(w, i); t != nil {
		return value(t.marshal(arg[string](i, 0)))
	}
	return notWeb()
}

func startService(w *Worker, i *wamp.Invocation) client.InvokeResult {
	t, path, config := w.transports[arg[string](i, 0)], arg[string](i, 1), dictArg(i, 2)
	if t == nil {
		return notWeb()
	}
	if _, ok := t.web(); !ok {
		return notWeb()
	}
	if t.paths[path] != nil {
		return fault("crossbar.error.already_running", "a service is already running on path '%s'", path)
	}
	if config["type"] == "static" && config["directory"] == nil {
		return broken("missing mandatory attribute 'directory'")
	}
	t.paths[path] = config
	return value(wamp.Dict{"transport_id": arg[string](i, 0), "path": path, "config": config})
}

func stopService(w *Worker, i *wamp.Invocation) client.InvokeResult {
	t, path := running(w, i)
	if t == nil {
		return notWeb()
	}
	delete(t.paths, path)
	return value(wamp.Dict{"transport_id": arg[string](i, 0), "path": path})
}

// Served are the paths of a transport that really run; nil when it does not.
func (n *Node) Served(worker, id string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.workers[worker].transports[id]
	if t == nil {
		return nil
	}
	return append([]string{}, slices.Sorted(maps.Keys(t.paths))...)
}

// BootTransport starts a transport as the node's own configuration would, all
// its paths too.
func (n *Node) BootTransport(worker, id string, config wamp.Dict) {
	n.mu.Lock()
	t := &transport{config: config, paths: map[string]wamp.Dict{}}
	paths, _ := t.web()
	for path := range paths {
		if path != "/" {
			t.paths[path], _ = wamp.AsDict(paths[path])
		}
	}
	n.workers[worker].transports[id] = t
	n.mu.Unlock()
	n.Publish("worker."+worker+".on_router_transport_started", wamp.Dict{"id": id})
}
