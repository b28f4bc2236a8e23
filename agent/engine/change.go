package engine

import (
	"context"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// change does something to a container that is there, and tells how it is then.
func (e *Engine) change(ctx context.Context, doing, name string, f func(context.Context, *client.Client, container.InspectResponse) error) (catalog.DockerChanged, error) {
	return use(ctx, e, doing+" container "+name, func(ctx context.Context, api *client.Client) (out catalog.DockerChanged, err error) {
		c, err := inspect(ctx, api, name)
		if err == nil {
			err = f(ctx, api, c)
		}
		if err == nil {
			c, err = inspect(ctx, api, c.ID)
		}
		if err != nil {
			return out, err
		}
		d := describe(c, nil)
		return catalog.DockerChanged{ID: d.ID, Name: d.Name, State: d.State, ExitCode: d.ExitCode, Started: d.Started, Finished: d.Finished}, nil
	})
}

func notRunning(doing, name, state string) error {
	return cfcerr.New(cfcerr.NotRunning, "cannot %s container %s: it is %s", doing, name, state).With("container_id", name).With("state", state)
}

// Stop asks the container to end, and kills it after grace seconds.
func (e *Engine) Stop(ctx context.Context, name string, grace int) (catalog.DockerChanged, error) {
	return e.change(ctx, "stop", name, func(ctx context.Context, api *client.Client, c container.InspectResponse) error {
		if !c.State.Running {
			return notRunning("stop", name, c.State.Status)
		}
		return api.ContainerStop(ctx, c.ID, container.StopOptions{Timeout: &grace})
	})
}

// Restart is Stop and a start, judged as each start is.
func (e *Engine) Restart(ctx context.Context, name string, grace int) (catalog.DockerChanged, error) {
	return e.change(ctx, "restart", name, func(ctx context.Context, api *client.Client, c container.InspectResponse) error {
		if err := e.judgeThere(ctx, api, c); err != nil {
			return err
		}
		return api.ContainerRestart(ctx, c.ID, container.StopOptions{Timeout: &grace})
	})
}

// Pause freezes the container's processes.
func (e *Engine) Pause(ctx context.Context, name string) (catalog.DockerChanged, error) {
	return e.change(ctx, "pause", name, func(ctx context.Context, api *client.Client, c container.InspectResponse) error {
		if !c.State.Running || c.State.Paused {
			return notRunning("pause", name, c.State.Status)
		}
		return api.ContainerPause(ctx, c.ID)
	})
}

// Unpause lets them go on, judged as each start is: one that was frozen when a
// rule came stays so.
func (e *Engine) Unpause(ctx context.Context, name string) (catalog.DockerChanged, error) {
	return e.change(ctx, "unpause", name, func(ctx context.Context, api *client.Client, c container.InspectResponse) error {
		if !c.State.Paused {
			return cfcerr.New(cfcerr.NotRunning, "cannot unpause container %s: it is %s, not paused", name, c.State.Status).With("container_id", name).With("state", c.State.Status)
		}
		if err := e.judgeThere(ctx, api, c); err != nil {
			return err
		}
		return api.ContainerUnpause(ctx, c.ID)
	})
}

// Destroy removes the container.
func (e *Engine) Destroy(ctx context.Context, by, name string, force, volumes bool) (catalog.DockerDestroyed, error) {
	return use(ctx, e, "destroy container "+name, func(ctx context.Context, api *client.Client) (out catalog.DockerDestroyed, err error) {
		c, err := inspect(ctx, api, name)
		if err != nil {
			return out, err
		}
		if c.State.Running && !force {
			return out, cfcerr.New(cfcerr.NotEmpty, "cannot destroy container %s: it is %s; stop it first, or use force", name, c.State.Status).
				With("container_id", name).With("state", c.State.Status)
		}
		err = api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: force, RemoveVolumes: volumes})
		return catalog.DockerDestroyed{ID: c.ID, Name: describe(c, nil).Name, By: by}, err
	})
}
