package adopt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/crossbar"
	"fabric.center/cfc/agent/crossbar/nodeconfig"
	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// command checks configurations, and refuses what is bad.
const command = `#!/bin/sh
grep -q bad "$4/$6" || exit 0
echo "Error: worker one two is bad"
exit 1
`

const config = `{
    "version": 2,
    "controller": {
        "id": "mine"
    },
    "workers": [
        {
            "type": "router"
        }
    ]
}
`

// rig is a node directory and a request for it.
type rig struct {
	*testing.T
	Request
	units string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, units: t.TempDir()}
	bin := filepath.Join(t.TempDir(), "crossbar")
	r.Dir = crossbar.Dir{Path: filepath.Join(t.TempDir(), "node"), Executable: bin, Uplink: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 869}}
	r.KeepsConfig, r.Serves, r.Units, r.Agent = true, true, Units{r.units}, User{"me", os.Getuid(), []int{os.Getgid()}}
	if err := errors.Join(os.WriteFile(bin, []byte(command), 0o700), os.Mkdir(r.Dir.Path, 0o700)); err != nil {
		t.Fatal(err)
	}
	r.write("config.json", config)
	r.write("key.pub", "x")
	r.write("key.priv", "x")
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.Dir.Path, name) }

func (r *rig) write(name, text string) {
	r.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) remove(names ...string) {
	r.Helper()
	for _, name := range names {
		if err := os.Remove(r.path(name)); err != nil {
			r.Fatal(err)
		}
	}
}

func (r *rig) chmod(name string, mode os.FileMode) {
	r.Helper()
	if err := os.Chmod(r.path(name), mode); err != nil {
		r.Fatal(err)
	}
}

// unit writes a unit file; {dir} stands for the node directory.
func (r *rig) unit(name, text string) {
	r.Helper()
	path := filepath.Join(r.units, name)
	text = strings.NewReplacer("{dir}", r.Dir.Path, "{crossbar}", r.Dir.Executable).Replace(text)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		r.Fatal(err)
	}
}

const (
	asEdge       = "[Service]\nExecStart={crossbar} edge start --cbdir {dir}\n"
	asStandalone = "[Service]\nExecStart={crossbar} start --cbdir {dir}\n"
)

// runs has a process run that looks like a node, with a worker of that title.
func (r *rig) runs(title string) int {
	r.Helper()
	script := filepath.Join(r.TempDir(), "crossbar-node")
	text := "trap 'kill %1; rm -f \"$1/node.pid\"; exit 0' INT\n(exec -a \"$2\" sleep 600) &\necho '{\"pid\": '$$', \"argv\": [\"crossbar\", \"start\"]}' >\"$1/node.pid.new\"\nmv \"$1/node.pid.new\" \"$1/node.pid\"\nwait\n"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	c := exec.Command("bash", script, r.Dir.Path, title)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		r.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Wait() }()
	r.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		<-done
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if p, found := crossbar.Running(r.Context(), r.Dir.Path); found {
			if list, err := p.Children(r.Context()); err == nil && len(list) > 0 {
				if args, err := list[0].Cmdline(r.Context()); err == nil && len(args) > 0 && args[0] == title {
					return c.Process.Pid
				}
			}
		}
		if time.Now().After(end) {
			r.Fatal("the node does not come up")
		}
	}
}

const (
	edgeWorker       = "crossbar-worker [crossbar.edge.worker.router.ExtRouterController]"
	standaloneWorker = "crossbar-worker [crossbar.worker.router.RouterController]"
	containerWorker  = "crossbar-worker [crossbar.worker.container.ContainerController]"
)

// adopt plans and applies.
func (r *rig) adopt() *Plan {
	r.Helper()
	p, err := r.Plan(r.Context())
	if err == nil {
		err = r.Apply(p)
	}
	if err != nil {
		r.Fatal(err)
	}
	return p
}

func TestAdoptAndUndo(t *testing.T) {
	r := newRig(t)
	p := r.adopt()
	if len(p.Changes) != 1 || !strings.Contains(p.Changes[0].Diff(r.Dir.Path), `+                "url": "rs://127.0.0.1:869"`) {
		t.Errorf("it changed %v", p.Changes)
	}
	if p = r.adopt(); len(p.Changes) != 0 {
		t.Errorf("a second time it changed %v", p.Changes)
	}
	record, changes, err := Undo(r.Dir.Path)
	if err != nil || len(changes) != 1 || string(changes[0].After) != config {
		t.Fatalf("undoing gives %v, %v", changes, err)
	}
	if err := record.Undo(); err != nil {
		t.Fatal(err)
	}
	if record, changes, err := Undo(r.Dir.Path); record != nil || changes != nil || err != nil {
		t.Errorf("undoing again gives %v, %v, %v", record, changes, err)
	}
}

