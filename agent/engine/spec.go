package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"
	"github.com/gammazero/nexus/v3/wamp"
)

// What CFC starts bears these labels, and nobody may set them himself: they say
// who made a container, not what it may do. labelConfig is the hash of what it
// was made of, to tell whether it is asked for again.
const (
	labelPrefix = "fabric.center."
	labelNode   = labelPrefix + "node"
	labelRealm  = labelPrefix + "realm"
	labelCaller = labelPrefix + "caller"
	labelConfig = labelPrefix + "config"
)

// spec is a container to be.
type spec struct {
	Image      string
	Pull       string `json:"-"` // how it gets here does not make it another
	Config     container.Config
	HostConfig container.HostConfig
}

// hash tells one spec from another.
func (s spec) hash() string {
	b, err := json.Marshal(s)
	if err != nil { // it is made of plain values
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// configAt is the name of the argument, for faults.
const configAt = "container_config"

// newSpec reads a container_config.
func newSpec(d map[string]any) (spec, error) {
	o := newOptions(configAt, d)
	s := spec{Image: o.text("image"), Pull: o.oneOf("pull", "missing", "always", "never")}
	if s.Image == "" {
		o.fail("image", "the name or id of an image")
	}
	s.Config = container.Config{Image: s.Image, Cmd: o.words("command"), Entrypoint: o.words("entrypoint"), User: o.text("user"), WorkingDir: o.text("working_dir"),
		Hostname: o.text("hostname"), StopSignal: o.text("stop_signal"), Healthcheck: o.health(), Labels: o.labels(), Tty: o.truth("tty"), OpenStdin: o.truth("stdin")}
	if grace := o.span("stop_timeout"); grace > 0 {
		seconds := int(grace.Round(time.Second) / time.Second)
		s.Config.StopTimeout = &seconds
	}
	env := o.dict("env", true)
	for name, value := range env {
		if impassable(name + "=" + value) {
			o.fail("env."+name, "a value "+passableForm)
		}
		s.Config.Env = append(s.Config.Env, name+"="+value)
	}
	slices.Sort(s.Config.Env)
	s.HostConfig = container.HostConfig{NetworkMode: container.NetworkMode(o.network()), RestartPolicy: o.restart(), Resources: o.limits(),
		ReadonlyRootfs: o.truth("read_only"), CapDrop: o.list("cap_drop"), Tmpfs: o.tmpfs(), Mounts: o.volumes()}
	if v, given := o.left["init"]; given && v != nil {
		init := o.truth("init")
		s.HostConfig.Init = &init
	}
	s.Config.ExposedPorts, s.HostConfig.PortBindings = o.ports()
	o.privileges(&s.HostConfig)
	o.take("init")
	return s, o.err()
}

// words are a list of strings that make a command.
func (o *options) words(key string) []string {
	l := o.list(key)
	if slices.ContainsFunc(l, impassable) {
		o.fail(key, "a list of strings, "+passableForm)
	}
	return l
}

// privileges are what a host has to allow.
func (o *options) privileges(h *container.HostConfig) {
	h.Privileged, h.CapAdd, h.SecurityOpt = o.truth("privileged"), o.list("cap_add"), o.list("security_opt")
	h.PidMode = container.PidMode(o.namespace("pid", "host", anothers))
	h.IpcMode = container.IpcMode(o.namespace("ipc", "host", anothers, "private", "shareable", "none"))
	h.UsernsMode, h.UTSMode = container.UsernsMode(o.namespace("userns", "host")), container.UTSMode(o.namespace("uts", "host"))
	h.CgroupParent, h.Runtime, h.VolumesFrom = o.text("cgroup_parent"), o.text("runtime"), o.list("volumes_from")
	for _, text := range o.list("devices") {
		host, rest, _ := strings.Cut(text, ":")
		inside, rights, _ := strings.Cut(rest, ":")
		if inside == "" {
			inside = host
		}
		if rights == "" {
			rights = "rwm"
		}
		if !path.IsAbs(host) || !path.IsAbs(inside) || strings.Trim(rights, "rwm") != "" {
			o.fail("devices", "/dev/name[:/name/inside[:rwm]] in each item")
		}
		h.Devices = append(h.Devices, container.DeviceMapping{PathOnHost: host, PathInContainer: inside, CgroupPermissions: rights})
	}
}

// anothers stands for a namespace of another container's.
const anothers = "container:NAME"

// namespace is one of the words. What an engine does not know it may ignore, or
// read in a way of its own.
func (o *options) namespace(key string, words ...string) string {
	s := o.text(key)
	name, another := strings.CutPrefix(s, "container:")
	if s != "" && (another && (name == "" || !slices.Contains(words, anothers)) || !another && !slices.Contains(words, s)) {
		o.fail(key, "one of "+strings.Join(words, ", "))
	}
	return s
}

// network is the name of one.
func (o *options) network() string {
	s := o.text("network")
	if name, another := strings.CutPrefix(s, "container:"); strings.ContainsAny(name, ":/ ") || another && name == "" {
		o.fail("network", "the name of a network, or "+anothers)
	}
	return s
}

func (o *options) labels() map[string]string {
	labels := o.dict("labels", true)
	for name := range labels {
		if strings.HasPrefix(name, labelPrefix) {
			o.fail("labels."+name, "a name that does not begin with "+labelPrefix)
		}
	}
	return labels
}

func (o *options) restart() container.RestartPolicy {
	const form = "no, always, unless-stopped, on-failure or on-failure:n"
	name, count, counted := strings.Cut(o.text("restart"), ":")
	p := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	if name == "" {
		p.Name = container.RestartPolicyDisabled
	}
	if !slices.Contains([]string{"", "no", "always", "unless-stopped", "on-failure"}, name) || counted && name != "on-failure" {
		o.fail("restart", form)
	}
	if counted {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			o.fail("restart", form)
		}
		p.MaximumRetryCount = n
	}
	return p
}

func (o *options) limits() (r container.Resources) {
	l := o.within("limits")
	if l == nil {
		return r
	}
	defer o.done(l)
	r.Memory = l.size("memory")
	r.NanoCPUs = int64(l.number("cpus", 0.01, 4096) * 1e9)
	if pids := l.whole("pids", 1, 1<<22); pids > 0 {
		r.PidsLimit = &pids
	}
	return r
}

func (o *options) health() *container.HealthConfig {
	h := o.within("health")
	if h == nil {
		return nil
	}
	defer o.done(h)
	test := h.words("test")
	switch {
	case len(test) == 0:
		h.fail("test", "a command, or none")
	case len(test) == 1 && test[0] == "none":
		test = []string{"NONE"}
	default:
		test = append([]string{"CMD"}, test...)
	}
	return &container.HealthConfig{Test: test, Interval: h.span("interval"), Timeout: h.span("timeout"), StartPeriod: h.span("start_period"), Retries: int(h.whole("retries", 1, 1000))}
}

// tmpfs are folders in memory, with a size at most.
func (o *options) tmpfs() map[string]string {
	sizes := o.dict("tmpfs", false)
	for target, size := range sizes {
		if _, err := strconv.ParseUint(size, 10, 63); err != nil || !plainTarget(target) {
			o.fail("tmpfs", "a dict of paths in the container, each to its size in bytes")
		}
		sizes[target] = "size=" + size
	}
	return sizes
}

func plainTarget(p string) bool { return path.IsAbs(p) && path.Clean(p) == p && p != "/" }

var volumeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// volumes are "source:target[:ro]", or dicts with source, target, read_only and,
// for a volume with a name, driver and options. A source with a slash in front is
// a folder of the host.
func (o *options) volumes() (mounts []mount.Mount) {
	const form = "source:target or source:target:ro in each item, source a volume's name or a plain path, target a plain path"
	v, given := o.take("volumes")
	l, ok := wamp.AsList(v)
	if given && !ok {
		o.fail("volumes", "a list")
	}
	for i, x := range l {
		m := mount.Mount{Type: mount.TypeVolume}
		key := fmt.Sprintf("volumes[%d]", i)
		if text, ok := x.(string); ok {
			parts := strings.Split(text, ":")
			if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" && parts[2] != "rw" {
				o.fail(key, form)
				continue
			}
			m.Source, m.Target, m.ReadOnly = parts[0], parts[1], len(parts) == 3 && parts[2] == "ro"
		} else if d, ok := wamp.AsDict(x); ok && x != nil {
			inner := newOptions(o.at+"."+key, d)
			m.Source, m.Target, m.ReadOnly = inner.text("source"), inner.text("target"), inner.truth("read_only")
			if driver, settings := inner.text("driver"), inner.dict("options", false); driver != "" || settings != nil {
				m.VolumeOptions = &mount.VolumeOptions{DriverConfig: &mount.Driver{Name: driver, Options: settings}}
			}
			o.done(inner)
		}
		if path.IsAbs(m.Source) {
			m.Type = mount.TypeBind
		}
		if !plainTarget(m.Target) || m.Type == mount.TypeVolume && !volumeName.MatchString(m.Source) || m.Type == mount.TypeBind && m.VolumeOptions != nil {
			o.fail(key, form)
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// ports are "[address:][host port:]port[/protocol]".
func (o *options) ports() (nat.PortSet, nat.PortMap) {
	exposed, bound := nat.PortSet{}, nat.PortMap{}
	v, given := o.take("ports")
	l, ok := wamp.AsList(v)
	if given && !ok {
		o.fail("ports", "a list")
	}
	for i, x := range l {
		text, ok := scalar(x)
		list, err := nat.ParsePortSpec(text)
		if !ok || err != nil || len(list) != 1 {
			o.fail(fmt.Sprintf("ports[%d]", i), "[address:][host port:]port[/protocol], such as 127.0.0.1:8080:80 or 80/udp")
			continue
		}
		p := list[0]
		exposed[p.Port] = struct{}{}
		bound[p.Port] = append(bound[p.Port], p.Binding)
	}
	return exposed, bound
}
