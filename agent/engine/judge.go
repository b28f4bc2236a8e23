package engine

import (
	"context"
	"path"
	"slices"
	"strings"

	"fabric.center/cfc/agent/policy"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// judge refuses what the host's policy does not let a container be. The config
// is one that is asked for, or the engine's own word on a container that is
// there, whoever made it.
func judge(d policy.Docker, h *container.HostConfig, env []string, ownRuntime string) error {
	for _, check := range []func(policy.Docker, *container.HostConfig) error{judgeRights, judgeNamespaces, judgeDevices} {
		if err := check(d, h); err != nil {
			return err
		}
	}
	ordinary := h.Runtime == "" || h.Runtime == "runc" || h.Runtime == ownRuntime
	switch {
	case !ordinary && !slices.Contains(d.Runtimes, h.Runtime):
		return policy.Refused("runtimes", "does not allow the runtime %s", h.Runtime)
	case len(h.Annotations) > 0 && !slices.Contains(d.Runtimes, h.Runtime):
		return policy.Refused("runtimes", "does not allow annotations, which are orders to the runtime")
	case h.Runtime != "" && h.Runtime != "runc" || ownRuntime != "" && ownRuntime != "runc":
		return judgeEnv(d, env)
	}
	return nil
}

// judgeRights are those that a container has over the kernel.
func judgeRights(d policy.Docker, h *container.HostConfig) error {
	if h.Privileged && !d.Privileged {
		return policy.Refused("privileged", "does not allow privileged containers")
	}
	for _, name := range h.CapAdd {
		if !slices.ContainsFunc(d.Capabilities, func(allowed string) bool { return capability(allowed) == capability(name) }) && !d.Privileged {
			return policy.Refused("capabilities", "does not allow the capability %s", capability(name))
		}
	}
	for _, option := range h.SecurityOpt {
		// The engine itself adds this one where pid or ipc are the host's.
		added := option == "label=disable" && (h.PidMode.IsHost() || h.IpcMode.IsHost())
		if !slices.Contains(d.SecurityOptions, option) && !slices.Contains(harmlessOptions, option) && !added && !d.Privileged {
			return policy.Refused("security_options", "does not allow the security option %s", option)
		}
	}
	if h.CgroupParent != "" && !slices.Contains(d.CgroupParents, h.CgroupParent) {
		return policy.Refused("cgroup_parents", "does not allow the cgroup %s", h.CgroupParent)
	}
	return nil
}

var harmlessOptions = []string{"no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"}

func capability(name string) string { return strings.TrimPrefix(strings.ToUpper(name), "CAP_") }

// judgeMasks finds a container that sees what the engine hides of /proc and /sys.
// Only its own word tells: a config that is asked for says nothing of it.
func judgeMasks(d policy.Docker, h *container.HostConfig) error {
	if (len(h.MaskedPaths) > 0 && len(h.ReadonlyPaths) > 0) || h.Privileged || slices.Contains(d.SecurityOptions, "systempaths=unconfined") {
		return nil
	}
	return policy.Refused("security_options", "does not allow the security option systempaths=unconfined")
}

func judgeNamespaces(d policy.Docker, h *container.HostConfig) error {
	for _, ns := range []struct{ name, mode string }{
		{"network", string(h.NetworkMode)}, {"pid", string(h.PidMode)}, {"ipc", string(h.IpcMode)}, {"userns", string(h.UsernsMode)},
		{"uts", string(h.UTSMode)}, {"cgroup", string(h.Cgroup)},
	} {
		switch kind, _, _ := strings.Cut(ns.mode, ":"); {
		case (kind == "host" || kind == "ns") && !slices.Contains(d.HostNamespaces, ns.name):
			return policy.Refused("host_namespaces", "does not allow to share the host's namespace %s", ns.name)
		case kind == "container" && !d.ContainerNamespaces:
			return policy.Refused("container_namespaces", "does not allow to share the namespace %s of another container", ns.name)
		}
	}
	return nil
}

func judgeDevices(d policy.Docker, h *container.HostConfig) error {
	refuse := func(what string) error { return policy.Refused("devices", "does not allow the device %s", what) }
	allowed := func(name string) bool { return slices.Contains(d.Devices, name) }
	for _, dev := range h.Devices {
		if !allowed(dev.PathOnHost) || path.Clean(dev.PathOnHost) != dev.PathOnHost {
			return refuse(dev.PathOnHost)
		}
	}
	for _, rule := range h.DeviceCgroupRules {
		if !allowed(rule) {
			return refuse(rule)
		}
	}
	for _, r := range h.DeviceRequests {
		if !allowed(r.Driver) || r.Driver == "" {
			return refuse("request of driver " + r.Driver)
		}
	}
	return nil
}

// judgeEnv finds orders that a runtime other than runc reads from the
// environment, the image's included: NVIDIA's gives all its devices to images of
// the old kind too, which say CUDA_VERSION and not what they want.
func judgeEnv(d policy.Docker, env []string) error {
	said := pairs(env)
	devices, told := said["NVIDIA_VISIBLE_DEVICES"]
	_, old := said["CUDA_VERSION"]
	if asks := !slices.Contains([]string{"", "none", "void"}, devices) || !told && old; asks && !slices.Contains(d.Devices, "nvidia") {
		return policy.Refused("devices", "does not allow the device nvidia, which the environment asks for")
	}
	return nil
}

// judgeThere judges a container that is there by the engine's own word on it,
// and its image by the names that this image has now.
func (e *Engine) judgeThere(ctx context.Context, api *client.Client, c container.InspectResponse) error {
	d := e.cfg.Rules()
	info, err := api.Info(ctx)
	if err != nil {
		return err
	}
	if err := judge(d, c.HostConfig, c.Config.Env, info.DefaultRuntime); err != nil {
		return err
	}
	if err := judgeMasks(d, c.HostConfig); err != nil {
		return err
	}
	if c.NetworkSettings != nil && c.NetworkSettings.Networks["host"] != nil && !slices.Contains(d.HostNamespaces, "network") {
		return policy.Refused("host_namespaces", "does not allow to share the host's namespace network")
	}
	if err := e.judgeMounts(ctx, api, d, c); err != nil {
		return err
	}
	return e.judgeImage(ctx, api, d, c.Config.Image, c.Image)
}

// judgeImage judges an image by all the names that it has. That a name led to
// it once says nothing: names move.
func (e *Engine) judgeImage(ctx context.Context, api *client.Client, d policy.Docker, what, id string) error {
	if len(d.Images) == 0 && len(d.Registries) == 0 {
		return nil
	}
	i, err := api.ImageInspect(ctx, id)
	if err != nil && !cerrdefs.IsNotFound(err) {
		return err
	}
	return d.Image(what, slices.Concat(i.RepoTags, i.RepoDigests)...)
}

// mayExec refuses what the host's policy does not let anybody run commands in.
func (e *Engine) mayExec(ctx context.Context, api *client.Client, c container.InspectResponse) error {
	if err := judgeExec(e.cfg.Rules()); err != nil {
		return err
	}
	return e.judgeThere(ctx, api, c)
}

func judgeExec(d policy.Docker) error {
	if !d.Exec {
		return policy.Refused("exec", "does not allow to run commands within containers")
	}
	return nil
}