// Each is fit for adoption, and says what its owner should know.
func TestAdopts(t *testing.T) {
	for what, c := range map[string]struct {
		make func(*rig)
		note string
	}{
		"nothing known of a starter":   {func(r *rig) {}, "start it, with the agent running"},
		"no configuration":             {func(r *rig) { r.remove("config.json") }, ""},
		"keys only":                    {func(r *rig) { r.remove("config.json", "key.priv") }, ""},
		"YAML beside JSON":             {func(r *rig) { r.write("config.yaml", "version: 2\n") }, "config.json is not read"},
		"variables":                    {func(r *rig) { r.write("config.json", `{"workers": [{"a": ["${SECRET}", "$OTHER", "$no t"]}]}`) }, "OTHER, SECRET from the environment"},
		"a link":                       {func(r *rig) { r.linked() }, "the file that changes is"},
		"a unit of edge":               {func(r *rig) { r.unit("x.service", asEdge) }, "systemctl start x.service"},
		"a node of edge":               {func(r *rig) { r.runs(edgeWorker) }, "goes on as it was started"},
		"a node that somebody vouches": {func(r *rig) { r.runs(containerWorker); r.Edge = true }, "start it, with the agent"},
		"a node that had an uplink":    {func(r *rig) { r.uplink(); r.runs(containerWorker); r.Replace = true }, ""},
		"a unit whose change waits for the restart": {func(r *rig) { r.unit("x.service", asEdge); r.runs(standaloneWorker) }, "systemctl restart x.service"},
		"the agent takes over":                      {func(r *rig) { r.runs(standaloneWorker); r.Supervise = true }, "--restart ends it now"},
		"the agent starts it":                       {func(r *rig) { r.Supervise = true }, "starts the node"},
		"a unit that is disabled":                   {func(r *rig) { r.unit("x.service", asStandalone); r.Supervise = true }, ""},
		"an agent that does not serve it yet":       {func(r *rig) { r.Serves = false; r.Supervise = true }, "node.supervise: true"},
		"another uplink, replaced":                  {func(r *rig) { r.uplink(); r.Replace = true }, ""},
		"an uplink that is off":                     {func(r *rig) { r.write("config.json", `{"controller": {"fabric": {"transport": null}}}`) }, ""},
		"an activation, put aside":                  {func(r *rig) { r.write("key.activate", "x"); r.Replace = true }, ""},
		"a node that ends with a worker": {func(r *rig) {
			r.write("config.json", `{"controller": {"options": {"shutdown": "shutdown_on_worker_exit"}}}`)
		}, "stays the end of the node"},
		"one that ended with a worker by default": {func(r *rig) {}, "not the end of the node any more"},
		"one that does not": {func(r *rig) {
			r.write("config.json", `{"controller": {"options": {"shutdown": "shutdown_on_shutdown_requested"}}}`)
		}, ""},
		"a running node of its agent, by its name": {func(r *rig) { r.runs(edgeWorker); r.Supervise, r.Restart, r.Served = true, true, true }, ""},
		"no workers to lose":                       {func(r *rig) { r.write("config.json", "{}"); r.KeepsConfig = false }, ""},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			c.make(r)
			p := r.adopt()
			f, err := nodeconfig.Read(r.Dir.Path)
			if err != nil || nodeconfig.Uplink(f.Config) != "rs://127.0.0.1:869" {
				t.Errorf("it leads to %q, %v", nodeconfig.Uplink(f.Config), err)
			}
			if _, err := os.Stat(r.path("key.activate")); err == nil {
				t.Error("the activation is left")
			}
			if !strings.Contains(strings.Join(p.Notes, "\n"), c.note) {
				t.Errorf("it says %q", p.Notes)
			}
		})
	}
}

func (r *rig) linked() {
	r.Helper()
	r.remove("config.json")
	real := filepath.Join(r.TempDir(), "real.json")
	if err := errors.Join(os.WriteFile(real, []byte(config), 0o600), os.Symlink(real, r.path("config.json"))); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) uplink() {
	r.write("config.json", `{"controller": {"fabric": {"transport": {"type": "websocket", "url": "ws://other"}}}}`)
}

