package nodeconfig

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	jsonText = "{\n    \"version\": 2,\n    \"controller\": {\n        \"id\": \"mine\"\n    },\n    \"workers\": []\n}\n"
	yamlText = "version: 2\ncontroller:\n  id: mine # really\nworkers: []\n"
)

// node is a node directory with files in it.
type node struct {
	*testing.T
	dir string
}

func newNode(t *testing.T, files map[string]string) node {
	t.Helper()
	n := node{t, t.TempDir()}
	for name, text := range files {
		n.write(name, text)
	}
	return n
}

func (n node) path(name string) string { return filepath.Join(n.dir, name) }

func (n node) write(name, text string) {
	n.Helper()
	if err := os.WriteFile(n.path(name), []byte(text), 0o640); err != nil {
		n.Fatal(err)
	}
}

func (n node) read(name string) string {
	n.Helper()
	b, err := os.ReadFile(n.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "none"
	}
	if err != nil {
		n.Fatal(err)
	}
	return string(b)
}

// changes are those of an adoption, with the activation removed where there is one.
func (n node) changes() []Change {
	n.Helper()
	f, err := Read(n.dir)
	if err != nil {
		n.Fatal(err)
	}
	text, err := f.WithUplink(agent)
	if err != nil {
		n.Fatal(err)
	}
	list := []Change{{f.Name, f.Text, text}}
	if b, err := os.ReadFile(n.path(Activation)); err == nil {
		list = append(list, Change{Activation, b, nil})
	}
	return list
}

func (n node) apply() {
	n.Helper()
	if err := Apply(n.dir, n.changes()); err != nil {
		n.Fatal(err)
	}
	f, err := Read(n.dir)
	if err != nil || Uplink(f.Config) != URL(agent) {
		n.Fatalf("it leads to %q, %v", Uplink(f.Config), err)
	}
}

func (n node) record() *Record {
	n.Helper()
	r, err := ReadRecord(n.dir)
	if err != nil || r == nil {
		n.Fatalf("record %v, %v", r, err)
	}
	return r
}

// undo wants that nothing is left.
func (n node) undo() {
	n.Helper()
	if err := n.record().Undo(); err != nil {
		n.Fatal(err)
	}
	if _, err := os.Stat(Backup(n.dir)); !errors.Is(err, fs.ErrNotExist) {
		n.Errorf("the backup is left: %v", err)
	}
}

func TestUndoGivesBackTheVeryFiles(t *testing.T) {
	for what, files := range map[string]map[string]string{
		"JSON": {"config.json": jsonText}, "YAML": {"config.yaml": yamlText}, "an activation": {"config.json": jsonText, Activation: "secret\n"}, "no configuration": {},
	} {
		n := newNode(t, files)
		n.apply()
		if n.read(Activation) != "none" {
			t.Errorf("%s: the activation is left", what)
		}
		n.undo()
		for _, name := range []string{"config.json", "config.yaml", Activation} {
			want, ok := files[name]
			if !ok {
				want = "none"
			}
			if got := n.read(name); got != want {
				t.Errorf("%s: %s is %q", what, name, got)
			}
			if info, err := os.Stat(n.path(name)); err == nil && info.Mode().Perm() != 0o640 {
				t.Errorf("%s: %s has mode %v", what, name, info.Mode())
			}
		}
	}
}

