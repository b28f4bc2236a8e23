package debian

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// snapFiles are modes and paths in the snap, all root's.
var snapFiles = []string{
	"-rw-r--r-- /meta/snap.yaml", "-rw-r--r-- /share/agent.yaml", "-rw-r--r-- /share/doc/CONFIG.md", "-rw-r--r-- /share/doc/LICENSE",
	"-rw-r--r-- /share/doc/licenses", "-rw-r--r-- /share/policy.yaml", "-rwxr-xr-x /bin/cfc-agent", "-rwxr-xr-x /meta/hooks/install",
}

func TestSnapContents(t *testing.T) {
	snap := one(t, filepath.Join(packages(t, "snap", older), "cfc-agent_1.0.0_*.snap"))
	var got []string
	for line := range strings.Lines(string(output(t, "unsquashfs", "-lln", snap))) {
		f := strings.Fields(line)
		if len(f) != 6 || len(f[0]) != 10 {
			continue // what it says beside the list
		}
		path := strings.TrimPrefix(f[5], "squashfs-root")
		if f[1] != "0/0" {
			t.Errorf("%s is of %s", path, f[1])
		}
		if f[0][0] != 'd' {
			got = append(got, f[0]+" "+path)
		} else if f[0] != "drwxr-xr-x" {
			t.Errorf("%s has mode %s", path, f[0])
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, snapFiles) {
		t.Errorf("it holds\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(snapFiles, "\n"))
	}
}

// app is a command or a service of a snap.
type app struct {
	Command, Daemon string
	InstallMode     string `yaml:"install-mode"`
	StopMode        string `yaml:"stop-mode"`
}

// snapYAML is what the tests look at of meta/snap.yaml.
type snapYAML struct {
	Name, Version, Confinement, Base string
	Architectures                    []string
	Environment                      map[string]string
	Apps                             map[string]app
}

// unpack gives the snap's tree and what its snap.yaml says.
func unpack(t *testing.T) (string, snapYAML) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "snap")
	output(t, "unsquashfs", "-d", dir, one(t, filepath.Join(packages(t, "snap", older), "*.snap")))
	b, err := os.ReadFile(filepath.Join(dir, "meta/snap.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var y snapYAML
	if err := yaml.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return dir, y
}

func TestSnapYAML(t *testing.T) {
	_, y := unpack(t)
	if y.Name != "cfc-agent" || y.Version != "1.0.0" || y.Confinement != "classic" || !slices.Equal(y.Architectures, []string{runtime.GOARCH}) {
		t.Errorf("it says %+v", y)
	}
	// It starts nothing that is not configured, and the signal to stop is for the
	// agent alone, as in the unit of the deb.
	want := map[string]app{"cfc-agent": {Command: "bin/cfc-agent"}, "daemon": {Command: "bin/cfc-agent run", Daemon: "notify", InstallMode: "disable", StopMode: "sigterm"}}
	for name, app := range y.Apps {
		if app != want[name] {
			t.Errorf("app %s is %+v, expected %+v", name, app, want[name])
		}
	}
	if len(y.Apps) != len(want) {
		t.Errorf("apps are %v", y.Apps)
	}
}

// TestSnapRuns what snapd would run, in its environment: the hook puts the
// configuration in its place, once, and the agent finds that and all its places.
func TestSnapRuns(t *testing.T) {
	const common = "/var/snap/cfc-agent/common"
	dir, y := unpack(t)
	h := newHost(t)
	h.must("mkdir", "-p", "/snap/cfc-agent/current", common)
	if err := os.CopyFS(fmt.Sprintf("/proc/%d/root/snap/cfc-agent/current", h.pid), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	env := "SNAP=/snap/cfc-agent/current SNAP_COMMON=" + common
	for name, value := range y.Environment {
		env += " " + name + "=" + strings.ReplaceAll(value, "$SNAP_COMMON", common)
	}
	run := func(ok bool, want, command string) {
		t.Helper()
		got, err := h.run("sh", "-c", "cd / && env "+env+" /snap/cfc-agent/current/"+command)
		if !strings.Contains(got, want) || (err == nil) != ok {
			t.Errorf("%s prints %q, %v, expected %q", command, got, err, want)
		}
	}
	run(true, "", "meta/hooks/install")
	h.sh("echo '# mine' >>" + common + "/agent.yaml")
	run(true, "", "meta/hooks/install")
	h.says("# mine", "tail -n 1 "+common+"/agent.yaml")
	// The page that the files name is where they say, and no place is the deb's.
	h.says("", "grep -ho '/[a-z/-]*CONFIG.md' "+common+"/*.yaml | while read -r page; do [ -e $page ] || echo no $page; done; grep -E '/etc/cfc|/var/lib|systemctl' "+common+"/*.yaml || true")
	run(true, "the configuration is good: data in "+common+"/data, ", y.Apps["cfc-agent"].Command+" check-config")
	h.sh("echo 'raed_only: true' >>" + common + "/policy.yaml")
	run(false, common+"/policy.yaml", y.Apps["cfc-agent"].Command+" check-config")
}