// Of each only one thing is wrong; nothing may have been changed.
func TestRefuses(t *testing.T) {
	elsewhere := &net.UnixAddr{Name: "/x"}
	for what, c := range map[string]struct {
		make func(*rig)
		say  string
	}{
		"no directory":                    {func(r *rig) { r.Dir.Path += "x" }, "no such file"},
		"a file":                          {func(r *rig) { r.Dir.Path = r.path("key.pub") }, "not a directory"},
		"nothing of a node":               {func(r *rig) { r.remove("config.json", "key.pub", "key.priv") }, "no configuration and no keys"},
		"the directory above":             {func(r *rig) { r.remove("config.json", "key.pub", "key.priv"); r.mkdir(".crossbar") }, ".crossbar is"},
		"a configuration that is damaged": {func(r *rig) { r.write("config.json", "{") }, "config.json"},
		"no command":                      {func(r *rig) { r.Dir.Executable = "/no/crossbar" }, "--crossbar"},
		"an agent on a socket":            {func(r *rig) { r.Dir.Uplink = elsewhere }, "TCP"},
		"another uplink":                  {func(r *rig) { r.uplink() }, "ws://other already; --replace"},
		"an activation":                   {func(r *rig) { r.write("key.activate", "x") }, "--replace"},
		"what edge does not accept":       {func(r *rig) { r.write("config.json", `{"bad": 1}`) }, "edge check says: worker one two is bad"},
		"what cannot be edited":           {func(r *rig) { r.write("config.json", `{"controller": []}`) }, "by hand"},
		"workers that would not start":    {func(r *rig) { r.KeepsConfig = false }, "its 1 workers"},
		"a damaged record":                {func(r *rig) { r.adopt(); r.write(".cfc-adopt/record.json", "{") }, "record.json"},
		"a node of standalone":            {func(r *rig) { r.runs(standaloneWorker) }, "was started as crossbar start"},
		"a node that does not tell":       {func(r *rig) { r.runs(containerWorker) }, "--edge"},
		"a node with another file":        {func(r *rig) { r.runs(edgeWorker); r.argv("--config", "other.json") }, "--config other.json"},
		"a unit with another file": {func(r *rig) {
			r.unit("x.service", asEdge+"\n[Service]\nExecStart=\nExecStart={crossbar} edge start --cbdir={dir} --config=other.json\n")
		}, "--config other.json"},
		"a unit of standalone":        {func(r *rig) { r.unit("x.service", asStandalone) }, "x.service starts the node as crossbar start"},
		"one of another personality":  {func(r *rig) { r.unit("x.service", strings.Replace(asEdge, "edge", "master", 1)) }, "crossbar master"},
		"a unit that leads elsewhere": {func(r *rig) { r.unit("x.service", asEdge+"Environment=CROSSBAR_FABRIC_URL=ws://x\n") }, "CROSSBAR_FABRIC_URL"},
		"a unit that does not tell":   {func(r *rig) { r.unit("x.service", "[Service]\nExecStart=/opt/crossbar.sh\nWorkingDirectory={dir}\n") }, "/opt/crossbar.sh"},
		"two starters": {func(r *rig) {
			r.unit("x.service", asEdge)
			r.unit("multi-user.target.wants/x.service", "")
			r.Supervise = true
		}, "systemctl disable --now x.service"},
		"a restart that would be a stop":    {func(r *rig) { r.runs(edgeWorker); r.Restart = true }, "start the node again"},
		"a restart without an agent":        {func(r *rig) { r.runs(edgeWorker); r.Restart, r.Supervise = true, true }, "nobody would start"},
		"a restart of what does not run":    {func(r *rig) { r.Restart, r.Supervise, r.Served = true, true, true }, "does not run"},
		"a directory for everybody":         {func(r *rig) { r.chmod(".", 0o777) }, "everybody"},
		"a configuration for everybody":     {func(r *rig) { r.chmod("config.json", 0o606) }, "everybody"},
		"a key for everybody":               {func(r *rig) { r.chmod("key.priv", 0o604) }, "key.priv"},
		"an agent who may not enter":        {func(r *rig) { r.Agent = User{Name: "agent", UID: 4711} }, "runs as agent, who may not enter"},
		"a key of somebody else":            {func(r *rig) { r.open(); r.Agent = User{Name: "agent", UID: 4711}; r.Supervise = true }, "chown -R agent"},
		"a configuration not for the agent": {func(r *rig) { r.open(); r.chmod("config.json", 0o600); r.Agent = User{Name: "agent", UID: 4711} }, "may not read"},
		"a public key not for the agent":    {func(r *rig) { r.open(); r.chmod("key.pub", 0o600); r.Agent = User{Name: "agent", UID: 4711} }, "key.pub"},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			c.make(r)
			before := r.content()
			_, err := r.Plan(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.say) || !strings.HasPrefix(err.Error(), "cannot ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("it says %v", err)
			}
			if r.content() != before {
				t.Error("something was changed")
			}
		})
	}
}

