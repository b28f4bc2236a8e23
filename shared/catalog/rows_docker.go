package catalog

import "fabric.center/cfc/shared/cfcerr"

// How Docker is on a host.
type (
	// DockerPing is the engine's sign of life.
	DockerPing struct {
		APIVersion   string `json:"api_version"`
		OSType       string `json:"os_type"`
		Experimental bool   `json:"experimental"`
	}
	// DockerVersion is which programs the engine is made of.
	DockerVersion struct {
		Version       string            `json:"version"`
		APIVersion    string            `json:"api_version"`
		MinAPIVersion string            `json:"min_api_version"`
		OS            string            `json:"os"`
		Arch          string            `json:"arch"`
		Kernel        string            `json:"kernel"`
		Built         string            `json:"built"`
		Components    map[string]string `json:"components"`
	}
	// DockerStatus is the short answer to how Docker is.
	DockerStatus struct {
		Address    string `json:"address"`
		Name       string `json:"name"`
		Version    string `json:"version"`
		APIVersion string `json:"api_version"` // which the agent speaks with it
		Containers int    `json:"containers"`
		Running    int    `json:"running"`
		Paused     int    `json:"paused"`
		Stopped    int    `json:"stopped"`
		Images     int    `json:"images"`
		OS         string `json:"os"`
		Arch       string `json:"arch"`
		CPUs       int    `json:"cpus"`
		Memory     int64  `json:"memory"`
	}
	// DockerInfo is how the engine is set up and what it holds.
	DockerInfo struct {
		ID              string   `json:"id"`
		Name            string   `json:"name"`
		Version         string   `json:"version"`
		Containers      int      `json:"containers"`
		Running         int      `json:"running"`
		Paused          int      `json:"paused"`
		Stopped         int      `json:"stopped"`
		Images          int      `json:"images"`
		Driver          string   `json:"driver"`
		RootDir         string   `json:"root_dir"`
		OS              string   `json:"os"`
		OSType          string   `json:"os_type"`
		Arch            string   `json:"arch"`
		Kernel          string   `json:"kernel"`
		CPUs            int      `json:"cpus"`
		Memory          int64    `json:"memory"`
		Runtimes        []string `json:"runtimes"`
		DefaultRuntime  string   `json:"default_runtime"`
		CgroupDriver    string   `json:"cgroup_driver"`
		CgroupVersion   string   `json:"cgroup_version"`
		SecurityOptions []string `json:"security_options"`
		LiveRestore     bool     `json:"live_restore"`
		Warnings        []string `json:"warnings"`
	}
)

// dockerErrors are what every row of Docker may answer.
var dockerErrors = []cfcerr.Kind{cfcerr.Unavailable, cfcerr.DeniedByHost}

func withDocker(more ...cfcerr.Kind) []cfcerr.Kind { return append(more, dockerErrors...) }

// Rows that tell how Docker is.
var (
	DockerGetStatus = define[None, DockerStatus](Op{Realm: Remote, Area: "docker", Name: "get_docker_status", Scope: Node, Access: Read, Host: true,
		Doc: "Show how Docker is on a node's host, in short.", Errors: withDocker()})
	DockerGetInfo = define[None, DockerInfo](Op{Realm: Remote, Area: "docker", Name: "get_docker_info", Aliases: []string{"get_info"}, Scope: Node, Access: Read, Host: true,
		Doc: "Show how Docker is set up on a node's host.", Errors: withDocker()})
	DockerGetPing = define[None, DockerPing](Op{Realm: Remote, Area: "docker", Name: "get_docker_ping", Aliases: []string{"get_ping"}, Scope: Node, Access: Read, Host: true,
		Doc: "Ask whether Docker is there on a node's host.", Errors: withDocker()})
	DockerGetVersion = define[None, DockerVersion](Op{Realm: Remote, Area: "docker", Name: "get_docker_version", Aliases: []string{"get_version"}, Scope: Node, Access: Read, Host: true,
		Doc: "Show which version of Docker a node's host has.", Errors: withDocker()})
)
