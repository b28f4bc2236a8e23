package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/wire"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
	"github.com/tidwall/gjson"
)

// Containers are the ids of the containers, sorted. Most of what a list of
// hundreds costs here is to decode all that the engine says of them, so nothing
// else is.
func (e *Engine) Containers(ctx context.Context, all bool) ([]string, error) {
	return ask(ctx, e, "list containers", func(ctx context.Context, api *client.Client) ([]string, error) {
		b, err := e.read(ctx, api, fmt.Sprintf("/containers/json?all=%t", all))
		if err != nil {
			return nil, err
		}
		list := gjson.ParseBytes(b)
		if !gjson.ValidBytes(b) || !list.IsArray() {
			return nil, errStrange
		}
		ids := []string{}
		for _, id := range list.Get("#.Id").Array() {
			ids = append(ids, id.String())
		}
		slices.Sort(ids)
		return ids, nil
	})
}

// Container is one of them.
func (e *Engine) Container(ctx context.Context, name string) (catalog.DockerContainer, error) {
	return ask(ctx, e, "get container "+name, func(ctx context.Context, api *client.Client) (out catalog.DockerContainer, err error) {
		c, err := inspect(ctx, api, name)
		if err != nil {
			return out, err
		}
		return describe(c, e.digestOf(ctx, api, c.Image)), nil
	})
}

// RawContainer is what the engine itself says of it.
func (e *Engine) RawContainer(ctx context.Context, name string) (catalog.Dict, error) {
	return ask(ctx, e, "get container "+name, func(ctx context.Context, api *client.Client) (catalog.Dict, error) {
		_, raw, err := api.ContainerInspectWithRaw(ctx, name, false)
		return dictOf(raw, err)
	})
}

// dictOf reads an answer of the engine as it is, but for the hashes of configs.
func dictOf(raw []byte, err error) (d catalog.Dict, _ error) {
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	withoutHashes(map[string]any(d))
	return d, err
}

// withoutHashes takes the hashes of configs out of v, wherever labels stand in
// it: they would let a container's environment be guessed at.
func withoutHashes(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, labelConfig)
		for _, inner := range v {
			withoutHashes(inner)
		}
	case []any:
		for _, inner := range v {
			withoutHashes(inner)
		}
	}
}

// digestOf is the digest under which a registry has the image; nil where none
// has, or the image is gone.
func (e *Engine) digestOf(ctx context.Context, api *client.Client, id string) *string {
	i, err := api.ImageInspect(ctx, id)
	if err != nil {
		return nil
	}
	return digestIn(i.RepoDigests, "")
}

// digestIn is the digest in the repository, or in the first one.
func digestIn(digests []string, repository string) *string {
	slices.Sort(digests)
	for _, text := range digests {
		name, digest, ok := strings.Cut(text, "@")
		if ok && (repository == "" || name == repository) {
			return &digest
		}
	}
	return nil
}

func describe(c container.InspectResponse, digest *string) catalog.DockerContainer {
	out := catalog.DockerContainer{ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), Image: c.Config.Image, ImageID: c.Image, ImageDigest: digest,
		State: c.State.Status, PID: c.State.Pid, ExitCode: c.State.ExitCode, Error: c.State.Error, Created: instant(c.Created),
		Started: instant(c.State.StartedAt), Finished: instant(c.State.FinishedAt), Restarts: c.RestartCount,
		Entrypoint: nonNil([]string(c.Config.Entrypoint)), Command: nonNil([]string(c.Config.Cmd)), Env: pairs(c.Config.Env), User: c.Config.User,
		WorkingDir: c.Config.WorkingDir, Hostname: c.Config.Hostname, Network: string(c.HostConfig.NetworkMode), Networks: map[string]string{},
		Ports: ports(c), Mounts: []catalog.DockerMount{}, Labels: shown(c.Config.Labels), Restart: restartOf(c.HostConfig.RestartPolicy),
		Limits: catalog.DockerLimits{Memory: c.HostConfig.Memory, CPUs: float64(c.HostConfig.NanoCPUs) / 1e9}, Privileged: c.HostConfig.Privileged,
		CapAdd: nonNil([]string(c.HostConfig.CapAdd)), TTY: c.Config.Tty}
	if c.HostConfig.PidsLimit != nil {
		out.Limits.PIDs = max(0, *c.HostConfig.PidsLimit)
	}
	if c.State.Health != nil {
		health := c.State.Health.Status
		out.Health = &health
	}
	if c.NetworkSettings != nil {
		for name, n := range c.NetworkSettings.Networks {
			out.Networks[name] = n.IPAddress
		}
	}
	for _, m := range c.Mounts {
		out.Mounts = append(out.Mounts, catalog.DockerMount{Type: string(m.Type), Name: m.Name, Source: m.Source, Target: m.Destination, ReadOnly: !m.RW})
	}
	slices.SortFunc(out.Mounts, func(a, b catalog.DockerMount) int { return strings.Compare(a.Target, b.Target) })
	return out
}

// instant is a time of the engine as it stands on the wire; nil for none.
func instant(text string) *string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() <= 1 {
		return nil
	}
	return wire.OptionalTime(t)
}

func pairs(env []string) map[string]string {
	d := map[string]string{}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		d[name] = value
	}
	return d
}

// shown leaves out the hash of the config, as withoutHashes does.
func shown(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	delete(out, labelConfig)
	return out
}

func restartOf(p container.RestartPolicy) string {
	switch {
	case p.Name == "":
		return "no"
	case p.MaximumRetryCount > 0:
		return string(p.Name) + ":" + itoa(p.MaximumRetryCount)
	}
	return string(p.Name)
}

// ports are those that the container listens on or publishes, sorted.
func ports(c container.InspectResponse) []catalog.DockerPort {
	bound := nat.PortMap{}
	if c.NetworkSettings != nil {
		maps.Copy(bound, c.NetworkSettings.Ports)
	}
	if len(bound) == 0 {
		maps.Copy(bound, c.HostConfig.PortBindings)
	}
	for p := range c.Config.ExposedPorts {
		if _, there := bound[p]; !there {
			bound[p] = nil
		}
	}
	out := []catalog.DockerPort{}
	for p, bindings := range bound {
		at := catalog.DockerPort{Container: p.Int(), Protocol: p.Proto()}
		if len(bindings) == 0 {
			out = append(out, at)
		}
		for _, b := range bindings {
			at.Address, at.Host = b.HostIP, atoi(b.HostPort)
			out = append(out, at)
		}
	}
	slices.SortFunc(out, comparePorts)
	return out
}