func (r *rig) mkdir(name string) {
	r.Helper()
	if err := os.Mkdir(r.path(name), 0o700); err != nil {
		r.Fatal(err)
	}
}

// open lets everybody enter and read, but for the private key.
func (r *rig) open() {
	r.chmod("config.json", 0o644)
	r.chmod("key.pub", 0o644)
	for at := r.Dir.Path; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			r.Fatal(err)
		}
	}
}

// argv adds to the command line in the pid file.
func (r *rig) argv(words ...string) {
	b, err := os.ReadFile(r.path("node.pid"))
	if err != nil {
		r.Fatal(err)
	}
	r.write("node.pid", strings.Replace(string(b), `"start"`, `"start", "`+strings.Join(words, `", "`)+`"`, 1))
}

// content is what stands in the directory.
func (r *rig) content() string {
	var all strings.Builder
	_ = filepath.Walk(r.Dir.Path, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			fmt.Fprintf(&all, "%s %v %q %v\n", path, info.Mode(), b, err)
		}
		return err
	})
	return all.String()
}

func TestAnotherUplinkIsAKindOfItsOwn(t *testing.T) {
	for _, make := range []func(*rig){(*rig).uplink, func(r *rig) { r.write("key.activate", "x") }} {
		r := newRig(t)
		make(r)
		if _, err := r.Plan(t.Context()); cfcerr.KindOf(err) != cfcerr.AlreadyExists {
			t.Errorf("it is %v", err)
		}
	}
}

// What broke off in the middle needs no further word to be finished.
func TestAdoptingAgainFinishes(t *testing.T) {
	r := newRig(t)
	r.uplink()
	r.write("key.activate", "x")
	r.Replace = true
	r.adopt()
	r.Replace = false
	r.write("key.activate", "x")
	if p := r.adopt(); len(p.Changes) != 1 || p.Changes[0].Name != "key.activate" {
		t.Errorf("left to do was %v", p.Changes)
	}
	record, _, err := Undo(r.Dir.Path)
	if err == nil {
		err = record.Undo()
	}
	if b, _ := os.ReadFile(r.path("key.activate")); err != nil || string(b) != "x" || !strings.Contains(r.content(), "ws://other") {
		t.Errorf("undone, it is %s, %v", r.content(), err)
	}
}

// The port of the agent may change: its own uplink is nobody else's.
func TestAnotherPortOfTheAgent(t *testing.T) {
	r := newRig(t)
	r.adopt()
	r.Dir.Uplink = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 870}
	if p := r.adopt(); len(p.Changes) != 1 || string(p.Changes[0].Before) != config {
		t.Errorf("it changed %v", p.Changes)
	}
}

func TestUndoShowsWhatItCannot(t *testing.T) {
	r := newRig(t)
	r.adopt()
	b, err := os.ReadFile(r.path("config.json"))
	if err != nil {
		t.Fatal(err)
	}
	r.write("config.json", strings.Replace(string(b), `"port": 869`, `"port": 870`, 1))
	_, changes, err := Undo(r.Dir.Path)
	if !errors.Is(err, nodeconfig.ErrEdited) || len(changes) != 1 || !strings.Contains(changes[0].Diff(r.Dir.Path), `"port": 870`) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, %v", changes, err)
	}
}

func TestRestartWaitsForTheEnd(t *testing.T) {
	r := newRig(t)
	pid := r.runs(standaloneWorker)
	r.Supervise, r.Served, r.Restart = true, true, true
	p := r.adopt()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Restart(ctx); err != nil || p.Starter.Process.Alive(ctx) {
		t.Errorf("process %d: %v", pid, err)
	}

	r = newRig(t)
	r.runs(standaloneWorker)
	r.Supervise, r.Served, r.Restart = true, true, true
	p = r.adopt()
	if err := syscall.Kill(p.Starter.Process.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Restart(ctx); err == nil || !strings.Contains(err.Error(), "has not") {
		t.Errorf("one that hangs: %v", err)
	}
}

func TestRestartOfAUnit(t *testing.T) {
	r := newRig(t)
	r.unit("x.service", asEdge)
	r.runs(edgeWorker)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\necho \"$*\" >\""+bin+"/said\"\n[ ! -f \""+bin+"/fail\" ] || { echo no such; echo unit; exit 5; }\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	r.Restart = true
	p := r.adopt()
	if err := p.Restart(t.Context()); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(bin, "said")); err != nil || string(b) != "restart x.service\n" {
		t.Errorf("systemctl was told %q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(bin, "fail"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "no such unit") {
		t.Errorf("one that fails: %v", err)
	}
}
