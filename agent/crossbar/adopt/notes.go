package adopt

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"fabric.center/cfc/agent/crossbar/nodeconfig"
)

// notes are what a person should know who adopts the directory.
func (r Request) notes(p *Plan, f nodeconfig.File) []string {
	var list []string
	note := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	path := filepath.Join(r.Dir.Path, f.Name)
	if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(real) != filepath.Dir(path) {
		if dir, err := filepath.EvalSymlinks(r.Dir.Path); err != nil || filepath.Dir(real) != dir {
			note("%s is a link: the file that changes is %s", path, real)
		}
	}
	if other := nodeconfig.Names[1]; f.Name != other {
		if _, err := os.Stat(filepath.Join(r.Dir.Path, other)); err == nil {
			note("%s is not read by the node beside %s", other, f.Name)
		}
	}
	if names := variables(f.Config); len(names) > 0 {
		who := "whoever starts the node"
		if r.Supervise {
			who = "the agent, which passes its environment on,"
		}
		note("the configuration takes %s from the environment: %s has to set that", strings.Join(names, ", "), who)
	}
	s := p.Starter
	if text := endOfWorker(f.Config); text != "" && (s.Runs == standalone || s.Runs == "" && s.Unit == nil && len(p.Changes) > 0) {
		note("%s", text)
	}
	return append(list, r.next(p)...)
}

// endOfWorker is what the end of a worker will mean.
func endOfWorker(config map[string]any) string {
	c, _ := config["controller"].(map[string]any)
	options, _ := c["options"].(map[string]any)
	if given, ok := options["shutdown"]; ok {
		if text := fmt.Sprint(given); strings.Contains(text, "worker_exit") {
			return "the end of a worker stays the end of the node, for controller.options.shutdown says so"
		}
		return ""
	}
	return "the end of a worker is not the end of the node any more, as it was by default of crossbar start; controller.options.shutdown can say otherwise"
}

// next is what is to be done now.
func (r Request) next(p *Plan) []string {
	var list []string
	s := p.Starter
	if !r.Serves {
		text := "for the agent to serve the directory, its configuration wants node.cbdir: " + r.Dir.Path
		if r.Supervise {
			text += ", node.supervise: true, node.crossbar: " + r.Dir.Executable + ", and its unit ReadWritePaths=" + r.Dir.Path
		}
		list = append(list, text)
	}
	if s.Process != nil && (len(p.Changes) > 0 || s.Runs == standalone) && !r.Restart {
		list = append(list, fmt.Sprintf("the node (pid %d) goes on as it was started, unmanaged; it is managed from its next start on", s.Process.PID))
	}
	switch {
	case r.Restart:
	case r.Supervise && s.Process != nil:
		list = append(list, "when it ends, a running agent that supervises this directory starts it; --restart ends it now")
	case r.Supervise:
		list = append(list, "an agent that supervises this directory starts the node")
	case s.Unit != nil && s.Process != nil:
		list = append(list, "restart it, with the agent running: systemctl restart "+s.Unit.Name)
	case s.Unit != nil:
		list = append(list, "start it, with the agent running: systemctl start "+s.Unit.Name)
	default:
		list = append(list, "start it, with the agent running (without it, it starts no workers): "+r.command())
	}
	return list
}

var reference = regexp.MustCompile(`^\$(?:\{(.+)\}|([a-zA-Z_][a-zA-Z0-9_]*))$`)

// variables are the environment variables that a configuration takes values from.
func variables(config any) []string {
	found := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if m := reference.FindStringSubmatch(v); m != nil {
				found[m[1]+m[2]] = true
			}
		case []any:
			for _, in := range v {
				walk(in)
			}
		case map[string]any:
			for _, in := range v {
				walk(in)
			}
		}
	}
	walk(config)
	return slices.Sorted(maps.Keys(found))
}
