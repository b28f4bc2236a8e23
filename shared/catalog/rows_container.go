package catalog

import "fabric.center/cfc/shared/cfcerr"

// Arguments of the components of containers.
type (
	// OnHosted names a component of a container.
	OnHosted struct {
		OnWorker
		ComponentID ObjectID `wamp:"component_id" doc:"the component's id in the container"`
	}
	// StartHostedIn is a component to be: (worker_id, component_id, component_config),
	// or (worker_id, component_config).
	StartHostedIn struct {
		OnWorker
		Component any            `wamp:"component_id,optional" doc:"its id in the container; null makes one up. The configuration may stand here instead, and then an id is made up too"`
		Config    map[string]any `wamp:"component_config,optional" doc:"type (class), classname, realm, transport (of the router that it connects to), extra; required, here or in place of the id"`
	}
)

// Place says which component it is.
func (in OnHosted) Place() Place { return Place{Worker: string(in.Worker), ID: string(in.ComponentID)} }

// HostedLife are the events of the components of containers.
var HostedLife = life("container", "container_component", "A component of a container", "component_id")

// hostedSecrets are what a component's configuration holds for it alone.
var hostedSecrets = []string{"config.extra", "config.auth"}

// Rows of the components of containers.
var (
	ContainerGetComponents = define[Workers, []string](Op{Realm: Remote, Area: "container", Name: "get_container_components", Aliases: []string{"get_components"}, Scope: Worker, Access: Read,
		Doc: "List the components of a container.", Returns: "component ids, sorted", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}})
	ContainerGetComponent = define[OnHosted, Dict](Op{Realm: Remote, Area: "container", Name: "get_container_component", Aliases: []string{"get_component"}, Scope: Worker, Access: Read,
		Doc: "Show a component of a container.", Returns: "id, config, started, uptime", Secrets: hostedSecrets, Errors: lookErrors})
	ContainerStartComponent = define[StartHostedIn, Dict](Op{Realm: Remote, Area: "container", Name: "start_container_component", Aliases: []string{"start_component"}, Scope: Worker, Access: Admin,
		Doc:     "Start a component, a Python class, in a container. Returns when it has joined its realm and is ready. The id may be left out: (node_id, worker_id, component_config).",
		Returns: "as get_container_component", Secrets: hostedSecrets, Emits: HostedLife.starts(),
		Repair: "The node answers with nothing, so the component is shown. It never answers while the component cannot connect or join: the call ends at its deadline, with what the worker has logged. " +
			"What has never connected cannot be stopped on the node; it is hidden, and ended should it connect later. Its id may be used again.",
		Errors: []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.AlreadyRunning, cfcerr.InvalidConfiguration, cfcerr.CannotStart, cfcerr.DeniedByHost}})
	ContainerStopComponent = define[OnHosted, Dict](Op{Realm: Remote, Area: "container", Name: "stop_container_component", Aliases: []string{"stop_component"}, Scope: Worker, Access: Write,
		Doc:     "Stop a component of a container. Its id may be used again. In a container with restart-always the node would start it anew at once, so there it is refused.",
		Returns: "as get_container_component, and stopped", Crossbar: "a dict: component_id, uptime, caller", Secrets: hostedSecrets, Emits: HostedLife.stops(),
		Repair: "The node fails, without a word, at a component that has never connected; it is hidden, and ended should it connect later.",
		Errors: append([]cfcerr.Kind{cfcerr.NotSupported}, stopErrors...)})
	ContainerRestartComponent = define[OnHosted, Dict](Op{Realm: Remote, Area: "container", Name: "restart_container_component", Aliases: []string{"restart_component"}, Scope: Worker, Access: Write,
		Doc:     "Stop a component of a container and start it again with the same configuration. When it does not start again it stays stopped.",
		Returns: "as get_container_component", Secrets: hostedSecrets, Emits: append(HostedLife.stops(), HostedLife.starts()...),
		Repair: "The node's own procedure fails always; the component is stopped and started.",
		Errors: append([]cfcerr.Kind{cfcerr.NotSupported, cfcerr.InvalidConfiguration, cfcerr.CannotStart}, stopErrors...)})
)
