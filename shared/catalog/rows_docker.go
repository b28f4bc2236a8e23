package catalog

import (
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

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
	// DockerUsage is how much of the disk Docker uses.
	DockerUsage struct {
		Images     DockerUse `json:"images"`
		Containers DockerUse `json:"containers"`
		Volumes    DockerUse `json:"volumes"`
		BuildCache DockerUse `json:"build_cache"`
	}
	// DockerUse is one part of it, in bytes.
	DockerUse struct {
		Count       int   `json:"count"`
		Active      int   `json:"active"`
		Size        int64 `json:"size"`
		Reclaimable int64 `json:"reclaimable"`
	}
)

// dockerErrors are what every row of Docker may answer.
var dockerErrors = []cfcerr.Kind{cfcerr.Unavailable, cfcerr.DeniedByHost}

func withDocker(more ...cfcerr.Kind) []cfcerr.Kind { return append(more, dockerErrors...) }

// docker completes a row of the area.
func docker(op Op) Op {
	op.Realm, op.Area, op.Scope, op.Host = Remote, "docker", Node, true
	op.Errors = withDocker(op.Errors...)
	return op
}

// What Crossbar.io gives under its own names.
const (
	engineOwn = "the engine's own answer as it is"
	enginesOK = "true"
)

// Rows that tell how Docker is.
var (
	DockerGetStatus = define[None, DockerStatus](docker(Op{Name: "get_docker_status", Access: Read,
		Doc: "Show how Docker is on a node's host, in short."}))
	DockerGetInfo = define[None, DockerInfo](docker(Op{Name: "get_docker_info", Aliases: []string{"get_info"}, Access: Read, Crossbar: engineOwn,
		Doc: "Show how Docker is set up on a node's host."}))
	DockerGetPing = define[None, DockerPing](docker(Op{Name: "get_docker_ping", Aliases: []string{"get_ping"}, Access: Read, Crossbar: enginesOK,
		Doc: "Ask whether Docker is there on a node's host."}))
	DockerGetVersion = define[None, DockerVersion](docker(Op{Name: "get_docker_version", Aliases: []string{"get_version"}, Access: Read, Crossbar: engineOwn,
		Doc: "Show which version of Docker a node's host has."}))
	DockerGetUsage = define[None, DockerUsage](docker(Op{Name: "get_docker_df", Aliases: []string{"get_df"}, Access: Read, Crossbar: engineOwn, Timeout: 2 * time.Minute,
		Doc: "Show how much of a host's disk Docker uses, in bytes."}))
)
