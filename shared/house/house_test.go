// Package house holds the rules of the tree as tests: who may import whom, how
// large a file may grow, what each package says about itself, and where names
// that stand on the wire may be spelled. Each rule says why it is there, so that
// who breaks it can judge whether the rule or the change is wrong.
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

const module = "fabric.center/cfc/"

// file is one Go file of the tree.
type file struct {
	path  string // from the root, with slashes
	dir   string
	test  bool
	lines int
	ast   *ast.File
	set   *token.FileSet
}

// tree gives every Go file, to be looked at only.
func tree(t *testing.T) []file {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

// parsed reads the files once for all rules: that is what the rules cost.
var parsed = sync.OnceValues(func() ([]file, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	var files []file
	for _, side := range []string{"agent", "relay", "shared", "packaging", "systemd"} {
		err := filepath.WalkDir(filepath.Join(root, side), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") {
				return err
			}
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			f := file{path: filepath.ToSlash(rel), test: strings.HasSuffix(p, "_test.go"), set: token.NewFileSet()}
			f.dir = path.Dir(f.path)
			if f.ast, err = parser.ParseFile(f.set, p, nil, parser.ParseComments); err != nil {
				return err
			}
			f.lines = f.set.File(f.ast.Pos()).LineCount()
			files = append(files, f)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
})

// below reports whether dir is one of the directories or inside one.
func below(dir string, places ...string) bool {
	return slices.ContainsFunc(places, func(p string) bool { return dir == p || strings.HasPrefix(dir, p+"/") })
}

// forbidden imports, and the only directories that may have them all the same.
var forbidden = []struct {
	from, imported string
	except         []string
	why            string
}{
	{"shared", module + "relay", nil, "shared is what both sides stand on; it cannot stand on one of them"},
	{"shared", module + "agent", nil, "shared is what both sides stand on; it cannot stand on one of them"},
	{"relay", module + "agent", nil, "the relay knows agents by the wire alone, so that their versions may differ"},
	{"agent", module + "relay", nil, "the agent knows relays by the wire alone, so that their versions may differ"},
	{"", "github.com/shirou/gopsutil", []string{"agent/host"}, "one place asks the operating system about processes"},
	{"", "go.etcd.io/bbolt", []string{"relay/store"}, "one place knows how the relay keeps its state"},
	{"", "github.com/docker/docker", []string{"agent/engine"}, "one place speaks with the Docker Engine"},
	{"", "github.com/moby/moby", []string{"agent/engine"}, "one place speaks with the Docker Engine"},
	{"", "github.com/nats-io", []string{"relay/mesh"}, "one place knows how relays find each other"},
}

func TestImports(t *testing.T) {
	for _, f := range tree(t) {
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range forbidden {
				if (r.from == "" || below(f.dir, r.from)) && below(imported, r.imported) && !below(f.dir, r.except...) {
					t.Errorf("%s imports %s: %s", f.path, imported, r.why)
				}
			}
		}
	}
}

func TestFilesStaySmall(t *testing.T) {
	const most = 600
	for _, f := range tree(t) {
		if f.lines > most {
			t.Errorf("%s has %d lines, at most %d: two files with two names say more", f.path, f.lines, most)
		}
	}
}

func TestMainsOnlyParseFlags(t *testing.T) {
	const most = 250
	lines := map[string]int{}
	for _, f := range tree(t) {
		if strings.Contains(f.dir+"/", "/cmd/") && !f.test {
			lines[f.dir] += f.lines
		}
	}
	for dir, n := range lines {
		if n > most {
			t.Errorf("%s has %d lines, at most %d: a main parses flags and calls Run(ctx), the rest belongs to a package with tests", dir, n, most)
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	comments := map[string][]string{}
	for _, f := range tree(t) {
		if f.test && !strings.HasSuffix(f.dir, "/house") {
			continue
		}
		if _, seen := comments[f.dir]; !seen {
			comments[f.dir] = nil
		}
		if f.ast.Doc != nil {
			comments[f.dir] = append(comments[f.dir], f.path)
		}
		switch name := f.ast.Name.Name; name {
		case "util", "utils", "common", "helper", "helpers", "misc", "base":
			t.Errorf("%s: package %s: a package is named for what it holds", f.path, name)
		}
	}
	for dir, docs := range comments {
		if len(docs) != 1 {
			t.Errorf("%s has %d package comments %v, expected one that says what it is and why", dir, len(docs), docs)
		}
	}
}

func TestEveryPackageHasTests(t *testing.T) {
	tested := map[string]bool{}
	for _, f := range tree(t) {
		tested[f.dir] = tested[f.dir] || f.test
	}
	for dir, ok := range tested {
		// Mains, generators and suites that other packages run have none of their own.
		suite := strings.HasSuffix(dir, "test") || strings.Contains(dir+"/", "/cmd/") || below(dir, "shared/e2e")
		if !ok && !suite {
			t.Errorf("%s has no test", dir)
		}
	}
}

// spelled are the strings of a file's code, without import paths, struct tags
// and comments.
func spelled(f file, visit func(s string, line int)) {
	skip := map[*ast.BasicLit]bool{}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			if n.Tag != nil {
				skip[n.Tag] = true
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING && !skip[n] {
				if s, err := strconv.Unquote(n.Value); err == nil {
					visit(s, f.set.Position(n.Pos()).Line)
				}
			}
		}
		return true
	})
}

func TestNamesOnTheWireAreSpelledOnce(t *testing.T) {
	var uris []string
	for _, o := range catalog.All() {
		uris = append(uris, o.URIs()...)
	}
	for _, e := range catalog.Events() {
		uris = append(append(uris, e.URI()), e.AliasURIs()...)
	}
	slices.Sort(uris)
	var kinds []string
	for _, i := range cfcerr.Table {
		kinds = append(kinds, i.URI)
	}
	for _, f := range tree(t) {
		if f.test || strings.HasSuffix(f.dir, "test") {
			continue // a test spells a name to hold the code to it
		}
		spelled(f, func(s string, line int) {
			_, operation := slices.BinarySearch(uris, s)
			switch {
			case operation && !below(f.dir, "shared/catalog", "agent/nodelink"),
				strings.HasPrefix(s, "cfc.remote.") && !below(f.dir, "shared/wire"):
				t.Errorf("%s:%d spells %q: the catalogue's row has the name", f.path, line, s)
			case (strings.HasPrefix(s, "cfc.error.") || s != "" && slices.Contains(kinds, s)) && !below(f.dir, "shared/cfcerr", "shared/wire"):
				t.Errorf("%s:%d spells %q: cfcerr's table has the name", f.path, line, s)
			}
		})
	}
}

func TestContextsComeFromOutside(t *testing.T) {
	for _, f := range tree(t) {
		if f.test || f.ast.Name.Name == "main" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "context" && (sel.Sel.Name == "Background" || sel.Sel.Name == "TODO") {
				t.Errorf("%s makes context.%s: what nobody can end is never awaited; take the caller's", f.set.Position(sel.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

func TestNoTestIsSkipped(t *testing.T) {
	for _, f := range tree(t) {
		if !f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "tb", "f"}, x.Name) {
					t.Errorf("%s skips a test: what is missing fails, unless a person left it out by name", f.set.Position(sel.Pos()))
				}
			}
			return true
		})
	}
}
