package catalog

import (
	"regexp"
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

// DockerName names a container: its name, its id or the beginning of the id.
type DockerName string

var dockerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$`)

// Valid and Form make it a Checker: it becomes part of the engine's paths.
func (v DockerName) Valid() bool { return dockerName.MatchString(string(v)) }
func (DockerName) Form() string {
	return "a container's name or id: letters, digits, _ . - (" + dockerName.String() + ")"
}

// Arguments of containers.
type (
	// GetContainersIn says which containers count.
	GetContainersIn struct {
		All bool `wamp:"all,optional" default:"true" doc:"those that do not run as well"`
	}
	// OnContainer names a container.
	OnContainer struct {
		Container DockerName `wamp:"container_id" doc:"the container's name or id"`
	}
	// StartContainerIn is a container to be, or one that is there.
	StartContainerIn struct {
		Container *DockerName    `wamp:"container_id" doc:"its name, or the id of one that is there; null makes a name up"`
		Config    map[string]any `wamp:"container_config,optional" doc:"what it is to be (see SECURITY.md for what the host may refuse): image, command, entrypoint, env, ports, volumes, network, labels, restart, limits, user, working_dir, hostname, health, pull, stop_signal, stop_timeout, read_only, init, tmpfs, cap_drop, and as the host allows privileged, cap_add, pid, ipc, userns, uts, devices, security_opt, cgroup_parent, runtime, volumes_from"`
	}
	// CreateContainerIn is a container to be, from an image.
	CreateContainerIn struct {
		Image     DockerImageName `wamp:"image" doc:"the image"`
		Config    map[string]any  `wamp:"container_config,optional" doc:"as for start_docker_container, without image"`
		Container *DockerName     `wamp:"container_id,optional" doc:"its name; null makes one up"`
	}
	// StopContainerIn is a container to end.
	StopContainerIn struct {
		OnContainer
		Grace int `wamp:"grace,optional" default:"10" doc:"seconds for an orderly end, after which it is killed"`
	}
	// DestroyContainerIn is a container to be removed.
	DestroyContainerIn struct {
		OnContainer
		Force   bool `wamp:"force,optional" doc:"even if it runs"`
		Volumes bool `wamp:"volumes,optional" doc:"with its volumes that have no name"`
	}
)

// Results of containers.
type (
	// DockerContainer is a container as it is.
	DockerContainer struct {
		ID          string            `json:"id"`
		Name        string            `json:"name"`
		Image       string            `json:"image"`
		ImageID     string            `json:"image_id"`
		ImageDigest *string           `json:"image_digest"`
		State       string            `json:"state"`
		Health      *string           `json:"health"`
		PID         int               `json:"pid"`
		ExitCode    int               `json:"exit_code"`
		Error       string            `json:"error"`
		Created     *string           `json:"created"`
		Started     *string           `json:"started"`
		Finished    *string           `json:"finished"`
		Restarts    int               `json:"restarts"`
		Entrypoint  []string          `json:"entrypoint"`
		Command     []string          `json:"command"`
		Env         map[string]string `json:"env"`
		User        string            `json:"user"`
		WorkingDir  string            `json:"working_dir"`
		Hostname    string            `json:"hostname"`
		Network     string            `json:"network"`
		Networks    map[string]string `json:"networks"` // name to address
		Ports       []DockerPort      `json:"ports"`
		Mounts      []DockerMount     `json:"mounts"`
		Labels      map[string]string `json:"labels"`
		Restart     string            `json:"restart"`
		Limits      DockerLimits      `json:"limits"`
		Privileged  bool              `json:"privileged"`
		CapAdd      []string          `json:"cap_add"`
		TTY         bool              `json:"tty"`
	}
	// DockerPort is a port of a container, and where the host publishes it;
	// 0 is nowhere.
	DockerPort struct {
		Container int    `json:"container"`
		Protocol  string `json:"protocol"`
		Address   string `json:"address"`
		Host      int    `json:"host"`
	}
	// DockerMount is what a container has mounted.
	DockerMount struct {
		Type     string `json:"type"`
		Name     string `json:"name"`
		Source   string `json:"source"`
		Target   string `json:"target"`
		ReadOnly bool   `json:"read_only"`
	}
	// DockerLimits are those of a container; 0 is none.
	DockerLimits struct {
		Memory int64   `json:"memory"`
		CPUs   float64 `json:"cpus"`
		PIDs   int64   `json:"pids"`
	}
	// DockerStarted is a container that was created or started.
	DockerStarted struct {
		ID          string       `json:"id"`
		Name        string       `json:"name"`
		Image       string       `json:"image"`
		ImageID     string       `json:"image_id"`
		ImageDigest *string      `json:"image_digest"`
		Created     bool         `json:"created"` // by this call
		State       string       `json:"state"`
		Started     *string      `json:"started"`
		Ports       []DockerPort `json:"ports"`
		Warnings    []string     `json:"warnings"`
	}
	// DockerChanged is a container whose state was changed.
	DockerChanged struct {
		ID       string  `json:"id"`
		Name     string  `json:"name"`
		State    string  `json:"state"`
		ExitCode int     `json:"exit_code"`
		Started  *string `json:"started"`
		Finished *string `json:"finished"`
	}
	// DockerDestroyed is a container that is no more.
	DockerDestroyed struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		By   string `json:"by"`
	}
)

// containerSecrets are where a container's environment stands.
var containerSecrets = []string{"env.*", "Config.Env.*"}

var changeErrors = []cfcerr.Kind{cfcerr.NoSuchObject, cfcerr.NotRunning, cfcerr.CannotStart, cfcerr.InvalidConfiguration}

// Rows of containers.
var (
	DockerGetContainers = define[GetContainersIn, []string](docker(Op{Name: "get_docker_containers", Aliases: []string{"get_containers"}, Access: Read,
		Doc: "List the containers on a node's host.", Returns: "container ids, sorted"}))
	DockerGetContainer = define[OnContainer, DockerContainer](docker(Op{Name: "get_docker_container", Aliases: []string{"get_container"}, Access: Read,
		Doc: "Show a container on a node's host. Values of its environment are for owners.", Crossbar: engineOwn, Secrets: containerSecrets,
		Errors: []cfcerr.Kind{cfcerr.NoSuchObject}}))
	DockerStartContainer = define[StartContainerIn, DockerStarted](docker(Op{Name: "start_docker_container", Aliases: []string{"start"}, Access: Write, Timeout: 10 * time.Minute,
		Doc: "Start a container. One that is there is started if the config is the one that it was made with, or none is given; " +
			"else it is created first, which takes an owner and pulls the image if it is not there.",
		Progress: pullProgress, Emits: []string{"on_container_create", "on_container_start"},
		Errors: []cfcerr.Kind{cfcerr.NoSuchObject, cfcerr.AlreadyExists, cfcerr.AlreadyRunning, cfcerr.InvalidConfiguration, cfcerr.CannotStart}}))
	DockerCreateContainer = define[CreateContainerIn, DockerStarted](docker(Op{Name: "create_docker_container", Aliases: []string{"create"}, Access: Admin, Timeout: 10 * time.Minute,
		Doc: "Create a container without starting it. The image is pulled if it is not there.", Progress: pullProgress, Emits: []string{"on_container_create"},
		Errors: []cfcerr.Kind{cfcerr.NoSuchObject, cfcerr.AlreadyExists, cfcerr.InvalidConfiguration, cfcerr.CannotStart}}))
	DockerStopContainer = define[StopContainerIn, DockerChanged](docker(Op{Name: "stop_docker_container", Aliases: []string{"stop"}, Access: Write, Timeout: 2 * time.Minute,
		Doc: "Stop a container. It is asked to end, and killed after the grace.", Emits: []string{"on_container_kill", "on_container_die", "on_container_stop"}, Errors: changeErrors}))
	DockerRestartContainer = define[StopContainerIn, DockerChanged](docker(Op{Name: "restart_docker_container", Aliases: []string{"restart"}, Access: Write, Timeout: 2 * time.Minute,
		Doc: "Stop a container and start it again. One that does not run is started.", Emits: []string{"on_container_die", "on_container_start"}, Errors: changeErrors}))
	DockerPauseContainer = define[OnContainer, DockerChanged](docker(Op{Name: "pause_docker_container", Aliases: []string{"pause"}, Access: Write,
		Doc: "Freeze all processes of a container.", Emits: []string{"on_container_pause"}, Errors: changeErrors}))
	DockerUnpauseContainer = define[OnContainer, DockerChanged](docker(Op{Name: "unpause_docker_container", Aliases: []string{"unpause"}, Access: Write,
		Doc: "Let the processes of a frozen container go on.", Emits: []string{"on_container_unpause"}, Errors: changeErrors}))
	DockerDestroyContainer = define[DestroyContainerIn, DockerDestroyed](docker(Op{Name: "destroy_docker_container", Aliases: []string{"destroy"}, Access: Write, Timeout: time.Minute,
		Doc: "Remove a container.", Emits: []string{"on_container_destroy"}, Errors: []cfcerr.Kind{cfcerr.NoSuchObject, cfcerr.NotEmpty}}))
)
