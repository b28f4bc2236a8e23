package catalog

import (
	"regexp"
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

// DockerImageName names an image: [registry/]name[:tag][@digest], or its id.
type DockerImageName string

var dockerImageName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}$`)

// Valid and Form make it a Checker; the engine's package knows the whole grammar.
func (v DockerImageName) Valid() bool { return dockerImageName.MatchString(string(v)) }
func (DockerImageName) Form() string {
	return "an image: [registry/]name[:tag][@digest], or its id"
}

// Arguments of images.
type (
	// OnImage names an image.
	OnImage struct {
		Image DockerImageName `wamp:"image_id" doc:"the image's name or id"`
	}
	// RemoveImageIn is an image to be removed.
	RemoveImageIn struct {
		OnImage
		Force bool `wamp:"force,optional" doc:"even if it has several names, or containers that do not run"`
	}
	// PruneImagesIn says which images nobody needs.
	PruneImagesIn struct {
		All bool `wamp:"all,optional" doc:"all that no container is made of, not only those without a name"`
	}
)

// Results of images.
type (
	// DockerImage is an image as it is.
	DockerImage struct {
		ID         string            `json:"id"`
		Tags       []string          `json:"tags"`
		Digests    []string          `json:"digests"`
		Created    *string           `json:"created"`
		Size       int64             `json:"size"`
		Layers     int               `json:"layers"`
		OS         string            `json:"os"`
		Arch       string            `json:"arch"`
		Entrypoint []string          `json:"entrypoint"`
		Command    []string          `json:"command"`
		Env        map[string]string `json:"env"`
		User       string            `json:"user"`
		WorkingDir string            `json:"working_dir"`
		Ports      []string          `json:"ports"`
		Volumes    []string          `json:"volumes"`
		Labels     map[string]string `json:"labels"`
	}
	// DockerPull is how far a pull has come.
	DockerPull struct {
		Image  string            `json:"image"`
		Bytes  int64             `json:"bytes"`
		Total  int64             `json:"total"` // as far as it is known
		Share  float64           `json:"share"` // 0 to 1, of all layers
		Layers []DockerPullLayer `json:"layers"`
	}
	// DockerPullLayer is how far one layer of it has come.
	DockerPullLayer struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		Bytes  int64  `json:"bytes"`
		Total  int64  `json:"total"`
	}
	// DockerUpdated is an image that was pulled.
	DockerUpdated struct {
		Image     string  `json:"image"`
		ID        string  `json:"id"`
		OldID     *string `json:"old_id"`
		Digest    *string `json:"digest"`
		OldDigest *string `json:"old_digest"`
		Changed   bool    `json:"changed"`
	}
	// DockerRemoved is an image that is no more, or has a name less.
	DockerRemoved struct {
		Image    string   `json:"image"`
		Untagged []string `json:"untagged"`
		Deleted  []string `json:"deleted"`
	}
	// DockerPruned are images that nobody needed.
	DockerPruned struct {
		Untagged  []string `json:"untagged"`
		Deleted   []string `json:"deleted"`
		Reclaimed int64    `json:"reclaimed"` // bytes
	}
)

const pullProgress = "how far the pull has come: image, bytes, total, share (0 to 1), layers (id, status, bytes, total)"

// Rows of images.
var (
	DockerGetImages = define[None, []string](docker(Op{Name: "get_docker_images", Aliases: []string{"get_images"}, Access: Read,
		Doc: "List the images on a node's host.", Returns: "image ids, sorted"}))
	DockerGetImage = define[OnImage, DockerImage](docker(Op{Name: "get_docker_image", Aliases: []string{"get_image"}, Access: Read,
		Doc: "Show an image on a node's host. Values of its environment are for owners.", Crossbar: engineOwn, Secrets: append([]string{"ContainerConfig.Env.*"}, containerSecrets...),
		Errors: []cfcerr.Kind{cfcerr.NoSuchObject}}))
	DockerUpdateImage = define[OnImage, DockerUpdated](docker(Op{Name: "update_docker_image", Access: Write, Timeout: 30 * time.Minute,
		Doc: "Pull the newest of an image, which need not be there yet. By its name, or an id that has exactly one tag.", Progress: pullProgress,
		Emits:  []string{"on_docker_image_update_started", "on_docker_image_update_progress", "on_docker_image_update_finished", "on_image_pull"},
		Errors: []cfcerr.Kind{cfcerr.NoSuchObject}}))
	DockerRemoveImage = define[RemoveImageIn, DockerRemoved](docker(Op{Name: "remove_docker_image", Aliases: []string{"delete_image"}, Access: Write, Timeout: 2 * time.Minute,
		Doc:    "Remove an image, or one of its names.",
		Emits:  []string{"on_docker_image_remove_started", "on_docker_image_remove_progress", "on_docker_image_remove_finished", "on_image_untag", "on_image_delete"},
		Errors: []cfcerr.Kind{cfcerr.NoSuchObject, cfcerr.NotEmpty}}))
	DockerPruneImages = define[PruneImagesIn, DockerPruned](docker(Op{Name: "prune_docker_images", Aliases: []string{"prune_images"}, Access: Write, Timeout: 5 * time.Minute,
		Doc: "Remove the images that nobody needs.", Emits: []string{"on_image_untag", "on_image_delete"}}))
)
