package engine

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"
)

// judged says for every field of a container that reaches out of it where it
// is judged, or why it need not be. A new version of the engine's API has to be
// looked through before it is used.
var judged = map[string]string{
	"Binds": "mounts", "Mounts": "mounts", "VolumesFrom": "mounts", "VolumeDriver": "mounts", "Tmpfs": "memory of the container's own",
	"NetworkMode": "namespaces", "PidMode": "namespaces", "IpcMode": "namespaces", "UTSMode": "namespaces", "UsernsMode": "namespaces", "Cgroup": "namespaces",
	"CgroupnsMode": "the host's is the engine's default where cgroups are of version 1",
	"Privileged":   "rights", "CapAdd": "rights", "SecurityOpt": "rights", "Resources.CgroupParent": "rights", "MaskedPaths": "masks", "ReadonlyPaths": "masks",
	"Resources.Devices": "devices", "Resources.DeviceCgroupRules": "devices", "Resources.DeviceRequests": "devices", "Runtime": "runtimes", "Annotations": "runtimes",
	"CapDrop": "takes rights", "ReadonlyRootfs": "takes rights", "Init": "within", "GroupAdd": "within", "ShmSize": "within", "Sysctls": "of the container's namespaces alone, as the engine sees to",
	"ContainerIDFile": "not read by the engine", "LogConfig": "where the engine writes", "PortBindings": "ports are not limited", "PublishAllPorts": "ports are not limited",
	"RestartPolicy": "judged when it is started", "AutoRemove": "within", "ConsoleSize": "within", "DNS": "within", "DNSOptions": "within", "DNSSearch": "within", "ExtraHosts": "within",
	"Links": "names alone", "OomScoreAdj": "limits", "StorageOpt": "limits", "Isolation": "Windows",
}

func TestEveryFieldIsJudged(t *testing.T) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[container.HostConfig]()) {
		name := f.Name
		if len(f.Index) > 1 {
			name = "Resources." + name
		}
		limit := strings.HasPrefix(name, "Resources.") // all others are limits
		if judged[name] == "" && !limit && name != "Resources" {
			t.Errorf("%s of a container's HostConfig is not judged", name)
		}
	}
	if n := reflect.TypeFor[container.Resources]().NumField(); n != 31 {
		t.Errorf("a container has %d kinds of limits, 31 are known: does a new one reach out of it?", n)
	}
}

func ruleOf(err error) string {
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != cfcerr.DeniedByHost {
		return ""
	}
	return e.Details["rule"].(string)
}

func TestJudgement(t *testing.T) {
	nvidia := []string{"NVIDIA_VISIBLE_DEVICES=all"}
	for what, c := range map[string]struct {
		h     container.HostConfig
		env   []string
		own   string
		rules policy.Docker
		want  string
	}{
		"nothing":                  {want: ""},
		"privileged":               {h: container.HostConfig{Privileged: true}, want: "docker.privileged"},
		"cap":                      {h: container.HostConfig{CapAdd: []string{"NET_ADMIN"}}, want: "docker.capabilities"},
		"cap by its other name":    {h: container.HostConfig{CapAdd: []string{"CAP_NET_ADMIN"}}, rules: policy.Docker{Capabilities: []string{"net_admin"}}},
		"option":                   {h: container.HostConfig{SecurityOpt: []string{"label=disable"}}, want: "docker.security_options"},
		"option that takes rights": {h: container.HostConfig{SecurityOpt: []string{"no-new-privileges:true"}}},
		"option that gives them":   {h: container.HostConfig{SecurityOpt: []string{"no-new-privileges:false"}}, want: "docker.security_options"},
		"cgroup":                   {h: container.HostConfig{Resources: container.Resources{CgroupParent: "/"}}, want: "docker.cgroup_parents"},
		"pid":                      {h: container.HostConfig{PidMode: "host"}, rules: policy.Docker{HostNamespaces: []string{"ipc"}}, want: "docker.host_namespaces"},
		"network by its path":      {h: container.HostConfig{NetworkMode: "ns:/proc/1/ns/net"}, want: "docker.host_namespaces"},
		"pid allowed":              {h: container.HostConfig{PidMode: "host"}, rules: policy.Docker{HostNamespaces: []string{"pid"}}},
		"cgroup of another":        {h: container.HostConfig{Cgroup: "container:x"}, want: "docker.container_namespaces"},
		"ipc of another":           {h: container.HostConfig{IpcMode: "container:x"}, want: "docker.container_namespaces"},
		"ipc for others":           {h: container.HostConfig{IpcMode: "shareable"}},
		"device":                   {h: container.HostConfig{Resources: container.Resources{Devices: []container.DeviceMapping{{PathOnHost: "/dev/sda"}}}}, want: "docker.devices"},
		"all graphics cards":       {h: container.HostConfig{Resources: container.Resources{DeviceRequests: []container.DeviceRequest{{Count: -1, Capabilities: [][]string{{"gpu"}}}}}}, want: "docker.devices"},
		"rule of devices":          {h: container.HostConfig{Resources: container.Resources{DeviceCgroupRules: []string{"a *:* rwm"}}}, want: "docker.devices"},
		"runtime":                  {h: container.HostConfig{Runtime: "nvidia"}, own: "runc", want: "docker.runtimes"},
		"the engine's own":         {h: container.HostConfig{Runtime: "nvidia"}, own: "nvidia"},
		"runtime allowed":          {h: container.HostConfig{Runtime: "kata"}, own: "runc", rules: policy.Docker{Runtimes: []string{"kata"}}},
		"orders to the runtime":    {h: container.HostConfig{Annotations: map[string]string{"run.oci.hooks": "x"}}, want: "docker.runtimes"},
		"device by environment":    {h: container.HostConfig{Runtime: "nvidia"}, env: nvidia, own: "nvidia", want: "docker.devices"},
		"by the image's":           {env: nvidia, own: "nvidia", want: "docker.devices"},
		"by an image of old":       {env: []string{"CUDA_VERSION=9.0"}, own: "nvidia", want: "docker.devices"},
		"of which it wants none":   {env: []string{"CUDA_VERSION=9.0", "NVIDIA_VISIBLE_DEVICES=void"}, own: "nvidia"},
		"which nobody reads":       {env: nvidia, own: "runc"},
		"none by environment":      {env: []string{"NVIDIA_VISIBLE_DEVICES=void"}, own: "nvidia"},
	} {
		if got := ruleOf(judge(c.rules, &c.h, c.env, c.own)); got != c.want {
			t.Errorf("%s: refused by %q, expected %q", what, got, c.want)
		}
	}
	masks := container.HostConfig{MaskedPaths: []string{"/proc/kcore"}, ReadonlyPaths: []string{"/proc/sys"}}
	if err := judgeMasks(policy.Docker{}, &masks); err != nil {
		t.Error(err)
	}
	masks.ReadonlyPaths = nil
	if ruleOf(judgeMasks(policy.Docker{}, &masks)) != "docker.security_options" || judgeMasks(policy.Docker{SecurityOptions: []string{"systempaths=unconfined"}}, &masks) != nil {
		t.Error("a container without masks")
	}
}

