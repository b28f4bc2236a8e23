package adopt

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestUnits(t *testing.T) {
	for what, c := range map[string]struct {
		files  map[string]string // {dir} is the node directory's
		want   string            // "name personality", empty for none
		dropIn string            // its second ExecStart
	}{
		"edge":                 {map[string]string{"a.service": "[Service]\nExecStart=/opt/bin/crossbar edge start --cbdir {dir}\n"}, "a.service edge", "/opt/bin/crossbar edge start --cbdir {dir}"},
		"standalone":           {map[string]string{"a.service": "[Service]\nExecStart=/opt/bin/crossbar start --cbdir={dir} --loglevel debug\n"}, "a.service standalone", "/opt/bin/crossbar edge start --cbdir={dir} --loglevel debug"},
		"standalone in full":   {map[string]string{"a.service": "[Service]\nExecStart=-@/opt/bin/crossbar standalone start --cbdir \"{dir}\"\n"}, "a.service standalone", "-@/opt/bin/crossbar edge start --cbdir {dir}"},
		"by python":            {map[string]string{"a.service": "[Service]\nExecStart=/usr/bin/python3 -u /opt/bin/crossbar start --cbdir {dir}\n"}, "a.service standalone", "/usr/bin/python3 -u /opt/bin/crossbar edge start --cbdir {dir}"},
		"in two lines":         {map[string]string{"a.service": "[Service]\nExecStart=/opt/bin/crossbar \\\n  start --cbdir {dir}\n"}, "a.service standalone", "/opt/bin/crossbar edge start --cbdir {dir}"},
		"by a variable":        {map[string]string{"a.service": "[Service]\nEnvironment=A=b \"CROSSBAR_DIR={dir}\"\nExecStart=/opt/bin/crossbar edge start\n"}, "a.service edge", "/opt/bin/crossbar edge start"},
		"by where it works":    {map[string]string{"a.service": "[Service]\nWorkingDirectory={dir}\nExecStart=/opt/bin/crossbar edge start\n"}, "a.service edge", "/opt/bin/crossbar edge start"},
		"from where it works":  {map[string]string{"a.service": "[Service]\nWorkingDirectory=-{dir}\nExecStart=/opt/bin/crossbar edge start --cbdir .\n"}, "a.service edge", "/opt/bin/crossbar edge start --cbdir ."},
		"with a drop-in":       {map[string]string{"a.service": "[Service]\nExecStart=/opt/bin/crossbar start --cbdir {dir}\n", "a.service.d/x.conf": "[Service]\nExecStart=\nExecStart=/opt/bin/crossbar edge start --cbdir {dir}\n"}, "a.service edge", "/opt/bin/crossbar edge start --cbdir {dir}"},
		"with two":             {map[string]string{"a.service": "[Service]\nExecStart=/opt/bin/crossbar edge start --cbdir {dir}\n", "a.service.d/1.conf": "[Service]\nExecStart=x\n", "a.service.d/2.conf": "[Service]\nExecStart=\nExecStart=/opt/bin/crossbar start --cbdir {dir}\n"}, "a.service standalone", "/opt/bin/crossbar edge start --cbdir {dir}"},
		"another directory":    {map[string]string{"a.service": "[Service]\nExecStart=/opt/bin/crossbar edge start --cbdir /tmp\n"}, "", ""},
		"nowhere":              {map[string]string{"a.service": "[Service]\nExecStart=/opt/bin/crossbar edge start\n"}, "", ""},
		"nothing of crossbar":  {map[string]string{"a.service": "[Service]\nWorkingDirectory={dir}\nExecStart=/usr/bin/cfc-agent run --cbdir {dir}\n"}, "", ""},
		"a script":             {map[string]string{"a.service": "[Service]\nWorkingDirectory={dir}\nExecStart=/opt/run-crossbar\n"}, "a.service ", ""},
		"a file that is none":  {map[string]string{"a.service": "ExecStart=crossbar"}, "", ""},
		"another section only": {map[string]string{"a.service": "[Unit]\nDescription=crossbar --cbdir {dir}\n"}, "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			for name, text := range c.files {
				r.unit(name, text)
			}
			u := r.Units.of(r.Dir.Path)
			if u == nil {
				if c.want != "" {
					t.Error("it is not found")
				}
				return
			}
			if got := u.Name + " " + u.Personality(); got != c.want {
				t.Errorf("it is %q", got)
			}
			if c.dropIn == "" {
				return
			}
			r.unit(u.Name+".d/zzz.conf", u.DropIn())
			u = r.Units.of(r.Dir.Path)
			if want := strings.ReplaceAll(c.dropIn, "{dir}", r.Dir.Path); u == nil || u.Personality() != edge || u.Exec != want {
				t.Errorf("with the drop-in it is %+v, want %q", u, want)
			}
		})
	}
}

