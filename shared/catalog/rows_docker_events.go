package catalog

import "strings"

// DockerEvents are what the engine tells of containers and images, by its own
// "type action".
var DockerEvents = map[string]*Event{}

func dockerEvent(object, action, doc string) {
	args := []string{"node_id", object + "_id", "details"}
	DockerEvents[object+" "+action] = event(Event{Area: "docker", Name: "on_" + object + "_" + action, Args: args, By: ByAgent, Access: Read,
		Doc: doc})
}

func init() {
	const hold = "; details hold the container's name and image."
	for action, doc := range map[string]string{
		"create": "A container was created" + hold, "start": "A container was started" + hold, "attach": "Somebody attached to a container" + hold,
		"commit": "An image was made of a container" + hold, "kill": "A signal was sent to a container" + hold[:len(hold)-1] + ", and signal.",
		"die": "A container has ended" + hold[:len(hold)-1] + ", and exit_code.", "stop": "A container was stopped" + hold,
		"destroy": "A container was removed" + hold, "pause": "A container was frozen" + hold, "unpause": "A frozen container goes on" + hold,
	} {
		dockerEvent("container", action, doc)
	}
	for action, doc := range map[string]string{
		"untag": "An image lost a name.", "delete": "An image was removed.", "pull": "An image was pulled.", "tag": "An image got a name.",
	} {
		dockerEvent("image", action, strings.TrimSuffix(doc, ".")+"; details hold its name.")
	}
}

var imageArgs = []string{"node_id", "image_id", "details"}

// Events of the agent's own work with images.
var (
	OnDockerImageUpdateStarted  = event(Event{Area: "docker", Name: "on_docker_image_update_started", Args: imageArgs, By: ByAgent, Access: Read, Doc: "An update of an image has begun; details hold by."})
	OnDockerImageUpdateProgress = event(Event{Area: "docker", Name: "on_docker_image_update_progress", Args: imageArgs, By: ByAgent, Access: Read, Doc: "An update of an image goes on; details hold bytes, total and share."})
	OnDockerImageUpdateFinished = event(Event{Area: "docker", Name: "on_docker_image_update_finished", Args: imageArgs, By: ByAgent, Access: Read, Doc: "An update of an image has ended; details hold changed, digest and old_digest, or the error."})
	OnDockerImageRemoveStarted  = event(Event{Area: "docker", Name: "on_docker_image_remove_started", Args: imageArgs, By: ByAgent, Access: Read, Doc: "An image is about to be removed; details hold by."})
	OnDockerImageRemoveProgress = event(Event{Area: "docker", Name: "on_docker_image_remove_progress", Args: imageArgs, By: ByAgent, Access: Read, Doc: "A part of an image was removed; details hold untagged or deleted."})
	OnDockerImageRemoveFinished = event(Event{Area: "docker", Name: "on_docker_image_remove_finished", Args: imageArgs, By: ByAgent, Access: Read, Doc: "The removal of an image has ended; details hold the error if it failed."})
)