func TestOwnerModeAndLinkStay(t *testing.T) {
	n, elsewhere := newNode(t, nil), newNode(t, map[string]string{"node.json": jsonText})
	if err := os.Symlink(elsewhere.path("node.json"), n.path("config.json")); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 4711, 4712
		for _, path := range []string{n.dir, elsewhere.path("node.json")} {
			if err := os.Chown(path, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	look := func(path string, mode fs.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if u, g := owner(info); u != uid || g != gid || info.Mode().Perm() != mode {
			t.Errorf("%s: %d:%d, mode %v", path, u, g, info.Mode())
		}
	}
	n.apply()
	look(elsewhere.path("node.json"), 0o640)
	look(Backup(n.dir), 0o700)
	look(filepath.Join(Backup(n.dir), "config.json"), 0o600)
	look(filepath.Join(Backup(n.dir), recordName), 0o600)
	if elsewhere.read("node.json") == jsonText {
		t.Error("the file behind the link is as it was")
	}
	n.undo()
	look(elsewhere.path("node.json"), 0o640)
	if target, err := os.Readlink(n.path("config.json")); err != nil || target != elsewhere.path("node.json") || elsewhere.read("node.json") != jsonText {
		t.Errorf("the link leads to %s, %v", target, err)
	}
}

// A change that breaks off is finished by the next, or undone.
func TestAfterACrash(t *testing.T) {
	files := map[string]string{"config.json": jsonText, Activation: "x"}
	for what, crash := range map[string]func(n node, changes []Change){
		"before the record is there": func(n node, _ []Change) {
			if err := os.Mkdir(Backup(n.dir), 0o700); err != nil {
				n.Fatal(err)
			}
			n.write(keptDir+"/config.json", "half of i")
		},
		"before the first file": func(n node, c []Change) { n.crashAfter(c, 0) },
		"between the files":     func(n node, c []Change) { n.crashAfter(c, 1) },
		"after the last":        func(n node, c []Change) { n.crashAfter(c, 2) },
	} {
		for _, then := range []string{"again", "undo"} {
			n := newNode(t, files)
			changes := n.changes()
			crash(n, changes)
			if r, err := ReadRecord(n.dir); err != nil || r == nil && then == "undo" {
				if what != "before the record is there" {
					t.Errorf("%s: no record: %v", what, err)
				}
				continue
			}
			if then == "again" {
				if err := Apply(n.dir, changes); err != nil || n.read(Activation) != "none" || n.read("config.json") == jsonText {
					t.Errorf("%s, again: %v", what, err)
				}
			}
			n.undo()
			if n.read("config.json") != jsonText || n.read(Activation) != "x" {
				t.Errorf("%s, %s: not as it was", what, then)
			}
		}
	}
}

// crashAfter makes the change and then takes back all but the first files.
func (n node) crashAfter(changes []Change, files int) {
	n.Helper()
	if err := Apply(n.dir, changes); err != nil {
		n.Fatal(err)
	}
	for _, c := range changes[files:] {
		n.write(c.Name, string(c.Before))
	}
}

func TestUndoBreaksOff(t *testing.T) {
	n := newNode(t, map[string]string{"config.yaml": yamlText, Activation: "x"})
	n.apply()
	n.write("config.yaml", yamlText) // as a first undo has left it
	n.undo()
	if n.read("config.yaml") != yamlText || n.read(Activation) != "x" {
		t.Error("not as it was")
	}
}

func TestUndoLeavesWhatWasEditedSince(t *testing.T) {
	for name, text := range map[string]string{"config.json": jsonText, "config.yaml": yamlText} {
		n := newNode(t, map[string]string{name: text})
		n.apply()
		edit := func(s string) string { return strings.Replace(s, "mine", "yours", 1) }
		n.write(name, edit(n.read(name)))
		n.undo()
		if got := n.read(name); got != edit(text) {
			t.Errorf("%s has become %q", name, got)
		}
	}
}

// An edited file that is changed again keeps the edit when that is undone.
func TestChangingAgainAfterAnEdit(t *testing.T) {
	n := newNode(t, map[string]string{"config.json": jsonText})
	n.apply()
	edited := strings.Replace(n.read("config.json"), "mine", "yours", 1)
	n.write("config.json", edited)
	base, err := n.record().Undone()
	if err != nil {
		t.Fatal(err)
	}
	if err := Apply(n.dir, []Change{{"config.json", base[0].After, []byte(edited + "\n")}}); err != nil {
		t.Fatal(err)
	}
	n.undo()
	if got := n.read("config.json"); got != strings.Replace(jsonText, "mine", "yours", 1) {
		t.Errorf("it has become %q", got)
	}
}

func TestAnotherUplinkLater(t *testing.T) {
	n := newNode(t, map[string]string{"config.yaml": yamlText, Activation: "x"})
	n.apply()
	other := &net.TCPAddr{IP: agent.IP, Port: 870}
	for _, edit := range []string{"", "# more\n"} {
		n.write("config.yaml", n.read("config.yaml")+edit)
		for range 2 {
			changes, err := Plan(n.dir, other)
			if err != nil {
				t.Fatal(err)
			}
			if len(changes) > 0 {
				err = Apply(n.dir, changes)
			}
			if f, again := Read(n.dir); err != nil || again != nil || Uplink(f.Config) != URL(other) || strings.Count(n.read("config.yaml"), "rs://") != 1 {
				t.Fatalf("it has become %s, %v, %v", n.read("config.yaml"), err, again)
			}
		}
		other = agent
	}
	n.undo()
	if got := n.read("config.yaml"); got != yamlText+"# more\n" || n.read(Activation) != "x" {
		t.Errorf("undone it is %q", got)
	}
}

func TestUndoRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		files map[string]string
		edit  func(n node)
	}{
		"an uplink that somebody has changed": {map[string]string{"config.json": jsonText}, func(n node) {
			n.write("config.json", strings.Replace(n.read("config.json"), "rs://127.0.0.1:869", "rs://127.0.0.1:870", 1))
		}},
		"a file that was laid out anew": {map[string]string{"config.json": jsonText}, func(n node) {
			n.write("config.json", strings.ReplaceAll(n.read("config.json"), "    ", "\t"))
		}},
		"an uplink that stands there twice": {map[string]string{"config.yaml": yamlText}, func(n node) {
			n.write("config.yaml", n.read("config.yaml")+"else:\n"+yamlUplink("  ")+"\n")
		}},
		"a configuration that was removed": {map[string]string{"config.yaml": yamlText}, func(n node) {
			if err := os.Remove(n.path("config.yaml")); err != nil {
				n.Fatal(err)
			}
		}},
		"one that is no JSON any more": {map[string]string{"config.json": jsonText}, func(n node) {
			n.write("config.json", n.read("config.json")+"}")
		}},
		"one that the agent made, with workers since": {nil, func(n node) {
			n.write("config.json", strings.Replace(n.read("config.json"), `"workers": []`, `"workers": [{}]`, 1))
		}},
		"another activation": {map[string]string{"config.json": jsonText, Activation: "x"}, func(n node) { n.write(Activation, "y") }},
	} {
		n := newNode(t, c.files)
		n.apply()
		c.edit(n)
		before := [3]string{n.read("config.json"), n.read("config.yaml"), n.read(Activation)}
		if err := n.record().Undo(); !errors.Is(err, ErrEdited) || !strings.Contains(err.Error(), n.dir) {
			t.Errorf("%s: %v", what, err)
		}
		if after := [3]string{n.read("config.json"), n.read("config.yaml"), n.read(Activation)}; after != before {
			t.Errorf("%s: changed all the same", what)
		}
		if changes, err := n.record().Undone(); err == nil || len(changes) == 0 {
			t.Errorf("%s: nothing to show: %v", what, err)
		}
	}
}

