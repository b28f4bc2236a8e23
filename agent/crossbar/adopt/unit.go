package adopt

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// fabricURL is a variable of the node's that wins over its configuration.
const fabricURL = "CROSSBAR_FABRIC_URL"

// prefixes are what a command in a unit may begin with.
const prefixes = "@-:+!"

// Units is where systemd's unit files are, the first directory first.
type Units []string

// SystemUnits are the directories of the system's manager.
var SystemUnits = Units{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// Unit is a service that starts a node.
type Unit struct {
	Name    string // crossbar.service
	Exec    string // its command line
	Env     map[string]string
	Enabled bool

	words  []string
	work   string // its working directory
	notify bool   // the node tells when it is ready
}

// byName is the unit of that name, nil where there is none, or it is an agent's.
func (u Units) byName(name string) *Unit {
	if name == "" {
		return nil
	}
	file, instance := name, ""
	if prefix, rest, ok := strings.Cut(name, "@"); ok {
		file, instance = prefix+"@.service", strings.TrimSuffix(rest, ".service")
	}
	paths := slices.Concat(u.fragment(name), u.dropIns(name))
	if file != name {
		paths = slices.Concat(u.fragment(name), u.fragment(file), u.dropIns(file), u.dropIns(name))
	}
	unit := &Unit{Name: name, Env: map[string]string{}, Enabled: u.enabled(name)}
	for _, path := range paths {
		unit.read(path)
	}
	unit.Exec = strings.NewReplacer("%i", instance, "%I", instance).Replace(unit.Exec)
	unit.work = strings.NewReplacer("%i", instance, "%I", instance).Replace(unit.work)
	unit.words = words(unit.Exec)
	if len(unit.words) == 0 || filepath.Base(strings.TrimLeft(unit.words[0], prefixes)) == "cfc-agent" {
		return nil // the agent starts the node, then
	}
	return unit
}

// fragment is the unit's own file.
func (u Units) fragment(name string) []string {
	for _, dir := range u {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return []string{path}
		}
	}
	return nil
}

// dropIns are the files that add to it: in the order of their names, of equal
// ones the first directory's.
func (u Units) dropIns(name string) []string {
	found := map[string]string{}
	for _, dir := range slices.Backward(u) {
		list, _ := filepath.Glob(filepath.Join(dir, name+".d", "*.conf"))
		for _, path := range list {
			found[filepath.Base(path)] = path
		}
	}
	var paths []string
	for _, base := range slices.Sorted(maps.Keys(found)) {
		paths = append(paths, found[base])
	}
	return paths
}

func (u Units) enabled(name string) bool {
	for _, dir := range u {
		for _, kind := range []string{"*.wants", "*.requires"} {
			if list, _ := filepath.Glob(filepath.Join(dir, kind, name)); len(list) > 0 {
				return true
			}
		}
	}
	return false
}

// of is the unit that starts the node in the directory, nil where none does.
func (u Units) of(dir string) *Unit {
	seen := map[string]bool{}
	for _, place := range u {
		list, _ := filepath.Glob(filepath.Join(place, "*.service"))
		for _, path := range list {
			name := filepath.Base(path)
			if seen[name] || strings.Contains(name, "@.") {
				continue
			}
			seen[name] = true
			if unit := u.byName(name); unit != nil && unit.starts(dir) {
				return unit
			}
		}
	}
	return nil
}

// read adds what a file says.
func (u *Unit) read(path string) {
	f, err := os.Open(path)
	if err != nil {
		return // it is not known, then
	}
	defer f.Close()
	options, err := unit.DeserializeOptions(f)
	if err != nil {
		return
	}
	for _, o := range options {
		if o.Section != "Service" {
			continue
		}
		switch o.Name {
		case "ExecStart":
			u.Exec = strings.ReplaceAll(o.Value, "\\\n", " ") // an empty one takes back
		case "Type":
			u.notify = strings.HasPrefix(o.Value, "notify")
		case "WorkingDirectory":
			u.work = strings.TrimPrefix(o.Value, "-")
		case "Environment":
			for _, w := range words(o.Value) {
				if name, value, ok := strings.Cut(w, "="); ok {
					u.Env[name] = value
				}
			}
		case "UnsetEnvironment":
			for _, name := range words(o.Value) {
				delete(u.Env, name)
			}
		}
	}
}

// words splits a value as systemd does.
func words(s string) []string {
	var list []string
	var word strings.Builder
	quote, within := rune(0), false
	for _, c := range s {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, within = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if within {
				list, within = append(list, word.String()), false
				word.Reset()
			}
		default:
			word.WriteRune(c)
			within = true
		}
	}
	if within {
		list = append(list, word.String())
	}
	return list
}

// crossbar is where the command stands in its words, -1 where it does not.
func (u *Unit) crossbar() int {
	return slices.IndexFunc(u.words, func(w string) bool { return filepath.Base(strings.TrimLeft(w, prefixes)) == "crossbar" })
}

// executable is the crossbar command of the unit.
func (u *Unit) executable() string {
	if i := u.crossbar(); i >= 0 {
		return strings.TrimLeft(u.words[i], prefixes)
	}
	return ""
}

// Personality is what the unit starts the node as, empty where that does not
// show.
func (u *Unit) Personality() string {
	i := u.crossbar()
	if i < 0 || i+1 >= len(u.words) {
		return ""
	}
	if word := u.words[i+1]; word != "start" {
		return word
	}
	return standalone
}

func (u *Unit) option(name string) string { return option(u.words, name) }

// option is the value of --name in a command line.
func option(words []string, name string) string {
	for i, w := range words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
		if w == name && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}

// starts reports whether the node of the unit is the one in the directory.
func (u *Unit) starts(dir string) bool {
	if !slices.ContainsFunc(u.words, func(w string) bool { return strings.Contains(filepath.Base(w), "crossbar") }) {
		return false
	}
	of := u.option("--cbdir")
	if of == "" {
		of = u.Env["CROSSBAR_DIR"]
	}
	if of == "" {
		if of = u.work; of == "" {
			return false
		}
		if info, err := os.Stat(filepath.Join(of, ".crossbar")); err == nil && info.IsDir() {
			of = filepath.Join(of, ".crossbar")
		}
	}
	if !filepath.IsAbs(of) {
		of = filepath.Join(u.work, of)
	}
	return sameDir(of, dir)
}

func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// DropInPath is where a change of the unit belongs.
func (u *Unit) DropInPath() string {
	return filepath.Join(SystemUnits[0], u.Name+".d", "cfc.conf")
}

// DropIn is the text that makes the unit start the node as a managed one: as
// edge, and after the agent, for until that has answered it starts no workers.
func (u *Unit) DropIn() string {
	var command string
	if i := u.crossbar(); i >= 0 {
		words := slices.Clone(u.words)
		if p := u.Personality(); words[i+1] == p {
			words[i+1] = edge
		} else {
			words = slices.Insert(words, i+1, edge)
		}
		for n, w := range words {
			if strings.ContainsAny(w, " \t") {
				words[n] = `"` + w + `"`
			}
		}
		command = strings.Join(words, " ")
	}
	text := "[Unit]\nWants=cfc-agent.service\nAfter=cfc-agent.service\n\n[Service]\nExecStart=\nExecStart=" + command + "\n"
	if u.notify { // which it is only when the agent has answered
		text += "TimeoutStartSec=infinity\n"
	}
	if u.Env[fabricURL] != "" {
		text += "UnsetEnvironment=" + fabricURL + "\n"
	}
	return text
}
