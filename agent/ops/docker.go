package ops

import (
	"context"
	"strconv"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// Docker is the Docker Engine of the host; *engine.Engine is one.
type Docker interface {
	Ping(context.Context) (catalog.DockerPing, error)
	Version(context.Context) (catalog.DockerVersion, error)
	Info(context.Context) (catalog.DockerInfo, error)
	Status(context.Context) (catalog.DockerStatus, error)
	Usage(context.Context) (catalog.DockerUsage, error)
	DockerContainers
	DockerImages
	DockerRaw
	DockerStreams
	// Watch tells what happens until ctx ends.
	Watch(ctx context.Context, tell func(engine.Event)) error
}

// DockerContainers are the engine's containers.
type DockerContainers interface {
	Containers(ctx context.Context, all bool) ([]string, error)
	Container(ctx context.Context, name string) (catalog.DockerContainer, error)
	Start(context.Context, engine.Order) (catalog.DockerStarted, error)
	Create(context.Context, engine.Order) (catalog.DockerStarted, error)
	Stop(ctx context.Context, name string, grace int) (catalog.DockerChanged, error)
	Restart(ctx context.Context, name string, grace int) (catalog.DockerChanged, error)
	Pause(ctx context.Context, name string) (catalog.DockerChanged, error)
	Unpause(ctx context.Context, name string) (catalog.DockerChanged, error)
	Destroy(ctx context.Context, by, name string, force, volumes bool) (catalog.DockerDestroyed, error)
}

// DockerImages are the engine's images.
type DockerImages interface {
	Images(context.Context) ([]string, error)
	Image(ctx context.Context, name string) (catalog.DockerImage, error)
	Update(ctx context.Context, name string, progress func(catalog.DockerPull)) (catalog.DockerUpdated, error)
	Remove(ctx context.Context, name string, force bool) (catalog.DockerRemoved, error)
	Prune(ctx context.Context, all bool) (catalog.DockerPruned, error)
}

// DockerRaw is what the engine itself says, for Crossbar.io's names.
type DockerRaw interface {
	RawInfo(context.Context) (catalog.Dict, error)
	RawVersion(context.Context) (catalog.Dict, error)
	RawUsage(context.Context) (catalog.Dict, error)
	RawContainer(ctx context.Context, name string) (catalog.Dict, error)
	RawImage(ctx context.Context, name string) (catalog.Dict, error)
}

// maxGrace is the longest time that a container may be given to end, in seconds.
const maxGrace = 600

func (o *Ops) bindDocker() {
	t, d := o.table, o.cfg.Docker
	catalog.Bind(t, catalog.DockerGetStatus, plainly(d.Status))
	catalog.Bind(t, catalog.DockerGetInfo, plainly(d.Info))
	catalog.BindCrossbar(t, catalog.DockerGetInfo, plainly(d.RawInfo))
	catalog.Bind(t, catalog.DockerGetPing, plainly(d.Ping))
	catalog.BindCrossbar(t, catalog.DockerGetPing, plainly(func(ctx context.Context) (bool, error) {
		_, err := d.Ping(ctx)
		return err == nil, err
	}))
	catalog.Bind(t, catalog.DockerGetVersion, plainly(d.Version))
	catalog.BindCrossbar(t, catalog.DockerGetVersion, plainly(d.RawVersion))
	catalog.Bind(t, catalog.DockerGetUsage, plainly(d.Usage))
	catalog.BindCrossbar(t, catalog.DockerGetUsage, plainly(d.RawUsage))
	o.bindDockerContainers()
	o.bindDockerImages()
}

func (o *Ops) bindDockerContainers() {
	t, d := o.table, o.cfg.Docker
	catalog.Bind(t, catalog.DockerGetContainers, func(ctx context.Context, _ catalog.Caller, in catalog.GetContainersIn) ([]string, error) {
		return d.Containers(ctx, in.All)
	})
	catalog.Bind(t, catalog.DockerGetContainer, onContainer(d.Container))
	catalog.BindCrossbar(t, catalog.DockerGetContainer, onContainer(d.RawContainer))
	catalog.Bind(t, catalog.DockerStartContainer, func(ctx context.Context, caller catalog.Caller, in catalog.StartContainerIn) (catalog.DockerStarted, error) {
		return d.Start(ctx, o.order(ctx, caller, in.Container, in.Config))
	})
	catalog.Bind(t, catalog.DockerCreateContainer, func(ctx context.Context, caller catalog.Caller, in catalog.CreateContainerIn) (catalog.DockerStarted, error) {
		if _, twice := in.Config["image"]; twice {
			return catalog.DockerStarted{}, cfcerr.Argument("container_config.image", "the image once, as argument image")
		}
		config := without(in.Config, "image")
		config["image"] = string(in.Image)
		return d.Create(ctx, o.order(ctx, caller, in.Container, config))
	})
	catalog.Bind(t, catalog.DockerStopContainer, gracefully(d.Stop))
	catalog.Bind(t, catalog.DockerRestartContainer, gracefully(d.Restart))
	catalog.Bind(t, catalog.DockerPauseContainer, onContainer(d.Pause))
	catalog.Bind(t, catalog.DockerUnpauseContainer, onContainer(d.Unpause))
	catalog.Bind(t, catalog.DockerDestroyContainer, func(ctx context.Context, caller catalog.Caller, in catalog.DestroyContainerIn) (catalog.DockerDestroyed, error) {
		return d.Destroy(ctx, caller.AuthID, string(in.Container), in.Force, in.Volumes)
	})
}

// onContainer is the handler of a row that takes a container alone.
func onContainer[Out any](f func(context.Context, string) (Out, error)) func(context.Context, catalog.Caller, catalog.OnContainer) (Out, error) {
	return func(ctx context.Context, _ catalog.Caller, in catalog.OnContainer) (Out, error) {
		return f(ctx, string(in.Container))
	}
}

func gracefully(f func(context.Context, string, int) (catalog.DockerChanged, error)) func(context.Context, catalog.Caller, catalog.StopContainerIn) (catalog.DockerChanged, error) {
	return func(ctx context.Context, _ catalog.Caller, in catalog.StopContainerIn) (catalog.DockerChanged, error) {
		if in.Grace < 0 || in.Grace > maxGrace {
			return catalog.DockerChanged{}, cfcerr.Argument("grace", "seconds from 0 to "+strconv.Itoa(maxGrace))
		}
		return f(ctx, string(in.Container), in.Grace)
	}
}

// order is what a caller wants started or created. Whoever may start what is
// there may not make anything he likes: that takes an owner.
func (o *Ops) order(ctx context.Context, caller catalog.Caller, name *catalog.DockerName, config map[string]any) engine.Order {
	order := engine.Order{Config: config, By: caller.AuthID, Progress: tellProgress(ctx), MayCreate: func() error {
		if caller.Role != wire.Owner {
			return cfcerr.New(cfcerr.NotAuthorized, "cannot create a container: it may be any program, so it takes the role owner; the caller's is %q", caller.Role)
		}
		return nil
	}}
	if name != nil {
		order.Name = string(*name)
	}
	return order
}

// tellProgress sends the caller how far a pull has come. Who no longer listens
// ends the call, not this.
func tellProgress(ctx context.Context) func(catalog.DockerPull) {
	return func(p catalog.DockerPull) { _ = session.Progress(ctx, wamp.List{p}, nil) }
}

func (o *Ops) bindDockerImages() {
	t, d := o.table, o.cfg.Docker
	catalog.Bind(t, catalog.DockerGetImages, plainly(d.Images))
	catalog.Bind(t, catalog.DockerGetImage, onImage(d.Image))
	catalog.BindCrossbar(t, catalog.DockerGetImage, onImage(d.RawImage))
	catalog.Bind(t, catalog.DockerUpdateImage, o.updateImage)
	catalog.Bind(t, catalog.DockerRemoveImage, o.removeImage)
	catalog.Bind(t, catalog.DockerPruneImages, func(ctx context.Context, _ catalog.Caller, in catalog.PruneImagesIn) (catalog.DockerPruned, error) {
		return d.Prune(ctx, in.All)
	})
}

func onImage[Out any](f func(context.Context, string) (Out, error)) func(context.Context, catalog.Caller, catalog.OnImage) (Out, error) {
	return func(ctx context.Context, _ catalog.Caller, in catalog.OnImage) (Out, error) {
		return f(ctx, string(in.Image))
	}
}

// eventEvery is how often at most an event tells the progress of an update,
// which goes to all who listen.
const eventEvery = time.Second

func (o *Ops) updateImage(ctx context.Context, caller catalog.Caller, in catalog.OnImage) (catalog.DockerUpdated, error) {
	name := string(in.Image)
	o.publish(catalog.OnDockerImageUpdateStarted, catalog.Dict{"by": caller.AuthID}, name)
	tell, told := tellProgress(ctx), time.Now()
	u, err := o.cfg.Docker.Update(ctx, name, func(p catalog.DockerPull) {
		tell(p)
		if time.Since(told) >= eventEvery {
			told = time.Now()
			o.publish(catalog.OnDockerImageUpdateProgress, catalog.Dict{"bytes": p.Bytes, "total": p.Total, "share": p.Share}, name)
		}
	})
	about := catalog.Dict{"by": caller.AuthID, "error": failure(err)}
	if err == nil {
		about["changed"], about["id"], about["digest"], about["old_digest"] = u.Changed, u.ID, text(u.Digest), text(u.OldDigest)
	}
	o.publish(catalog.OnDockerImageUpdateFinished, about, name)
	return u, err
}

func text(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func (o *Ops) removeImage(ctx context.Context, caller catalog.Caller, in catalog.RemoveImageIn) (catalog.DockerRemoved, error) {
	name := string(in.Image)
	o.publish(catalog.OnDockerImageRemoveStarted, catalog.Dict{"by": caller.AuthID}, name)
	r, err := o.cfg.Docker.Remove(ctx, name, in.Force)
	for _, part := range r.Untagged {
		o.publish(catalog.OnDockerImageRemoveProgress, catalog.Dict{"untagged": part}, name)
	}
	for _, part := range r.Deleted {
		o.publish(catalog.OnDockerImageRemoveProgress, catalog.Dict{"deleted": part}, name)
	}
	o.publish(catalog.OnDockerImageRemoveFinished, catalog.Dict{"by": caller.AuthID, "error": failure(err)}, name)
	return r, err
}

// publish tells the realm of something on this host.
func (o *Ops) publish(e *catalog.Event, about catalog.Dict, id string) {
	o.cfg.Publish(e, o.nodeID(), id, map[string]any(details(about)))
}

// engineEvent tells the realm what the engine has told.
func (o *Ops) engineEvent(v engine.Event) {
	e := catalog.DockerEvents[v.Object+" "+v.Action]
	if e == nil {
		return
	}
	about := catalog.Dict{"name": v.Attributes["name"], "image": v.Attributes["image"], "signal": v.Attributes["signal"], "happened": wire.Time(v.Time)}
	if code, err := strconv.Atoi(v.Attributes["exitCode"]); err == nil {
		about["exit_code"] = code
	}
	if v.Missed {
		about["missed"] = true
	}
	about = details(about)
	if v.Attributes["exitCode"] == "0" { // which says something
		about["exit_code"] = 0
	}
	o.cfg.Publish(e, o.nodeID(), v.ID, map[string]any(about))
}