func TestTheFirstDirectoryWins(t *testing.T) {
	r := newRig(t)
	second := t.TempDir()
	r.unit("a.service", asEdge)
	r.unit("multi-user.target.wants/a.service", "")
	for name, text := range map[string]string{"a.service": "[Service]\nExecStart=/bin/true\n", "a.service.d/x.conf": "[Service]\nEnvironment=A=b\n"} {
		path := filepath.Join(second, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u := Units{r.units, second}.of(r.Dir.Path)
	if u == nil || u.Personality() != edge || u.Env["A"] != "b" || !u.Enabled {
		t.Errorf("it is %+v", u)
	}
}

func TestInstancesOfATemplate(t *testing.T) {
	r := newRig(t)
	r.unit("crossbar@.service", "[Service]\nExecStart=/opt/bin/crossbar start --cbdir "+filepath.Dir(r.Dir.Path)+"/%i\nEnvironment=CROSSBAR_FABRIC_URL=ws://x\n")
	r.unit("crossbar@node.service.d/x.conf", "[Service]\nUnsetEnvironment=CROSSBAR_FABRIC_URL\n")
	u := r.Units.byName("crossbar@node.service")
	if u == nil || !u.starts(r.Dir.Path) || u.Personality() != standalone || u.Env[fabricURL] != "" || filepath.Base(filepath.Dir(u.DropInPath())) != "crossbar@node.service.d" {
		t.Errorf("it is %+v", u)
	}
	if r.Units.of(r.Dir.Path) != nil {
		t.Error("a template starts nothing")
	}
	if u := r.Units.byName("other@node.service"); u != nil {
		t.Errorf("a unit without a file is %+v", u)
	}
}

func TestADropInKeepsTheNodeToItsAgent(t *testing.T) {
	r := newRig(t)
	r.unit("a.service", asEdge+"Environment=CROSSBAR_FABRIC_URL=ws://x\n")
	u := r.Units.of(r.Dir.Path)
	r.unit("a.service.d/cfc.conf", u.DropIn())
	if err := r.rightUnit(r.Units.of(r.Dir.Path)); err != nil {
		t.Error(err)
	}
}

// A node that waits for its agent is not ready, and not to be killed for that.
func TestADropInWaitsForTheAgent(t *testing.T) {
	for text, want := range map[string]bool{asStandalone: false, asStandalone + "Type=notify\n": true, asStandalone + "Type=simple\n": false} {
		r := newRig(t)
		r.unit("a.service", text)
		if got := r.Units.of(r.Dir.Path).DropIn(); strings.Contains(got, "TimeoutStartSec=infinity") != want {
			t.Errorf("for %q it is %q", text, got)
		}
	}
}

func TestWords(t *testing.T) {
	for s, want := range map[string][]string{
		"":                  nil,
		"a  b\tc ":          {"a", "b", "c"},
		`a "b c" 'd "e'`:    {"a", "b c", `d "e`},
		`"A=b c" --x="y z"`: {"A=b c", "--x=y z"},
		`"" x`:              {"", "x"},
	} {
		if got := words(s); !slices.Equal(got, want) {
			t.Errorf("%q gives %q", s, got)
		}
	}
}

func TestMay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o421); err != nil {
		t.Fatal(err)
	}
	owner := OwnerOf(path)
	if owner.UID != os.Getuid() {
		t.Fatalf("it belongs to %+v", owner)
	}
	uid, gid := owner.UID, os.Getgid()
	if uid == 0 { // who may do everything shows nothing
		uid, gid = 4711, 4712
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	for what, u := range map[string]User{"4": {UID: uid, GIDs: []int{gid}}, "2": {UID: uid + 1, GIDs: []int{1, gid}}, "1": {UID: uid + 1, GIDs: []int{1}}} {
		for bit := uint32(1); bit <= 4; bit <<= 1 {
			if got, want := u.may(path, bit), what == string(rune('0'+bit)); got != want {
				t.Errorf("%+v may %d: %v", u, bit, got)
			}
		}
	}
	if !(User{UID: 0}).may("/nowhere", 7) || (User{UID: 1}).may("/nowhere", 1) {
		t.Error("root may all, others nothing that is not there")
	}
	if OwnerOf("/nowhere").UID != os.Geteuid() {
		t.Error("what is not there is of who asks")
	}
}
