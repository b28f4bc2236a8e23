package policy

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/config"
	"github.com/distribution/reference"
)

// Docker is what may be done with the host's Docker Engine while the area is
// on. What is not allowed here is refused, of new containers and of those that
// are there: at every start, restart, unpause and exec.
type Docker struct {
	Images              []string `yaml:"images" doc:"images that containers may be made of: name, name:tag, name@digest, prefix/*; all if empty"`
	Registries          []string `yaml:"registries" doc:"registries that images may come from, such as docker.io or registry.example.com:5000; all if empty"`
	Exec                bool     `yaml:"exec" doc:"owners may run commands within containers"`
	Privileged          bool     `yaml:"privileged" doc:"containers may be privileged, that is root on this host"`
	Capabilities        []string `yaml:"capabilities" doc:"capabilities that containers may be given beyond the usual, such as NET_ADMIN"`
	HostNamespaces      []string `yaml:"host_namespaces" doc:"namespaces of the host that containers may share: network, pid, ipc, userns, uts"`
	ContainerNamespaces bool     `yaml:"container_namespaces" doc:"containers may share namespaces of other containers"`
	Devices             []string `yaml:"devices" doc:"devices that containers may have: path, driver of a device request, or rule of the device cgroup"`
	SecurityOptions     []string `yaml:"security_options" doc:"security options that containers may have, such as seccomp=unconfined"`
	CgroupParents       []string `yaml:"cgroup_parents" doc:"cgroups that containers may be put below"`
	Runtimes            []string `yaml:"runtimes" doc:"runtimes beside the engine's own that containers may have"`
	VolumeDrivers       []string `yaml:"volume_drivers" doc:"drivers of volumes beside local, and kinds of what local mounts, such as nfs"`
	Binds               []string `yaml:"binds" doc:"folders that containers may mount; root alone may write them and those above"`
}

var namespaces = []string{"network", "pid", "ipc", "userns", "uts"}

func (d Docker) faults() []config.Fault {
	var faults []config.Fault
	fault := func(key string, i int, format string, args ...any) {
		faults = append(faults, config.Faultf(fmt.Sprintf("docker.%s[%d]", key, i), format, args...))
	}
	for i, pattern := range d.Images {
		if _, err := parsePattern(pattern); err != nil {
			fault("images", i, "%q is no image: %v", pattern, err)
		}
	}
	for i, name := range d.Registries {
		if n, err := reference.ParseNormalizedNamed(name + "/x"); err != nil || reference.Domain(n) != name {
			fault("registries", i, "expected host or host:port, found %q", name)
		}
	}
	for i, ns := range d.HostNamespaces {
		if !slices.Contains(namespaces, ns) {
			fault("host_namespaces", i, "expected one of %v, found %q", namespaces, ns)
		}
	}
	for i, dir := range d.Binds {
		if !path.IsAbs(dir) || path.Clean(dir) != dir {
			fault("binds", i, "expected the plain path of a folder, found %q", dir)
		}
	}
	return faults
}

// Docker are the rules in force, the strictest while the file cannot be used.
func (p *Policy) Docker() Docker {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.broken != nil {
		return Docker{}
	}
	return p.rules.Docker
}

// Refused is the error of what a rule forbids; the sentence goes on after "the
// host's policy ".
func Refused(rule, format string, args ...any) error {
	return cfcerr.New(cfcerr.DeniedByHost, "cannot do this with Docker: the host's policy "+format, args...).With("rule", "docker."+rule)
}

// pattern is one of Images.
type pattern struct {
	prefix      string // of repositories; "" where there is none
	name        reference.Named
	tag, digest string
}

func parsePattern(text string) (pattern, error) {
	if rest, ok := strings.CutSuffix(text, "/*"); ok {
		named, err := reference.ParseNormalizedNamed(rest + "/x")
		if err != nil {
			return pattern{}, err
		}
		return pattern{prefix: strings.TrimSuffix(named.Name(), "x")}, nil
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return pattern{}, err
	}
	p := pattern{name: named}
	if t, ok := named.(reference.Tagged); ok {
		p.tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		p.digest = d.Digest().String()
	}
	return p, nil
}

// allows reports whether the pattern covers the image's name. A name with a
// digest is that image whatever tag is written before: the engine ignores it.
func (p pattern) allows(named reference.Named) bool {
	if p.prefix != "" {
		return strings.HasPrefix(named.Name(), p.prefix)
	}
	d, digested := named.(reference.Digested)
	switch {
	case p.name.Name() != named.Name():
		return false
	case p.digest != "":
		return digested && d.Digest().String() == p.digest
	case p.tag != "":
		t, tagged := reference.TagNameOnly(named).(reference.Tagged)
		return !digested && tagged && t.Tag() == p.tag
	}
	return true
}

// Image refuses an image none of whose names is allowed: those by which it is
// known, or the one by which it is asked for.
func (d Docker) Image(what string, names ...string) error {
	if len(d.Images) == 0 && len(d.Registries) == 0 {
		return nil
	}
	rule := "images"
	for _, name := range names {
		named, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			continue
		}
		if len(d.Registries) > 0 && !slices.Contains(d.Registries, reference.Domain(named)) {
			rule = "registries"
			continue
		}
		if len(d.Images) == 0 || slices.ContainsFunc(d.Images, func(text string) bool { p, err := parsePattern(text); return err == nil && p.allows(named) }) {
			return nil
		}
		rule = "images"
	}
	return Refused(rule, "does not allow the image %s", what)
}

// Bind refuses a path of the host that containers may not mount.
func (d Docker) Bind(source string) error {
	if !path.IsAbs(source) || path.Clean(source) != source {
		return Refused("binds", "does not allow to mount %q: it is no plain path", source)
	}
	listed := slices.ContainsFunc(d.Binds, func(dir string) bool { return Within(source, dir) })
	if !listed {
		return Refused("binds", "does not allow to mount %s", source)
	}
	if err := steady(source); err != nil {
		return Refused("binds", "does not allow to mount %s: %w", source, err)
	}
	return nil
}

// Within reports whether the path is dir or lies in it.
func Within(source, dir string) bool {
	return source == dir || dir == "/" || strings.HasPrefix(source, dir+"/")
}

// steady refuses a path that is, or goes through, something that others than
// root and the agent's own user could replace, or a link.
func steady(source string) error {
	for at := source; ; at = path.Dir(at) {
		i, err := os.Lstat(at)
		switch {
		case err != nil:
			return err
		case i.Mode()&os.ModeSymlink != 0:
			return fmt.Errorf("%s is a link", at)
		}
		// What stands at the end may be anybody's: only who can write above
		// could put something else there, and in a folder for all its owner.
		switch {
		case at != source:
			err = owned(at, i, os.Getuid())
		case sticky(path.Dir(at)):
			err = belongs(at, i, os.Getuid())
		}
		if err != nil {
			return err
		}
		if at == "/" {
			return nil
		}
	}
}

// sticky reports whether everybody may write a folder, and replace what is his.
func sticky(dir string) bool {
	i, err := os.Lstat(dir)
	return err == nil && i.Mode()&os.ModeSticky != 0 && i.Mode().Perm()&0o022 != 0
}
