package engine

import (
	"context"
	"maps"
	"net"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"fabric.center/cfc/agent/policy"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"
)

// judgeMounts judges what a container that is there has mounted, by whichever
// way it came: asked for, from another container, by its image.
func (e *Engine) judgeMounts(ctx context.Context, api *client.Client, d policy.Docker, c container.InspectResponse) error {
	if driver := c.HostConfig.VolumeDriver; driver != "" && driver != "local" && !slices.Contains(d.VolumeDrivers, driver) {
		return policy.Refused("volume_drivers", "does not allow the volume driver %s", driver)
	}
	var own []folder
	for _, m := range c.Mounts {
		f, err := e.judgeMount(ctx, api, d, m)
		if err != nil {
			return err
		}
		own = append(own, f...)
	}
	return e.judgeNesting(ctx, api, c.ID, own)
}

// judgeAsked judges the mounts of a container that is to be. The engine mounts
// volumes as soon as it makes one, and fills them from the image: what is behind
// a name is looked at before.
func (e *Engine) judgeAsked(ctx context.Context, api *client.Client, d policy.Docker, mounts []mount.Mount) error {
	var own []folder
	for _, m := range mounts {
		point := container.MountPoint{Type: m.Type, Name: m.Source, Source: m.Source, RW: !m.ReadOnly}
		f, err := e.judgeMount(ctx, api, d, point)
		if err == nil && m.VolumeOptions != nil {
			v := volumeOf(m)
			own = append(own, behind(v, point.RW)...)
			err = e.judgeVolumeOptions(ctx, d, v)
		}
		if err != nil {
			return err
		}
		own = append(own, f...)
	}
	return e.judgeNesting(ctx, api, "", own)
}

// folder is one of the host's that a container mounts.
type folder struct {
	path string
	rw   bool
}

// judgeMount gives the folder of the host behind a mount, if there is one.
func (e *Engine) judgeMount(ctx context.Context, api *client.Client, d policy.Docker, m container.MountPoint) ([]folder, error) {
	switch m.Type {
	case mount.TypeTmpfs:
		return nil, nil
	case mount.TypeBind:
		return []folder{{m.Source, m.RW}}, e.judgeBind(ctx, d, m.Source, m.Propagation)
	case mount.TypeVolume:
		return e.judgeVolume(ctx, api, d, m)
	}
	return nil, policy.Refused("binds", "does not allow mounts of type %s", m.Type)
}

func (e *Engine) judgeBind(ctx context.Context, d policy.Docker, source string, spread mount.Propagation) error {
	if e.cfg.Host != "" {
		return policy.Refused("binds", "allows no mounts where the engine is reached by TCP: its paths cannot be seen")
	}
	if elsewhere(ctx, e.cfg.Socket) {
		return policy.Refused("binds", "allows no mounts where the engine is outside of the agent's container: its paths cannot be seen")
	}
	if strings.HasSuffix(string(spread), "shared") {
		return policy.Refused("binds", "does not allow to mount %s %s: what is mounted there would reach the host", source, spread)
	}
	return d.Bind(source)
}

// elsewhere reports whether who listens at a socket has no process id here: it
// sees other files than an agent that runs in a container of its own. A socket
// that cannot be asked is that of no engine either.
func elsewhere(ctx context.Context, socket string) bool {
	conn, err := (&net.Dialer{Timeout: Patience}).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return true
	}
	there := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		there = err == nil && cred.Pid > 0
	})
	return err != nil || !there
}

