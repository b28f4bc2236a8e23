package ops

import (
	"context"

	"fabric.center/cfc/shared/catalog"
)

// Docker is the Docker Engine of the host; *engine.Engine is one.
type Docker interface {
	Ping(context.Context) (catalog.DockerPing, error)
	Version(context.Context) (catalog.DockerVersion, error)
	Info(context.Context) (catalog.DockerInfo, error)
	Status(context.Context) (catalog.DockerStatus, error)
	DockerStreams
}

func (o *Ops) bindDocker() {
	t, d := o.table, o.cfg.Docker
	catalog.Bind(t, catalog.DockerGetStatus, plainly(d.Status))
	catalog.Bind(t, catalog.DockerGetInfo, plainly(d.Info))
	catalog.Bind(t, catalog.DockerGetPing, plainly(d.Ping))
	catalog.Bind(t, catalog.DockerGetVersion, plainly(d.Version))
}
