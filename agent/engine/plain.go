package engine

import (
	"cmp"
	"strconv"

	"fabric.center/cfc/shared/catalog"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"go.uber.org/zap"
)

func itoa(n int) string { return strconv.Itoa(n) }

// atoi is a number of the engine, 0 for none.
func atoi(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

func comparePorts(a, b catalog.DockerPort) int {
	return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Host, b.Host))
}

// volumeOf is the volume that a mount asks for, as the engine would tell it.
func volumeOf(m mount.Mount) volume.Volume {
	return volume.Volume{Name: m.Source, Driver: m.VolumeOptions.DriverConfig.Name, Options: m.VolumeOptions.DriverConfig.Options}
}

func idField(id string) zap.Field  { return zap.String("container", id) }
func errField(err error) zap.Field { return zap.Error(err) }
