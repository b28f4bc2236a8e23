package catalog

import (
	"slices"

	"fabric.center/cfc/shared/cfcerr"
)

// Arguments of the components of router workers.
type (
	// OnComponent names a component of a router worker.
	OnComponent struct {
		OnWorker
		ComponentID ObjectID `wamp:"component_id" doc:"the component's id on the worker"`
	}
	// StartComponentIn is a component to be.
	StartComponentIn struct {
		OnWorker
		ComponentID *ObjectID      `wamp:"component_id" doc:"its id on the worker; null makes one up"`
		Config      map[string]any `wamp:"component_config" doc:"type (class or function), realm, role, and classname or callbacks"`
	}
	// StopComponentIn names one, or the only one.
	StopComponentIn struct {
		OnWorker
		ComponentID *ObjectID `wamp:"component_id,optional" doc:"the component's id on the worker; without it the only one that runs"`
	}
)

// Place and Settings say where the object is and what it is to be.
func (in OnComponent) Place() Place {
	return Place{Worker: string(in.Worker), ID: string(in.ComponentID)}
}
func (in StartComponentIn) Place() Place {
	return Place{Worker: string(in.Worker), ID: orEmpty(in.ComponentID)}
}
func (in StartComponentIn) Settings() map[string]any { return in.Config }
func (in StopComponentIn) Place() Place {
	return Place{Worker: string(in.Worker), ID: orEmpty(in.ComponentID)}
}

// RouterComponentLife are the events of a component of a router worker.
var RouterComponentLife = life("router", "router_component", "A component in a router worker", "component_id")

// componentSecrets is what a component is given beyond what an operator has to see.
var componentSecrets = []string{"config.extra"}

// Rows of the components of router workers.
var (
	RouterGetComponents = define[Workers, []string](Op{Realm: Remote, Area: "router", Name: "get_router_components", Scope: Worker, Access: Read,
		Doc: "List the components of a router worker.", Returns: "component ids, sorted", Crossbar: "a list of dicts, each as get_router_component",
		Secrets: componentSecrets, Errors: []cfcerr.Kind{cfcerr.NoSuchWorker},
		Repair: "The node goes on listing components that have ended: the agent asks the realm which of their sessions are still there. Without bridge_meta_api they are taken to run."})
	RouterGetComponent = define[OnComponent, Dict](Op{Realm: Remote, Area: "router", Name: "get_router_component", Scope: Worker, Access: Read,
		Doc: "Show a component of a router worker.", Returns: "id, config, started, uptime", Secrets: componentSecrets, Errors: lookErrors})
	RouterStartComponent = define[StartComponentIn, Dict](Op{Realm: Remote, Area: "router", Name: "start_router_component", Scope: Worker, Access: Admin,
		Doc:     "Start a component in Python in a router worker, next to a realm. Returns when it is ready; one that fails while it joins is taken back.",
		Returns: "as get_router_component", Secrets: componentSecrets, Emits: RouterComponentLife.starts(), Errors: append(slices.Clone(startErrors), cfcerr.CannotStart),
		Repair: "The node never takes an id again, lists components that could not join, and calls one ready whose onJoin has failed: the agent gives the node another id, checks the realm first, and takes the failure from the worker's log."})
	RouterStopComponent = define[StopComponentIn, Dict](Op{Realm: Remote, Area: "router", Name: "stop_router_component", Scope: Worker, Access: Write,
		Doc:     "Stop a component of a router worker: its session is ended. Its id may be used again.",
		Returns: "as get_router_component, and stopped", Secrets: componentSecrets, Emits: RouterComponentLife.stops(), Errors: append(slices.Clone(stopErrors), cfcerr.NotSupported),
		Repair: "The node's own procedure fails and leaves the component running: the agent ends its session through the realm's meta API, which needs bridge_meta_api and a role other than trusted. What it holds beside its session (timers, threads) goes on until the worker ends."})
)