// judgeNesting refuses a folder of the host while some container, which may be
// the same one, can write above it: that could put a link to anywhere in its
// place, which the engine follows at the next start, also at one of its own that
// nobody judges.
func (e *Engine) judgeNesting(ctx context.Context, api *client.Client, id string, own []folder) error {
	if len(own) == 0 {
		return nil
	}
	for i, f := range own {
		if err := apart(own[:i], f); err != nil {
			return err
		}
	}
	list, err := api.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return err
	}
	volumes, err := api.VolumeList(ctx, volume.ListOptions{})
	if err != nil {
		return err
	}
	byName := map[string]volume.Volume{}
	for _, v := range volumes.Volumes {
		if v != nil {
			byName[v.Name] = *v
		}
	}
	for _, other := range list {
		if other.ID == id {
			continue
		}
		for _, m := range other.Mounts {
			for _, f := range foldersOf(m, byName) {
				if err := apart(own, f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// apart refuses two folders of which one lies in the other that can be written.
func apart(own []folder, f folder) error {
	for _, mine := range own {
		outer, inner := mine, f
		if policy.Within(mine.path, f.path) {
			outer, inner = f, mine
		}
		if outer.rw && outer.path != inner.path && policy.Within(inner.path, outer.path) {
			return policy.Refused("binds", "does not allow to mount %s while a container can write %s above it", inner.path, outer.path)
		}
	}
	return nil
}

// foldersOf are those behind a mount of any container, which nobody has judged.
func foldersOf(m container.MountPoint, volumes map[string]volume.Volume) []folder {
	switch m.Type {
	case mount.TypeBind:
		return []folder{{m.Source, m.RW}, {real(m.Source), m.RW}}
	case mount.TypeVolume:
		return behind(volumes[m.Name], m.RW)
	}
	return nil
}

// behind is the folder of the host that a volume stands for, if it does.
func behind(v volume.Volume, rw bool) []folder {
	device := v.Options["device"]
	if !path.IsAbs(device) {
		return nil
	}
	return []folder{{path.Clean(device), rw}, {real(device), rw}}
}

// real is where a path leads, or the path where that cannot be seen.
func real(p string) string {
	if led, err := filepath.EvalSymlinks(p); err == nil {
		return led
	}
	return path.Clean(p)
}

// judgeVolume looks behind the name of a volume: its driver may mount anything.
func (e *Engine) judgeVolume(ctx context.Context, api *client.Client, d policy.Docker, m container.MountPoint) ([]folder, error) {
	if m.Driver != "" && m.Driver != "local" && !slices.Contains(d.VolumeDrivers, m.Driver) {
		return nil, policy.Refused("volume_drivers", "does not allow the volume driver %s", m.Driver)
	}
	v, err := api.VolumeInspect(ctx, m.Name)
	if cerrdefs.IsNotFound(err) { // the engine will make a plain one
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return behind(v, m.RW), e.judgeVolumeOptions(ctx, d, v)
}

func (e *Engine) judgeVolumeOptions(ctx context.Context, d policy.Docker, v volume.Volume) error {
	switch {
	case v.Driver != "local" && v.Driver != "":
		if !slices.Contains(d.VolumeDrivers, v.Driver) {
			return policy.Refused("volume_drivers", "does not allow the volume driver %s", v.Driver)
		}
		return nil
	case len(v.Options) == 0 || onlySize(v.Options):
		return nil
	}
	options := strings.Split(v.Options["o"], ",")
	kind := v.Options["type"]
	if kind == "tmpfs" && !slices.Contains(options, "bind") && !slices.Contains(options, "rbind") {
		return nil
	}
	if slices.Contains(options, "bind") || slices.Contains(options, "rbind") {
		for _, o := range options { // another mount option could undo what is judged
			if !slices.Contains([]string{"bind", "rbind", "ro", "rw", ""}, o) {
				return policy.Refused("binds", "does not allow the mount option %s", o)
			}
		}
		return e.judgeBind(ctx, d, v.Options["device"], "")
	}
	if !slices.Contains(d.VolumeDrivers, kind) || kind == "" {
		return policy.Refused("volume_drivers", "does not allow volumes of kind %q", kind)
	}
	return nil
}

func onlySize(options map[string]string) bool {
	return slices.Equal(slices.Collect(maps.Keys(options)), []string{"size"})
}