// TestHashesOfConfigsAreNotShown: who guesses an environment could try by them.
func TestHashesOfConfigsAreNotShown(t *testing.T) {
	d, err := dictOf([]byte(`{"Config": {"Labels": {"a": "b", "fabric.center.config": "4711"}}, "Containers": [{"Labels": {"fabric.center.config": "4711"}}, null, 1]}`), nil)
	if text := fmt.Sprint(d); err != nil || strings.Contains(text, "4711") || !strings.Contains(text, "a:b") {
		t.Errorf("%s, %v", text, err)
	}
	if d, err := dictOf([]byte("null"), nil); d != nil || err != nil {
		t.Errorf("%v, %v", d, err)
	}
}

func TestVolumesAreLookedBehind(t *testing.T) {
	e := New(Config{})
	far := New(Config{Host: "tcp://127.0.0.1:1"})
	for what, c := range map[string]struct {
		v     volume.Volume
		rules policy.Docker
		want  string
	}{
		"plain":                  {v: volume.Volume{Driver: "local"}},
		"bounded":                {v: volume.Volume{Options: map[string]string{"size": "1g"}}},
		"memory":                 {v: volume.Volume{Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}}},
		"memory that is none":    {v: volume.Volume{Options: map[string]string{"type": "tmpfs", "o": "bind", "device": "/"}}, want: "docker.binds"},
		"folder":                 {v: volume.Volume{Options: map[string]string{"type": "none", "o": "bind", "device": "/"}}, want: "docker.binds"},
		"folder by another word": {v: volume.Volume{Options: map[string]string{"o": "rbind", "device": "/etc"}}, want: "docker.binds"},
		"folder, one more word":  {v: volume.Volume{Options: map[string]string{"o": "bind,remount", "device": "/"}}, rules: policy.Docker{Binds: []string{"/"}}, want: "docker.binds"},
		"folder allowed":         {v: volume.Volume{Options: map[string]string{"o": "bind", "device": "/"}}, rules: policy.Docker{Binds: []string{"/"}}},
		"device":                 {v: volume.Volume{Options: map[string]string{"type": "ext4", "device": "/dev/sda1"}}, want: "docker.volume_drivers"},
		"no type":                {v: volume.Volume{Options: map[string]string{"device": "/dev/sda1"}}, rules: policy.Docker{VolumeDrivers: []string{""}}, want: "docker.volume_drivers"},
		"share allowed":          {v: volume.Volume{Options: map[string]string{"type": "nfs", "device": ":/x"}}, rules: policy.Docker{VolumeDrivers: []string{"nfs"}}},
		"driver":                 {v: volume.Volume{Driver: "vieux/sshfs"}, want: "docker.volume_drivers"},
	} {
		if got := ruleOf(e.judgeVolumeOptions(t.Context(), c.rules, c.v)); got != c.want {
			t.Errorf("%s: refused by %q, expected %q", what, got, c.want)
		}
	}
	if got := ruleOf(far.judgeBind(t.Context(), policy.Docker{Binds: []string{"/"}}, "/", "")); got != "docker.binds" {
		t.Errorf("a folder of another host: %q", got)
	}
	if got := ruleOf(e.judgeBind(t.Context(), policy.Docker{Binds: []string{"/"}}, "/", "rshared")); got != "docker.binds" {
		t.Errorf("mounts that reach the host: %q", got)
	}
}

func TestFoldersThatLieInEachOther(t *testing.T) {
	for _, c := range []struct {
		a, b folder
		want string
	}{
		{folder{"/a", true}, folder{"/a/b", false}, "docker.binds"},
		{folder{"/a", true}, folder{"/a", true}, ""},
		{folder{"/a", false}, folder{"/a/b", true}, ""},
		{folder{"/a", true}, folder{"/ab", true}, ""},
		{folder{"/", true}, folder{"/a", false}, "docker.binds"},
	} {
		if got, other := ruleOf(apart([]folder{c.a}, c.b)), ruleOf(apart([]folder{c.b}, c.a)); got != c.want || other != c.want {
			t.Errorf("%v and %v: refused by %q and %q, expected %q", c.a, c.b, got, other, c.want)
		}
	}
}