func TestRecordRefuses(t *testing.T) {
	for what, c := range map[string]struct{ file, text string }{
		"a damaged record":     {recordName, "{"},
		"another version":      {recordName, `{"version": 2}`},
		"a key of the future":  {recordName, `{"version": 1, "more": 1}`},
		"a file of the system": {recordName, `{"version": 1, "files": [{"name": "../passwd", "existed": true}]}`},
		"a backup that is not": {recordName, `{"version": 1, "files": [{"name": "config.yaml", "existed": true, "removed": true}]}`},
	} {
		n := newNode(t, map[string]string{"config.json": jsonText})
		n.apply()
		n.write(keptDir+"/"+c.file, c.text)
		if _, err := ReadRecord(n.dir); err == nil {
			t.Errorf("%s is taken", what)
		}
		if err := Apply(n.dir, n.changes()); err == nil {
			t.Errorf("%s: changed all the same", what)
		}
	}
}

// Whoever owns the directory cannot have others changed by who adopts it.
func TestLinksLeadNowhereElse(t *testing.T) {
	n, elsewhere := newNode(t, map[string]string{"config.json": jsonText}), newNode(t, map[string]string{"config.json": jsonText})
	if err := os.Symlink(elsewhere.dir, Backup(n.dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRecord(n.dir); err == nil || !strings.Contains(err.Error(), "link") {
		t.Errorf("a backup that is a link: %v", err)
	}
	if _, err := openBackup(n.dir); err == nil {
		t.Error("it is used all the same")
	}
	if os.Getuid() != 0 {
		return // who cannot give files away cannot be misused to
	}
	n = newNode(t, nil)
	if err := errors.Join(os.Chown(n.dir, 4711, 4711), os.Symlink(elsewhere.path("config.json"), n.path("config.json"))); err != nil {
		t.Fatal(err)
	}
	if err := Apply(n.dir, n.changes()); err == nil || !strings.Contains(err.Error(), "belong") || elsewhere.read("config.json") != jsonText {
		t.Errorf("a configuration of somebody else: %v", err)
	}
}

func TestOneAtATime(t *testing.T) {
	n := newNode(t, map[string]string{"config.json": jsonText})
	unlock, err := openBackup(n.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := Apply(n.dir, n.changes()); err == nil || !strings.Contains(err.Error(), "somebody else") || n.read("config.json") != jsonText {
		t.Errorf("two at a time: %v", err)
	}
}

func TestDiff(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{"a\nb\n", "a\nb\n", ""},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\ny\n6\n7\n8\n9\n", "--- /n/f\n+++ /n/f\n@@ -2,7 +2,8 @@\n 2\n 3\n 4\n-5\n+x\n+y\n 6\n 7\n 8\n"},
		{"a", "a\n", "--- /n/f\n+++ /n/f\n@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n"},
		{"none", "a\n", "--- /dev/null\n+++ /n/f\n@@ -0,0 +1,1 @@\n+a\n"},
		{"a\n", "none", "--- /n/f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n"},
	} {
		text := func(s string) []byte {
			if s == "none" {
				return nil
			}
			return bytes.Clone([]byte(s))
		}
		if got := (Change{"f", text(c.before), text(c.after)}).Diff("/n"); got != c.want {
			t.Errorf("%q to %q gives %q, want %q", c.before, c.after, got, c.want)
		}
	}
}

// A person, root perhaps, looks at a file that somebody else has written.
func TestDiffIsFitForATerminal(t *testing.T) {
	c := Change{"config.json", []byte("{\t\"a\": \"\x1b]0;x\a\"}\n"), []byte("{\t\"a\": \"\x1b[2J\"}\n")}
	d := c.Diff("/srv/node")
	if strings.ContainsAny(d, "\x1b\a") || !strings.Contains(d, "-{\t\"a\"") {
		t.Errorf("got %q", d)
	}
}
