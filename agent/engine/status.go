package engine

import (
	"context"
	"encoding/json"
	"slices"

	"fabric.center/cfc/shared/catalog"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"
)

// Ping asks whether the engine is there.
func (e *Engine) Ping(ctx context.Context) (catalog.DockerPing, error) {
	return ask(ctx, e, "ping Docker", func(ctx context.Context, api *client.Client) (catalog.DockerPing, error) {
		p, err := api.Ping(ctx)
		return catalog.DockerPing{APIVersion: p.APIVersion, OSType: p.OSType, Experimental: p.Experimental}, err
	})
}

// Version says which programs the engine is made of.
func (e *Engine) Version(ctx context.Context) (catalog.DockerVersion, error) {
	v, err := ask(ctx, e, "get the version of Docker", func(ctx context.Context, api *client.Client) (types.Version, error) { return api.ServerVersion(ctx) })
	if err != nil {
		return catalog.DockerVersion{}, err
	}
	out := catalog.DockerVersion{Version: v.Version, APIVersion: v.APIVersion, MinAPIVersion: v.MinAPIVersion, OS: v.Os, Arch: v.Arch,
		Kernel: v.KernelVersion, Built: v.BuildTime, Components: map[string]string{}}
	for _, c := range v.Components {
		out.Components[c.Name] = c.Version
	}
	return out, nil
}

// Info is how the engine is set up and what it holds.
func (e *Engine) Info(ctx context.Context) (catalog.DockerInfo, error) {
	i, err := ask(ctx, e, "get the state of Docker", func(ctx context.Context, api *client.Client) (system.Info, error) { return api.Info(ctx) })
	if err != nil {
		return catalog.DockerInfo{}, err
	}
	runtimes := make([]string, 0, len(i.Runtimes))
	for name := range i.Runtimes {
		runtimes = append(runtimes, name)
	}
	slices.Sort(runtimes)
	slices.Sort(i.SecurityOptions)
	return catalog.DockerInfo{ID: i.ID, Name: i.Name, Version: i.ServerVersion, Containers: i.Containers, Running: i.ContainersRunning,
		Paused: i.ContainersPaused, Stopped: i.ContainersStopped, Images: i.Images, Driver: i.Driver, RootDir: i.DockerRootDir,
		OS: i.OperatingSystem, OSType: i.OSType, Arch: i.Architecture, Kernel: i.KernelVersion, CPUs: i.NCPU, Memory: i.MemTotal,
		Runtimes: runtimes, DefaultRuntime: i.DefaultRuntime, CgroupDriver: i.CgroupDriver, CgroupVersion: i.CgroupVersion,
		SecurityOptions: nonNil(i.SecurityOptions), LiveRestore: i.LiveRestoreEnabled, Warnings: nonNil(i.Warnings)}, nil
}

// RawInfo is what the engine itself says of it.
func (e *Engine) RawInfo(ctx context.Context) (catalog.Dict, error) {
	return ask(ctx, e, "get the state of Docker", func(ctx context.Context, api *client.Client) (catalog.Dict, error) {
		i, err := api.Info(ctx)
		return again(i, err)
	})
}

// RawVersion is the same for its version.
func (e *Engine) RawVersion(ctx context.Context) (catalog.Dict, error) {
	return ask(ctx, e, "get the version of Docker", func(ctx context.Context, api *client.Client) (catalog.Dict, error) {
		v, err := api.ServerVersion(ctx)
		return again(v, err)
	})
}

// RawUsage is the same for what it uses of the disk.
func (e *Engine) RawUsage(ctx context.Context) (catalog.Dict, error) {
	return use(ctx, e, "measure what Docker uses", func(ctx context.Context, api *client.Client) (catalog.Dict, error) {
		u, err := api.DiskUsage(ctx, types.DiskUsageOptions{})
		return again(u, err)
	})
}

// again writes an answer that was read as the engine wrote it.
func again(v any, err error) (catalog.Dict, error) {
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	return dictOf(b, err)
}

// Usage is how much of the disk the engine uses. It reads all of it, so that it
// takes its time.
func (e *Engine) Usage(ctx context.Context) (out catalog.DockerUsage, err error) {
	u, err := use(ctx, e, "measure what Docker uses", func(ctx context.Context, api *client.Client) (types.DiskUsage, error) {
		return api.DiskUsage(ctx, types.DiskUsageOptions{})
	})
	add := func(to *catalog.DockerUse, size int64, active bool) {
		to.Count++
		to.Size += size
		if active {
			to.Active++
		} else {
			to.Reclaimable += size
		}
	}
	for _, i := range u.Images { // layers that images share count once, below
		add(&out.Images, max(0, i.Size-max(0, i.SharedSize)), i.Containers > 0)
	}
	out.Images.Size = u.LayersSize
	for _, c := range u.Containers {
		add(&out.Containers, c.SizeRw, alive[c.State])
	}
	for _, v := range u.Volumes {
		if v.UsageData != nil {
			add(&out.Volumes, max(0, v.UsageData.Size), v.UsageData.RefCount > 0)
		}
	}
	for _, b := range u.BuildCache {
		add(&out.BuildCache, b.Size, b.InUse)
	}
	return out, err
}

// Status is the short answer to how Docker is.
func (e *Engine) Status(ctx context.Context) (catalog.DockerStatus, error) {
	i, err := e.Info(ctx)
	if err != nil {
		return catalog.DockerStatus{}, err
	}
	api, err := e.API(ctx)
	if err != nil {
		return catalog.DockerStatus{}, err
	}
	return catalog.DockerStatus{Address: e.Address(), Name: i.Name, Version: i.Version, APIVersion: api.ClientVersion(), Containers: i.Containers,
		Running: i.Running, Paused: i.Paused, Stopped: i.Stopped, Images: i.Images, OS: i.OS, Arch: i.Arch, CPUs: i.CPUs, Memory: i.Memory}, nil
}

// nonNil makes no list an empty one, as it stands on the wire.
func nonNil[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
