package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"

	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// shortID is how much of an id people are shown.
const shortID = 12

// Order is a container that somebody wants.
type Order struct {
	Name   string // or id of one that is there; empty makes one up
	Config map[string]any
	By     string // the caller
	// MayCreate is asked before a container that is not there is made.
	MayCreate func() error
	// Progress is told how far a pull has come; nil for nobody.
	Progress func(catalog.DockerPull)
}

func (o Order) what() string { return strings.TrimSuffix("container "+o.Name, " ") }

// Start starts a container that is there, or makes it first.
func (e *Engine) Start(ctx context.Context, o Order) (catalog.DockerStarted, error) {
	return use(ctx, e, "start "+o.what(), func(ctx context.Context, api *client.Client) (out catalog.DockerStarted, err error) {
		c, err := e.find(ctx, api, o)
		switch {
		case cerrdefs.IsNotFound(err):
			return e.startNew(ctx, api, o)
		case err != nil:
			return out, err
		case c.State.Running:
			return out, cfcerr.New(cfcerr.AlreadyRunning, "cannot start container %s: it is %s", o.Name, c.State.Status).
				With("container_id", o.Name).With("state", c.State.Status)
		}
		return e.startThis(ctx, api, c, false, nil)
	})
}

// find is the container that is there, if it is the one that is wanted.
func (e *Engine) find(ctx context.Context, api *client.Client, o Order) (c container.InspectResponse, err error) {
	if o.Name == "" {
		return c, cerrdefs.ErrNotFound
	}
	if c, err = inspect(ctx, api, o.Name); err != nil {
		if cerrdefs.IsNotFound(err) && len(o.Config) == 0 {
			err = cfcerr.New(cfcerr.NoSuchObject, "cannot start container %s: there is none, and no config to make it of", o.Name).With("container_id", o.Name)
		}
		return c, err
	}
	if len(o.Config) == 0 {
		return c, nil
	}
	if c.Name != "/"+o.Name && (len(o.Name) < shortID || !strings.HasPrefix(c.ID, o.Name)) {
		return c, cerrdefs.ErrNotFound // a name that by chance begins an id
	}
	s, err := newSpec(o.Config)
	if err == nil && c.Config.Labels[labelConfig] != s.hash() {
		err = cfcerr.New(cfcerr.AlreadyExists, "cannot start container %s: there is one that was made of another config", o.Name).With("container_id", c.ID)
	}
	return c, err
}

func (e *Engine) startNew(ctx context.Context, api *client.Client, o Order) (out catalog.DockerStarted, err error) {
	c, warnings, err := e.create(ctx, api, o)
	if err != nil {
		return out, err
	}
	if out, err = e.startThis(ctx, api, c, true, warnings); err != nil {
		e.takeBack(ctx, api, c.ID)
	}
	return out, err
}

// startThis starts a container if the host lets it be what it is.
func (e *Engine) startThis(ctx context.Context, api *client.Client, c container.InspectResponse, created bool, warnings []string) (out catalog.DockerStarted, err error) {
	if err := e.judgeThere(ctx, api, c); err != nil {
		return out, err
	}
	if err := api.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		return out, err
	}
	if c, err = inspect(ctx, api, c.ID); err != nil {
		return out, err
	}
	return e.started(ctx, api, c, created, warnings), nil
}

func (e *Engine) started(ctx context.Context, api *client.Client, c container.InspectResponse, created bool, warnings []string) catalog.DockerStarted {
	d := describe(c, e.digestOf(ctx, api, c.Image))
	return catalog.DockerStarted{ID: d.ID, Name: d.Name, Image: d.Image, ImageID: d.ImageID, ImageDigest: d.ImageDigest, Created: created, State: d.State,
		Started: d.Started, Ports: d.Ports, Warnings: nonNil(warnings)}
}

// Create makes a container without starting it.
func (e *Engine) Create(ctx context.Context, o Order) (catalog.DockerStarted, error) {
	return use(ctx, e, "create "+o.what(), func(ctx context.Context, api *client.Client) (out catalog.DockerStarted, err error) {
		c, warnings, err := e.create(ctx, api, o)
		if err != nil {
			return out, err
		}
		return e.started(ctx, api, c, true, warnings), nil
	})
}

// create makes a container, and takes it back if it turns out to be what the
// host does not allow.
func (e *Engine) create(ctx context.Context, api *client.Client, o Order) (c container.InspectResponse, warnings []string, err error) {
	if err := o.MayCreate(); err != nil {
		return c, nil, err
	}
	s, err := newSpec(o.Config)
	if err != nil {
		return c, nil, err
	}
	if o.Name == "" {
		o.Name = madeUp()
	}
	info, err := api.Info(ctx)
	if err != nil {
		return c, nil, err
	}
	if err := e.judgeSpec(ctx, api, e.cfg.Rules(), s, info.DefaultRuntime); err != nil {
		return c, nil, err
	}
	if err := e.provide(ctx, api, s, o.Progress); err != nil {
		return c, nil, err
	}
	s.Config.Labels = e.labelled(s, o.By)
	made, err := api.ContainerCreate(ctx, &s.Config, &s.HostConfig, nil, nil, o.Name)
	if err != nil {
		return c, nil, err
	}
	if c, err = inspect(ctx, api, made.ID); err == nil {
		err = e.judgeThere(ctx, api, c)
	}
	if err != nil {
		e.takeBack(ctx, api, made.ID)
		return c, nil, err
	}
	return c, made.Warnings, nil
}

// judgeSpec refuses before anything is made or pulled what the config alone
// tells. What has come of it is judged again.
func (e *Engine) judgeSpec(ctx context.Context, api *client.Client, d policy.Docker, s spec, ownRuntime string) error {
	if err := judge(d, &s.HostConfig, s.Config.Env, ownRuntime); err != nil {
		return err
	}
	return e.judgeAsked(ctx, api, d, s.HostConfig.Mounts)
}

// labelled are the labels that tell who had the container made.
func (e *Engine) labelled(s spec, by string) map[string]string {
	labels := map[string]string{labelCaller: by, labelConfig: s.hash()}
	for name, value := range s.Config.Labels {
		labels[name] = value
	}
	for name, f := range map[string]func() string{labelNode: e.cfg.Node, labelRealm: e.cfg.Realm} {
		if f != nil {
			labels[name] = f()
		}
	}
	return labels
}

// takeBack removes what this call has made, even if the call has ended.
func (e *Engine) takeBack(ctx context.Context, api *client.Client, id string) {
	ctx, cancel := patiently(context.WithoutCancel(ctx))
	defer cancel()
	if err := api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		e.log.Warn("cannot take back a container", idField(id), errField(err))
	}
}

func madeUp() string {
	var b [6]byte
	rand.Read(b[:])
	return "cfc_" + hex.EncodeToString(b[:])
}
